//! Asking for a router's neighbours, as a state machine per neighbour.
//!
//! What neighbours are *known* stands in the state tables; here is only who is being asked for,
//! and who did not answer.

use std::collections::HashMap;
use std::net::IpAddr;

use mn_ids::{PortId, RouterId};
use mn_time::Instant;

use crate::limits::{ASK_EVERY, ASKS_MAX, QUIET_FOR};

/// What this worker does about a neighbour that the tables do not have.
///
/// ```text
///           Wanted                Tick, out of asks
/// Idle ---------------> Asking --------------------> Silent
///   ^                     |                            |
///   +------ Answered -----+---------- Tick, over ------+
/// ```
///
/// `Answered` leads to `Idle` from everywhere; what is not drawn stays where it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Neighbor {
    Idle,
    Asking {
        /// How many requests were sent.
        asked: u8,
        next_at: Instant,
    },
    /// It does not answer: packets to it are refused without asking.
    Silent {
        until: Instant,
    },
}

/// What happens to a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NeighborEvent {
    /// A packet waits for it.
    Wanted,
    /// It is known now.
    Answered,
    /// Time passed.
    Tick,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NeighborEffect {
    None,
    /// Send a request.
    Ask,
    /// Decide again about what waits for it: it is known, or unreachable.
    Release,
}

impl Neighbor {
    /// The next state, and what to do. Every pair of state and event has its line.
    #[must_use]
    pub fn on(self, event: NeighborEvent, now: Instant) -> (Self, NeighborEffect) {
        use NeighborEffect::{Ask, None, Release};
        use NeighborEvent::{Answered, Tick, Wanted};
        match (self, event) {
            (_, Answered) => (Self::Idle, Release),

            (Self::Idle, Wanted) => (Self::asking(1, now), Ask),
            (Self::Idle, Tick) => (self, None),

            (Self::Asking { .. }, Wanted) => (self, None),
            (Self::Asking { next_at, .. }, Tick) if now < next_at => (self, None),
            (Self::Asking { asked: ASKS_MAX.., .. }, Tick) => {
                (Self::Silent { until: now + QUIET_FOR }, Release)
            }
            (Self::Asking { asked, .. }, Tick) => (Self::asking(asked + 1, now), Ask),

            (Self::Silent { until }, _) if now < until => (self, None),
            (Self::Silent { .. }, Wanted) => (Self::asking(1, now), Ask),
            (Self::Silent { .. }, Tick) => (Self::Idle, None),
        }
    }

    fn asking(asked: u8, now: Instant) -> Self {
        Self::Asking { asked, next_at: now + ASK_EVERY }
    }
}

/// The neighbours one worker asks for.
#[derive(Debug, Default)]
pub struct Neighbors {
    asked: HashMap<(RouterId, IpAddr), (PortId, Neighbor)>,
}

impl Neighbors {
    /// Feeds an event about one neighbour, to be asked for out of `port`.
    pub fn on(
        &mut self,
        router: RouterId,
        port: PortId,
        addr: IpAddr,
        event: NeighborEvent,
        now: Instant,
    ) -> NeighborEffect {
        let known = self.asked.get(&(router, addr)).map_or(Neighbor::Idle, |(_, state)| *state);
        let (next, effect) = known.on(event, now);
        if next == Neighbor::Idle {
            let was_asked = self.asked.remove(&(router, addr)).is_some();
            return if was_asked { effect } else { NeighborEffect::None };
        }
        self.asked.insert((router, addr), (port, next));
        effect
    }

    /// Lets time pass for all of them; what is to be done.
    pub fn tick(&mut self, now: Instant) -> Vec<(RouterId, PortId, IpAddr, NeighborEffect)> {
        let all: Vec<_> =
            self.asked.iter().map(|((router, addr), (port, _))| (*router, *port, *addr)).collect();
        let effects = all.into_iter().map(|(router, port, addr)| {
            (router, port, addr, self.on(router, port, addr, NeighborEvent::Tick, now))
        });
        effects.filter(|(.., effect)| *effect != NeighborEffect::None).collect()
    }

    /// Whether nobody answered for it a short while ago.
    #[must_use]
    pub fn is_silent(&self, router: RouterId, addr: IpAddr, now: Instant) -> bool {
        matches!(
            self.asked.get(&(router, addr)),
            Some((_, Neighbor::Silent { until })) if now < *until
        )
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;
    use mn_time::Duration;

    use super::*;

    fn play(events: &[(u64, NeighborEvent)]) -> Vec<NeighborEffect> {
        let mut state = Neighbor::Idle;
        let step = |(seconds, event): &(u64, NeighborEvent)| {
            let effect;
            (state, effect) = state.on(*event, Instant::ZERO + Duration::from_secs(*seconds));
            effect
        };
        events.iter().map(step).collect()
    }

    #[test]
    fn asks_three_times_a_second_apart_and_is_then_quiet_for_twenty() {
        use NeighborEffect::{Ask, None, Release};
        use NeighborEvent::{Tick, Wanted};
        assert_eq!(
            play(&[
                (0, Wanted),
                (0, Wanted),
                (1, Tick),
                (2, Tick),
                (3, Tick),
                (4, Wanted),
                (22, Wanted),
                (23, Wanted)
            ]),
            [Ask, None, Ask, Ask, Release, None, None, Ask],
        );
    }

    #[test]
    fn an_answer_releases_what_waits_and_ends_the_silence() {
        use NeighborEffect::{Ask, Release};
        use NeighborEvent::{Answered, Wanted};
        assert_eq!(play(&[(0, Wanted), (1, Answered), (1, Wanted)]), [Ask, Release, Ask]);
    }

    #[test]
    fn a_silent_neighbor_is_unreachable_for_twenty_seconds_and_no_longer() {
        let mut neighbors = Neighbors::default();
        let (router, port) = (Id::random(), Id::random());
        let addr = IpAddr::from([10, 0, 0, 9]);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        neighbors.on(router, port, addr, NeighborEvent::Wanted, at(0));
        for second in 1..=3 {
            neighbors.tick(at(second));
        }
        assert!(neighbors.is_silent(router, addr, at(4)));
        assert!(!neighbors.is_silent(router, addr, at(23)));
        neighbors.tick(at(23));
        assert!(neighbors.asked.is_empty(), "nothing is kept of a silence that is over");
    }
}
