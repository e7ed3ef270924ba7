//! How many packets each rule dropped, over all flows there ever were.

use std::collections::{BTreeMap, HashMap, HashSet};

use mn_flow::{Action, Cookie};
use mn_ids::RuleId;

/// Counts per rule that only rise, from counters of flows that come and go.
///
/// Flows are read in sweeps, and say their last counters when they leave; both may happen at once,
/// in either order.
#[derive(Debug, Default)]
pub struct RuleDrops {
    totals: BTreeMap<RuleId, u64>,
    /// How many packets of each living flow are in the totals.
    counted: HashMap<Cookie, u64>,
    /// Flows that left since the last sweep began: what that sweep read of them is old.
    left: HashSet<Cookie>,
}

/// The rule by which these actions drop.
#[must_use]
pub fn dropping_rule(actions: &[Action]) -> Option<RuleId> {
    actions.iter().find_map(|action| match action {
        Action::Drop { rule, .. } => *rule,
        _ => None,
    })
}

impl RuleDrops {
    /// Counts packets that no flow has in its counters.
    pub fn add(&mut self, rule: RuleId, packets: u64) {
        *self.totals.entry(rule).or_default() += packets;
    }

    /// What is read from now on is newer than every flow that has left.
    pub fn begin_sweep(&mut self) {
        self.left.clear();
    }

    /// A sweep read a flow's counter.
    pub fn note(&mut self, cookie: Cookie, rule: RuleId, packets: u64) {
        if self.left.contains(&cookie) {
            return;
        }
        let before = self.counted.get(&cookie).copied().unwrap_or(0);
        self.counted.insert(cookie, before.max(packets));
        self.add(rule, packets.saturating_sub(before));
    }

    /// A flow left with this counter.
    pub fn leave(&mut self, cookie: Cookie, rule: RuleId, packets: u64) {
        let before = self.counted.remove(&cookie).unwrap_or(0);
        self.add(rule, packets.saturating_sub(before));
        self.left.insert(cookie);
    }

    /// A flow was replaced by another whose counter goes on where this one's was.
    pub fn succeed(&mut self, old: Cookie, new: Cookie) {
        if let Some(packets) = self.counted.remove(&old) {
            self.counted.insert(new, packets);
        }
    }

    /// Packets dropped so far.
    #[must_use]
    pub const fn totals(&self) -> &BTreeMap<RuleId, u64> {
        &self.totals
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    const FLOW: Cookie = Cookie(7);

    #[test]
    fn a_packet_is_counted_once_however_often_its_flow_is_read() {
        let rule = Id::random();
        let mut drops = RuleDrops::default();
        drops.add(rule, 1);
        for packets in [3, 3, 5] {
            drops.begin_sweep();
            drops.note(FLOW, rule, packets);
        }
        drops.leave(FLOW, rule, 8);
        assert_eq!(drops.totals()[&rule], 9);
    }

    #[test]
    fn a_sweep_that_read_a_flow_just_before_it_left_counts_nothing_twice() {
        let rule = Id::random();
        let mut drops = RuleDrops::default();
        drops.begin_sweep();
        drops.leave(FLOW, rule, 8);
        drops.note(FLOW, rule, 7);
        assert_eq!(drops.totals()[&rule], 8);
        assert!(drops.counted.is_empty(), "nothing is kept of a flow that left");
        drops.begin_sweep();
        assert!(drops.left.is_empty());
    }

    #[test]
    fn a_flow_that_takes_over_a_counter_counts_from_there() {
        let (rule, successor) = (Id::random(), Cookie(8));
        let mut drops = RuleDrops::default();
        drops.note(FLOW, rule, 5);
        drops.succeed(FLOW, successor);
        drops.note(successor, rule, 6);
        assert_eq!(drops.totals()[&rule], 6);
    }
}
