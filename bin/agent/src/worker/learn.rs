//! What packets teach, and whom to ask.

use std::net::IpAddr;

use mn_agent_core::{Learned, MacPlace, NeighborEffect, NeighborEvent, Wait, solicitation};
use mn_flow::{DropCause, Tag};
use mn_ids::{PortId, RouterId};
use mn_packet::Mac;
use mn_simulation::{Effect, Entry, Limit};
use mn_time::Instant;
use mn_topology::snapshot::Lookup;

use super::Worker;
use super::message::{FromWorker, Heard};

impl Worker {
    /// Applies the effects of the verdict at hand. What they change is not yet taken out of the
    /// flow table.
    pub(super) fn take_effects(&mut self, now: Instant) -> Vec<Tag> {
        let mut effects = std::mem::take(&mut self.buffers.effects);
        let mut tags = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::LearnMac { bridge, vlan, mac, port } => {
                    self.hear_mac(MacPlace { bridge, vlan, mac }, port, now, &mut tags);
                }
                Effect::LearnBridgeNeighbor { bridge, addr, mac } => {
                    if self.tables.learn_bridge_neighbor(bridge, addr, mac) {
                        self.tell(Heard::BridgeNeighbor { bridge, addr, mac });
                    }
                }
                Effect::LearnNeighbor { router, port, addr, mac } => {
                    if self.tables.learn_neighbor(router, addr, (mac, port), &mut tags) {
                        self.tell(Heard::Neighbor { router, port, addr, mac });
                    }
                    self.answered(router, port, addr, now);
                }
                Effect::Emit { port, frame, limit } => self.emit(port, frame, limit, now),
            }
        }
        self.buffers.effects = effects;
        tags
    }

    /// Learns what another worker learned.
    pub(super) fn take_heard(&mut self, heard: Heard, now: Instant) {
        let mut tags = Vec::new();
        match heard {
            Heard::Mac(place, port) => {
                if !matches!(self.macs.hear(place, port, now), Learned::Held { .. }) {
                    self.tables.learn_mac(place, port, &mut tags);
                }
            }
            Heard::BridgeNeighbor { bridge, addr, mac } => {
                self.tables.learn_bridge_neighbor(bridge, addr, mac);
            }
            Heard::Neighbor { router, port, addr, mac } => {
                self.tables.learn_neighbor(router, addr, (mac, port), &mut tags);
                self.answered(router, port, addr, now);
            }
        }
        self.drop_touched(&tags);
    }

    /// A MAC is not on its port any more, as far as this host knows.
    pub(super) fn unlearn(&mut self, place: MacPlace) {
        let mut tags = Vec::new();
        self.macs.forget(place);
        self.tables.unlearn_mac(place, &mut tags);
        self.drop_touched(&tags);
    }

    fn hear_mac(&mut self, place: MacPlace, port: PortId, now: Instant, tags: &mut Vec<Tag>) {
        match self.macs.hear(place, port, now) {
            Learned::Held { first } => {
                if first {
                    self.tell_control(FromWorker::MacHeld(place));
                }
            }
            Learned::Same | Learned::News => {
                if self.tables.learn_mac(place, port, tags) {
                    self.tell(Heard::Mac(place, port));
                }
            }
        }
    }

    fn tell(&self, heard: Heard) {
        self.tell_control(FromWorker::Heard { worker: self.number, heard });
    }

    fn emit(&mut self, port: PortId, frame: Vec<u8>, limit: Limit, now: Instant) {
        let entry = Entry::Egress(port);
        if limit == Limit::Error && !self.errors.admits(port, now) {
            return self.count_drop(entry, DropCause::Consumed);
        }
        self.outbox.push_back((entry, frame));
    }

    /// A packet waits for this neighbour.
    pub(super) fn want_neighbor(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: IpAddr,
        now: Instant,
    ) {
        let effect = self.neighbors.on(router, port, addr, NeighborEvent::Wanted, now);
        self.neighbor_effect(router, port, addr, effect);
    }

    /// A neighbour is known now.
    pub(super) fn answered(&mut self, router: RouterId, port: PortId, addr: IpAddr, now: Instant) {
        let effect = self.neighbors.on(router, port, addr, NeighborEvent::Answered, now);
        self.neighbor_effect(router, port, addr, effect);
    }

    pub(super) fn neighbor_effect(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: IpAddr,
        effect: NeighborEffect,
    ) {
        match effect {
            NeighborEffect::None => {}
            NeighborEffect::Ask => {
                let Lookup::Loaded(object) = self.snapshot.port(port) else { return };
                if let Some(frame) = solicitation(object, addr) {
                    self.outbox.push_back((Entry::Egress(port), frame));
                }
            }
            NeighborEffect::Release => {
                let wait = Wait::Neighbor(router, addr);
                self.released.extend(self.pending.waiting_for(|other| other == wait));
            }
        }
    }

    /// Notes that a MAC was heard elsewhere, so that one that goes to and fro between hosts is
    /// held like one that does so between ports.
    pub(super) fn heard_elsewhere(&mut self, place: MacPlace, port: PortId, now: Instant) {
        if place.mac != Mac::ZERO && !self.local.ports.contains_key(&port) {
            self.macs.hear(place, port, now);
        }
    }
}
