//! Remembered translations, found by the forward key and by the answer's.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::Ipv6Addr;

use hashbrown::{DefaultHashBuilder, HashTable};
use mn_flow::{NatTag, Tag, TcpClass};
use mn_packet::IpProtocol;
use mn_simulation::nat::{
    NatBinding, NatKey, NatKind, NatOrigin, Service, SourceChoice, SourceWanted, Way, allows,
    member_tag,
};
use mn_time::{Duration, Instant};
use mn_topology::DeviceId;

use super::NatPorts;
use super::balanced::Balanced;
use super::ending::{Life, Turn};
use crate::limits;

type Slot = u32;

/// Who made a translation, and so says when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// This worker.
    Own,
    /// Another worker of this agent, by its number.
    Worker(u8),
    /// Another host, by the number its agent has here.
    Peer(u16),
}

/// A translation that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gone(pub NatBinding);

/// How long a translation is kept that nobody uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NatTimeouts {
    pub tcp: Duration,
    pub udp: Duration,
    pub echo: Duration,
    /// Of a TCP connection that nothing has answered, or that one side has ended.
    pub transitory: Duration,
    /// Of a TCP connection that has ended.
    pub ended: Duration,
    /// For how long a client's new connections stay with a member, from the first on.
    pub client: Duration,
}

impl Default for NatTimeouts {
    fn default() -> Self {
        Self {
            tcp: limits::NAT_TCP_IDLE_FOR,
            udp: limits::NAT_UDP_IDLE_FOR,
            echo: limits::NAT_ECHO_IDLE_FOR,
            transitory: limits::NAT_TRANSITORY_FOR,
            ended: limits::NAT_ENDED_FOR,
            client: limits::PERSISTENCE_FOR,
        }
    }
}

/// The translations one worker knows.
#[derive(Debug, Default)]
pub struct NatTable {
    /// The ports it may give away.
    pub ports: NatPorts,
    timeouts: NatTimeouts,
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    forward: HashTable<Slot>,
    reverse: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    /// Where the search for idle ones goes on.
    cursor: usize,
    /// Those whose connection has ended, and when that was, or when it was last used after that:
    /// the first is the oldest. Some may be gone or go on by now, or another has their slot.
    ended: VecDeque<(Instant, Slot)>,
    balanced: Balanced,
    /// How many clients this worker ties to members.
    clients: usize,
}

#[derive(Debug)]
struct Entry {
    binding: NatBinding,
    used_at: Instant,
    owner: Owner,
    life: Life,
}

/// Entries looked at for their age in one go, at least.
const LOOKED_AT: usize = 1024;
/// In how many goes all are looked at.
const GOES: usize = 16;

impl NatTable {
    /// An empty one.
    #[must_use]
    pub fn new(timeouts: NatTimeouts) -> Self {
        Self { timeouts, ..Self::default() }
    }

