//! What packets teach, and whom to ask.

use std::net::IpAddr;

use mn_agent_core::{
    Hearing, Learned, MacPlace, NeighborEffect, NeighborEvent, PortLimit, Touched, Wait, probe,
};
use mn_flow::{DropCause, PortNo, ScopedAddr, Tag};
use mn_ids::{PortId, RouterId};
use mn_packet::Mac;
use mn_simulation::{Effect, Entry, Limit, neighbor_query};
use mn_time::Instant;
use mn_topology::snapshot::Lookup;
use mn_topology::{DeviceId, Port};

use super::message::{FromWorker, Heard, Reach};
use super::{Own, Path, Question, Worker};

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
                    let before = self.tables.bridge_neighbor(bridge, addr);
                    if before.is_some_and(|before| before != mac) {
                        self.report.moved_addresses.add(1);
                    }
                    if self.tables.learn_bridge_neighbor(bridge, addr, mac, &mut tags) {
                        self.foreseen.note_change();
                        self.tell(Heard::BridgeNeighbor { bridge, addr, mac });
                    }
                }
                Effect::AddressClaimed { device, addr, mac } => {
                    self.hear_claim(device, addr, mac, now);
                }
                Effect::LearnNeighbor { router, port, addr, mac } => {
                    let addr = ScopedAddr::on(port, addr);
                    self.hear_neighbor(router, port, addr, mac, now, &mut tags);
                }
                Effect::Heartbeat { insertion } => {
                    self.tell_control(FromWorker::Heartbeat(insertion));
                }
                Effect::Translate(binding) => self.remember(binding, now, &mut tags),
                Effect::Segment { key, way, class } => {
                    self.see_segment(key, way, class, now, &mut tags);
                }
                Effect::CheckAnswered { key, frame } => self.health.hear(key, frame),
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
                self.tables.learn_bridge_neighbor(bridge, addr, mac, &mut tags);
                self.foreseen.note_change();
            }
            Heard::Neighbor { router, port, addr, mac } => {
                self.tables.learn_neighbor(router, addr, (mac, port), &mut tags);
                self.release(router, addr);
            }
            Heard::NeighborGone { router, addr } => {
                self.tables.refute_neighbor(router, addr, &mut tags);
                self.release(router, addr);
            }
        }
        self.touch(&tags, now);
    }

    /// A MAC is not on its port any more, as far as this host knows.
    pub(super) fn unlearn(&mut self, place: MacPlace, now: Instant) {
        let mut tags = Vec::new();
        self.macs.forget(place);
        self.tables.unlearn_mac(place, &mut tags);
        self.touch(&tags, now);
    }

    fn hear_mac(&mut self, place: MacPlace, port: PortId, now: Instant, tags: &mut Vec<Tag>) {
        match self.macs.hear(place, port, now) {
            Learned::Held { first } => {
                if first {
                    self.tell_control(FromWorker::MacHeld(place));
                }
            }
            Learned::Full => {
                let number = self.local.ports.get(&port).copied();
                self.press(number.unwrap_or(PortNo::NONE), PortLimit::Macs);
            }
            Learned::Same | Learned::News => {
                if self.tables.learn_mac(place, port, tags) {
                    self.tell(Heard::Mac(place, port));
                }
            }
        }
    }

    /// A machine says that it has an address of a router next to it. Nobody believes it.
    fn hear_claim(&mut self, device: DeviceId, addr: IpAddr, mac: Mac, now: Instant) {
        self.report.moved_addresses.add(1);
        if self.duplicates.hear(device, addr, now) {
            let (kind, id) = match device {
                DeviceId::Bridge(id) => ("bridge", id.uuid()),
                DeviceId::Router(id) => ("router", id.uuid()),
            };
            tracing::warn!(
                kind,
                %id,
                %addr,
                %mac,
                event = "duplicate-address",
                "a machine says that it has the address of its router"
            );
        }
    }

    fn tell(&self, heard: Heard) {
        self.tell_control(FromWorker::Heard { worker: self.number, heard });
    }

    fn emit(&mut self, port: PortId, frame: Vec<u8>, limit: Limit, now: Instant) {
        let entry = Entry::Egress(port);
        if limit == Limit::Error && !self.errors.admits(port, now) {
            self.unanswered = true;
            return self.count_drop(entry, DropCause::Consumed);
        }
        self.outbox.push_back(Own { entry, frame, question: None, reach: Reach::All });
    }

    /// A neighbour spoke.
    fn hear_neighbor(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: ScopedAddr,
        mac: Mac,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) {
        let news = self.tables.learn_neighbor(router, addr, (mac, port), tags);
        let effect = self.neighbors.on(router, port, addr, NeighborEvent::Heard, now);
        if news || effect == NeighborEffect::Tell {
            self.tell(Heard::Neighbor { router, port, addr, mac });
        }
        self.release(router, addr);
    }

    /// A packet waits for this neighbour.
    pub(super) fn want_neighbor(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: ScopedAddr,
        now: Instant,
    ) {
        let effect = self.neighbors.on(router, port, addr, NeighborEvent::Wanted, now);
        self.neighbor_effect(router, port, addr, effect, now);
    }

    /// Does what is to be done about a neighbour.
    pub(super) fn neighbor_effect(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: ScopedAddr,
        effect: NeighborEffect,
        now: Instant,
    ) {
        match effect {
            NeighborEffect::None | NeighborEffect::Tell => {}
            NeighborEffect::Ask => {
                self.ask(port, Some((router, addr)), |port| neighbor_query(port, addr.addr()));
            }
            NeighborEffect::Probe => {
                let Some((mac, port)) = self.tables.neighbor(router, addr) else { return };
                self.ask(port, None, |port| probe(port, addr.addr(), mac));
            }
            NeighborEffect::Silence => {
                let mut tags = Vec::new();
                self.tables.refute_neighbor(router, addr, &mut tags);
                self.touch(&tags, now);
                self.release(router, addr);
                self.tell(Heard::NeighborGone { router, addr });
            }
            NeighborEffect::Unanswered { last } => {
                let Some(event) = self.judge(router, addr, last) else { return };
                let effect = self.neighbors.on(router, port, addr, event, now);
                self.neighbor_effect(router, port, addr, effect, now);
            }
        }
    }

    fn ask(
        &mut self,
        port: PortId,
        question: Option<Question>,
        frame: impl FnOnce(&Port) -> Option<Vec<u8>>,
    ) {
        let Lookup::Loaded(object) = self.snapshot.port(port) else { return };
        if let Some(frame) = frame(object) {
            let entry = Entry::Egress(port);
            self.outbox.push_back(Own { entry, frame, question, reach: Reach::All });
        }
    }

    /// What it means that a neighbour does not answer: an agent that is dead or cut off hears
    /// nothing, and its silence must not stop what its datapath carries (contracts §1).
    fn judge(&self, router: RouterId, addr: ScopedAddr, last: bool) -> Option<NeighborEvent> {
        match Hearing::of(&self.snapshot, &self.tables, &self.local, (router, addr)) {
            Hearing::Here => Some(NeighborEvent::Gone),
            Hearing::At(host) if self.local.alive.contains(&host) => {
                last.then_some(NeighborEvent::Gone)
            }
            Hearing::At(_) | Hearing::Unknown => Some(NeighborEvent::Excused),
        }
    }

    /// Packets that wait for a neighbour go on: it is known, or unreachable.
    pub(super) fn release(&mut self, router: RouterId, addr: ScopedAddr) {
        let wait = Wait::Neighbor(router, addr);
        self.released.extend(self.pending.waiting(|stay| stay.wait == wait));
    }

    /// Takes a change in: flows that read what changed leave, packets that wait for it are looked at
    /// again, and neighbours that are asked for by way of it are asked again.
    pub(super) fn touch(&mut self, tags: &[Tag], now: Instant) {
        if tags.is_empty() {
            return;
        }
        self.drop_touched(tags);
        self.release_touched(tags, now);
    }

    /// Goes on with what waited for a change of these, whose flows were removed.
    pub(super) fn release_touched(&mut self, tags: &[Tag], now: Instant) {
        if tags.is_empty() {
            return;
        }
        self.arriving.changed(tags);
        let touched = Touched::by(tags);
        self.released.extend(self.pending.waiting(|stay| touched.touches_any(&stay.tags)));
        self.ask_again(&touched, now);
        for (ports, until, parked) in self.copies.release(&touched) {
            self.go_on_with_copy(ports, until, parked, now);
        }
    }

    /// Asks again for the neighbours whose questions went a way that has changed; those that did
    /// not answer there are not given up any more.
    fn ask_again(&mut self, touched: &Touched, now: Instant) {
        let concerned = |(_, path): &(&Question, &Path)| touched.touches_any(&path.tags);
        let concerned = self.questions.iter().filter(concerned);
        let concerned: Vec<(Question, PortId)> =
            concerned.map(|(question, path)| (*question, path.port)).collect();
        for ((router, addr), port) in concerned {
            let was_silent = self.neighbors.is_silent(router, addr, now);
            let effect = self.neighbors.on(router, port, addr, NeighborEvent::PathChanged, now);
            if was_silent {
                self.questions.remove(&(router, addr));
                self.drop_touched(&[Tag::Neighbor { router, addr }]);
            }
            self.neighbor_effect(router, port, addr, effect, now);
        }
    }

    /// Notes what the way of a question depended on, while there is no answer.
    pub(super) fn note_path(&mut self, (router, addr): Question, port: PortId, tags: &[Tag]) {
        if self.neighbors.is_missed(router, addr) {
            self.questions.insert((router, addr), Path { port, tags: tags.into() });
        }
    }

    /// Forgets the ways of questions that were answered, or that nobody asks any more.
    pub(super) fn forget_paths(&mut self) {
        self.questions.retain(|(router, addr), _| self.neighbors.is_missed(*router, *addr));
    }

    /// Notes that a MAC was heard elsewhere, so that one that goes to and fro between hosts is
    /// held like one that does so between ports.
    pub(super) fn heard_elsewhere(&mut self, place: MacPlace, port: PortId, now: Instant) {
        if place.mac != Mac::ZERO && !self.local.ports.contains_key(&port) {
            self.macs.hear(place, port, now);
        }
    }
}
