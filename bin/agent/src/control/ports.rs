//! Interfaces under the datapath: bound, attached, moved, gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mn_agent_core::{
    Attached, FloodOp, FloodSets, PortOp, TableName, announcements, flood_plan, limits, plan,
};
use mn_datapath::{Delivery, Interface};
use mn_flow::{KeyKind, Tag, TunnelKey};
use mn_ids::{BridgeId, PortId};
use mn_simulation::Entry;
use mn_topology::PortKind;

use super::{Control, Guarded, RETIRED_FOR};
use crate::clock;
use crate::numbers::{KeptFlood, KeptPort};
use crate::worker::message::{Announcement, Reach};

/// How long a port that came here waits to be announced.
const ANNOUNCE_FOR: Duration = Duration::from_secs(5);

impl Control {
    /// Takes over what an earlier agent left attached; packets went on all the while.
    pub(super) fn adopt_ports(&mut self) {
        let attached: BTreeMap<_, _> = match self.datapath.attached() {
            Ok(attached) => attached.into_iter().collect(),
            Err(error) => {
                tracing::error!(%error, "what is attached cannot be read");
                return;
            }
        };
        let mut known = Vec::new();
        for (port, kept) in self.numbers.ports().clone() {
            let Some(interface) = attached.get(&kept.number) else {
                self.give_up_place(port, kept.key);
                continue;
            };
            known.push(kept.number);
            let there = self.state.links.get(&kept.interface);
            if there.is_some_and(|link| link.interface.ifindex == interface.ifindex) {
                let ifindex = interface.ifindex;
                self.state.attached.insert(kept.interface, Attached { port, ifindex });
                self.state.port_keys.insert(port, kept.key);
                self.state.local.add_port(port, kept.number);
                self.adopt_zone(kept.number);
                if let Err(error) =
                    self.datapath.set_broadcast_limit(kept.number, self.broadcast_limit)
                {
                    tracing::error!(%error, %port, "the broadcasts of a port cannot be limited");
                }
            } else {
                self.detach_number(kept.number);
                self.give_up_place(port, kept.key);
            }
        }
        for number in attached.into_keys().filter(|number| !known.contains(number)) {
            self.detach_number(number);
        }
        self.state.floods.clone_from(self.numbers.floods());
        self.state.news.changed = true;
        tracing::info!(ports = self.state.attached.len(), "adopted");
    }

    /// The zone of an adopted port is as it was: its flows name it. Should the limit be another by
    /// now, it is set with the zone.
    fn adopt_zone(&mut self, number: mn_flow::PortNo) {
        if let Ok((tracking, _)) = self.datapath.tracking(number)
            && tracking.zone != mn_flow::Zone(0)
            && tracking.connections_max == self.connections_max
        {
            self.state.local.zones.insert(number, tracking.zone);
        }
    }

    /// Brings under the datapath what is bound and there, and nothing else. Before it is known
    /// what is bound, everything stays as it is.
    pub(super) fn reconcile_ports(&mut self) {
        if !self.state.bound_known {
            return;
        }
        let bound = self.bound_interfaces();
        let present = self
            .state
            .links
            .iter()
            .map(|(name, link)| (name.clone(), link.interface.ifindex))
            .collect();
        for op in plan(&bound, &present, &self.state.attached) {
            match op {
                PortOp::Detach(name, port) => self.detach(&name, port),
                PortOp::Attach(name, attached)
                    if self.state.refused.get(&name) == Some(&attached) => {}
                PortOp::Attach(name, attached) => self.attach(name, attached),
            }
        }
    }

    /// Which port each interface is to serve; of two ports bound to one interface the first.
    fn bound_interfaces(&self) -> BTreeMap<String, PortId> {
        let mut bound = BTreeMap::new();
        for port in self.state.bound.values() {
            if let Some(name) = &port.interface_name {
                bound.entry(name.clone()).or_insert(port.id);
            }
        }
        bound
    }

