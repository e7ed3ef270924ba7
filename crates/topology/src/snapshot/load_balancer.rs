//! A load balancer with its virtual addresses.

use core::net::{IpAddr, Ipv6Addr};
use core::ops::Deref;
use std::sync::Arc;

use mn_ids::VipId;
use mn_packet::to_v6;
use uuid::Uuid;

use super::{Lookup, Shelf, Single};
use crate::object::{LbProtocol, LoadBalancer, Vip};

/// A loaded load balancer. Derefs to the stored object.
///
/// It has its virtual addresses and not its pools: those, with their members, are loaded when a
/// connection comes to one of their addresses. So a router before 10,000 addresses and 100,000
/// members costs an agent the addresses, and of the members those it sends to.
#[derive(Clone, Debug)]
pub struct LoadBalancerView {
    balancer: Arc<LoadBalancer>,
    vips: VipTable,
}

impl LoadBalancerView {
    /// The virtual address that takes connections to this address, protocol and port. Those that
    /// are down take none; of several the one with the lowest identifier does, on every host. The
    /// load balancer's own state is the caller's to ask.
    ///
    /// `addr` is as in flow keys. Costs the same however many there are: one step in a hash table,
    /// and a binary search among those of one address.
    #[must_use]
    pub fn vip(&self, addr: Ipv6Addr, protocol: LbProtocol, port: u16) -> Option<&Vip> {
        let there = self.vips.at(addr);
        let first = there.partition_point(|vip| service(vip) < (protocol, port));
        let same = there[first..].iter().take_while(|vip| service(vip) == (protocol, port));
        same.map(Arc::as_ref).find(|vip| vip.admin_state_up)
    }

    /// Whether any virtual address is at this one, whatever its port and state: what is not needs
    /// no look at ports.
    #[must_use]
    pub fn is_at(&self, addr: Ipv6Addr) -> bool {
        !self.vips.at(addr).is_empty()
    }

    /// All its virtual addresses, in no order.
    pub fn vips(&self) -> impl Iterator<Item = &Vip> {
        self.vips.0.values().flat_map(|vips| vips.iter().map(Arc::as_ref))
    }
}

impl Deref for LoadBalancerView {
    type Target = LoadBalancer;

    fn deref(&self) -> &LoadBalancer {
        &self.balancer
    }
}

/// Virtual addresses by address. A clone shares everything; a change copies one shard, and what is
/// at one address.
#[derive(Clone, Debug, Default)]
pub(super) struct VipTable(Shelf<Arc<Vec<Arc<Vip>>>>);

impl VipTable {
    /// In the order of protocol, port and identifier.
    fn at(&self, addr: Ipv6Addr) -> &[Arc<Vip>] {
        self.0.get(place(addr)).map_or(&[], |vips| vips.as_slice())
    }

    pub(super) fn insert(&mut self, vip: Arc<Vip>) {
        let there = Arc::make_mut(self.0.entry(place_of(vip.address)));
        there.insert(there.partition_point(|other| rank(other) < rank(&vip)), vip);
    }

    pub(super) fn remove(&mut self, vip: &Vip) {
        let place = place_of(vip.address);
        let there = Arc::make_mut(self.0.entry(place));
        there.retain(|other| other.id != vip.id);
        if there.is_empty() {
            self.0.remove(place);
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = VipId> + '_ {
        self.0.values().flat_map(|vips| vips.iter().map(|vip| vip.id))
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

fn place(addr: Ipv6Addr) -> Uuid {
    Uuid::from_u128(addr.to_bits())
}

fn place_of(addr: IpAddr) -> Uuid {
    place(to_v6(addr))
}

fn service(vip: &Vip) -> (LbProtocol, u16) {
    (vip.protocol, vip.protocol_port.get())
}

fn rank(vip: &Vip) -> (LbProtocol, u16, VipId) {
    let (protocol, port) = service(vip);
    (protocol, port, vip.id)
}

/// A load balancer on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadBalancerEntry {
    pub(super) balancer: Single<LoadBalancer>,
    pub(super) vips_complete: bool,
    pub(super) vips: VipTable,
    view: Option<Arc<LoadBalancerView>>,
}

impl LoadBalancerEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, LoadBalancerView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.balancer.watched && self.balancer.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    /// Whether nothing is known or watched.
    pub(super) fn is_empty(&self) -> bool {
        !(self.balancer.watched || self.vips_complete)
            && self.balancer.value.is_none()
            && self.vips.is_empty()
    }

    /// Makes the view from the parts, once all are there.
    pub(super) fn compile(&mut self) {
        let complete = self.vips_complete;
        self.view = self.balancer.value.as_ref().filter(|_| complete).map(|balancer| {
            Arc::new(LoadBalancerView { balancer: Arc::clone(balancer), vips: self.vips.clone() })
        });
    }
}
