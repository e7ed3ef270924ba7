//! When learned MACs are forgotten, and MACs that move too often.

use std::collections::HashMap;

use mn_ids::{BridgeId, PortId};
use mn_packet::{Mac, VlanId};
use mn_time::{Duration, Instant};

use crate::limits::{MAC_HOLD_FOR, MAC_IDLE_FOR, MAC_MOVES_MAX};

/// A MAC in a broadcast domain.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacPlace {
    pub bridge: BridgeId,
    pub vlan: Option<VlanId>,
    pub mac: Mac,
}

/// What hearing from a MAC means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Learned {
    /// It is where it was.
    Same,
    /// It is new, or elsewhere: tell the others.
    News,
    /// It moved too often in one second and is held where it was; the first time it is an event.
    Held { first: bool },
}

/// The MACs this worker learned, with when they were last heard.
#[derive(Debug, Default)]
pub struct MacAges {
    heard: HashMap<MacPlace, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    port: PortId,
    at: Instant,
    /// Moves since `counted_from`.
    moves: u8,
    counted_from: Instant,
    held_until: Instant,
}

impl MacAges {
    /// Notes a frame from a MAC on a port.
    pub fn hear(&mut self, place: MacPlace, port: PortId, now: Instant) -> Learned {
        let Some(heard) = self.heard.get_mut(&place) else {
            let heard = Heard { port, at: now, moves: 0, counted_from: now, held_until: now };
            self.heard.insert(place, heard);
            return Learned::News;
        };
        if heard.port == port {
            heard.at = now;
            return Learned::Same;
        }
        if now < heard.held_until {
            return Learned::Held { first: false };
        }
        if heard.counted_from + Duration::from_secs(1) <= now {
            (heard.moves, heard.counted_from) = (0, now);
        }
        heard.moves += 1;
        if heard.moves > MAC_MOVES_MAX {
            heard.held_until = now + MAC_HOLD_FOR;
            return Learned::Held { first: true };
        }
        (heard.port, heard.at) = (port, now);
        Learned::News
    }

    /// Notes that flows from or to a MAC were in the datapath.
    pub fn note_use(&mut self, place: MacPlace, used_at: Instant) {
        if let Some(heard) = self.heard.get_mut(&place) {
            heard.at = heard.at.max(used_at);
        }
    }

    /// Forgets a MAC: another host learned it, or its port is gone.
    pub fn forget(&mut self, place: MacPlace) {
        self.heard.remove(&place);
    }

    /// Forgets what was not heard for long: to be withdrawn from the table.
    pub fn expire(&mut self, now: Instant) -> Vec<(MacPlace, PortId)> {
        let old = |heard: &Heard| heard.at + MAC_IDLE_FOR <= now;
        let gone = self.heard.extract_if(|_, heard| old(heard));
        gone.map(|(place, heard)| (place, heard.port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    fn place() -> MacPlace {
        MacPlace {
            bridge: Id::from_uuid(uuid::Uuid::from_u128(1)),
            vlan: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
        }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_mac_that_stays_is_news_once_and_one_that_moves_is_news_again() {
        let (mut ages, one, other) = (MacAges::default(), Id::random(), Id::random());
        assert_eq!(ages.hear(place(), one, at(0)), Learned::News);
        assert_eq!(ages.hear(place(), one, at(1)), Learned::Same);
        assert_eq!(ages.hear(place(), other, at(2)), Learned::News);
    }

    #[test]
    fn more_than_five_moves_in_a_second_hold_a_mac_where_it_is_with_one_event() {
        let (mut ages, ports) = (MacAges::default(), [Id::random(), Id::random()]);
        let heard: Vec<Learned> = (0..=7)
            .map(|step| ages.hear(place(), ports[step % 2], at(100 * step as u64)))
            .collect();
        assert_eq!(heard[..6], [Learned::News; 6], "the first sight and five moves");
        assert_eq!(heard[6], Learned::Held { first: true });
        assert_eq!(heard[7], Learned::Same, "it is still where it was held");
        assert_eq!(ages.hear(place(), ports[0], at(900)), Learned::Held { first: false });
        assert_eq!(ages.hear(place(), ports[0], at(11_000)), Learned::News);
    }

    #[test]
    fn a_mac_whose_flows_are_used_does_not_age() {
        let (mut ages, port) = (MacAges::default(), Id::random());
        ages.hear(place(), port, at(0));
        ages.note_use(place(), at(200_000));
        assert_eq!(ages.expire(at(300_000)), []);
        assert_eq!(ages.expire(at(500_000)), [(place(), port)]);
    }
}
