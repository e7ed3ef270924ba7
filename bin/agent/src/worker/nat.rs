//! Address translations a worker makes, keeps and ends.

use std::sync::Arc;

use mn_agent_core::{Lease, NatOwner, Stay, Turn, Wait, is_within};
use mn_datapath::{Followed, Offload, Upcalls};
use mn_flow::{
    Conn, Cookie, DropCause, Expiry, NatTag, PortNo, Tag, TcpClass, VirtualAction, extract,
};
use mn_flowstate::Record;
use mn_ids::{ChainId, PortId, RuleId};
use mn_simulation::nat::{NatBinding, NatKey, NatKind, NatOrigin, Way};
use mn_simulation::{Effect, Entry, Packet, answer};
use mn_time::Instant;
use mn_topology::snapshot::{Lookup, Snapshot};
use mn_topology::{DeviceId, NatTarget, RuleAction};

use super::Worker;
use super::message::{FromWorker, ToWorker};

/// What workers tell one another of translations, before the packet goes out whose answer needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Translated {
    /// A worker made one.
    Made(NatBinding),
    /// Its worker ended one.
    Ended(NatKey),
    /// A flow of another worker was used at this time.
    Used(NatKey, Instant),
    /// A segment came that says how its connection goes on.
    Segment(NatKey, Way, TcpClass),
}

/// What became of a wish for ports.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) rule: RuleId,
    /// Empty: none is to be had for now.
    pub(crate) lease: Lease,
}

impl Worker {
    /// Remembers a translation that was just chosen.
    pub(super) fn remember(&mut self, binding: NatBinding, now: Instant, tags: &mut Vec<Tag>) {
        for gone in self.translations.insert(binding, NatOwner::Own, now, tags).iter().flatten() {
            self.journal.ended(&gone.0.key);
            // The new one of the same key was counted already.
            if gone.0.tag() != binding.tag() {
                self.nat_shares.release(gone.0.tag());
            }
            self.tell_others(Translated::Ended(gone.0.key));
            self.tell_ended(&gone.0, now);
        }
        self.journal.made(&binding);
        self.tell_others(Translated::Made(binding));
        self.report.translated.add(1);
        if binding.key.kind == NatKind::Source {
            let snapshot = Arc::clone(&self.snapshot);
            let (device, tuple) = (binding.key.device, &binding.key.tuple);
            if let NatOrigin::Rule { chain, rule } = binding.by
                && let Some(targets) = targets(&snapshot, chain, rule)
                && self.translations.ports.is_low(device, tuple, targets)
            {
                self.want_ports(device, rule, targets);
            }
        }
    }

    /// A segment of a connection that is translated was decided about.
    pub(super) fn see_segment(
        &mut self,
        key: NatKey,
        way: Way,
        class: TcpClass,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) {
        let maker = self.translations.maker_to_hear(key.tag(Way::Forward), way, class, now);
        let turn = self.translations.see(&key, way, class, now, tags);
        self.note_turn(&key, turn, now);
        self.tell_others(Translated::Segment(key, way, class));
        self.tell_maker(maker, Record::Seen { key, way, class });
    }

    fn tell_maker(&self, maker: Option<u16>, seen: Record) {
        maker.into_iter().for_each(|maker| self.exchange.tell_maker(maker, seen));
    }

    /// Takes in what flows told of segments since the last time.
    pub(super) fn take_followed(&mut self, upcalls: &mut dyn Upcalls, now: Instant) {
        let (mut told, mut carried) = std::mem::take(&mut self.followed);
        self.report.untold.add(upcalls.followed(&mut |followed| told.push(followed)));
        let mut tags = Vec::new();
        for Followed { cookie, class } in told.drain(..) {
            // One that left meanwhile: what it carried ends by its age.
            let Some(way) = self.flows.followed(cookie, &mut carried) else { continue };
            for tag in &carried {
                let maker = self.translations.maker_to_hear(*tag, way, class, now);
                let seen = self.translations.see_tagged(*tag, way, class, now, &mut tags);
                let Some((key, turn)) = seen else { continue };
                self.note_turn(&key, turn, now);
                self.tell_others(Translated::Segment(key, way, class));
                self.tell_maker(maker, Record::Seen { key, way, class });
            }
        }
        self.followed = (told, carried);
        self.drop_touched(&tags);
    }

    /// Keeps on disk that a connection has ended, or goes on, where it is this worker's. Flows of one
    /// that has ended stay for what comes late.
    fn note_turn(&mut self, key: &NatKey, turn: Option<Turn>, now: Instant) {
        let Some(turn) = turn else { return };
        if turn == Turn::Ended {
            self.flows.shorten(Tag::Nat(key.tag(Way::Forward)), now);
        }
        let Some(binding) = self.translations.own_forward(key) else { return };
        match turn {
            Turn::Ended | Turn::Reset => self.journal.closed(key),
            Turn::Resumed => self.journal.made(&binding),
        }
    }

