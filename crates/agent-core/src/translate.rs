//! From a verdict in virtual words to what the datapath does.

#[cfg(test)]
mod tests;

use mn_flow::{Action, DropCause, GroupIndex, PortNo, Tag, VirtualAction, Zone};
use mn_ids::{HostId, PortId, RuleId};

use crate::{GroupTable, LocalView, Place, StateTables, TableName};

/// The datapath's words for one verdict. Buffers of the caller's, reused.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    pub actions: Vec<Action>,
    /// Everything that was read here: places and peers.
    pub tags: Vec<Tag>,
    /// Ports whose place is not loaded. While there are some, the verdict cannot be carried out.
    pub missing: Vec<PortId>,
    /// Ports that are bound, and not in their place yet. The actions leave them out.
    pub arriving: Vec<PortId>,
    /// The groups that `actions` name.
    pub groups: Vec<GroupIndex>,
    /// Those of them that are new, with their outputs.
    pub new_groups: Vec<(GroupIndex, Vec<Action>)>,
    /// Some port was left out: nobody knows where it is, or its host has no tunnel address.
    lost: bool,
    run: Vec<PortId>,
    remote: Vec<(PortId, Place)>,
}

/// What a verdict is translated with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub tables: &'a StateTables,
    pub local: &'a LocalView,
    /// The host that a port is bound to, as the topology has it.
    pub bound: &'a dyn Fn(PortId) -> Option<HostId>,
    /// Deliveries to other ports than these are left out: they were made before.
    pub only: Option<&'a [PortId]>,
}

/// The most actions a flow has in line.
const ACTIONS_MAX: usize = 16;

/// Fills `out` with the actions of a verdict about a packet that came in by a port.
///
/// A delivery becomes an output where the port is active here, and else a copy through the tunnel
/// to the host it is on. Of several ports on one host between two rewrites, those that the host
/// published as a flood group get one copy (contracts §1). A port nobody knows the place of gets
/// nothing; the tags see to it that the flow goes when that changes. Where the topology has it bound
/// to a host, that host's agent is about to say where it is: see [`Translation::arriving`]. A place
/// on another host than that is none any more. A list that is too long is shortened by groups; see
/// [`Translation::groups`].
///
/// Where the connection of one delivery is to be followed, it is for all: that costs entries and
/// decides nothing. It is followed in the zone of the port, as the packet came in.
pub fn translate(
    verdict: &[VirtualAction],
    in_port: PortNo,
    drop: Option<(DropCause, Option<RuleId>)>,
    means: &Means<'_>,
    out: &mut Translation,
) {
    out.clear();
    if verdict.contains(&VirtualAction::Track) {
        let zone = means.local.zones.get(&in_port).copied().unwrap_or(Zone(0));
        out.actions.push(Action::Track { zone, port: in_port });
    }
    for action in verdict {
        match *action {
            VirtualAction::Deliver(port) => out.run.push(port),
            VirtualAction::Rewrite(rewrite) => {
                out.deliver(means);
                out.actions.push(Action::Rewrite(rewrite));
            }
            VirtualAction::Meter(index) => {
                out.deliver(means);
                out.actions.push(Action::Meter(index));
            }
            VirtualAction::Copy => {
                out.deliver(means);
                out.actions.push(Action::Copy { one_in: 1 });
            }
            VirtualAction::Track => {}
        }
    }
    out.deliver(means);
    out.end(drop);
}

impl Translation {
    fn clear(&mut self) {
        self.actions.clear();
        self.tags.clear();
        self.missing.clear();
        self.arriving.clear();
        self.groups.clear();
        self.new_groups.clear();
        self.run.clear();
        self.lost = false;
    }

    /// Adds the outputs for the ports of the run.
    fn deliver(&mut self, means: &Means<'_>) {
        let Means { tables, local, .. } = *means;
        let mut run = std::mem::take(&mut self.run);
        if let Some(only) = means.only {
            run.retain(|port| only.contains(port));
        }
        let mut remote = std::mem::take(&mut self.remote);
        remote.clear();
        for port in &run {
            self.tags.push(Tag::Location(*port));
            if let Some(number) = local.ports.get(port) {
                self.actions.push(Action::Output(*number));
                continue;
            }
            let bound = (means.bound)(*port);
            match tables.place(*port) {
                Some(place)
                    if place.host != local.host && bound.is_none_or(|at| at == place.host) =>
                {
                    remote.push((*port, place));
                }
                None if !tables.is_loaded(TableName::Location(*port)) => self.missing.push(*port),
                // It is nowhere, or was here or elsewhere: its activation is over, or not yet begun.
                Some(_) | None => {
                    self.lost = true;
                    if bound.is_some() {
                        self.arriving.push(*port);
                    }
                }
            }
        }
        while let Some((_, Place { host, .. })) = remote.first().copied() {
            self.tunnel(host, &mut remote, tables, local);
        }
        (self.run, self.remote) = (run, remote);
        self.run.clear();
    }