    /// Gives a port its number and key here. The datapath hears of it when the workers have: see
    /// [`Self::serve_ports`].
    fn attach(&mut self, name: String, attached: Attached) {
        let port = attached.port;
        let (Some(number), Some(key)) =
            (self.numbers.port_number(port), self.allocate(KeyKind::Port))
        else {
            tracing::error!(%port, "this host has no room for another port");
            return;
        };
        self.numbers.keep_port(port, KeptPort { number, interface: name.clone(), key });
        self.state.attached.insert(name.clone(), attached.clone());
        self.state.to_serve.push((name, attached));
        self.state.port_keys.insert(port, key);
        self.state.local.add_port(port, number);
        self.touch(port);
        self.state.unannounced.push((port, clock::now() + ANNOUNCE_FOR));
    }

    /// Brings what was attached under the datapath, now that the workers know the ports: the first
    /// packet finds them prepared, and everybody hears meanwhile where the ports are.
    pub(super) fn serve_ports(&mut self) {
        for (name, attached) in std::mem::take(&mut self.state.to_serve) {
            let Attached { port, ifindex } = attached;
            let number = self.state.local.ports.get(&port).copied();
            let key = self.state.port_keys.get(&port).copied();
            let (Some(number), Some(key), Some(link)) = (number, key, self.state.links.get(&name))
            else {
                continue;
            };
            let interface =
                Interface { ifindex, peer_redirect: link.peer_elsewhere, mtu: link.interface.mtu };
            let served = self
                .datapath
                .set_key(key, Some(&Delivery::Port(number)))
                .and_then(|()| self.datapath.serve(number, interface, self.upcall_limit))
                .and_then(|()| self.datapath.set_broadcast_limit(number, self.broadcast_limit));
            match served {
                Ok(()) => {
                    tracing::info!(interface = name, %port, number = number.0, key = %key, "attached");
                    self.guard(name, attached);
                }
                Err(error) => {
                    let done = Err(error);
                    self.take_guarded(Guarded { interface: name, attached, done });
                }
            }
        }
    }

    /// Puts the program on a port's interface, on another thread: it is at work at once, and the
    /// kernel returns much later.
    fn guard(&self, interface: String, attached: Attached) {
        let (datapath, guarded) = (Arc::clone(&self.datapath), self.guarded.clone());
        tokio::task::spawn_blocking(move || {
            let done = datapath.guard(attached.ifindex);
            // Where nobody listens any more, the next agent looks for itself.
            drop(guarded.send(Guarded { interface, attached, done }));
        });
    }

    /// Takes back what could not be attached. It is tried again after a while.
    pub(super) fn take_guarded(&mut self, guarded: Guarded) {
        let Guarded { interface, attached, done } = guarded;
        let Err(error) = done else { return };
        if self.state.attached.get(&interface) != Some(&attached) {
            return;
        }
        let port = attached.port;
        tracing::error!(%error, interface, %port, "a port cannot be attached");
        self.detach(&interface, port);
        self.state.refused.insert(interface, attached);
    }

    fn detach(&mut self, name: &str, port: PortId) {
        tracing::info!(interface = name, %port, "detached");
        self.state.attached.remove(name);
        if let Some(number) = self.state.local.ports.get(&port).copied() {
            self.detach_number(number);
        }
        self.state.local.remove_port(port);
        if let Some(key) = self.state.port_keys.remove(&port) {
            self.give_up_place(port, key);
        }
        self.touch(port);
    }

    /// The port is not here any more: its key is retired, its place cleared.
    fn give_up_place(&mut self, port: PortId, key: TunnelKey) {
        self.retire(key);
        self.numbers.forget_port(port);
        self.state.gone_places.insert(port);
    }

    fn detach_number(&mut self, number: mn_flow::PortNo) {
        self.state.gone_numbers.insert(number);
        self.state.bandwidths.remove(&number);
        if let Err(error) = self.datapath.detach(number) {
            tracing::debug!(%error, number = number.0, "an interface was gone before its port");
        }
    }

    /// Flows by this port, into and out of it, are to be decided anew.
    fn touch(&mut self, port: PortId) {
        self.state.news.tags.extend([Tag::Location(port), Tag::Port(port)]);
        self.state.news.changed = true;
    }

