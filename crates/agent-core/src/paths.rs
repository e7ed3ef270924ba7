//! The ways that connections with state took where routers had several equal ones.

use std::collections::{HashMap, HashSet};
use std::mem;

use mn_flow::PathTag;
use mn_ids::RouterId;
use mn_time::Instant;

use crate::limits;

/// The next hops that connections had when their flows left.
///
/// A flow says itself which way its connection takes ([`PathTag`]); only when it leaves, for want of
/// use or because a route changed, is its way kept here for the decision that follows. So what is
/// in use costs nothing. In two generations: each way is kept for one to two times
/// [`limits::PATH_FOR`], and there are at most [`limits::PATHS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Paths {
    young: Generation,
    old: Generation,
    /// When the young ones began to gather.
    since: Instant,
}

#[derive(Clone, Debug, Default)]
struct Generation {
    hops: HashMap<(RouterId, u64), u64>,
    routers: HashSet<RouterId>,
}

impl Paths {
    /// Whether any way from this router is kept.
    #[must_use]
    pub fn is_of(&self, router: RouterId) -> bool {
        self.young.routers.contains(&router) || self.old.routers.contains(&router)
    }

    /// The hash of the next hop that the connection with this hash had.
    #[must_use]
    pub fn hop(&self, router: RouterId, flow: u64) -> Option<u64> {
        let key = (router, flow);
        self.young.hops.get(&key).or_else(|| self.old.hops.get(&key)).copied()
    }

    /// A flow left that took this way.
    pub fn note_left(&mut self, path: PathTag, now: Instant) {
        self.tick(now);
        if self.young.hops.len() >= limits::PATHS_MAX / 2 {
            self.turn(now);
        }
        self.young.routers.insert(path.router);
        self.young.hops.insert((path.router, path.flow()), path.hop());
    }

    /// Forgets what is old.
    pub fn tick(&mut self, now: Instant) {
        if !self.is_empty() && now >= self.since + limits::PATH_FOR {
            self.turn(now);
        }
    }

    /// How many ways are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.hops.len() + self.old.hops.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn turn(&mut self, now: Instant) {
        self.old = mem::take(&mut self.young);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use mn_time::Duration;
    use uuid::Uuid;

    use super::*;

    fn router() -> RouterId {
        RouterId::from_uuid(Uuid::from_u128(7))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_way_is_kept_for_its_time_and_the_last_one_counts() {
        let mut paths = Paths::default();
        assert_eq!(paths.hop(router(), 1), None);
        paths.note_left(PathTag::new(router(), 1, 10), at(100));
        paths.note_left(PathTag::new(router(), 1, 11), at(101));
        assert_eq!(paths.hop(router(), 1), Some(11));
        let time = limits::PATH_FOR.as_secs();
        paths.tick(at(100 + time));
        assert_eq!(paths.hop(router(), 1), Some(11), "it is old and there");
        paths.note_left(PathTag::new(router(), 1, 12), at(101 + time));
        assert_eq!(paths.hop(router(), 1), Some(12), "the younger one counts");
        paths.tick(at(101 + 2 * time));
        paths.tick(at(102 + 3 * time));
        assert!(paths.is_empty());
    }

    #[test]
    fn there_are_never_more_than_the_limit_and_the_youngest_stay() {
        let mut paths = Paths::default();
        let count = 2 * limits::PATHS_MAX as u64;
        for flow in 0..count {
            paths.note_left(PathTag::new(router(), flow, 1), at(1));
            assert!(paths.len() <= limits::PATHS_MAX);
        }
        assert_eq!(paths.hop(router(), 0), None);
        assert_eq!(paths.hop(router(), count - 1), Some(1));
    }
}