    /// Adds the copies for the ports on one host, and takes them out of `remote`.
    fn tunnel(
        &mut self,
        host: HostId,
        remote: &mut Vec<(PortId, Place)>,
        tables: &StateTables,
        local: &LocalView,
    ) {
        self.tags.push(Tag::Peer(host));
        let Some(peer) = local.peers.get(&host).copied() else {
            self.lost = true;
            remote.retain(|(_, place)| place.host != host);
            return;
        };
        if remote.iter().filter(|(_, place)| place.host == host).count() > 1 {
            for group in tables.flood_groups(host) {
                let there =
                    |port| remote.iter().any(|(other, place)| other == port && place.host == host);
                if group.ports.len() > 1 && group.ports.iter().all(there) {
                    self.actions.push(Action::Tunnel { peer, key: group.key });
                    remote.retain(|(port, _)| !group.ports.contains(port));
                }
            }
        }
        let single = remote.iter().filter(|(_, place)| place.host == host);
        self.actions.extend(single.map(|(_, place)| Action::Tunnel { peer, key: place.key }));
        remote.retain(|(_, place)| place.host != host);
    }

    /// Has the flow tell how the connection goes on, if it sends anything anywhere.
    pub fn follow(&mut self) {
        if self.sends() {
            self.actions.insert(0, Action::Follow);
        }
    }

    /// Whether anything is sent anywhere.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.actions.iter().any(is_output)
    }

    /// Whether it is sent to one place, and not by a group.
    #[must_use]
    pub fn sends_once(&self) -> bool {
        let mut outputs = self.actions.iter().filter(|action| is_output(action));
        let first = outputs.next();
        first.is_some_and(|first| !matches!(first, Action::Outputs(_))) && outputs.next().is_none()
    }

    /// Takes off what changes nothing any more; a list that sends nothing anywhere drops.
    fn end(&mut self, drop: Option<(DropCause, Option<RuleId>)>) {
        let idle = |action: &Action| matches!(action, Action::Rewrite(_) | Action::Track { .. });
        let last = self.actions.iter().rposition(|action| !idle(action));
        self.actions.truncate(last.map_or(0, |last| last + 1));
        let (cause, rule) = match drop {
            // Of a packet that goes nowhere mirrors may have copies.
            Some(drop) => drop,
            None if self.sends() => return,
            None if self.lost => (DropCause::NoLocation, None),
            None => (DropCause::Unbound, None),
        };
        self.actions.push(Action::Drop { cause, rule });
    }

    /// Shortens the list to what fits in line: the longest rows of outputs become groups. A list
    /// that cannot be shortened, for want of rows or of groups, drops.
    pub fn fit(&mut self, groups: &mut GroupTable) {
        while self.actions.len() > ACTIONS_MAX {
            let Some(row) = longest_row(&self.actions) else { return self.give_up(groups) };
            let Some((index, new)) = groups.acquire(&self.actions[row.clone()]) else {
                return self.give_up(groups);
            };
            self.groups.push(index);
            if new {
                self.new_groups.push((index, self.actions[row.clone()].to_vec()));
            }
            self.actions.splice(row, [Action::Outputs(index)]);
        }
    }

    fn give_up(&mut self, groups: &mut GroupTable) {
        for index in self.groups.drain(..) {
            groups.release(index);
        }
        self.new_groups.clear();
        self.actions.clear();
        self.actions.push(Action::Drop { cause: DropCause::TooManyActions, rule: None });
    }
}

fn is_output(action: &Action) -> bool {
    matches!(action, Action::Output(_) | Action::Tunnel { .. } | Action::Outputs(_))
}

/// The longest row of single outputs, of two at least.
fn longest_row(actions: &[Action]) -> Option<std::ops::Range<usize>> {
    let single = |action: &Action| matches!(action, Action::Output(_) | Action::Tunnel { .. });
    let mut best = 0..0;
    let mut start = 0;
    for (at, action) in actions.iter().enumerate() {
        if !single(action) {
            start = at + 1;
        } else if at + 1 - start > best.len() {
            best = start..at + 1;
        }
    }
    (best.len() > 1).then_some(best)
}
