//! Stateful port groups: which ports share their connections (`PG-02`).

use std::collections::{BTreeSet, HashMap};

use mn_flow::Tag;
use mn_ids::PortId;

use super::Control;

impl Control {
    /// Tells workers which ports are in stateful groups together. Flows to and from a port whose
    /// fellows changed are decided about anew.
    pub(super) fn reconcile_groups(&mut self) {
        if !std::mem::take(&mut self.state.groups_changed) {
            return;
        }
        let mut fellows: HashMap<PortId, BTreeSet<PortId>> = HashMap::new();
        for group in self.state.groups.values() {
            for port in &group.port_ids {
                let others = group.port_ids.iter().filter(|other| *other != port);
                fellows.entry(*port).or_default().extend(others);
            }
        }
        fellows.retain(|_, others| !others.is_empty());
        let fellows =
            fellows.into_iter().map(|(port, others)| (port, others.into_iter().collect()));
        let fellows: HashMap<PortId, Box<[PortId]>> = fellows.collect();
        let before = std::mem::replace(&mut self.state.local.fellows, fellows);
        let after = &self.state.local.fellows;
        let changed: BTreeSet<PortId> = before
            .keys()
            .chain(after.keys())
            .filter(|port| before.get(port) != after.get(port))
            .copied()
            .collect();
        if changed.is_empty() {
            return;
        }
        self.state.news.tags.extend(changed.into_iter().map(Tag::Port));
        self.state.news.changed = true;
    }
}
