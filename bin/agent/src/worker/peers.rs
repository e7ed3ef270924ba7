//! What this worker tells other hosts of its translations, and what they tell it.

use std::collections::{HashMap, VecDeque};

use mn_agent_core::{Hearers, NatOwner, NatTimeouts, Wait, limits};
use mn_flow::{FlowKey, Rewrite, Tag, TcpClass, VirtualAction};
use mn_flowstate::{Left, Record, Shared};
use mn_ids::{HostId, ObjectKey};
use mn_packet::{IpProtocol, to_v6};
use mn_simulation::Effect;
use mn_simulation::nat::{NatBinding, NatKey, NatKind, Way, addresses};
use mn_time::Instant;
use mn_topology::{DeviceId, NatTarget};

use super::Worker;
use super::decide::Arrival;
use super::message::FromWorker;

/// What other hosts tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Made {
        /// The number of the host that made it, and its id.
        owner: u16,
        host: HostId,
        binding: NatBinding,
    },
    Ended {
        owner: u16,
        key: NatKey,
    },
    Used {
        key: NatKey,
        used_at: Instant,
    },
    /// A connection of a port here.
    Shared(Shared),
    /// A segment of a connection that this host translates, perhaps.
    Seen {
        key: NatKey,
        way: Way,
        class: TcpClass,
    },
    /// A packet that another host translated leaves by a port here.
    Left(Left),
    /// A host wants to be told all translations of a device.
    Ask {
        host: HostId,
        device: DeviceId,
    },
}

/// Which hosts know which of this worker's translations.
#[derive(Debug)]
pub(super) struct Telling {
    timeouts: NatTimeouts,
    told: HashMap<NatKey, u16>,
    /// Sets of hosts: few differ.
    sets: Vec<Box<[HostId]>>,
    /// What is to be said to each set of hosts, all of it at once. Empty between two calls.
    due: Vec<Vec<Record>>,
    /// Translations by when they are looked at next: of TCP, of UDP, of echoes, and ties of clients,
    /// those of one time in one queue.
    turns: [VecDeque<(Instant, NatKey)>; 4],
}

/// Translations looked at in one go for whether they were used.
const LOOKED_AT: usize = 4096;

impl Telling {
    pub(super) fn new(timeouts: NatTimeouts) -> Self {
        let (told, sets, due, turns) = Default::default();
        Self { timeouts, told, sets, due, turns }
    }

    fn note(&mut self, binding: &NatBinding, hosts: &[HostId], now: Instant) {
        let set = self.sets.iter().position(|set| **set == *hosts).unwrap_or_else(|| {
            self.sets.push(hosts.into());
            self.sets.len() - 1
        });
        let key = binding.key;
        if self.told.insert(key, u16::try_from(set).unwrap_or(u16::MAX)).is_none() {
            self.turns[turn(binding)].push_back((now + self.timeouts.of(binding) / 4, key));
        }
    }

    fn hosts(&self, key: &NatKey) -> &[HostId] {
        let set = self.told.get(key).and_then(|set| self.sets.get(usize::from(*set)));
        set.map_or(&[], |set| set)
    }

    /// Has a record said to those who were told of a translation.
    fn say(&mut self, set: u16, record: Record) {
        let at = usize::from(set);
        if self.due.len() <= at {
            self.due.resize_with(at + 1, Vec::new);
        }
        self.due[at].push(record);
    }

    /// Has the end of a translation said, if anybody was told of it.
    pub(super) fn end(&mut self, binding: &NatBinding) {
        if let Some(set) = self.told.remove(&binding.key) {
            self.say(set, Record::Ended { key: binding.key, to: binding.to });
        }
    }

    /// Translations whose use is to be looked at now, each with the set of hosts that know it.
    fn due(&mut self, now: Instant) -> Vec<(NatKey, u16)> {
        let mut due = Vec::new();
        let NatTimeouts { tcp, udp, echo, client, .. } = self.timeouts;
        for (turns, timeout) in self.turns.iter_mut().zip([tcp, udp, echo, client]) {
            while due.len() < LOOKED_AT
                && let Some((_, key)) = turns.pop_front_if(|(at, _)| *at <= now)
            {
                if let Some(set) = self.told.get(&key).copied() {
                    turns.push_back((now + timeout / 4, key));
                    due.push((key, set));
                }
            }
        }
        due
    }
}

