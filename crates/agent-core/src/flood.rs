//! Which sets of ports this host offers one flood copy for.

use std::collections::{BTreeMap, BTreeSet};

use mn_ids::{BridgeId, PortId};

/// The exact ports of each bridge that a flood reaches here.
pub type FloodSets = BTreeMap<BridgeId, BTreeSet<PortId>>;

/// One change to what is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FloodOp {
    /// The set of this bridge is no longer as published: its key is retired.
    Retire(BridgeId),
    /// This set gets a key of its own: a changed set is a new key (contracts §1).
    Publish(BridgeId, BTreeSet<PortId>),
}

/// The changes from the `published` sets to those of the ports that are `active` here.
///
/// A single port needs no group: its own key does. All VLANs share a set, since a copy to a group
/// reaches exactly its ports whatever the frame's tag; the sender asks each port's filter.
#[must_use]
pub fn flood_plan(
    active: impl IntoIterator<Item = (BridgeId, PortId)>,
    published: &FloodSets,
) -> Vec<FloodOp> {
    let mut desired = FloodSets::new();
    for (bridge, port) in active {
        desired.entry(bridge).or_default().insert(port);
    }
    desired.retain(|_, ports| ports.len() > 1);
    let stale = published.iter().filter(|(bridge, ports)| desired.get(bridge) != Some(ports));
    let new = desired.iter().filter(|(bridge, ports)| published.get(bridge) != Some(ports));
    stale
        .map(|(bridge, _)| FloodOp::Retire(*bridge))
        .chain(new.map(|(bridge, ports)| FloodOp::Publish(*bridge, ports.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    #[test]
    fn a_changed_set_is_retired_and_published_anew_and_a_single_port_has_none() {
        let (bridge, other) = (Id::random(), Id::random());
        let [a, b, c] = [Id::random(), Id::random(), Id::random()];
        let published = FloodSets::from([(bridge, BTreeSet::from([a, b]))]);
        assert_eq!(flood_plan([(bridge, a), (bridge, b), (other, c)], &published), []);
        assert_eq!(
            flood_plan([(bridge, a), (bridge, b), (bridge, c)], &published),
            [FloodOp::Retire(bridge), FloodOp::Publish(bridge, BTreeSet::from([a, b, c]))]
        );
        assert_eq!(flood_plan([(bridge, a)], &published), [FloodOp::Retire(bridge)]);
    }
}
