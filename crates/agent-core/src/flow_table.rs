//! The agent's mirror of the flows it installed: what each depends on, and when it is to leave.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use mn_flow::{Cookie, Expiry, FlowKey, FlowMask, GroupIndex, NatTag, PathTag, PortNo, Tag};
use mn_simulation::nat::Way;
use mn_time::Instant;

use crate::limits;
use crate::port_limits::PortCounts;
use crate::tag_index::{Seat, Slot, TagIndex};

/// One flow in so many is found at once where some are to leave for want of room.
const VICTIMS_SHARE: usize = 16;

/// A flow to be installed.
#[derive(Clone, Debug)]
pub struct NewFlow<'a> {
    pub key: FlowKey,
    pub mask: FlowMask,
    pub tags: &'a [Tag],
    pub expiry: Expiry,
    /// The output groups its actions name.
    pub groups: &'a [GroupIndex],
    /// Which way of translated TCP connections its packets go, where it tells of them.
    pub follows: Option<Way>,
}

/// A flow that leaves: what the datapath needs to remove it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaving {
    pub cookie: Cookie,
    pub key: FlowKey,
    pub mask: FlowMask,
    pub groups: Box<[GroupIndex]>,
}

/// One worker's flows.
///
/// No two have the same mask and masked key; the datapath has none twice either. Removal by tag is
/// exact: every flow that carries a touched tag, and no other (contracts: `Tag::touches`).
///
/// Once its lists have grown, flows that come and go allocate nothing.
#[derive(Debug)]
pub struct FlowTable {
    /// The high 24 bits of every cookie: the worker and this life of the agent.
    prefix: u64,
    max: usize,
    flows: Vec<Option<Flow>>,
    free: Vec<Slot>,
    /// How often each slot was used, so that a cookie does not come again soon.
    generations: Vec<u8>,
    by_match: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    tags: TagIndex,
    /// The output groups of the few flows that name some.
    groups: HashMap<Slot, Box<[GroupIndex]>>,
    /// Where the search for flows that are over goes on.
    expired_to: usize,
    /// Flows that were idle longest when this was filled, the longest last.
    victims: Vec<(Instant, Slot)>,
    /// Slots to be taken out. Empty between two calls.
    leaving: Vec<Slot>,
    /// How many flows there are of packets of each port.
    by_port: PortCounts,
    /// Translations whose flows left, and when those were last used.
    left: Vec<(NatTag, Instant)>,
    /// The ways of connections whose flows left.
    left_paths: Vec<PathTag>,
}

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    mask: FlowMask,
    used_at: Instant,
    expiry: Expiry,
    follows: Option<Way>,
    /// Its place among those with the same tags.
    seat: Seat,
}

/// Where a flow with some mask and masked key is, or would be.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u64,
    found: Option<Slot>,
}

impl FlowTable {
    /// An empty table of at most `max` flows, whose cookies differ from those of other workers and
    /// of the 65,535 other lives of agents nearest to this one.
    #[must_use]
    pub fn new(worker: u8, life: u16, max: usize) -> Self {
        Self {
            prefix: u64::from(worker) << 56 | u64::from(life) << 40,
            max,
            flows: Vec::new(),
            free: Vec::new(),
            generations: Vec::new(),
            by_match: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            tags: TagIndex::default(),
            groups: HashMap::new(),
            expired_to: 0,
            victims: Vec::new(),
            leaving: Vec::new(),
            by_port: PortCounts::default(),
            left: Vec::new(),
            left_paths: Vec::new(),
        }
    }

