//! From a packet to what is done with it.

use mn_agent_core::{Means, Stay, View, Wait, limits, translate};
use mn_datapath::{Offload, Upcall, UpcallReason};
use mn_flow::{
    Action, Conn, Cookie, DropCause, Expiry, FlowKey, PortNo, ScopedAddr, Tag, TcpClass,
    VirtualAction, extract,
};
use mn_ids::{HostId, PortId};
use mn_simulation::{Decision, Effect, Entry, Inputs, Outcome, Packet, simulate};
use mn_time::Instant;
use mn_topology::snapshot::{Lookup, Snapshot};

use super::early::Sought;
use super::message::{FromWorker, Reach};
use super::{Own, Parked, Question, Worker};
use crate::clock;

/// Packets of our own sent in one go: answers to answers end here at the latest.
const OUTBOX_MAX: usize = 1024;

/// A packet to be decided about.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) key: FlowKey,
    frame: &'a [u8],
    offload: Offload,
    pub(super) entry: Entry,
    /// Whether its verdict may become a flow.
    pub(super) install: bool,
    question: Option<Question>,
    reach: Reach,
    /// It has waited for another host's state.
    pub(super) held: bool,
}

impl Arrival<'_> {
    /// The same packet, with this known of its connection.
    fn of(&self, conn: Conn) -> Self {
        Self { key: FlowKey { conn, ..self.key }, ..*self }
    }
}

impl Worker {
    /// A packet the datapath asks about.
    pub(super) fn upcall(&mut self, upcall: &Upcall<'_>) {
        if self.others.len() > 1 {
            // The packet may be the answer to one that another worker has just translated.
            self.take_messages();
        }
        let now = clock::now();
        if !self.local.by_number.contains_key(&upcall.key.in_port) {
            // The news of a port came before its packets, and perhaps after the last look.
            self.take_messages();
        }
        let Some(port) = self.local.by_number.get(&upcall.key.in_port) else {
            *self.drops.entry((upcall.key.in_port, DropCause::PortGone)).or_default() += 1;
            return;
        };
        let install = match upcall.reason {
            UpcallReason::Miss => true,
            // The flow is right for others of its kind; this packet has an answer of its own.
            UpcallReason::Ttl | UpcallReason::TooBig | UpcallReason::Answer => false,
            UpcallReason::Copy => return self.hear_copy(upcall, *port, now),
        };
        let arrival = Arrival {
            key: upcall.key,
            frame: upcall.frame,
            offload: upcall.offload,
            entry: Entry::Ingress(*port),
            install,
            question: None,
            reach: Reach::All,
            held: false,
        };
        if !self.pending.is_empty() && self.pending.holds(&upcall.key) {
            // It waits for as long as the one before it.
            let parked = Parked { held: true, ..park(&arrival) };
            if let Err(refused) = self.pending.queue(&upcall.key, upcall.frame.len(), parked) {
                self.count_drop(refused.packet.entry, refused.cause);
            }
            return;
        }
        if let Err(wait) = self.decide(&arrival, now) {
            self.begin_to_wait(&arrival, wait, now);
        }
    }

    /// Learns from a packet that a flow took.
    fn hear_copy(&mut self, upcall: &Upcall<'_>, port: PortId, now: Instant) {
        let packet =
            Packet { key: upcall.key, frame: upcall.frame, gso_size: upcall.offload.gso_size };
        if self.simulate(&packet, Entry::Ingress(port), now).is_ok() {
            let teaches = |effect: &Effect| {
                matches!(
                    effect,
                    Effect::LearnMac { .. }
                        | Effect::LearnBridgeNeighbor { .. }
                        | Effect::LearnNeighbor { .. }
                        | Effect::AddressClaimed { .. }
                )
            };
            self.buffers.effects.retain(teaches);
            let changed = self.take_effects(now);
            self.touch(&changed, now);
        }
    }

    /// Goes on with packets that waited, those of each flow in their order.
    pub(super) fn go_on_with_released(&mut self, now: Instant) {
        let mut released = std::mem::take(&mut self.released);
        for key in released.drain(..) {
            let Some((former, mut packets)) = self.pending.take(&key) else { continue };
            while let Some((_, packet)) = packets.front() {
                let decided = self.decide(&arrival(key, packet), now);
                match decided {
                    Ok(()) => drop(packets.pop_front()),
                    Err(wait) => {
                        let stay = self.stay(wait, now).after(&former);
                        self.pending.put_back(key, stay, packets);
                        break;
                    }
                }
            }
        }
        if self.released.is_empty() {
            self.released = released;
        }
    }

