//! What this agent has loaded, and what of it nothing needs any more: its memory and its watches
//! follow its live traffic.

use std::collections::BTreeMap;
use std::ops::Bound;

use mn_flow::Tag;
use mn_ids::{ObjectKey, PortId};
use mn_time::{Duration, Instant};

use crate::limits;

/// Something that is loaded, and given up, as a whole.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Holding {
    /// An object with all that belongs to it: parts and tables of learned state.
    Object(ObjectKey),
    /// An object without what belongs to it.
    Alone(ObjectKey),
    /// Where a port is.
    Place(PortId),
}

impl Holding {
    /// What a flow with this tag needs. Every flow that depends on a part of a device carries the
    /// device's own tag too, so that parts name nothing here.
    #[must_use]
    pub fn of(tag: &Tag) -> Option<Self> {
        Some(Self::Object(match *tag {
            Tag::Bridge(id) => id.into(),
            Tag::Router(id) => id.into(),
            Tag::Port(id) => id.into(),
            Tag::Chain(id) => id.into(),
            Tag::IpAddrGroup(id) => id.into(),
            Tag::PortGroup(id) => id.into(),
            Tag::LoadBalancer(id) => id.into(),
            Tag::Pool(id) | Tag::PoolMember { pool: id, .. } => id.into(),
            Tag::Mirror(id) => id.into(),
            Tag::QosPolicy(id) => id.into(),
            Tag::L2Insertion(id) => id.into(),
            Tag::Location(port) => return Some(Self::Place(port)),
            Tag::Mac { .. }
            | Tag::BridgeNeighbor { .. }
            | Tag::Flood { .. }
            | Tag::Neighbor { .. }
            | Tag::Peer(_)
            | Tag::Dhcp(_)
            | Tag::Route { .. }
            | Tag::Vip { .. }
            | Tag::Nat(_)
            | Tag::Path(_) => return None,
        }))
    }
}

/// Everything held, and when each was last needed.
///
/// ```text
///          hold                    nobody needs it for `unused_for`
/// (nothing) ───▶ held, used at t ──────────────────────────────────▶ given up, (nothing)
///                   ▲     │ note_use
///                   └─────┘
/// ```
///
/// What is given up is loaded anew when something asks for it: so the time is long against how often
/// uses are noted, and nothing comes and goes with every packet.
#[derive(Clone, Debug)]
pub struct Holdings {
    unused_for: Duration,
    used: BTreeMap<Holding, Instant>,
    /// Where the search goes on.
    looked_to: Option<Holding>,
}

impl Holdings {
    /// None yet. What nothing needs for `unused_for` is given up.
    #[must_use]
    pub const fn new(unused_for: Duration) -> Self {
        Self { unused_for, used: BTreeMap::new(), looked_to: None }
    }

    /// It was asked for: it is held from now on. Whether it was not before.
    pub fn hold(&mut self, holding: Holding, now: Instant) -> bool {
        let before = self.used.insert(holding, now);
        before.is_none()
    }

    /// Whether it is held.
    #[must_use]
    pub fn has(&self, holding: Holding) -> bool {
        self.used.contains_key(&holding)
    }

    /// Something needs it now. What is not held stays so.
    pub fn note_use(&mut self, holding: Holding, now: Instant) {
        if let Some(used) = self.used.get_mut(&holding) {
            *used = now;
        }
    }

    /// Looks at the next [`limits::HOLDING_LOOKS`], round and round, and gives up of them what
    /// nothing has needed for long, at most [`limits::GIVE_UP_AT_ONCE`].
    pub fn give_up(&mut self, now: Instant) -> Vec<Holding> {
        let from = self.looked_to.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut idle, mut looks) = (Vec::new(), 0);
        self.looked_to = None;
        for (holding, used) in self.used.range((from, Bound::Unbounded)) {
            if *used + self.unused_for <= now {
                idle.push(*holding);
            }
            looks += 1;
            if looks == limits::HOLDING_LOOKS || idle.len() == limits::GIVE_UP_AT_ONCE {
                self.looked_to = Some(*holding);
                break;
            }
        }
        for holding in &idle {
            self.used.remove(holding);
        }
        idle
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::{Class, Id};
    use uuid::Uuid;

    use super::*;

    const UNUSED_FOR: Duration = Duration::from_secs(600);

    fn object(n: u128) -> Holding {
        Holding::Object(ObjectKey { class: Class::Chain, id: Uuid::from_u128(n) })
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_nothing_needs_is_given_up_after_its_time_and_not_before() {
        let mut holdings = Holdings::new(UNUSED_FOR);
        assert!(holdings.hold(object(1), after(0)) && holdings.hold(object(2), after(0)));
        assert!(!holdings.hold(object(1), after(0)));
        assert_eq!(holdings.give_up(after(599)), []);
        holdings.note_use(object(2), after(599));
        assert_eq!(holdings.give_up(after(600)), [object(1)]);
        assert_eq!(holdings.give_up(after(1198)), []);
        assert_eq!(holdings.give_up(after(1199)), [object(2)]);
        assert!(holdings.is_empty());
    }

    #[test]
    fn what_was_given_up_is_held_again_when_it_is_asked_for() {
        let mut holdings = Holdings::new(UNUSED_FOR);
        holdings.hold(object(1), after(0));
        assert_eq!(holdings.give_up(after(600)), [object(1)]);
        // A late word of a use brings nothing back: it has to be loaded.
        holdings.note_use(object(1), after(601));
        assert!(holdings.is_empty());
        assert!(holdings.hold(object(1), after(602)));
        assert_eq!(holdings.give_up(after(1201)), []);
    }

    #[test]
    fn however_much_is_idle_one_look_is_short_and_all_of_it_goes_in_turn() {
        let mut holdings = Holdings::new(UNUSED_FOR);
        let count = 3 * limits::HOLDING_LOOKS;
        for n in 0..count {
            // One in a hundred is in use.
            let used = if n % 100 == 0 { after(600) } else { after(0) };
            holdings.hold(object(n as u128), used);
        }
        let mut rounds = 0;
        while holdings.len() > count.div_ceil(100) {
            let idle = holdings.give_up(after(600));
            assert!(idle.len() <= limits::GIVE_UP_AT_ONCE);
            rounds += 1;
            assert!(rounds <= 2 * count / limits::GIVE_UP_AT_ONCE, "it goes nowhere");
        }
    }

    #[test]
    fn a_flow_needs_what_it_read_whole() {
        let (port, bridge) = (Id::random(), Id::random());
        assert_eq!(Holding::of(&Tag::Location(port)), Some(Holding::Place(port)));
        assert_eq!(Holding::of(&Tag::Port(port)), Some(Holding::Object(port.into())));
        assert_eq!(Holding::of(&Tag::Bridge(bridge)), Some(Holding::Object(bridge.into())));
        assert_eq!(Holding::of(&Tag::Dhcp(bridge)), None);
    }
}