    /// A packet waits for ports of this rule.
    pub(super) fn await_ports(&mut self, device: DeviceId, chain: ChainId, rule: RuleId) {
        let snapshot = Arc::clone(&self.snapshot);
        if let Some(targets) = targets(&snapshot, chain, rule) {
            self.want_ports(device, rule, targets);
        }
    }

    /// The rule was loaded: its first packet is not to wait.
    pub(super) fn prepare_ports(&mut self, device: DeviceId, rule: RuleId, targets: &[NatTarget]) {
        if !self.translations.ports.has_any(device, targets) {
            self.want_ports(device, rule, targets);
        }
    }

    fn want_ports(&mut self, device: DeviceId, rule: RuleId, targets: &[NatTarget]) {
        if let Some(need) = self.translations.ports.need(device, rule, targets) {
            self.tell_control(FromWorker::Ports { worker: self.number, need });
        }
    }

    /// Blocks came, or none is to be had; packets that waited go on.
    pub(super) fn take_ports(&mut self, leased: &Leased, now: Instant) {
        let Leased { rule, lease } = leased;
        let denied = lease.blocks.is_empty().then(|| now + mn_agent_core::limits::NAT_DENIED_FOR);
        self.report.nat_exhausted.add(denied.is_some().into());
        self.translations.ports.add(lease, now);
        self.translations.ports.answered(lease.device, *rule, denied);
        self.report.nat_blocks.set(self.translations.ports.len());
        let device = lease.device;
        let waits = |stay: &Stay| matches!(stay.wait, Wait::Lease(at, _) if at == device);
        self.released.extend(self.pending.waiting(waits));
    }

    /// This host has lost a block: another may have it now, so nothing is sent from it any more.
    pub(super) fn lose_ports(&mut self, lost: &Lease, now: Instant) {
        let of = |binding: &NatBinding| {
            binding.key.device == lost.device
                && lost.blocks.iter().any(|block| {
                    block.addr == binding.to.addr && block.number == binding.to.port / 64
                })
        };
        let lost_ones: Vec<NatBinding> =
            self.translations.own().filter(|(it, _)| of(it)).map(|(it, _)| *it).collect();
        let mut tags = Vec::new();
        for binding in lost_ones {
            let key = binding.key;
            self.telling.end(&binding);
            if let Some(gone) = self.translations.remove(&key, now, &mut tags) {
                self.nat_shares.release(gone.0.tag());
            }
            self.journal.ended(&key);
            self.tell_others(Translated::Ended(key));
        }
        self.say_due(now);
        for block in &lost.blocks {
            self.translations.ports.lose(lost.device, *block);
        }
        self.drop_touched(&tags);
    }

    /// Another worker tells of a translation.
    pub(super) fn take_translated(&mut self, from: u8, told: Translated, now: Instant) {
        let mut tags = Vec::new();
        match told {
            Translated::Made(binding) => {
                self.translations.insert(binding, NatOwner::Worker(from), now, &mut tags);
            }
            Translated::Ended(key) => drop(self.translations.remove(&key, now, &mut tags)),
            Translated::Used(key, used_at) => self.translations.note_use(&key, used_at),
            Translated::Segment(key, way, class) => {
                let turn = self.translations.see(&key, way, class, now, &mut tags);
                self.note_turn(&key, turn, now);
            }
        }
        self.drop_touched(&tags);
    }

    /// Ends translations that nobody used for long, and gives back blocks that are idle.
    pub(super) fn age_translations(&mut self, now: Instant) {
        let (mut tags, mut kept) = (Vec::new(), Vec::new());
        let flows = &self.flows;
        let gone = self.translations.expire(
            now,
            |tag| flows.last_use(Tag::Nat(tag)),
            |owner, key, used_at| kept.push((owner, key, used_at)),
            &mut tags,
        );
        for ended in gone {
            self.journal.ended(&ended.0.key);
            self.nat_shares.release(ended.0.tag());
            self.tell_others(Translated::Ended(ended.0.key));
            self.telling.end(&ended.0);
        }
        for (owner, key, used_at) in kept {
            match owner {
                NatOwner::Own => {}
                NatOwner::Worker(worker) => self.tell_one(worker, Translated::Used(key, used_at)),
                NatOwner::Peer(owner) => self.exchange.used(owner, key, used_at, now),
            }
        }
        self.tell_uses(now);
        self.drop_touched(&tags);
        self.translations.ports.tick(now);
        for lease in self.translations.ports.give_back(now) {
            self.tell_control(FromWorker::GiveBack(lease));
        }
        self.report.translations.set(self.translations.len());
        self.report.nat_blocks.set(self.translations.ports.len());
        self.journal.tidy(&self.translations);
    }

