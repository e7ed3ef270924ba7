//! Which flows depend on what.

use std::collections::{BTreeMap, HashMap};

use mn_flow::Tag;
use mn_ids::RouterId;

/// A tag's number, so that a flow holds four octets of each.
pub(crate) type TagNo = u32;

/// Where a flow is in its table.
pub(crate) type Slot = u32;

/// From each tag to the flows that carry it.
///
/// A flow that leaves is not searched for in the lists of its tags (some have all flows): its slot
/// stays there and is recognised as left over when the list is read. Lists are cleaned when more
/// than half is left over, so cleaning costs a constant a flow.
#[derive(Debug, Default)]
pub(crate) struct TagIndex {
    numbers: HashMap<Tag, TagNo>,
    users: Vec<Users>,
    free: Vec<TagNo>,
    /// The route tags again, in the order of router and first address, for searches by overlap.
    routes: BTreeMap<(RouterId, u128, u8), TagNo>,
}

#[derive(Debug)]
struct Users {
    tag: Tag,
    /// Slots of flows that carry or carried it.
    slots: Vec<Slot>,
    /// How many carry it now.
    live: usize,
}

impl TagIndex {
    /// Notes that the flow in `slot` carries the tag; its number.
    pub(crate) fn add(
        &mut self,
        tag: Tag,
        slot: Slot,
        carries: impl Fn(Slot, TagNo) -> bool,
    ) -> TagNo {
        let tag = normal(tag);
        let number = match self.numbers.get(&tag) {
            Some(number) => *number,
            None => self.number(tag),
        };
        let users = &mut self.users[number as usize];
        if users.slots.len() > 2 * users.live + 16 {
            users.slots.retain(|slot| carries(*slot, number));
            users.slots.sort_unstable();
            users.slots.dedup();
        }
        users.slots.push(slot);
        users.live += 1;
        number
    }

    /// Notes that a flow that carried the tag has left.
    pub(crate) fn drop_one(&mut self, number: TagNo) {
        let users = &mut self.users[number as usize];
        users.live -= 1;
        if users.live > 0 {
            return;
        }
        users.slots = Vec::new();
        self.numbers.remove(&users.tag);
        if let Tag::Route { router, addr, len } = users.tag {
            self.routes.remove(&(router, addr.to_bits(), len));
        }
        self.free.push(number);
    }

    /// The slots of flows that a change of `tag` touches: perhaps some that left, or twice.
    pub(crate) fn touched(&self, tag: &Tag, mut each: impl FnMut(TagNo, &[Slot])) {
        let tag = normal(*tag);
        let mut visit = |number: TagNo| each(number, &self.users[number as usize].slots);
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

    /// How many different tags flows carry.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
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

    fn number(&mut self, tag: Tag) -> TagNo {
        let users = Users { tag, slots: Vec::new(), live: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.users[number as usize] = users;
                number
            }
            None => {
                self.users.push(users);
                TagNo::try_from(self.users.len() - 1).expect("fewer than 2^32 tags")
            }
        };
        self.numbers.insert(tag, number);
        if let Tag::Route { router, addr, len } = tag {
            self.routes.insert((router, addr.to_bits(), len), number);
        }
        number
    }
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
