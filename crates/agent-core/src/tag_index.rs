//! Which flows depend on what.
//!
//! Flows that took the same way through the network read the same things, and there are many of
//! them: a set of tags is kept once, with the flows that carry it. So a new flow on a known way
//! costs one comparison of its tags and one entry, and a flow that leaves costs no search.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use mn_flow::Tag;
use mn_ids::RouterId;

/// A tag's number.
type TagNo = u32;

/// A set's number.
type SetNo = u32;

/// Where a flow is in its table.
pub(crate) type Slot = u32;

/// Lists of sets that are not in use keep room for so many entries, for the next set.
const KEPT: usize = 64;

/// From each tag to the flows that carry it.
#[derive(Debug, Default)]
pub(crate) struct TagIndex {
    sets: Vec<TagSet>,
    free_sets: Vec<SetNo>,
    by_tags: HashTable<SetNo>,
    hasher: DefaultHashBuilder,
    /// The set of the flow that came last: the next one's as likely as not.
    last: Option<SetNo>,
    numbers: HashMap<Tag, TagNo>,
    tags: Vec<Carried>,
    free_tags: Vec<TagNo>,
    /// The route tags again, in the order of router and first address, for searches by overlap.
    routes: BTreeMap<(RouterId, u128, u8), TagNo>,
}

/// The tags some flows have in common, in the order a walk met them.
#[derive(Debug, Default)]
struct TagSet {
    links: Vec<Link>,
    /// The flows. A set without any is free.
    flows: Vec<Slot>,
}

/// A tag of a set.
#[derive(Clone, Copy, Debug)]
struct Link {
    tag: TagNo,
    /// Where the set is in the tag's list.
    at: u32,
}

/// A tag that some set has.
#[derive(Debug)]
struct Carried {
    tag: Tag,
    sets: Vec<SetNo>,
}

/// Where a flow stands: in which set, at which place of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    set: SetNo,
    at: u32,
}

impl Seat {
    /// The same set, another place: the flow was moved there.
    pub(crate) fn moved_to(&mut self, other: Self) {
        self.at = other.at;
    }
}

impl TagIndex {
    /// Notes that the flow in `slot` carries these tags; where it stands.
    pub(crate) fn join(&mut self, tags: &[Tag], slot: Slot) -> Seat {
        let set = match self.last.filter(|set| self.has(*set, tags)) {
            Some(set) => set,
            None => self.set_of(tags),
        };
        self.last = Some(set);
        let flows = &mut self.sets[set as usize].flows;
        flows.push(slot);
        Seat { set, at: number(flows.len() - 1) }
    }

    /// Notes that a flow has left. Another may have been moved to its place: that one's slot.
    pub(crate) fn leave(&mut self, seat: Seat) -> Option<Slot> {
        let flows = &mut self.sets[seat.set as usize].flows;
        flows.swap_remove(seat.at as usize);
        if flows.is_empty() {
            self.free(seat.set);
            return None;
        }
        flows.get(seat.at as usize).copied()
    }

    /// The slots of the flows that a change of `tag` touches, in pieces; some perhaps twice.
    pub(crate) fn touched(&self, tag: &Tag, mut each: impl FnMut(&[Slot])) {
        let tag = normal(*tag);
        let mut visit = |number: TagNo| {
            for set in &self.tags[number as usize].sets {
                each(&self.sets[*set as usize].flows);
            }
        };
        match tag {
            Tag::Route { router, addr, len } => {
                self.overlapping(router, addr.to_bits(), len, visit)
            }
            _ => {
                if let Some(number) = self.numbers.get(&tag) {
                    visit(*number);
                }
            }
        }
    }