    /// Sends packets of our own.
    pub(super) fn send_outbox(&mut self, now: Instant) {
        for _ in 0..OUTBOX_MAX {
            let Some(own) = self.outbox.pop_front() else { return };
            let Own { entry, frame, question, reach } = own;
            let Ok(key) = extract(&frame, PortNo::NONE, None) else {
                tracing::error!(?entry, "a packet of our own is malformed");
                continue;
            };
            let offload = Offload::default();
            let (frame, install, held) = (&frame, false, false);
            let arrival = Arrival { key, frame, offload, entry, install, question, reach, held };
            if let Err(wait) = self.decide(&arrival, now) {
                self.begin_to_wait(&arrival, wait, now);
            }
        }
    }

    fn begin_to_wait(&mut self, arrival: &Arrival<'_>, wait: Wait, now: Instant) {
        let stay = self.stay(wait, now);
        let octets = arrival.frame.len();
        let held = arrival.held || wait == Wait::State;
        let parked = Parked { held, ..park(arrival) };
        if let Err(refused) = self.pending.park(arrival.key, stay, octets, parked) {
            self.count_drop(refused.packet.entry, refused.cause);
        }
    }

    /// How the packet at hand waits.
    fn stay(&mut self, wait: Wait, now: Instant) -> Stay {
        let until = match wait {
            Wait::Load => now + limits::LOAD_FOR,
            Wait::Neighbor(..) => now + limits::NEIGHBOR_FOR,
            Wait::Place => self.arrives_by(now).unwrap_or(now),
            Wait::Lease(..) => now + limits::LEASE_FOR,
            Wait::State => now + limits::STATE_FOR,
        };
        let tags = [&self.buffers.tags[..], &self.translation.tags].concat();
        Stay { wait, since: now, until, tags: tags.into() }
    }

    /// Until when to wait for the ports of the verdict at hand that are not in their place yet;
    /// `None`: there are none, or none is waited for any more.
    fn arrives_by(&mut self, now: Instant) -> Option<Instant> {
        let arriving = &mut self.arriving;
        let ports = self.translation.arriving.iter();
        ports.filter_map(|port| arriving.until(*port, now)).max()
    }

    /// Decides about a packet and carries it out, or says what it must wait for.
    fn decide(&mut self, arrival: &Arrival<'_>, now: Instant) -> Result<(), Wait> {
        let packet =
            Packet { key: arrival.key, frame: arrival.frame, gso_size: arrival.offload.gso_size };
        self.translation.tags.clear();
        let mut decision = self.simulate(&packet, arrival.entry, now)?;
        let here_only = arrival.reach == Reach::Here;
        if here_only {
            self.keep_here();
        }
        if !self.may_translate(arrival.key.in_port) {
            self.refuse_translation(arrival.entry);
            return Ok(());
        }
        self.translated(arrival.key.in_port, &decision, None)?;
        let arrives_by = self.arrives_by(now).filter(|_| !here_only);
        if arrives_by.is_some() && !self.translation.sends() {
            return Err(Wait::Place);
        }
        match self.seek_connection(arrival, &decision) {
            Some(Sought::Found(conn)) => return self.decide(&arrival.of(conn), now),
            Some(Sought::Awaited) => return Err(Wait::State),
            None if self.lacks_state(arrival) => return Err(Wait::State),
            None => {}
        }
        let begun = self.begun()?;
        let hearers = self.hearers(arrival)?;
        // Of each connection that others are to know the first packet comes up.
        let shares = !hearers.is_empty() && arrival.key.conn == Conn::None;
        let mut tags = std::mem::take(&mut self.buffers.tags);
        tags.extend_from_slice(&self.translation.tags);
        if let (Some(question), Entry::Egress(port)) = (arrival.question, arrival.entry) {
            self.note_path(question, port, &tags);
        }
        if let Some(until) = arrives_by {
            self.park_copies(arrival, until);
        }
        self.note_takers(arrival.key.in_port);
        let changed = self.take_effects(now);
        self.tell_hosts(&arrival.key, &begun, now);
        self.tell_hearers(&arrival.key, hearers, now);
        self.shorten_unanswered(&mut decision);
        let stale = changed.iter().any(|change| tags.iter().any(|tag| change.touches(tag)));
        // What comes before the last port has its place is to reach that too.
        let whole = arrives_by.is_none();
        let install =
            arrival.install && decision.expiry != Expiry::None && !stale && whole && !shares;
        // Before the packet goes: its answer may be back at once, and is not to meet a flow of a
        // connection that had its port before.
        self.drop_touched(&changed);
        let begins = install && !begun.is_empty();
        let opens = begins && decision.drop.is_none() && self.may_open_first(arrival);
        let flow = if opens {
            self.open_both_ways(arrival, &decision, &mut tags, now)
        } else {
            self.carry_out(arrival, &decision, &tags, install, now)
        };
        self.release_touched(&changed, now);
        tags.clear();
        self.buffers.tags = tags;
        if begins && !opens {
            self.prepare_answer(&arrival.key, now);
        }
        if let Some(flow) = flow.filter(|_| decision.drop.is_none()) {
            self.prepare_probes(&arrival.key, flow, now);
        }
        Ok(())
    }

