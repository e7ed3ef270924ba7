//! Flows on their way into the datapath and out of it.

use mn_agent_core::{Leaving, NewFlow, PortLimit, is_within, limits};
use mn_datapath::{DatapathError, FlowSpec, Output};
use mn_flow::{Action, Cookie, Field, FlowKey, FlowMask, GroupIndex, Tag};
use mn_simulation::Decision;
use mn_time::Instant;

use super::Worker;
use super::batch::Install;
use crate::clock;

/// The mask of a verdict's flow: a flow is of one port, be that read or not.
pub(super) fn mask_of(decision: &Decision) -> FlowMask {
    decision.mask | FlowMask::from(Field::InPort)
}

impl Worker {
    /// Shortens the actions to what a flow can hold, and tells the datapath of new groups.
    pub(super) fn fit_groups(&mut self) {
        self.translation.fit(&mut self.groups);
        for (index, actions) in &self.translation.new_groups {
            let outputs: Vec<Output> = actions.iter().filter_map(output).collect();
            if let Err(error) = self.datapath.set_group(*index, &outputs) {
                self.report.failed.add(1);
                tracing::error!(%error, group = index.0, "an output group cannot be set");
            }
        }
    }

    /// Gives back the groups of a verdict that became no flow.
    pub(super) fn release_groups(&mut self) {
        let groups = std::mem::take(&mut self.translation.groups);
        self.forget_groups(&groups);
    }

    /// Enters a flow that is within its port's limit. Of one that is not the packets go their way one
    /// by one, and its groups are given back.
    pub(super) fn enter_if_room(
        &mut self,
        key: FlowKey,
        decision: &Decision,
        tags: &[Tag],
        now: Instant,
    ) -> Option<Cookie> {
        if self.has_room(&key, mask_of(decision)) {
            return Some(self.enter(key, decision, tags, now));
        }
        self.release_groups();
        None
    }

    fn has_room(&mut self, key: &FlowKey, mask: FlowMask) -> bool {
        let has = self.flows.of_port(key.in_port);
        let room = is_within(has, self.limits.flows) || self.flows.cookie_of(key, mask).is_some();
        if !room {
            self.press(key.in_port, PortLimit::Flows);
        }
        room
    }

    /// Enters a flow with the translated actions, to be activated when the batch is done. Its
    /// cookie.
    pub(super) fn enter(
        &mut self,
        key: FlowKey,
        decision: &Decision,
        tags: &[Tag],
        now: Instant,
    ) -> Cookie {
        if self.flows.is_full() {
            self.evict();
        }
        let mask = mask_of(decision);
        let Decision { expiry, follows, .. } = *decision;
        let groups = std::mem::take(&mut self.translation.groups);
        let flow = NewFlow { key, mask, tags, expiry, groups: &groups, follows };
        let (cookie, replaced) = self.flows.insert(&flow, now);
        // One of this batch is not in the datapath yet; what it was to replace is.
        let over = replaced.and_then(|replaced| {
            self.forget_groups(&replaced.groups);
            let withdrawn = self.installs.withdraw(replaced.cookie);
            withdrawn.map_or(Some(replaced.cookie), |withdrawn| withdrawn.over)
        });
        self.installs.push(cookie, key, mask, &self.translation.actions, over);
        cookie
    }

    /// Installs the flows that were entered.
    pub(super) fn activate(&mut self) {
        // A flow that outlives this agent finds its translation again.
        self.journal.flush();
        let mut installs = std::mem::take(&mut self.installs);
        for Install { spec, over } in installs.flows() {
            // Room may have been made by it for one before it.
            if self.flows.key_of(spec.cookie).is_none() {
                self.remove_older(spec, *over);
                continue;
            }
            let mut installed = self.datapath.install(spec);
            if let Err(DatapathError::Full { .. }) = installed {
                self.evict();
                installed = self.datapath.install(spec);
            }
            match installed {
                Ok(()) => {
                    self.report.installed.add(1);
                    if let Some(over) = *over
                        && let Ok(mut drops) = self.rule_drops.lock()
                    {
                        drops.succeed(over, spec.cookie);
                    }
                }
                Err(error) => {
                    self.report.failed.add(1);
                    tracing::warn!(%error, "a flow cannot be installed");
                    if let Some(flow) = self.flows.remove(spec.cookie) {
                        self.forget_groups(&flow.groups);
                    }
                    self.remove_older(spec, *over);
                }
            }
        }
        installs.clear();
        self.installs = installs;
    }

    /// Removes the flows that a change of these touches.
    pub(super) fn drop_touched(&mut self, tags: &[Tag]) {
        if tags.is_empty() {
            return;
        }
        let mut leaving = std::mem::take(&mut self.leaving);
        self.flows.invalidate(tags, &mut leaving);
        self.report.invalidated.add(leaving.len() as u64);
        self.take_out(leaving);
    }

    /// Removes some of the flows whose time is over: a few at each call, all in a second.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut leaving = std::mem::take(&mut self.leaving);
        let places = self.flows.places().div_ceil(limits::EXPIRE_LOOKS);
        self.flows.expire(now, places, &mut leaving);
        self.report.expired.add(leaving.len() as u64);
        self.take_out(leaving);
    }

    fn evict(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        self.flows.evict(limits::evict_batch(self.flows.len()), &mut leaving);
        self.report.evicted.add(leaving.len() as u64);
        self.take_out(leaving);
    }

    /// Removes flows from the datapath and collects what they carried.
    fn take_out(&mut self, mut leaving: Vec<Leaving>) {
        for Leaving { cookie, key, mask, groups } in leaving.drain(..) {
            let spec = FlowSpec { cookie, key, mask, actions: Vec::new() };
            match self.installs.withdraw(cookie) {
                Some(withdrawn) => self.remove_older(&spec, withdrawn.over),
                None => self.remove(&spec),
            }
            self.forget_groups(&groups);
        }
        self.leaving = leaving;
        self.note_left(clock::now());
    }

    /// Removes the flow whose place another was to take that is not installed.
    fn remove_older(&self, spec: &FlowSpec, over: Option<Cookie>) {
        if let Some(cookie) = over {
            let FlowSpec { key, mask, .. } = *spec;
            self.remove(&FlowSpec { cookie, key, mask, actions: Vec::new() });
        }
    }

    /// Removes one flow from the datapath, if it is there with this cookie.
    pub(super) fn remove(&self, spec: &FlowSpec) {
        match self.datapath.remove(spec) {
            Ok(Some(last)) => {
                self.report.left_packets.add(last.counters.packets);
                self.report.left_octets.add(last.counters.octets);
                if let Some(rule) = last.rule
                    && let Ok(mut drops) = self.rule_drops.lock()
                {
                    drops.leave(spec.cookie, rule, last.counters.packets);
                }
            }
            Ok(None) => {}
            Err(error) => {
                self.report.failed.add(1);
                tracing::error!(%error, "a flow cannot be removed");
            }
        }
    }

    fn forget_groups(&mut self, groups: &[GroupIndex]) {
        for index in groups {
            if self.groups.release(*index)
                && let Err(error) = self.datapath.set_group(*index, &[])
            {
                tracing::warn!(%error, group = index.0, "an output group cannot be removed");
            }
        }
    }
}

fn output(action: &Action) -> Option<Output> {
    match *action {
        Action::Output(port) => Some(Output::Port(port)),
        Action::Tunnel { peer, key } => Some(Output::Tunnel { peer, key }),
        _ => None,
    }
}