/// Which queue of `Telling` a translation is in.
const fn turn(binding: &NatBinding) -> usize {
    match binding.key.tuple.protocol {
        _ if binding.ties_client() => 3,
        IpProtocol::TCP => 0,
        IpProtocol::UDP => 1,
        _ => 2,
    }
}

impl Worker {
    /// The translations that the verdict at hand begins, and the hosts that are to hear of them.
    pub(super) fn begun(&mut self) -> Result<Vec<(NatBinding, Vec<HostId>)>, Wait> {
        self.fit_clients();
        let mut begun = Vec::new();
        let mut missing = Vec::new();
        for effect in &self.buffers.effects {
            let Effect::Translate(binding) = effect else { continue };
            let ports = self.buffers.actions.iter().filter_map(|action| match action {
                VirtualAction::Deliver(port) => Some(*port),
                _ => None,
            });
            // An answer may come in by any port of a stateful group.
            let ports = ports.flat_map(|port| {
                let fellows = self.local.fellows.get(&port).into_iter().flatten();
                fellows.copied().chain([port])
            });
            let hearers = Hearers::of(&self.snapshot, self.local.host, binding, ports);
            missing.extend(hearers.missing);
            begun.push((*binding, hearers.hosts));
        }
        self.want_loaded(missing)?;
        Ok(begun)
    }

    /// Asks for what was not asked for yet; the packet at hand waits for it.
    pub(super) fn want_loaded(&mut self, mut missing: Vec<ObjectKey>) -> Result<(), Wait> {
        missing.retain(|key| self.asked.insert(*key));
        if missing.is_empty() {
            return Ok(());
        }
        self.tell_control(FromWorker::Load(missing));
        Err(Wait::Load)
    }

    /// Tells hosts of translations, before the packet goes out whose answer needs them.
    pub(super) fn tell_hosts(
        &mut self,
        key: &FlowKey,
        begun: &[(NatBinding, Vec<HostId>)],
        now: Instant,
    ) {
        for (nth, (binding, hosts)) in begun.iter().enumerate() {
            if !hosts.is_empty() && self.translations.owner(&binding.key) == Some(NatOwner::Own) {
                self.telling.note(binding, hosts, now);
                // The answer needs all of them.
                let key = (nth + 1 == begun.len()).then_some(key);
                self.tell_made(key, *binding, hosts, now);
            }
        }
    }

    /// Tells whoever was told of a translation that it has ended.
    pub(super) fn tell_ended(&mut self, binding: &NatBinding, now: Instant) {
        self.telling.end(binding);
        self.say_due(now);
    }

    /// Tells whoever was told of translations which of them live.
    pub(super) fn tell_uses(&mut self, now: Instant) {
        for (key, set) in self.telling.due(now) {
            let Some(binding) = self.translations.forward(&key) else { continue };
            let noted = self.translations.used_at(&key);
            let flow = self.flows.last_use(Tag::Nat(binding.tag()));
            let Some(used_at) = noted.max(flow) else { continue };
            let idle = now.since(used_at);
            // Said already, the last time it was looked at.
            if idle < self.telling.timeouts.of(&binding) / 4 + limits::USES_EVERY {
                self.telling.say(set, Record::Used { key, idle });
            }
        }
        self.say_due(now);
    }

    /// Says what is to be said, to each set of hosts in one go.
    pub(super) fn say_due(&mut self, now: Instant) {
        for (records, hosts) in self.telling.due.iter_mut().zip(&self.telling.sets) {
            if !records.is_empty() {
                self.exchange.tell(hosts, records, now);
                records.clear();
            }
        }
    }

