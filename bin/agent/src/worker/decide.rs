//! From a packet to what is done with it.

use mn_agent_core::{View, Wait, limits, translate};
use mn_datapath::{Offload, Upcall, UpcallReason};
use mn_flow::{Action, DropCause, Expiry, FlowKey, FlowMask, PortNo, ScopedAddr, Tag, extract};
use mn_simulation::{Decision, Entry, Inputs, Outcome, Packet, simulate};
use mn_time::Instant;

use super::message::FromWorker;
use super::{Parked, Worker};
use crate::clock;

/// Packets of our own sent in one go: answers to answers end here at the latest.
const OUTBOX_MAX: usize = 1024;

/// A packet to be decided about.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    key: FlowKey,
    frame: &'a [u8],
    offload: Offload,
    entry: Entry,
    /// Whether its verdict may become a flow.
    install: bool,
}

impl Worker {
    /// A packet the datapath asks about.
    pub(super) fn upcall(&mut self, upcall: &Upcall<'_>) {
        self.report.upcalls.add(1);
        let now = clock::now();
        let Some(port) = self.local.by_number.get(&upcall.key.in_port) else {
            *self.drops.entry((upcall.key.in_port, DropCause::PortGone)).or_default() += 1;
            return;
        };
        let install = match upcall.reason {
            UpcallReason::Miss => true,
            // The flow is right for others of its kind; this packet has an answer of its own.
            UpcallReason::Ttl | UpcallReason::TooBig => false,
            UpcallReason::Copy => return,
        };
        let arrival = Arrival {
            key: upcall.key,
            frame: upcall.frame,
            offload: upcall.offload,
            entry: Entry::Ingress(*port),
            install,
        };
        if !self.pending.is_empty() && self.pending.holds(&upcall.key) {
            let parked = park(&arrival);
            if let Err(refused) = self.pending.queue(&upcall.key, upcall.frame.len(), parked) {
                self.count_drop(refused.packet.entry, refused.cause);
            }
            return;
        }
        if let Err(wait) = self.decide(&arrival, now) {
            self.begin_to_wait(&arrival, wait, now);
        }
    }

    /// Goes on with packets that waited, those of each flow in their order.
    pub(super) fn go_on_with_released(&mut self, now: Instant) {
        let mut released = std::mem::take(&mut self.released);
        for key in released.drain(..) {
            let Some((until, mut packets)) = self.pending.take(&key) else { continue };
            while let Some((_, packet)) = packets.front() {
                let decided = self.decide(&arrival(key, packet), now);
                match decided {
                    Ok(()) => drop(packets.pop_front()),
                    Err(wait) => {
                        self.pending.put_back(key, wait, until, packets);
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
            let Some((entry, frame)) = self.outbox.pop_front() else { return };
            let Ok(key) = extract(&frame, PortNo::NONE, None) else {
                tracing::error!(?entry, "a packet of our own is malformed");
                continue;
            };
            let offload = Offload::default();
            let arrival = Arrival { key, frame: &frame, offload, entry, install: false };
            if let Err(wait) = self.decide(&arrival, now) {
                self.begin_to_wait(&arrival, wait, now);
            }
        }
    }

    fn begin_to_wait(&mut self, arrival: &Arrival<'_>, wait: Wait, now: Instant) {
        let until = now
            + match wait {
                Wait::Load => limits::LOAD_FOR,
                Wait::Neighbor(..) => limits::NEIGHBOR_FOR,
            };
        let octets = arrival.frame.len();
        if let Err(refused) = self.pending.park(arrival.key, wait, until, octets, park(arrival)) {
            self.count_drop(refused.packet.entry, refused.cause);
        }
    }

    /// Decides about a packet and carries it out, or says what it must wait for.
    fn decide(&mut self, arrival: &Arrival<'_>, now: Instant) -> Result<(), Wait> {
        let packet =
            Packet { key: arrival.key, frame: arrival.frame, gso_size: arrival.offload.gso_size };
        let mut decision = self.simulate(&packet, arrival.entry, now)?;
        self.translated(arrival.key.in_port, &decision)?;
        let mut tags = std::mem::take(&mut self.buffers.tags);
        tags.extend_from_slice(&self.translation.tags);
        let changed = self.take_effects(now);
        let unanswered = std::mem::take(&mut self.unanswered);
        if decision.budgeted && unanswered {
            // Nobody is to be told for a while: the datapath can drop the like of it by itself,
            // and a flood of them takes no upcalls from what else its port sends.
            decision.expiry = Expiry::Brief;
        }
        let stale = changed.iter().any(|change| tags.iter().any(|tag| change.touches(tag)));
        let install = arrival.install && decision.expiry != Expiry::None && !stale;
        self.carry_out(arrival, &decision, &tags, install, now);
        self.drop_touched(&changed);
        tags.clear();
        self.buffers.tags = tags;
        Ok(())
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
        let view = View { tables: &self.tables, neighbors: &self.neighbors };
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
        }
    }

    /// The verdict in the datapath's words; asks for places that are not known.
    pub(super) fn translated(&mut self, in_port: PortNo, decision: &Decision) -> Result<(), Wait> {
        let (actions, drop) = (&self.buffers.actions, decision.drop);
        translate(actions, in_port, drop, &self.tables, &self.local, &mut self.translation);
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

    /// Sends the packet through its actions, and enters the flow. It is activated after everything
    /// that came for it has been sent (contracts §2, Order).
    fn carry_out(
        &mut self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        tags: &[Tag],
        install: bool,
        now: Instant,
    ) {
        self.fit_groups();
        match *self.translation.actions {
            [Action::Drop { cause, rule }] => {
                self.count_drop(arrival.entry, cause);
                if let Some(rule) = rule {
                    *self.dropped_by.entry(rule).or_default() += 1;
                }
            }
            ref actions => {
                let sent = self.datapath.execute(arrival.frame, arrival.offload, actions);
                if let Err(error) = sent {
                    self.report.failed.add(1);
                    tracing::debug!(%error, "a packet could not be sent");
                }
            }
        }
        if install {
            let mask = decision.mask | FlowMask::from(mn_flow::Field::InPort);
            self.enter(arrival.key, mask, tags, decision.expiry, now);
        } else {
            self.release_groups();
        }
    }
}

fn park(arrival: &Arrival<'_>) -> Parked {
    Parked {
        frame: arrival.frame.to_vec(),
        offload: arrival.offload,
        entry: arrival.entry,
        install: arrival.install,
    }
}

fn arrival(key: FlowKey, parked: &Parked) -> Arrival<'_> {
    Arrival {
        key,
        frame: &parked.frame,
        offload: parked.offload,
        entry: parked.entry,
        install: parked.install,
    }
}