    /// Where nobody is to be told for a while, the datapath can drop the like of the packet by
    /// itself: a flood of them takes no upcalls from what else its port sends.
    fn shorten_unanswered(&mut self, decision: &mut Decision) {
        let unanswered = std::mem::take(&mut self.unanswered);
        if decision.budgeted && unanswered {
            decision.expiry = Expiry::Brief;
        }
    }

    /// Has the copies of the verdict at hand wait whose ports are not in their place yet.
    fn park_copies(&mut self, arrival: &Arrival<'_>, until: Instant) {
        let ports = self.translation.arriving.clone().into();
        if let Err(refused) = self.copies.park(ports, until, park(arrival)) {
            self.count_drop(refused.packet.entry, refused.cause);
        }
    }

    /// Sends copies that waited to those of their ports that have a place now. What is known by now
    /// may answer the packet instead.
    pub(super) fn go_on_with_copy(
        &mut self,
        ports: Box<[PortId]>,
        until: Instant,
        parked: Parked,
        now: Instant,
    ) {
        let Ok(key) = extract(&parked.frame, self.number_of(parked.entry), None) else { return };
        let arrival = arrival(key, &parked);
        let packet = Packet { key, frame: &parked.frame, gso_size: parked.offload.gso_size };
        let decided = self.simulate(&packet, parked.entry, now);
        let decided = decided.and_then(|decision| {
            self.translated(key.in_port, &decision, Some(&ports)).map(|()| decision)
        });
        let rest = match &decided {
            Ok(_) => self.translation.arriving.clone().into(),
            Err(_) => ports,
        };
        let mut changed = Vec::new();
        if let Ok(decision) = decided {
            if self.translation.sends() {
                self.carry_out(&arrival, &decision, &[], false, now);
            }
            changed = self.take_effects(now);
            self.unanswered = false;
        }
        if !rest.is_empty()
            && let Err(refused) = self.copies.park(rest, until, parked)
        {
            self.count_drop(refused.packet.entry, refused.cause);
        }
        self.touch(&changed, now);
    }

    fn number_of(&self, entry: Entry) -> PortNo {
        match entry {
            Entry::Ingress(port) => self.local.ports.get(&port).copied().unwrap_or(PortNo::NONE),
            Entry::Egress(_) | Entry::Router(_) => PortNo::NONE,
        }
    }

    /// The verdict, or what is missing for one; that has been asked for.
    pub(super) fn simulate(
        &mut self,
        packet: &Packet<'_>,
        entry: Entry,
        now: Instant,
    ) -> Result<Decision, Wait> {
        self.report.simulations.add(1);
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let inputs = Inputs { now, seed: self.seed, entry, mtu: self.local.mtu };
        let view = View {
            tables: &self.tables,
            neighbors: &self.neighbors,
            translations: &self.translations,
            paths: &self.paths,
            checks: &self.health.awaited,
        };
        match simulate(&self.snapshot, &view, &inputs, packet, &mut self.buffers, None) {
            Outcome::Decided(decision) => Ok(decision),
            Outcome::Load(keys) => {
                let new: Vec<_> = keys.into_iter().filter(|key| self.asked.insert(*key)).collect();
                if !new.is_empty() {
                    self.tell_control(FromWorker::Load(new));
                }
                Err(Wait::Load)
            }
            Outcome::AwaitNeighbor { router, port, addr } => {
                let addr = ScopedAddr::on(port, addr);
                self.want_neighbor(router, port, addr, now);
                Err(Wait::Neighbor(router, addr))
            }
            Outcome::AwaitLease { device, chain, rule } => {
                self.await_ports(device, chain, rule);
                Err(Wait::Lease(device, rule))
            }
        }
    }

    /// Takes from the verdict at hand what goes to other hosts.
    fn keep_here(&mut self) {
        let local = &self.local.ports;
        self.buffers.actions.retain(|action| match action {
            VirtualAction::Deliver(port) => local.contains_key(port),
            _ => true,
        });
    }

