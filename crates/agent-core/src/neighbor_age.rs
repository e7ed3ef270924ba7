//! When what this host wrote of neighbours is taken back.

use std::collections::HashMap;

use mn_flow::ScopedAddr;
use mn_ids::RouterId;
use mn_time::Instant;

use crate::limits::NEIGHBOR_IDLE_FOR;

/// The neighbours that this host told the table of, with when they were last heard. Those that
/// flows use, on any host, are asked and so heard: see [`crate::Neighbor`].
#[derive(Debug, Default)]
pub struct NeighborAges {
    heard: HashMap<(RouterId, ScopedAddr), Instant>,
}

impl NeighborAges {
    /// Notes that a neighbour was heard.
    pub fn hear(&mut self, router: RouterId, addr: ScopedAddr, now: Instant) {
        self.heard.insert((router, addr), now);
    }

    /// Forgets a neighbour: it was taken out of the table.
    pub fn forget(&mut self, router: RouterId, addr: ScopedAddr) {
        self.heard.remove(&(router, addr));
    }

    /// Forgets those that were not heard for long: to be taken out of the table.
    pub fn expire(&mut self, now: Instant) -> Vec<(RouterId, ScopedAddr)> {
        let gone = self.heard.extract_if(|_, heard| *heard + NEIGHBOR_IDLE_FOR <= now);
        gone.map(|(neighbor, _)| neighbor).collect()
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;
    use mn_time::Duration;

    use super::*;

    #[test]
    fn a_neighbor_that_nobody_hears_for_long_leaves_the_table() {
        let (mut ages, router) = (NeighborAges::default(), Id::random());
        let addr = |last| ScopedAddr::on(Id::random(), [10, 0, 0, last].into());
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        ages.hear(router, addr(1), at(0));
        ages.hear(router, addr(2), at(0));
        ages.hear(router, addr(2), at(200));
        assert_eq!(ages.expire(at(299)), []);
        assert_eq!(ages.expire(at(300)), [(router, addr(1))]);
        ages.forget(router, addr(2));
        assert_eq!(ages.expire(at(900)), []);
    }
}
