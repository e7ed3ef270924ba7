//! When learned MACs are forgotten, and MACs that move too often.

use hashbrown::HashMap;
use mn_ids::{BridgeId, PortId};
use mn_packet::{Mac, VlanId};
use mn_time::{Duration, Instant};

use crate::is_within;
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
    /// Its port has as many MACs as it may have: nobody is told.
    Full,
}

/// The MACs this worker learned, with when they were last heard.
#[derive(Debug, Default)]
pub struct MacAges {
    heard: HashMap<MacPlace, Heard>,
    counts: HashMap<PortId, u32>,
    /// The most of one port; 0: no limit.
    per_port: u32,
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
    /// None yet, and at most so many of one port; 0: no limit.
    #[must_use]
    pub fn new(per_port: u32) -> Self {
        Self { per_port, ..Self::default() }
    }

    /// Notes a frame from a MAC on a port.
    pub fn hear(&mut self, place: MacPlace, port: PortId, now: Instant) -> Learned {
        let Some(heard) = self.heard.get_mut(&place) else {
            if !is_within(self.count(port), self.per_port) {
                return Learned::Full;
            }
            *self.counts.entry(port).or_default() += 1;
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
        if !is_within(self.counts.get(&port).copied().unwrap_or(0), self.per_port) {
            return Learned::Full;
        }
        let before = std::mem::replace(&mut heard.port, port);
        heard.at = now;
        self.less(before);
        *self.counts.entry(port).or_default() += 1;
        Learned::News
    }

    /// How many MACs are behind a port.
    #[must_use]
    pub fn count(&self, port: PortId) -> u32 {
        self.counts.get(&port).copied().unwrap_or(0)
    }

    fn less(&mut self, port: PortId) {
        if let Some(count) = self.counts.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&port);
            }
        }
    }

    /// Notes that flows from or to a MAC were in the datapath.
    pub fn note_use(&mut self, place: MacPlace, used_at: Instant) {
        if let Some(heard) = self.heard.get_mut(&place) {
            heard.at = heard.at.max(used_at);
        }
    }

    /// Forgets a MAC: another host learned it, or its port is gone.
    pub fn forget(&mut self, place: MacPlace) {
        if let Some(heard) = self.heard.remove(&place) {
            self.less(heard.port);
        }
    }

    /// Forgets what was not heard for long: to be withdrawn from the table.
    pub fn expire(&mut self, now: Instant) -> Vec<(MacPlace, PortId)> {
        let old = |heard: &Heard| heard.at + MAC_IDLE_FOR <= now;
        let gone = self.heard.extract_if(|_, heard| old(heard));
        let gone: Vec<_> = gone.map(|(place, heard)| (place, heard.port)).collect();
        gone.iter().for_each(|(_, port)| self.less(*port));
        gone
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

    #[test]
    fn a_port_has_no_more_macs_than_it_may_and_room_again_when_one_leaves_or_moves() {
        let (mut ages, ports) = (MacAges::new(2), [Id::random(), Id::random()]);
        let mac = |last| MacPlace { mac: Mac([2, 0, 0, 0, 0, last]), ..place() };
        assert_eq!(ages.hear(mac(1), ports[0], at(0)), Learned::News);
        assert_eq!(ages.hear(mac(2), ports[0], at(0)), Learned::News);
        assert_eq!(ages.hear(mac(3), ports[0], at(1)), Learned::Full);
        assert_eq!(ages.hear(mac(1), ports[0], at(1)), Learned::Same, "what is known stays so");
        assert_eq!(ages.hear(mac(3), ports[1], at(1)), Learned::News, "another port's are its own");
        assert_eq!(ages.hear(mac(3), ports[0], at(2)), Learned::Full, "nor by moving there");
        assert_eq!(ages.hear(mac(1), ports[1], at(2)), Learned::News);
        assert_eq!(ages.hear(mac(4), ports[0], at(3)), Learned::News, "one moved away");
        ages.forget(mac(2));
        assert_eq!(ages.hear(mac(5), ports[0], at(3)), Learned::News, "one was forgotten");
        assert_eq!((ages.count(ports[0]), ages.count(ports[1])), (2, 2));
        ages.expire(at(400_000));
        assert_eq!((ages.count(ports[0]), ages.count(ports[1])), (0, 0));
    }
}