    /// The tags of the flow that stands there.
    pub(crate) fn of(&self, seat: Seat) -> impl Iterator<Item = Tag> + '_ {
        self.sets[seat.set as usize].links.iter().map(|link| self.tags[link.tag as usize].tag)
    }

    /// The tags that flows carry.
    pub(crate) fn carried(&self) -> impl Iterator<Item = &Tag> {
        self.numbers.keys()
    }

    /// How many different tags flows carry.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether the set is in use and has these tags.
    fn has(&self, set: SetNo, tags: &[Tag]) -> bool {
        let set = &self.sets[set as usize];
        let same = |(link, tag): (&Link, &Tag)| self.tags[link.tag as usize].tag == normal(*tag);
        !set.flows.is_empty()
            && set.links.len() == tags.len()
            && set.links.iter().zip(tags).all(same)
    }

    /// The set with these tags, made where there is none.
    fn set_of(&mut self, tags: &[Tag]) -> SetNo {
        let hash = hash(&self.hasher, tags.iter().copied());
        if let Some(set) = self.by_tags.find(hash, |set| self.has(*set, tags)) {
            return *set;
        }
        let set = self.free_sets.pop().unwrap_or_else(|| {
            self.sets.push(TagSet::default());
            number(self.sets.len() - 1)
        });
        for tag in tags {
            let link = self.link(normal(*tag), set);
            self.sets[set as usize].links.push(link);
        }
        let (sets, tags, hasher) = (&self.sets, &self.tags, &self.hasher);
        self.by_tags.insert_unique(hash, set, |set| rehash(sets, tags, hasher, *set));
        set
    }

    /// Takes a set without flows out.
    fn free(&mut self, set: SetNo) {
        let hash = rehash(&self.sets, &self.tags, &self.hasher, set);
        if let Ok(entry) = self.by_tags.find_entry(hash, |other| *other == set) {
            entry.remove();
        }
        while let Some(link) = self.sets[set as usize].links.pop() {
            self.unlink(link);
        }
        self.sets[set as usize].flows.shrink_to(KEPT);
        self.free_sets.push(set);
    }

    /// Adds a set to a tag's list.
    fn link(&mut self, tag: Tag, set: SetNo) -> Link {
        let tag = match self.numbers.get(&tag) {
            Some(number) => *number,
            None => self.number(tag),
        };
        let sets = &mut self.tags[tag as usize].sets;
        sets.push(set);
        Link { tag, at: number(sets.len() - 1) }
    }

    /// Takes a set out of a tag's list; the one that is moved to its place hears of that.
    fn unlink(&mut self, link: Link) {
        let sets = &mut self.tags[link.tag as usize].sets;
        sets.swap_remove(link.at as usize);
        let from = number(sets.len());
        match sets.get(link.at as usize).copied() {
            Some(moved) => {
                let links = &mut self.sets[moved as usize].links;
                let place = links.iter_mut().find(|l| l.tag == link.tag && l.at == from);
                if let Some(place) = place {
                    place.at = link.at;
                }
            }
            None if sets.is_empty() => self.forget(link.tag),
            None => {}
        }
    }

    /// No set has the tag any more.
    fn forget(&mut self, number: TagNo) {
        let carried = &mut self.tags[number as usize];
        carried.sets.shrink_to(KEPT);
        self.numbers.remove(&carried.tag);
        if let Tag::Route { router, addr, len } = carried.tag {
            self.routes.remove(&(router, addr.to_bits(), len));
        }
        self.free_tags.push(number);
    }

    fn number(&mut self, tag: Tag) -> TagNo {
        let number = match self.free_tags.pop() {
            Some(number) => {
                self.tags[number as usize].tag = tag;
                number
            }
            None => {
                self.tags.push(Carried { tag, sets: Vec::new() });
                number(self.tags.len() - 1)
            }
        };
        self.numbers.insert(tag, number);
        if let Tag::Route { router, addr, len } = tag {
            self.routes.insert((router, addr.to_bits(), len), number);
        }
        number
    }

    fn overlapping(&self, router: RouterId, addr: u128, len: u8, mut each: impl FnMut(TagNo)) {
        // Those that begin within the prefix: contained in it, or as long a beginning.
        let last = addr | !mask(len);
        for number in self.routes.range((router, addr, 0)..=(router, last, 128)).map(|(_, no)| no) {
            each(*number);
        }
        // Those that contain it and begin before it.
        for shorter in 0..len {
            let begin = addr & mask(shorter);
            if begin != addr
                && let Some(number) = self.routes.get(&(router, begin, shorter))
            {
                each(*number);
            }
        }
    }
}

/// A place in one of our lists as a number.
fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 of everything")
}

fn hash(hasher: &DefaultHashBuilder, tags: impl Iterator<Item = Tag>) -> u64 {
    let mut state = hasher.build_hasher();
    tags.for_each(|tag| normal(tag).hash(&mut state));
    state.finish()
}

fn rehash(sets: &[TagSet], tags: &[Carried], hasher: &DefaultHashBuilder, set: SetNo) -> u64 {
    let links = &sets[set as usize].links;
    hash(hasher, links.iter().map(|link| tags[link.tag as usize].tag))
}

/// The tag with the bits of a prefix after its length zeroed.
fn normal(tag: Tag) -> Tag {
    match tag {
        Tag::Route { router, addr, len } => {
            Tag::Route { router, addr: (addr.to_bits() & mask(len)).into(), len: len.min(128) }
        }
        other => other,
    }
}

/// `len` one bits, then zeros.
fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0)
}