    /// Takes what another host tells.
    pub(super) fn take_told(&mut self, told: Told, now: Instant) {
        let mut tags = Vec::new();
        match told {
            Told::Made { owner, host, binding } => {
                self.note_target(&binding);
                self.take_made(owner, host, binding, now, &mut tags);
            }
            Told::Ended { owner, key } => {
                if self.translations.owner(&key) == Some(NatOwner::Peer(owner)) {
                    self.translations.remove(&key, now, &mut tags);
                }
            }
            Told::Used { key, used_at } => self.translations.note_use(&key, used_at),
            Told::Shared(shared) => {
                self.play(&shared);
                self.release_shared(&shared);
            }
            Told::Seen { key, way, class } => {
                if self.translations.owner(&key) == Some(NatOwner::Own) {
                    self.see_segment(key, way, class, now, &mut tags);
                }
            }
            Told::Left(left) => self.expect_answer(&left, now),
            Told::Ask { host, device } => {
                self.tell_all(host, device, now);
                self.tell_shared(host, device, now);
            }
        }
        self.touch(&tags, now);
    }

    /// Where two hosts translated packets of one connection at the same time, what the host with
    /// the lower id chose holds on both.
    fn take_made(
        &mut self,
        owner: u16,
        host: HostId,
        binding: NatBinding,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) {
        let own = |owner| matches!(owner, Some(NatOwner::Own | NatOwner::Worker(_)));
        let there = self.translations.forward(&binding.key);
        if own(self.translations.owner(&binding.key))
            && (there == Some(binding) || self.local.host < host)
        {
            return;
        }
        let gone = self.translations.insert(binding, NatOwner::Peer(owner), now, tags);
        for ended in gone.into_iter().flatten() {
            // If it was this worker's it is not any more.
            self.nat_shares.release(ended.0.tag());
            self.telling.told.remove(&ended.0.key);
            self.journal.ended(&ended.0.key);
        }
    }

    fn tell_all(&mut self, host: HostId, device: DeviceId, now: Instant) {
        let own = self.translations.own().map(|(binding, _)| *binding);
        let own: Vec<NatBinding> = own.filter(|it| it.key.device == device).collect();
        let records: Vec<Record> = own.iter().map(|binding| Record::Made(*binding)).collect();
        for binding in own {
            let mut hosts = self.telling.hosts(&binding.key).to_vec();
            if let Err(at) = hosts.binary_search(&host) {
                hosts.insert(at, host);
                self.telling.note(&binding, &hosts, now);
            }
        }
        self.exchange.tell(&[host], &records, now);
    }

    /// Notes the addresses that a rule translates to: answers come to them.
    pub(super) fn note_targets(&mut self, targets: &[NatTarget]) {
        for target in targets {
            let range = addresses(target);
            if !self.nat_addresses.contains(&range) {
                self.nat_addresses.push(range);
            }
        }
    }

    fn note_target(&mut self, binding: &NatBinding) {
        let addr = binding.to.addr.to_bits();
        let known = |(first, last): &(u128, u128)| (*first..=*last).contains(&addr);
        if binding.key.kind == NatKind::Source && !self.nat_addresses.iter().any(known) {
            self.nat_addresses.push((addr, addr));
        }
    }

    /// Whether the verdict at hand is that of an answer of which nothing is known, and another
    /// host may be telling of it right now.
    pub(super) fn lacks_state(&self, arrival: &Arrival<'_>) -> bool {
        if self.nat_addresses.is_empty() || !self.may_hold(arrival) {
            return false;
        }
        let dst = arrival.key.nw_dst.to_bits();
        let to_nat = |(first, last): &(u128, u128)| (*first..=*last).contains(&dst);
        let rewrites = |action: &VirtualAction| matches!(action, VirtualAction::Rewrite(Rewrite::NwDst(addr)) if to_v6(*addr).to_bits() != dst);
        self.nat_addresses.iter().any(to_nat)
            && self.buffers.tags.iter().any(|tag| matches!(tag, Tag::Nat(_)))
            && !self.buffers.actions.iter().any(rewrites)
    }

    /// Packets that waited for state in vain are decided about without it.
    pub(super) fn release_held(&mut self, now: Instant) {
        if !self.pending.is_empty() {
            self.released.extend(self.pending.over(Wait::State, now));
        }
    }
}
