//! Asking for a router's neighbours, as a state machine per neighbour.
//!
//! What neighbours are *known* stands in the state tables; here is only who is being asked for,
//! who answered of late, and who did not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mn_flow::ScopedAddr;
use mn_ids::{HostId, PortId, RouterId};
use mn_time::{Duration, Instant};

use crate::limits::{ASK_EVERY, ASKS_MAX, DOUBT_FOR, QUIET_FOR, USES_EVERY};

#[cfg(test)]
mod tests;

/// What this agent does about a neighbour (contracts §3; RFC 4861 §7.3.2 has the same machine).
///
/// ```text
///           Wanted              Tick, out of asks
///   Idle ------------> Asking ---------------------> Silent
///    | Heard, Used       | Heard, Shown               ^  |
///    v                   v                            |  | Tick, over: Idle
/// Reachable <-----------------------------------------|--+ Heard, Shown
///    |   ^ Heard, Shown, Excused                      | Gone
///    |   +----------------------- Probing ------------+
///    +---- Used, due ----------->
/// ```
///
/// What is not drawn stays where it is, but for `Wanted` (it is not known any more: asked from
/// everywhere but `Silent`) and a `Reachable` that nobody uses, which ends as `Idle`.
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
    /// It is where the table says, as far as was heard. From `until` on it is asked again, if it
    /// is in use.
    Reachable {
        until: Instant,
        /// When somebody last told the table.
        told_at: Instant,
    },
    /// In use, and not heard of for long: asked whether it is still there.
    Probing {
        asked: u8,
        next_at: Instant,
    },
}

/// What happens to a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NeighborEvent {
    /// A packet waits for it.
    Wanted,
    /// It spoke, and this host heard it.
    Heard,
    /// The table shows that another host heard it.
    Shown,
    /// Flows of this host lead to it.
    Used,
    /// It did not answer, and would have been heard.
    Gone,
    /// It did not answer, but perhaps nobody who would tell heard it.
    Excused,
    /// A request would now go another way, or further: it may reach whom the last one did not.
    PathChanged,
    /// Time passed.
    Tick,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NeighborEffect {
    None,
    /// Send a request to all.
    Ask,
    /// Send a request to where it was.
    Probe,
    /// Tell the table: it is there still.
    Tell,
    /// It is unreachable: what was known of it holds no more, and what waits for it is to be
    /// decided about again.
    Silence,
    /// The requests whether it is there were in vain. Say [`NeighborEvent::Gone`] if its answer
    /// would have been heard here; [`NeighborEvent::Excused`] if it may have been lost, the agent
    /// where it is being dead; nothing if that agent lives, until the `last` time, when it is
    /// known to have lived all the while.
    Unanswered {
        last: bool,
    },
}

/// How long a neighbour is believed without being heard of, and how long it may be untold.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Flows go on for so long before it is asked again, and up to a fifth longer, so that not
    /// all hosts ask at once.
    pub reachable_for: Duration,
}

impl Patience {
    /// The table is told again after this long: before others come to doubt.
    fn tell_every(self) -> Duration {
        self.reachable_for * 3 / 4
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { reachable_for: crate::limits::REACHABLE_FOR }
    }
}

impl Neighbor {
    /// The next state, and what to do. `spread` is below 256 and differs between hosts.
    #[must_use]
    pub fn on(
        self,
        event: NeighborEvent,
        patience: Patience,
        spread: u8,
        now: Instant,
    ) -> (Self, NeighborEffect) {
        use NeighborEffect::{Ask, None, Probe, Silence, Tell, Unanswered};
        use NeighborEvent::{Excused, Gone, Heard, PathChanged, Shown, Tick, Used, Wanted};
        let until = now + patience.reachable_for + patience.reachable_for * spread.into() / 1280;
        let reachable = Self::Reachable { until, told_at: now };
        match (self, event) {
            (Self::Reachable { told_at, .. }, Heard) if now < told_at + patience.tell_every() => {
                (Self::Reachable { until, told_at }, None)
            }
            (_, Heard) => (reachable, Tell),
            // Besides the others, so that an unsteady path does not keep it asking for ever.
            (Self::Asking { .. }, PathChanged) => (self, Ask),
            (Self::Silent { .. }, PathChanged) => (Self::Idle, None),
            (_, PathChanged) => (self, None),
            (Self::Idle, Shown) => (self, None),
            (_, Shown | Excused) => (reachable, None),
            (_, Gone) => (Self::Silent { until: now + QUIET_FOR }, Silence),

            (Self::Silent { until }, _) if now < until => (self, None),
            (Self::Silent { .. }, Tick | Used) => (Self::Idle, None),
            (Self::Asking { .. }, Wanted) => (self, None),
            (_, Wanted) => (Self::Asking { asked: 1, next_at: now + ASK_EVERY }, Ask),

            (Self::Idle, Used) => (reachable, None),
            (Self::Reachable { until, .. }, Used) if until <= now => {
                (Self::Probing { asked: 1, next_at: now + ASK_EVERY }, Probe)
            }
            (_, Used) | (Self::Idle, Tick) => (self, None),
            (Self::Reachable { until, .. }, Tick) => {
                let unused = until + USES_EVERY * 2 <= now;
                (if unused { Self::Idle } else { self }, None)
            }

            (Self::Asking { next_at, .. } | Self::Probing { next_at, .. }, Tick)
                if now < next_at =>
            {
                (self, None)
            }
            (Self::Asking { asked: ASKS_MAX.., .. }, Tick) => {
                (Self::Silent { until: now + QUIET_FOR }, Silence)
            }
            (Self::Asking { asked, .. }, Tick) => {
                (Self::Asking { asked: asked + 1, next_at: now + ASK_EVERY }, Ask)
            }
            (Self::Probing { asked: ASKS_MAX, .. }, Tick) => {
                let next_at = now + DOUBT_FOR;
                (Self::Probing { asked: ASKS_MAX + 1, next_at }, Unanswered { last: false })
            }
            (Self::Probing { asked: LAST_PROBE.., .. }, Tick) => (self, Unanswered { last: true }),
            (Self::Probing { asked, .. }, Tick) => {
                (Self::Probing { asked: asked + 1, next_at: now + ASK_EVERY }, Ask)
            }
        }
    }

