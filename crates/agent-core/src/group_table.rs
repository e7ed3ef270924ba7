//! Output groups: long action lists, shared by the flows that have them.

use std::collections::{HashMap, VecDeque};

use mn_flow::{Action, GroupIndex};

/// One worker's groups. Equal lists share a group; each goes when its last flow left.
#[derive(Debug)]
pub struct GroupTable {
    by_outputs: HashMap<Box<[Action]>, (GroupIndex, usize)>,
    by_index: HashMap<GroupIndex, Box<[Action]>>,
    free: VecDeque<GroupIndex>,
}

impl GroupTable {
    /// Groups with these indexes, which no other worker uses.
    #[must_use]
    pub fn new(indexes: impl Iterator<Item = GroupIndex>) -> Self {
        Self { by_outputs: HashMap::new(), by_index: HashMap::new(), free: indexes.collect() }
    }

    /// The group of these outputs, for one more flow, and whether it is new: the datapath must be
    /// told of it before the flow is installed. `None` where there are no more groups.
    pub fn acquire(&mut self, outputs: &[Action]) -> Option<(GroupIndex, bool)> {
        if let Some((index, users)) = self.by_outputs.get_mut(outputs) {
            *users += 1;
            return Some((*index, false));
        }
        let index = self.free.pop_front()?;
        self.by_outputs.insert(outputs.into(), (index, 1));
        self.by_index.insert(index, outputs.into());
        Some((index, true))
    }

    /// A flow that named the group has left. Whether it was the last: the datapath is to forget
    /// the group. Its index is given out again last: packets on their way may still name it.
    pub fn release(&mut self, index: GroupIndex) -> bool {
        let Some(outputs) = self.by_index.get(&index) else { return false };
        let Some((_, users)) = self.by_outputs.get_mut(outputs) else { return false };
        *users -= 1;
        if *users > 0 {
            return false;
        }
        if let Some(outputs) = self.by_index.remove(&index) {
            self.by_outputs.remove(&outputs);
        }
        self.free.push_back(index);
        true
    }
}

#[cfg(test)]
mod tests {
    use mn_flow::PortNo;

    use super::*;

    #[test]
    fn equal_lists_share_a_group_that_goes_with_its_last_flow() {
        let mut groups = GroupTable::new((0..2).map(GroupIndex));
        let (one, two) = ([Action::Output(PortNo(1))], [Action::Output(PortNo(2))]);
        assert_eq!(groups.acquire(&one), Some((GroupIndex(0), true)));
        assert_eq!(groups.acquire(&one), Some((GroupIndex(0), false)));
        assert_eq!(groups.acquire(&two), Some((GroupIndex(1), true)));
        assert_eq!(groups.acquire(&[]), None, "there are two only");
        assert!(!groups.release(GroupIndex(0)));
        assert!(groups.release(GroupIndex(0)));
        assert!(!groups.release(GroupIndex(0)), "it is gone");
        assert_eq!(groups.acquire(&[]), Some((GroupIndex(0), true)));
    }
}