    /// The translation with this forward key.
    #[must_use]
    pub fn forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.find_forward(key).and_then(|slot| self.binding(slot))
    }

    /// Likewise, where it is this worker's own.
    #[must_use]
    pub fn own_forward(&self, key: &NatKey) -> Option<NatBinding> {
        let entry = self.entry(key)?;
        (entry.owner == Owner::Own).then_some(entry.binding)
    }

    fn entry(&self, key: &NatKey) -> Option<&Entry> {
        self.at(self.find_forward(key)?)
    }

    /// The translation whose answers have this key.
    #[must_use]
    pub fn reverse(&self, key: &NatKey) -> Option<NatBinding> {
        self.find_reverse(key).and_then(|slot| self.binding(slot))
    }

    /// Remembers a translation, used now; adds what that touches to `tags`. One with the same
    /// forward key, or the same answers, is replaced and comes back.
    pub fn insert(
        &mut self,
        binding: NatBinding,
        owner: Owner,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) -> [Option<Gone>; 2] {
        let (tag, answer) = (binding.tag(), binding.answer());
        let by_key = self.hasher.hash_one(tag);
        let there = self.find_hashed(by_key, &binding.key);
        if let Some(slot) = there.filter(|slot| self.binding(*slot) == Some(binding)) {
            self.touch(slot, now);
            return [None; 2];
        }
        let by_answer = self.hasher.hash_one(answer);
        let same_key = there.and_then(|slot| self.take(slot, now));
        let there = self.find_answer(by_answer, &answer);
        let same_answer = there.and_then(|slot| self.take(slot, now));
        let gone = [same_key, same_answer];
        tags.extend(gone.iter().flatten().map(|gone| Tag::Nat(gone.0.tag())));
        tags.push(Tag::Nat(binding.answer_tag()));
        if self.balanced.begin(&binding) {
            tags.push(Tag::Nat(member_tag(binding.key.device, binding.to.addr)));
        }
        if self.free.is_empty() && self.entries.len() == self.entries.capacity() {
            // By half and not to the double: most of what a translation takes is here.
            self.entries.reserve_exact(self.entries.len() / 2 + 64);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Slot::try_from(self.entries.len() - 1).expect("fewer than 2^32 translations")
        });
        self.entries[slot as usize] =
            Some(Entry { binding, used_at: now, owner, life: Life::Opening });
        let (entries, hasher) = (&self.entries, &self.hasher);
        let at = |slot: &Slot| entries[*slot as usize].as_ref().map(|entry| &entry.binding);
        let forward = |slot: &Slot| at(slot).map_or(0, |it| hasher.hash_one(it.tag()));
        let reverse = |slot: &Slot| at(slot).map_or(0, |it| hasher.hash_one(it.answer()));
        self.forward.insert_unique(by_key, slot, forward);
        self.reverse.insert_unique(by_answer, slot, reverse);
        if binding.key.kind == NatKind::Source && owner == Owner::Own {
            self.ports.take(binding.key.device, &binding.key.tuple, binding.to);
        }
        self.clients += usize::from(owner == Owner::Own && binding.ties_client());
        gone
    }

    /// Ends a translation; adds what that touches to `tags`.
    pub fn remove(&mut self, key: &NatKey, now: Instant, tags: &mut Vec<Tag>) -> Option<Gone> {
        let slot = self.find_forward(key)?;
        let gone = self.take(slot, now)?;
        tags.push(Tag::Nat(gone.0.tag()));
        Some(gone)
    }

    /// Sees a TCP segment of the connection of a translation; adds what that touches to `tags`:
    /// nothing where both sides have ended it, for what comes late goes its way.
    pub fn see(
        &mut self,
        key: &NatKey,
        way: Way,
        class: TcpClass,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) -> Option<Turn> {
        let slot = self.find_forward(key)?;
        self.see_at(slot, way, class, now, tags)?.1
    }

    /// Likewise by the tag of its flows, where there is such a translation; its key too.
    pub fn see_tagged(
        &mut self,
        tag: NatTag,
        way: Way,
        class: TcpClass,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) -> Option<(NatKey, Option<Turn>)> {
        let slot = self.find_tagged(tag)?;
        self.see_at(slot, way, class, now, tags)
    }

    /// The host that made a translation, where this segment of its connection is news that it does
    /// not get by itself: it ends the connection, or resumes it. Asked before it is seen here.
    #[must_use]
    pub fn maker_to_hear(
        &self,
        tag: NatTag,
        way: Way,
        class: TcpClass,
        now: Instant,
    ) -> Option<u16> {
        let entry = self.at(self.find_tagged(tag)?)?;
        let Owner::Peer(maker) = entry.owner else { return None };
        let mut life = entry.life;
        let turn = life.take(way, class, now);
        let ends = matches!(class, TcpClass::Fin | TcpClass::Rst) && life != entry.life;
        (ends || turn == Some(Turn::Resumed)).then_some(maker)
    }

    fn see_at(
        &mut self,
        slot: Slot,
        way: Way,
        class: TcpClass,
        now: Instant,
        tags: &mut Vec<Tag>,
    ) -> Option<(NatKey, Option<Turn>)> {
        let entry = self.entries[slot as usize].as_mut()?;
        entry.used_at = entry.used_at.max(now);
        let turn = entry.life.take(way, class, now);
        match turn {
            Some(Turn::Ended | Turn::Reset) => self.balanced.end(&entry.binding),
            Some(Turn::Resumed) => self.balanced.go_on(&entry.binding),
            None => {}
        }
        match turn {
            Some(Turn::Ended) => self.ended.push_back((now, slot)),
            Some(Turn::Reset) => {
                self.ended.push_back((now, slot));
                tags.push(Tag::Nat(entry.binding.tag()));
            }
            Some(Turn::Resumed) => tags.push(Tag::Nat(entry.binding.tag())),
            None => {}
        }
        Some((entry.binding.key, turn))
    }

    /// Takes the connection of a translation for established: how it began is not known.
    pub fn note_established(&mut self, key: &NatKey) {
        if let Some(slot) = self.find_forward(key)
            && let Some(entry) = &mut self.entries[slot as usize]
            && entry.life == Life::Opening
        {
            entry.life = Life::Open;
        }
    }

    /// Whether the connection of a translation has ended.
    #[must_use]
    pub fn has_ended(&self, key: &NatKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.life.has_ended())
    }

    /// Who says when a translation ends.
    #[must_use]
    pub fn owner(&self, key: &NatKey) -> Option<Owner> {
        self.entry(key).map(|entry| entry.owner)
    }

    /// When a translation was last used, as far as it was noted.
    #[must_use]
    pub fn used_at(&self, key: &NatKey) -> Option<Instant> {
        self.entry(key).map(|entry| entry.used_at)
    }

    /// Notes that a translation was used.
    pub fn note_use(&mut self, key: &NatKey, used_at: Instant) {
        if let Some(slot) = self.find_forward(key) {
            self.touch(slot, used_at);
        }
    }

    /// Notes that a flow left that carried this tag, and when it was last used.
    pub fn note_left(&mut self, tag: NatTag, used_at: Instant) {
        if let Some(slot) = self.find_tagged(tag) {
            self.touch(slot, used_at);
        }
    }

    fn touch(&mut self, slot: Slot, used_at: Instant) {
        if let Some(entry) = &mut self.entries[slot as usize] {
            entry.used_at = entry.used_at.max(used_at);
        }
    }

    /// Looks at some translations for their age; those that were idle too long end. `used` says
    /// when the datapath last used a flow that carries a tag, if it has one.
    ///
    /// All are looked at in sixteen calls. For each of others that a flow of this worker keeps alive
    /// `keeps` is told whom to tell. Those of other workers do not end here, those of other hosts
    /// later than their owner would end them. What comes back is this worker's own.
    pub fn expire(
        &mut self,
        now: Instant,
        used: impl Fn(NatTag) -> Option<Instant>,
        mut keeps: impl FnMut(Owner, NatKey, Instant),
        tags: &mut Vec<Tag>,
    ) -> Vec<Gone> {
        let mut gone = self.expire_ended(now, tags);
        let count = LOOKED_AT.max(self.entries.len() / GOES + 1).min(self.entries.len());
        for _ in 0..count {
            self.cursor = if self.cursor + 1 < self.entries.len() { self.cursor + 1 } else { 0 };
            let Some(entry) = &mut self.entries[self.cursor] else { continue };
            // Those of other hosts end when their owner says so, or by their age.
            if entry.life.has_ended() && !matches!(entry.owner, Owner::Peer(_)) {
                continue;
            }
            let (owner, timeout) = (entry.owner, entry.timeout(&self.timeouts));
            let look_after = if owner == Owner::Own { timeout } else { timeout / 4 };
            if entry.used_at + look_after > now {
                continue;
            }
            if let Some(used_at) = used(entry.binding.tag())
                && used_at > entry.used_at
            {
                entry.used_at = used_at;
                if owner != Owner::Own {
                    keeps(owner, entry.binding.key, used_at);
                }
            }
            let stays_for = match owner {
                Owner::Own => timeout,
                Owner::Peer(_) => timeout * 3 / 2,
                Owner::Worker(_) => continue,
            };
            if entry.used_at + stays_for <= now
                && let Some(ended) = self.take(self.cursor as Slot, now)
            {
                tags.push(Tag::Nat(ended.0.tag()));
                gone.extend((owner == Owner::Own).then_some(ended));
            }
        }
        gone
    }

    /// Those of ended connections that nothing has come for since.
    fn expire_ended(&mut self, now: Instant, tags: &mut Vec<Tag>) -> Vec<Gone> {
        let (mut gone, timeout) = (Vec::new(), self.timeouts.ended);
        while let Some((at, slot)) =
            self.ended.front().copied().filter(|(at, _)| *at + timeout <= now)
        {
            self.ended.pop_front();
            let Some(entry) = self.ended_by(at, slot) else { continue };
            if entry.used_at + timeout > now {
                self.ended.push_back((entry.used_at, slot));
            } else if let Some(ended) = self.take(slot, now) {
                tags.push(Tag::Nat(ended.0.tag()));
                gone.push(ended);
            }
        }
        gone
    }

    /// This worker's own translation in a slot, if its connection had ended by then: not that of a
    /// later one that has been given the slot since.
    fn ended_by(&self, at: Instant, slot: Slot) -> Option<&Entry> {
        let entry = self.at(slot)?;
        let ended_at = entry.life.ended_at()?;
        (ended_at <= at && entry.owner == Owner::Own).then_some(entry)
    }

    /// Every translation of this worker's own, and whether its connection has ended.
    pub fn own(&self) -> impl Iterator<Item = (&NatBinding, bool)> {
        let entries = self.entries.iter().flatten();
        let own = entries.filter(|entry| entry.owner == Owner::Own);
        own.map(|entry| (&entry.binding, entry.life.has_ended()))
    }

    /// Whether any of a load balancer of this device goes to this address.
    #[must_use]
    pub fn is_balanced_to(&self, device: DeviceId, member: Ipv6Addr) -> bool {
        self.balanced.is_to(device, member)
    }

    /// How many connections of a member of a pool are not known to have ended.
    #[must_use]
    pub fn connections_of_member(&self, member: &Service) -> u32 {
        self.balanced.of_member(member)
    }

    /// Likewise of a virtual address.
    #[must_use]
    pub fn connections_of_vip(&self, vip: &Service) -> u32 {
        self.balanced.of_vip(vip)
    }

    /// Whether there is room for one more of this worker's own: a sender that makes up addresses is
    /// a new client of a virtual address with every packet, and each is known for a day.
    #[must_use]
    pub fn has_room(&self, binding: &NatBinding) -> bool {
        !binding.ties_client()
            || self.clients < limits::CLIENTS_MAX
            || self.own_forward(&binding.key).is_some_and(|it| it.ties_client())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A port for a new connection. Where none is free and no more can be leased, one whose
    /// connection has ended: its end is waited for no longer.
    #[must_use]
    pub fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        match self.ports.free_source(wanted) {
            SourceChoice::Exhausted => self.ended_source(wanted),
            choice => choice,
        }
    }

    fn ended_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        let to = |key: &NatKey| {
            (key.kind, key.device, key.tuple.protocol, key.tuple.end(NatKind::Destination))
        };
        let fits = |entry: &&Entry| {
            let binding = &entry.binding;
            to(&binding.key) == to(&wanted.key) && allows(wanted.targets, binding)
        };
        let oldest = self.ended.iter().take(limits::NAT_REUSE_LOOKS);
        let mut oldest = oldest.filter_map(|(at, slot)| self.ended_by(*at, *slot));
        oldest.find(fits).map_or(SourceChoice::Exhausted, |it| SourceChoice::Is(it.binding.to))
    }

    fn binding(&self, slot: Slot) -> Option<NatBinding> {
        self.at(slot).map(|entry| entry.binding)
    }

    fn take(&mut self, slot: Slot, now: Instant) -> Option<Gone> {
        let binding = self.binding(slot)?;
        let hash = self.hasher.hash_one(binding.tag());
        if let Ok(found) = self.forward.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let hash = self.hasher.hash_one(binding.answer());
        if let Ok(found) = self.reverse.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let entry = self.entries[slot as usize].take()?;
        self.free.push(slot);
        self.balanced.forget(&binding, entry.life.has_ended());
        if binding.key.kind == NatKind::Source && entry.owner == Owner::Own {
            self.ports.release(binding.key.device, &binding.key.tuple, binding.to, now);
        }
        self.clients -= usize::from(entry.owner == Owner::Own && binding.ties_client());
        // The oldest is taken again and again where ports are short: none is looked at twice.
        while let Some((at, slot)) = self.ended.front()
            && self.ended_by(*at, *slot).is_none()
        {
            self.ended.pop_front();
        }
        Some(Gone(binding))
    }

    fn find_tagged(&self, tag: NatTag) -> Option<Slot> {
        let same = |slot: &Slot| self.at(*slot).is_some_and(|it| it.binding.tag() == tag);
        self.forward.find(self.hasher.hash_one(tag), same).copied()
    }

    fn find_forward(&self, key: &NatKey) -> Option<Slot> {
        self.find_hashed(self.hasher.hash_one(key.tag(Way::Forward)), key)
    }

    fn find_hashed(&self, hash: u64, key: &NatKey) -> Option<Slot> {
        let same = |slot: &Slot| self.at(*slot).is_some_and(|it| it.binding.key == *key);
        self.forward.find(hash, same).copied()
    }

    fn find_reverse(&self, key: &NatKey) -> Option<Slot> {
        self.find_answer(self.hasher.hash_one(key), key)
    }

    fn find_answer(&self, hash: u64, key: &NatKey) -> Option<Slot> {
        let same = |slot: &Slot| self.at(*slot).is_some_and(|it| it.binding.answer() == *key);
        self.reverse.find(hash, same).copied()
    }

    fn at(&self, slot: Slot) -> Option<&Entry> {
        self.entries[slot as usize].as_ref()
    }
}

impl Entry {
    /// After how long without use it ends. How a connection began and went on is what its own
    /// worker knows.
    fn timeout(&self, timeouts: &NatTimeouts) -> Duration {
        let protocol = self.binding.key.tuple.protocol;
        let own = self.owner == Owner::Own;
        let connects = own && protocol == IpProtocol::TCP && !self.binding.ties_client();
        if connects && self.life.is_transitory() {
            timeouts.transitory.min(timeouts.tcp)
        } else {
            timeouts.of(&self.binding)
        }
    }
}

impl NatTimeouts {
    /// The time of a translation: its protocol's, unless it ties a client to a member.
    #[must_use]
    pub const fn of(&self, binding: &NatBinding) -> Duration {
        match (binding.by, binding.key.tuple.protocol) {
            (NatOrigin::Client { .. }, _) => self.client,
            (_, IpProtocol::TCP) => self.tcp,
            (_, IpProtocol::UDP) => self.udp,
            _ => self.echo,
        }
    }
}