    /// When time alone changes something.
    fn due_at(self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Asking { next_at, .. } | Self::Probing { next_at, .. } => Some(next_at),
            Self::Silent { until } => Some(until),
            Self::Reachable { until, .. } => Some(until + USES_EVERY * 2),
        }
    }
}

/// Counts the one more request after [`DOUBT_FOR`]: `ASKS_MAX + 1` stands for the doubt itself.
const LAST_PROBE: u8 = ASKS_MAX + 2;

/// The neighbours of one agent: its packet workers share them, so that each question is asked
/// once. A worker takes the lock only for a packet to a neighbour that is not known, and when one
/// speaks.
#[derive(Debug, Default)]
pub struct Neighbors {
    patience: Patience,
    /// This host's own: see [`Patience::reachable_for`].
    seed: u128,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    states: HashMap<(RouterId, ScopedAddr), (PortId, Neighbor)>,
    /// Nothing happens by itself before.
    due_at: Instant,
}

/// What time brought about: whom it is about, the port to ask by, and what to do.
pub type Due = (RouterId, PortId, ScopedAddr, NeighborEffect);

impl Neighbors {
    /// Nobody was asked for yet by this host.
    #[must_use]
    pub fn new(patience: Patience, host: HostId) -> Self {
        Self { patience, seed: host.uuid().as_u128(), asked: Mutex::default() }
    }

    /// Feeds an event about one neighbour, to be asked for out of `port`.
    pub fn on(
        &self,
        router: RouterId,
        port: PortId,
        addr: ScopedAddr,
        event: NeighborEvent,
        now: Instant,
    ) -> NeighborEffect {
        let mut asked = self.lock();
        self.feed(&mut asked, (router, addr), port, event, now)
    }

    /// Lets time pass for all of them. Of several callers one gets each thing that is to be done.
    pub fn tick(&self, now: Instant) -> Vec<Due> {
        let mut asked = self.lock();
        if now < asked.due_at {
            return Vec::new();
        }
        let all: Vec<_> = asked.states.iter().map(|(key, (port, _))| (*key, *port)).collect();
        let mut due = Vec::new();
        for ((router, addr), port) in all {
            let tick = NeighborEvent::Tick;
            let effect = self.feed(&mut asked, (router, addr), port, tick, now);
            if effect != NeighborEffect::None {
                due.push((router, port, addr, effect));
            }
        }
        let states = asked.states.values();
        let next = states.filter_map(|(_, state)| state.due_at()).min();
        asked.due_at = next.unwrap_or(Instant::from_nanos(u64::MAX));
        due
    }

    /// Whether nobody answered for it a short while ago.
    #[must_use]
    pub fn is_silent(&self, router: RouterId, addr: ScopedAddr, now: Instant) -> bool {
        matches!(
            self.lock().states.get(&(router, addr)),
            Some((_, Neighbor::Silent { until })) if now < *until
        )
    }

    /// Whether it is asked for, or did not answer a short while ago.
    #[must_use]
    pub fn is_missed(&self, router: RouterId, addr: ScopedAddr) -> bool {
        matches!(
            self.lock().states.get(&(router, addr)),
            Some((_, Neighbor::Asking { .. } | Neighbor::Silent { .. }))
        )
    }

    fn feed(
        &self,
        asked: &mut Asked,
        key: (RouterId, ScopedAddr),
        port: PortId,
        event: NeighborEvent,
        now: Instant,
    ) -> NeighborEffect {
        let known = asked.states.get(&key).map_or(Neighbor::Idle, |(_, state)| *state);
        let (next, effect) = known.on(event, self.patience, self.spread(key), now);
        if next == Neighbor::Idle {
            asked.states.remove(&key);
            return effect;
        }
        asked.due_at = asked.due_at.min(next.due_at().unwrap_or(asked.due_at));
        asked.states.insert(key, (port, next));
        effect
    }

    /// Differs between hosts and between neighbours.
    fn spread(&self, (router, addr): (RouterId, ScopedAddr)) -> u8 {
        let addr = match addr.addr() {
            std::net::IpAddr::V4(v4) => u128::from(v4.to_bits()),
            std::net::IpAddr::V6(v6) => v6.to_bits(),
        };
        let folded = addr ^ router.uuid().as_u128() ^ self.seed;
        let mixed = ((folded >> 64) as u64 ^ folded as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as u8
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
