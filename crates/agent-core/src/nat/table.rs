//! Remembered translations, found by the forward key and by the answer's.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use mn_flow::{NatTag, Tag};
use mn_packet::IpProtocol;
use mn_simulation::nat::{NatBinding, NatKey, NatKind, SourceChoice, SourceWanted, Way};
use mn_time::{Duration, Instant};

use super::NatPorts;
use crate::limits;

type Slot = u32;

/// Who made a translation, and so says when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// This worker.
    Own,
    /// Another worker of this agent, by its number.
    Worker(u8),
}

/// A translation that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gone(pub NatBinding);

/// The translations one worker knows.
#[derive(Debug, Default)]
pub struct NatTable {
    /// The ports it may give away.
    pub ports: NatPorts,
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    forward: HashTable<Slot>,
    reverse: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    /// Where the search for idle ones goes on.
    cursor: usize,
}

#[derive(Debug)]
struct Entry {
    binding: NatBinding,
    used_at: Instant,
    owner: Owner,
}

/// Entries looked at for their age in one go, at least.
const LOOKED_AT: usize = 1024;
/// In how many goes all are looked at.
const GOES: usize = 16;

impl NatTable {
    /// The translation with this forward key.
    #[must_use]
    pub fn forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.find_forward(key).and_then(|slot| self.binding(slot))
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
        if self.forward(&binding.key) == Some(binding) {
            self.note_use(&binding.key, now);
            return [None; 2];
        }
        let same_key = self.find_forward(&binding.key).and_then(|slot| self.take(slot, now));
        let answer = binding.answer();
        let same_answer = self.find_reverse(&answer).and_then(|slot| self.take(slot, now));
        let gone = [same_key, same_answer];
        tags.extend(gone.iter().flatten().map(|gone| Tag::Nat(gone.0.tag())));
        tags.push(Tag::Nat(binding.answer_tag()));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Slot::try_from(self.entries.len() - 1).expect("fewer than 2^32 translations")
        });
        self.entries[slot as usize] = Some(Entry { binding, used_at: now, owner });
        let (entries, hasher) = (&self.entries, &self.hasher);
        let at = |slot: &Slot| entries[*slot as usize].as_ref().map(|entry| &entry.binding);
        let forward = |slot: &Slot| at(slot).map_or(0, |it| hasher.hash_one(it.tag()));
        let reverse = |slot: &Slot| at(slot).map_or(0, |it| hasher.hash_one(it.answer()));
        self.forward.insert_unique(hasher.hash_one(binding.tag()), slot, forward);
        self.reverse.insert_unique(hasher.hash_one(answer), slot, reverse);
        if binding.key.kind == NatKind::Source && owner == Owner::Own {
            self.ports.take(binding.key.device, &binding.key.tuple, binding.to);
        }
        gone
    }

    /// Ends a translation; adds what that touches to `tags`.
    pub fn remove(&mut self, key: &NatKey, now: Instant, tags: &mut Vec<Tag>) -> Option<Gone> {
        let slot = self.find_forward(key)?;
        let gone = self.take(slot, now)?;
        tags.push(Tag::Nat(gone.0.tag()));
        Some(gone)
    }

    /// Notes that a translation was used.
    pub fn note_use(&mut self, key: &NatKey, used_at: Instant) {
        if let Some(slot) = self.find_forward(key)
            && let Some(entry) = &mut self.entries[slot as usize]
        {
            entry.used_at = entry.used_at.max(used_at);
        }
    }

    /// Notes that a flow left that carried this tag, and when it was last used.
    pub fn note_left(&mut self, tag: NatTag, used_at: Instant) {
        let same = |slot: &Slot| self.binding(*slot).is_some_and(|it| it.tag() == tag);
        let found = self.forward.find(self.hasher.hash_one(tag), same).copied();
        if let Some(slot) = found
            && let Some(entry) = &mut self.entries[slot as usize]
        {
            entry.used_at = entry.used_at.max(used_at);
        }
    }

    /// Looks at some translations for their age; those that were idle too long end. `used` says
    /// when the datapath last used a flow that carries a tag, if it has one.
    ///
    /// All are looked at in sixteen calls. Those of other workers do not end here; for each that a
    /// flow of this worker keeps alive `keeps` is told whom to tell.
    pub fn expire(
        &mut self,
        now: Instant,
        used: impl Fn(NatTag) -> Option<Instant>,
        mut keeps: impl FnMut(u8, NatKey, Instant),
        tags: &mut Vec<Tag>,
    ) -> Vec<Gone> {
        let mut gone = Vec::new();
        let count = LOOKED_AT.max(self.entries.len() / GOES + 1).min(self.entries.len());
        for _ in 0..count {
            self.cursor = if self.cursor + 1 < self.entries.len() { self.cursor + 1 } else { 0 };
            let Some(entry) = &mut self.entries[self.cursor] else { continue };
            let timeout = idle_for(entry.binding.key.tuple.protocol);
            match entry.owner {
                Owner::Own if entry.used_at + timeout <= now => {}
                Owner::Worker(worker) if entry.used_at + timeout / 4 <= now => {
                    if let Some(used_at) = used(entry.binding.tag())
                        && used_at > entry.used_at
                    {
                        entry.used_at = used_at;
                        keeps(worker, entry.binding.key, used_at);
                    }
                    continue;
                }
                Owner::Own | Owner::Worker(_) => continue,
            }
            if let Some(used_at) = used(entry.binding.tag()) {
                entry.used_at = entry.used_at.max(used_at);
            }
            if entry.used_at + timeout <= now
                && let Some(ended) = self.take(self.cursor as Slot, now)
            {
                tags.push(Tag::Nat(ended.0.tag()));
                gone.push(ended);
            }
        }
        gone
    }

    /// Every translation of this worker's own.
    pub fn own(&self) -> impl Iterator<Item = &NatBinding> {
        let entries = self.entries.iter().flatten();
        entries.filter(|entry| entry.owner == Owner::Own).map(|entry| &entry.binding)
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

    /// A port for a new connection.
    #[must_use]
    pub fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        self.ports.free_source(wanted)
    }

    fn binding(&self, slot: Slot) -> Option<NatBinding> {
        self.entries[slot as usize].as_ref().map(|entry| entry.binding)
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
        if binding.key.kind == NatKind::Source && entry.owner == Owner::Own {
            self.ports.release(binding.key.device, &binding.key.tuple, binding.to, now);
        }
        Some(Gone(binding))
    }

    fn find_forward(&self, key: &NatKey) -> Option<Slot> {
        let same = |slot: &Slot| self.binding(*slot).is_some_and(|it| it.key == *key);
        self.forward.find(self.hasher.hash_one(key.tag(Way::Forward)), same).copied()
    }

    fn find_reverse(&self, key: &NatKey) -> Option<Slot> {
        let same = |slot: &Slot| self.binding(*slot).is_some_and(|it| it.answer() == *key);
        self.reverse.find(self.hasher.hash_one(key), same).copied()
    }
}

/// How long a translation nobody uses is kept.
const fn idle_for(protocol: IpProtocol) -> Duration {
    match protocol {
        IpProtocol::TCP => limits::NAT_TCP_IDLE_FOR,
        IpProtocol::UDP => limits::NAT_UDP_IDLE_FOR,
        _ => limits::NAT_ECHO_IDLE_FOR,
    }
}