    /// Enters a flow and gives it its cookie. A flow with the same mask and masked key is replaced,
    /// as it is in the datapath: it comes back as the second value and needs no removal there.
    ///
    /// The caller has made room: see [`Self::is_full`].
    pub fn insert(&mut self, flow: &NewFlow<'_>, now: Instant) -> (Cookie, Option<Leaving>) {
        let Place { hash, found } = self.place(&flow.key, flow.mask);
        let replaced = found.and_then(|slot| self.take(slot));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.generations.push(0);
            Slot::try_from(self.flows.len() - 1).expect("fewer than 2^32 flows")
        });
        self.flows[slot as usize] = Some(Flow {
            key: flow.key,
            mask: flow.mask,
            used_at: now,
            expiry: flow.expiry,
            follows: flow.follows,
            seat: self.tags.join(flow.tags, slot),
        });
        self.by_port.more(flow.key.in_port);
        if !flow.groups.is_empty() {
            self.groups.insert(slot, flow.groups.into());
        }
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.by_match.insert_unique(hash, slot, |slot| rehash(flows, hasher, *slot));
        (self.cookie(slot), replaced)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, cookie: Cookie) -> Option<Leaving> {
        let slot = self.slot(cookie)?;
        self.take(slot)
    }

    /// Whether a flow with this mask and masked key is here; its cookie.
    #[must_use]
    pub fn cookie_of(&self, key: &FlowKey, mask: FlowMask) -> Option<Cookie> {
        self.place(key, mask).found.map(|slot| self.cookie(slot))
    }

    /// The key that a flow was made for.
    #[must_use]
    pub fn key_of(&self, cookie: Cookie) -> Option<&FlowKey> {
        self.flows[self.slot(cookie)? as usize].as_ref().map(|flow| &flow.key)
    }

    /// When a flow was last used, as far as this was told; `None` for one that is gone.
    #[must_use]
    pub fn used_at(&self, cookie: Cookie) -> Option<Instant> {
        self.flows[self.slot(cookie)? as usize].as_ref().map(|flow| flow.used_at)
    }

    /// Takes out every flow that a change of one of `tags` touches, and no other.
    pub fn invalidate(&mut self, tags: &[Tag], leaving: &mut Vec<Leaving>) {
        let mut slots = std::mem::take(&mut self.leaving);
        for tag in tags {
            self.tags.touched(tag, |flows| slots.extend_from_slice(flows));
        }
        leaving.extend(slots.drain(..).filter_map(|slot| self.take(slot)));
        self.leaving = slots;
    }

    /// Notes when the datapath last used a flow. A brief one leaves though it is used.
    pub fn note_use(&mut self, cookie: Cookie, used_at: Instant) {
        if let Some(slot) = self.slot(cookie)
            && let Some(flow) = &mut self.flows[slot as usize]
            && flow.expiry != Expiry::Brief
        {
            flow.used_at = flow.used_at.max(used_at);
        }
    }

    /// When the datapath last used a flow that carries this tag; `None` where none does.
    #[must_use]
    pub fn last_use(&self, tag: Tag) -> Option<Instant> {
        let (flows, mut last) = (&self.flows, None);
        self.tags.touched(&tag, |slots| {
            let used =
                slots.iter().filter_map(|slot| Some(flows[*slot as usize].as_ref()?.used_at));
            last = last.max(used.max());
        });
        last
    }

    /// The way of a flow that tells of translated connections; fills `carried` with what it carries
    /// of translations, those that it looked for in vain too.
    pub fn followed(&self, cookie: Cookie, carried: &mut Vec<NatTag>) -> Option<Way> {
        let flow = self.flows[self.slot(cookie)? as usize].as_ref()?;
        carried.clear();
        carried.extend(self.tags.of(flow.seat).filter_map(|tag| match tag {
            Tag::Nat(tag) => Some(tag),
            _ => None,
        }));
        flow.follows
    }

    /// Has the flows that carry a tag leave soon, used or not.
    pub fn shorten(&mut self, tag: Tag, now: Instant) {
        let flows = &mut self.flows;
        self.tags.touched(&tag, |slots| {
            for slot in slots {
                if let Some(flow) = &mut flows[*slot as usize] {
                    (flow.expiry, flow.used_at) = (Expiry::Brief, now);
                }
            }
        });
    }

    /// The translations that flows carried which have left since the last call, and when those were
    /// last used.
    pub fn take_left(&mut self) -> Vec<(NatTag, Instant)> {
        std::mem::take(&mut self.left)
    }

    /// The ways that flows took which have left since the last call.
    pub fn take_left_paths(&mut self) -> impl Iterator<Item = PathTag> + '_ {
        self.left_paths.drain(..)
    }

    /// Looks at the next so many places, round and round, and takes out flows that nobody used for
    /// long, and brief ones whose time is over.
    pub fn expire(&mut self, now: Instant, places: usize, leaving: &mut Vec<Leaving>) {
        for _ in 0..places.min(self.flows.len()) {
            let slot = self.expired_to % self.flows.len();
            self.expired_to = slot + 1;
            if self.flows[slot].as_ref().is_some_and(|flow| flow.is_over(now)) {
                leaving.extend(self.take(slot as Slot));
            }
        }
    }

    /// How many places there are, with a flow or without.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is no room for another flow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// Takes out `count` flows, those that were idle longest first.
    pub fn evict(&mut self, count: usize, leaving: &mut Vec<Leaving>) {
        for _ in 0..count {
            let Some(slot) = self.victim() else { return };
            leaving.extend(self.take(slot));
        }
    }

    /// The flow that was idle longest. Many are found at once: none that was used since is idle
    /// longer than these.
    fn victim(&mut self) -> Option<Slot> {
        if self.is_empty() {
            return None;
        }
        loop {
            while let Some((used_at, slot)) = self.victims.pop() {
                let flow = self.flows[slot as usize].as_ref();
                if flow.is_some_and(|flow| flow.used_at == used_at) {
                    return Some(slot);
                }
            }
            self.find_victims();
        }
    }

    fn find_victims(&mut self) {
        let flows = self.flows.iter().enumerate();
        let idle = flows.filter_map(|(slot, flow)| Some((flow.as_ref()?.used_at, slot as Slot)));
        self.victims.extend(idle);
        let count = (self.victims.len() / VICTIMS_SHARE).max(1);
        if count < self.victims.len() {
            self.victims.select_nth_unstable(count - 1);
            self.victims.truncate(count);
        }
        self.victims.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// How many flows there are of packets of a port.
    #[must_use]
    pub fn of_port(&self, port: PortNo) -> u32 {
        self.by_port.of(port)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the flows depend on, each once.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.carried()
    }

    /// How many different tags the flows carry.
    #[must_use]
    pub fn tag_count(&self) -> usize {
        self.tags.len()
    }

    fn take(&mut self, slot: Slot) -> Option<Leaving> {
        let flow = self.flows[slot as usize].as_ref()?;
        let hash = self.hash(&flow.mask.apply(&flow.key), flow.mask);
        if let Ok(entry) = self.by_match.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        let cookie = self.cookie(slot);
        let flow = self.flows[slot as usize].take()?;
        self.by_port.less(flow.key.in_port);
        for tag in self.tags.of(flow.seat) {
            match tag {
                Tag::Nat(tag) => self.left.push((tag, flow.used_at)),
                Tag::Path(path) => self.left_paths.push(path),
                _ => {}
            }
        }
        if let Some(moved) = self.tags.leave(flow.seat)
            && let Some(moved) = &mut self.flows[moved as usize]
        {
            moved.seat.moved_to(flow.seat);
        }
        let groups = match self.groups.is_empty() {
            true => None,
            false => self.groups.remove(&slot),
        };
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
        self.free.push(slot);
        let groups = groups.unwrap_or_default();
        Some(Leaving { cookie, key: flow.key, mask: flow.mask, groups })
    }

    fn place(&self, key: &FlowKey, mask: FlowMask) -> Place {
        let masked = mask.apply(key);
        let same = |slot: &Slot| {
            self.flows[*slot as usize]
                .as_ref()
                .is_some_and(|flow| flow.mask == mask && mask.apply(&flow.key) == masked)
        };
        let hash = self.hash(&masked, mask);
        Place { hash, found: self.by_match.find(hash, same).copied() }
    }

    fn hash(&self, masked: &FlowKey, mask: FlowMask) -> u64 {
        self.hasher.hash_one((masked, mask))
    }

    fn cookie(&self, slot: Slot) -> Cookie {
        let generation = u64::from(self.generations[slot as usize]);
        Cookie(self.prefix | generation << 32 | (u64::from(slot) + 1))
    }

    /// Where the flow with this cookie is; `None` for a cookie of another table or a flow gone.
    fn slot(&self, cookie: Cookie) -> Option<Slot> {
        let slot = u32::try_from(cookie.0 & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        let there = self.flows.get(slot as usize)?.is_some();
        (there && self.cookie(slot) == cookie).then_some(slot)
    }
}

impl Flow {
    /// Whether it is to leave, though nothing that it depends on has changed.
    fn is_over(&self, now: Instant) -> bool {
        match self.expiry {
            // Its use does not count: see `FlowTable::note_use`.
            Expiry::Brief => self.used_at + limits::BRIEF_FOR <= now,
            Expiry::Idle | Expiry::None => self.used_at + limits::IDLE_FOR <= now,
        }
    }
}

fn rehash(flows: &[Option<Flow>], hasher: &DefaultHashBuilder, slot: Slot) -> u64 {
    let flow = flows[slot as usize].as_ref().expect("slots in the index have flows");
    hasher.hash_one((flow.mask.apply(&flow.key), flow.mask))
}
