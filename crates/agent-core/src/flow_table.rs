//! The agent's mirror of the flows it installed: what each depends on, and when it is to leave.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use mn_flow::{Cookie, Expiry, FlowKey, FlowMask, GroupIndex, Tag};
use mn_time::Instant;

use crate::limits;
use crate::tag_index::{Slot, TagIndex, TagNo};

/// A flow to be installed.
#[derive(Clone, Debug)]
pub struct NewFlow<'a> {
    pub key: FlowKey,
    pub mask: FlowMask,
    pub tags: &'a [Tag],
    pub expiry: Expiry,
    /// The output groups its actions name.
    pub groups: &'a [GroupIndex],
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
}

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    mask: FlowMask,
    used_at: Instant,
    /// When it leaves though it is used.
    ends_at: Option<Instant>,
    tags: Box<[TagNo]>,
    groups: Box<[GroupIndex]>,
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
        }
    }

    /// The worker in a cookie.
    #[must_use]
    pub const fn worker_of(cookie: Cookie) -> u8 {
        (cookie.0 >> 56) as u8
    }

    /// Enters a flow and gives it its cookie. A flow with the same mask and masked key is replaced,
    /// as it is in the datapath: it comes back as the second value and needs no removal there.
    ///
    /// The caller has made room: see [`Self::is_full`].
    pub fn insert(&mut self, flow: &NewFlow<'_>, now: Instant) -> (Cookie, Option<Leaving>) {
        let replaced = self.find(&flow.key, flow.mask).and_then(|slot| self.take(slot));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.generations.push(0);
            Slot::try_from(self.flows.len() - 1).expect("fewer than 2^32 flows")
        });
        let mut tags: Vec<TagNo> = Vec::with_capacity(flow.tags.len());
        for tag in flow.tags {
            let flows = &self.flows;
            let number = self.tags.add(*tag, slot, |slot, number| carries(flows, slot, number));
            if tags.contains(&number) {
                self.tags.drop_one(number);
            } else {
                tags.push(number);
            }
        }
        let ends_at = (flow.expiry == Expiry::Brief).then(|| now + limits::BRIEF_FOR);
        self.flows[slot as usize] = Some(Flow {
            key: flow.key,
            mask: flow.mask,
            used_at: now,
            ends_at,
            tags: tags.into(),
            groups: flow.groups.into(),
        });
        let hash = self.hash(&flow.key, flow.mask);
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
        self.find(key, mask).map(|slot| self.cookie(slot))
    }

    /// The key that a flow was made for.
    #[must_use]
    pub fn key_of(&self, cookie: Cookie) -> Option<&FlowKey> {
        self.flows[self.slot(cookie)? as usize].as_ref().map(|flow| &flow.key)
    }

    /// Takes out every flow that a change of one of `tags` touches, and no other.
    pub fn invalidate(&mut self, tags: &[Tag], leaving: &mut Vec<Leaving>) {
        let mut slots = Vec::new();
        for tag in tags {
            let flows = &self.flows;
            self.tags.touched(tag, |number, users| {
                slots.extend(users.iter().filter(|slot| carries(flows, **slot, number)));
            });
        }
        for slot in slots {
            leaving.extend(self.take(slot));
        }
    }

    /// Notes when the datapath last used a flow.
    pub fn note_use(&mut self, cookie: Cookie, used_at: Instant) {
        if let Some(slot) = self.slot(cookie)
            && let Some(flow) = &mut self.flows[slot as usize]
        {
            flow.used_at = flow.used_at.max(used_at);
        }
    }

    /// Takes out flows that nobody used for long, and brief ones whose time is over.
    pub fn expire(&mut self, now: Instant, leaving: &mut Vec<Leaving>) {
        for slot in 0..self.flows.len() {
            let over = self.flows[slot].as_ref().is_some_and(|flow| match flow.ends_at {
                Some(ends_at) => ends_at <= now,
                None => flow.used_at + limits::IDLE_FOR <= now,
            });
            if over {
                leaving.extend(self.take(slot as Slot));
            }
        }
    }

    /// Whether there is no room for another flow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// Takes out `count` flows, those that were idle longest first.
    pub fn evict(&mut self, count: usize, leaving: &mut Vec<Leaving>) {
        let flows = self.flows.iter().enumerate();
        let mut idle: Vec<(Instant, Slot)> =
            flows.filter_map(|(slot, flow)| Some((flow.as_ref()?.used_at, slot as Slot))).collect();
        let count = count.min(idle.len());
        if count == 0 {
            return;
        }
        idle.select_nth_unstable(count - 1);
        for (_, slot) in &idle[..count] {
            leaving.extend(self.take(*slot));
        }
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different tags the flows carry.
    #[must_use]
    pub fn tag_count(&self) -> usize {
        self.tags.len()
    }

    fn take(&mut self, slot: Slot) -> Option<Leaving> {
        let flow = self.flows[slot as usize].as_ref()?;
        let hash = self.hash(&flow.key, flow.mask);
        if let Ok(entry) = self.by_match.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        let cookie = self.cookie(slot);
        let flow = self.flows[slot as usize].take()?;
        for number in &flow.tags {
            self.tags.drop_one(*number);
        }
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
        self.free.push(slot);
        Some(Leaving { cookie, key: flow.key, mask: flow.mask, groups: flow.groups })
    }

    fn find(&self, key: &FlowKey, mask: FlowMask) -> Option<Slot> {
        let masked = mask.apply(key);
        let same = |slot: &Slot| {
            self.flows[*slot as usize]
                .as_ref()
                .is_some_and(|flow| flow.mask == mask && mask.apply(&flow.key) == masked)
        };
        self.by_match.find(self.hasher.hash_one((masked, mask)), same).copied()
    }

    fn hash(&self, key: &FlowKey, mask: FlowMask) -> u64 {
        self.hasher.hash_one((mask.apply(key), mask))
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

/// Whether the flow in `slot`, if there is one, carries the tag.
fn carries(flows: &[Option<Flow>], slot: Slot, number: TagNo) -> bool {
    flows[slot as usize].as_ref().is_some_and(|flow| flow.tags.contains(&number))
}

fn rehash(flows: &[Option<Flow>], hasher: &DefaultHashBuilder, slot: Slot) -> u64 {
    let flow = flows[slot as usize].as_ref().expect("slots in the index have flows");
    hasher.hash_one((flow.mask.apply(&flow.key), flow.mask))
}