    /// Tells the network of ports that came here, once it is known who is behind them.
    pub(super) fn announce(&mut self) {
        let now = clock::now();
        for (port, until) in std::mem::take(&mut self.state.unannounced) {
            let Some(object) = self.state.bound.get(&port) else { continue };
            let (stations, entry) = match &object.kind {
                // Its stations speak through it; what they would say comes in by the port.
                PortKind::Bridge { bridge_id, .. } => {
                    let tables =
                        [TableName::Mac(*bridge_id), TableName::BridgeNeighbor(*bridge_id)];
                    if !tables.iter().all(|table| self.state.tables.is_loaded(*table)) {
                        if now < until {
                            self.state.unannounced.push((port, until));
                        }
                        continue;
                    }
                    (self.state.tables.stations(*bridge_id, port), Entry::Ingress(port))
                }
                PortKind::Router(_) => (Vec::new(), Entry::Egress(port)),
            };
            let frames = announcements(object, &stations).into_iter();
            let own = frames.map(|frame| Announcement { entry, frame, reach: Reach::All });
            self.state.announcements.extend(own);
        }
    }

    /// Publishes the sets of ports a flood reaches here, each changed set under a new key.
    pub(super) fn reconcile_floods(&mut self) {
        if !self.state.bound_known {
            return;
        }
        let active: Vec<(BridgeId, PortId)> = self
            .state
            .local
            .ports
            .keys()
            .filter_map(|port| Some((self.bridge_of(*port)?, *port)))
            .collect();
        let sets: FloodSets = self
            .state
            .floods
            .iter()
            .map(|(bridge, flood)| (*bridge, flood.ports.iter().copied().collect()))
            .collect();
        for op in flood_plan(active, &sets) {
            match op {
                FloodOp::Retire(bridge) => self.retire_flood(bridge),
                FloodOp::Publish(bridge, ports) => {
                    self.publish_flood(bridge, ports.into_iter().collect());
                }
            }
        }
    }

    /// An old set goes on for the ports it shares with what is here, until senders had time to
    /// hear of the new one.
    fn retire_flood(&mut self, bridge: BridgeId) {
        let Some(flood) = self.state.floods.remove(&bridge) else { return };
        self.numbers.keep_flood(bridge, None);
        self.state.gone_floods.insert(bridge);
        self.deliver_flood(&flood);
        self.state.retiring.push((clock::now() + limits::RETIRE_AFTER, flood.key));
    }

    fn publish_flood(&mut self, bridge: BridgeId, ports: Vec<PortId>) {
        let Some(key) = self.allocate(KeyKind::Group) else { return };
        let flood = KeptFlood { key, ports };
        self.deliver_flood(&flood);
        self.numbers.keep_flood(bridge, Some(flood.clone()));
        self.state.floods.insert(bridge, flood);
    }

    /// Tells the datapath which of a set's ports, all of which are or were here, get its copies.
    fn deliver_flood(&self, flood: &KeptFlood) {
        let numbers = flood.ports.iter().filter_map(|port| self.state.local.ports.get(port));
        let delivery = Delivery::Ports(numbers.copied().collect());
        if let Err(error) = self.datapath.set_key(flood.key, Some(&delivery)) {
            tracing::error!(%error, key = %flood.key, "a flood group cannot be set");
        }
    }

    /// Packets that still come with this key are dropped and counted as such.
    pub(super) fn retire(&mut self, key: TunnelKey) {
        self.keys.release(key);
        self.state.retired.push((clock::now() + RETIRED_FOR, key));
        if let Err(error) = self.datapath.set_key(key, Some(&Delivery::Retired)) {
            tracing::error!(%error, key = %key, "a tunnel key cannot be retired");
        }
    }

    fn allocate(&mut self, kind: KeyKind) -> Option<TunnelKey> {
        let key = self.keys.allocate(kind)?;
        self.numbers.keys_used_to(self.keys.next());
        Some(key)
    }
}