    /// Notes of flows that left when their translations were last used, and which ways they took.
    pub(super) fn note_left(&mut self, now: Instant) {
        for (tag, used_at) in self.flows.take_left() {
            self.translations.note_left(tag, used_at);
        }
        for path in self.flows.take_left_paths() {
            self.paths.note_left(path, now);
        }
    }

    /// Installs the flow of the answer to a packet that began a connection, where the answer comes
    /// in on this host: it then needs no decision of its own.
    pub(super) fn prepare_answer(&mut self, key: &mn_flow::FlowKey, now: Instant) {
        let Some(answer) = answer(key, &self.buffers.actions) else { return };
        let Some(number) = self.local.ports.get(&answer.port).copied() else { return };
        let tracked = self.buffers.actions.contains(&VirtualAction::Track);
        self.enter_answer_ahead(&answer.frame, (answer.port, number), tracked, now);
    }

    /// Likewise, of a connection that another host translates.
    pub(super) fn enter_answer_ahead(
        &mut self,
        frame: &[u8],
        (port, number): (PortId, PortNo),
        tracked: bool,
        now: Instant,
    ) {
        let Ok(mut key) = extract(frame, number, None) else { return };
        if tracked {
            key.conn = Conn::Return;
        }
        let packet = Packet { key, frame, gso_size: Offload::default().gso_size };
        self.enter_ahead(&packet, port, now);
    }

    /// Installs the flow of a packet that has not come yet, if it may have one; its cookie.
    /// Nothing is learned of such a packet, and nothing begins with it.
    pub(super) fn enter_ahead(
        &mut self,
        packet: &Packet<'_>,
        port: PortId,
        now: Instant,
    ) -> Option<Cookie> {
        let decision = self.simulate(packet, Entry::Ingress(port), now).ok()?;
        let begins = |effect: &Effect| matches!(effect, Effect::Translate(_) | Effect::Emit { .. });
        let begins = self.buffers.effects.iter().any(begins);
        self.buffers.effects.clear();
        if begins || decision.drop.is_some() || decision.expiry != Expiry::Idle {
            return None;
        }
        self.translated(packet.key.in_port, &decision, None).ok()?;
        let mut tags = std::mem::take(&mut self.buffers.tags);
        tags.extend_from_slice(&self.translation.tags);
        self.fit_groups();
        let cookie = self.enter_if_room(packet.key, &decision, &tags, now);
        self.buffers.tags = tags;
        cookie
    }

    /// Whether a port may have the ports that the verdict at hand takes.
    pub(super) fn may_translate(&self, port: PortNo) -> bool {
        let takes = |effect: &&Effect| taken(effect).is_some();
        let more = self.buffers.effects.iter().filter(takes).count();
        more == 0 || is_within(self.nat_shares.of(port), self.limits.nat_ports)
    }

    /// The packet's port has as many ports to translate to as it may have.
    pub(super) fn refuse_translation(&mut self, entry: Entry) {
        self.buffers.effects.clear();
        self.count_drop(entry, DropCause::NatPortLimit);
    }

    /// Leaves out of the verdict at hand what would tie one client too many to its member. The
    /// connection goes there all the same.
    pub(super) fn fit_clients(&mut self) {
        let effects = &mut self.buffers.effects;
        let before = effects.len();
        effects.retain(|effect| match effect {
            Effect::Translate(binding) => self.translations.has_room(binding),
            _ => true,
        });
        self.report.untied.add((before - effects.len()) as u64);
    }

    /// Notes for whom the verdict at hand takes ports.
    pub(super) fn note_takers(&mut self, port: PortNo) {
        for tag in self.buffers.effects.iter().filter_map(taken) {
            self.nat_shares.take(tag, port);
        }
    }

    fn tell_others(&self, told: Translated) {
        for (worker, sender) in self.others.iter().enumerate() {
            if worker != self.number {
                let from = u8::try_from(self.number).unwrap_or(u8::MAX);
                drop(sender.send(ToWorker::Translated { from, told }));
            }
        }
    }

    fn tell_one(&self, worker: u8, told: Translated) {
        if let Some(sender) = self.others.get(usize::from(worker)) {
            let from = u8::try_from(self.number).unwrap_or(u8::MAX);
            drop(sender.send(ToWorker::Translated { from, told }));
        }
    }
}

/// What a rule translates sources to.
fn targets(snapshot: &Snapshot, chain: ChainId, rule: RuleId) -> Option<&[NatTarget]> {
    let Lookup::Loaded(chain) = snapshot.chain(chain) else { return None };
    match &chain.rules().find(|other| other.id == rule)?.action {
        RuleAction::Snat { targets, .. } => Some(targets),
        _ => None,
    }
}

/// The translation of an effect that takes a port.
fn taken(effect: &Effect) -> Option<NatTag> {
    match effect {
        Effect::Translate(binding) if binding.key.kind == NatKind::Source => Some(binding.tag()),
        _ => None,
    }
}