    /// The verdict in the datapath's words, for these ports `only` where they are given; asks for
    /// places that are not known.
    pub(super) fn translated(
        &mut self,
        in_port: PortNo,
        decision: &Decision,
        only: Option<&[PortId]>,
    ) -> Result<(), Wait> {
        let bound = |port| host_of(&self.snapshot, port);
        let means = Means { tables: &self.tables, local: &self.local, bound: &bound, only };
        let (actions, drop) = (&self.buffers.actions, decision.drop);
        translate(actions, in_port, drop, &means, &mut self.translation);
        if decision.follows.is_some() {
            self.translation.follow();
        }
        if self.translation.missing.is_empty() {
            return Ok(());
        }
        let missing = std::mem::take(&mut self.translation.missing);
        let new: Vec<_> =
            missing.into_iter().filter(|port| self.asked_places.insert(*port)).collect();
        if !new.is_empty() {
            self.tell_control(FromWorker::Places(new));
        }
        Err(Wait::Load)
    }

    /// Sends the packet through its actions, and enters the flow, whose cookie is returned. It is
    /// activated after everything that came for it has been sent (contracts §2, Order).
    fn carry_out(
        &mut self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        tags: &[Tag],
        install: bool,
        now: Instant,
    ) -> Option<Cookie> {
        self.fit_groups();
        let actions = &self.translation.actions[..];
        let (sends, dropped) = match actions.split_last() {
            Some((Action::Drop { cause, rule }, copies)) => (copies, Some((*cause, *rule))),
            _ => (actions, None),
        };
        self.send(arrival, sends);
        if let Some((cause, rule)) = dropped {
            self.count_drop(arrival.entry, cause);
            if let Some(rule) = rule {
                *self.dropped_by.entry(rule).or_default() += 1;
            }
        }
        if install {
            self.enter_if_room(arrival.key, decision, tags, now)
        } else {
            self.release_groups();
            None
        }
    }

    /// Whether both ways of a translated connection can be installed before its packet is sent. Of
    /// a SYN alone nothing follows before its answer, so nothing can overtake it. Where more
    /// packets wait, flows are cheaper by the batch, and those of the batch wait until its packets
    /// are sent.
    fn may_open_first(&self, arrival: &Arrival<'_>) -> bool {
        arrival.key.class.tcp == TcpClass::Syn
            && self.intake.is_empty()
            && self.installs.flows().is_empty()
            && self.translation.sends_once()
    }

    /// Installs the flows of a translated connection both ways, then sends its packet. Where both
    /// ends are on this host, the answer comes while the packet is being sent.
    fn open_both_ways(
        &mut self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        tags: &mut Vec<Tag>,
        now: Instant,
    ) -> Option<Cookie> {
        let flow = self.enter_if_room(arrival.key, decision, tags, now);
        tags.clear();
        std::mem::swap(tags, &mut self.buffers.tags);
        std::mem::swap(&mut self.translation, &mut self.opening);
        self.prepare_answer(&arrival.key, now);
        std::mem::swap(&mut self.translation, &mut self.opening);
        std::mem::swap(tags, &mut self.buffers.tags);
        self.activate();
        self.send(arrival, &self.translation.actions);
        flow
    }

    fn send(&self, arrival: &Arrival<'_>, actions: &[Action]) {
        if !actions.is_empty()
            && let Err(error) = self.datapath.execute(arrival.frame, arrival.offload, actions)
        {
            self.report.failed.add(1);
            tracing::debug!(%error, "a packet could not be sent");
        }
    }
}

/// The host a port is bound to.
pub(crate) fn host_of(snapshot: &Snapshot, port: PortId) -> Option<HostId> {
    match snapshot.port(port) {
        Lookup::Loaded(port) => port.binding().map(|binding| binding.host_id),
        Lookup::Absent | Lookup::NotLoaded => None,
    }
}

fn park(arrival: &Arrival<'_>) -> Parked {
    Parked {
        frame: arrival.frame.to_vec(),
        offload: arrival.offload,
        entry: arrival.entry,
        install: arrival.install,
        question: arrival.question,
        reach: arrival.reach,
        held: arrival.held,
    }
}

fn arrival(key: FlowKey, parked: &Parked) -> Arrival<'_> {
    Arrival {
        key,
        frame: &parked.frame,
        offload: parked.offload,
        entry: parked.entry,
        install: parked.install,
        question: parked.question,
        reach: parked.reach,
        held: parked.held,
    }
}
