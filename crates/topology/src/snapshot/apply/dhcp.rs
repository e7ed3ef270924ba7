//! DHCP subnets, of both versions: parts of their bridge.

use std::sync::Arc;

use mn_flow::Tag;
use mn_ids::{BridgeId, Object};
use uuid::Uuid;

use super::Next;
use crate::object::{DhcpSubnet, DhcpV6Subnet};
use crate::snapshot::Shelf;
use crate::snapshot::bridge::BridgeEntry;

impl Next {
    pub(super) fn dhcp_subnet(&mut self, id: Uuid, new: Option<DhcpSubnet>) {
        let changed = shelve(&mut self.snapshot.dhcp_subnets, id, new);
        self.bridge_part(changed, |subnet| subnet.bridge_id, |entry| &mut entry.dhcp);
    }

    pub(super) fn dhcp_v6_subnet(&mut self, id: Uuid, new: Option<DhcpV6Subnet>) {
        let changed = shelve(&mut self.snapshot.dhcp_v6_subnets, id, new);
        self.bridge_part(changed, |subnet| subnet.bridge_id, |entry| &mut entry.dhcp_v6);
    }

    /// Takes the old part out of its bridge's list, which is in the order of ids, and puts the new
    /// one in.
    fn bridge_part<T: Object>(
        &mut self,
        changed: Option<[Option<Arc<T>>; 2]>,
        bridge_of: impl Fn(&T) -> BridgeId,
        list: impl Fn(&mut BridgeEntry) -> &mut Arc<[Arc<T>]>,
    ) {
        let Some([old, new]) = changed else { return };
        for part in [&old, &new].into_iter().flatten() {
            let bridge = bridge_of(part);
            self.tags.insert(Tag::Dhcp(bridge));
            self.bridges.entry(bridge).or_default();
            let list = list(self.snapshot.bridges.entry(bridge.uuid()));
            *list = list.iter().filter(|other| other.id() != part.id()).cloned().collect();
        }
        if let Some(part) = new {
            let list = list(self.snapshot.bridges.entry(bridge_of(&part).uuid()));
            let mut parts = list.to_vec();
            parts.insert(parts.partition_point(|other| other.id().uuid() < part.id().uuid()), part);
            *list = parts.into();
        }
    }
}

/// Replaces an object; the old and the new one, where they differ.
fn shelve<T: PartialEq>(
    shelf: &mut Shelf<Arc<T>>,
    id: Uuid,
    new: Option<T>,
) -> Option<[Option<Arc<T>>; 2]> {
    let new = new.map(Arc::new);
    let old = match &new {
        Some(object) => shelf.insert(id, Arc::clone(object)),
        None => shelf.remove(id),
    };
    (old != new).then_some([old, new])
}
