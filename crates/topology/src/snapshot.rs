//! What an agent has loaded of the topology, compiled for simulation.
//!
//! A [`Snapshot`] is an immutable value. Cloning one costs a few reference counts, changing one
//! ([`Snapshot::apply`]) copies the shards that changed and nothing else, so every packet worker
//! can hold the newest while the control thread makes the next.
//!
//! # Feeding it
//!
//! The state database tells changes and says which selectors it has shown whole. Pass both on, one
//! batch a call, as they come:
//!
//! - a changed object as `(key, Some(object))`, a deleted one as `(key, None)`;
//! - each selector that is complete as [`Loaded`]: `Selector::Object` is [`Loaded::Object`],
//!   `Selector::Referrers` is [`Loaded::Referrers`].
//!
//! A lookup of something that is not loaded makes the simulation end with `Outcome::Load(keys)`.
//! Then watch, for each key, the selectors that [`Loaded::of`] lists; when all of them came back
//! complete the packet is simulated again. Objects that came along with a watch of referrers (the
//! ports of a bridge) count as loaded without a watch of their own.
//!
//! When nothing needs an object any more, end its watches; the batch that names their selectors
//! `ended` is the moment for [`Snapshot::forget`], before its changes are applied. Lookups say "not
//! loaded" from then on, and never that something is absent.
//!
//! # What changes invalidate
//!
//! `apply` compares old and new and returns the [`Tag`](mn_flow::Tag)s of what flows read and is
//! now different; a field that no simulation reads (a name, say) gives none. A flow is to go when
//! any of its tags is touched: [`mn_flow::Tag::touches`], which is equality except for routes.
//!
//! | change | tag |
//! |---|---|
//! | bridge, router: state, filters, mirrors; whether any port of a bridge carries a VLAN | `Bridge`, `Router` |
//! | a router's load balancer, and how it chooses among equal routes | `Router` |
//! | port: state, filters, mirrors, peer, exterior or not, addresses, MAC | `Port` |
//! | the host a port is bound to | `Location` |
//! | a port added to or taken from a bridge | `Flood` with `vlan: None` |
//! | the MAC of a router's port that a bridge's port is linked to | `Mac` with `vlan: None` |
//! | a route, an address of a router's port | `Route` of its destination prefix |
//! | rules, also those in segments of a long chain; members, addresses | `Chain`, `PortGroup`, `IpAddrGroup` |
//! | conditions and port of a mirror | `Mirror` |
//! | the policy that a port or a bridge names | `Port`, `Bridge` |
//! | the mark of a policy; its limits are no matter of flows | `QosPolicy` |
//! | an insertion of an inspecting machine | `L2Insertion` |
//! | DHCP subnets of a bridge | `Dhcp` |
//! | a load balancer's state | `LoadBalancer` |
//! | a virtual address, also its coming and going | `Vip` of its address |
//! | a pool: state, method, and which members new connections may go to | `Pool` |
//! | a member of a pool: whether it may keep its connections, and where it is | `PoolMember` |
//!
//! A router names its load balancer; that has its virtual addresses, each of which names its pool;
//! that has its members. Each of the three is loaded when a packet comes to it. A flow that read a
//! virtual address or found none carries the load balancer's tag too.
//!
//! Learned state (MACs, neighbours, places of ports, tunnel addresses) is not in here: who keeps
//! those tables raises `Mac`, `Neighbor`, `Location` and `Peer`. What the checks of pools' members
//! came to is told to [`Snapshot::judge`]. Hosts and tunnel zones are taken and ignored.

mod apply;
#[cfg(test)]
mod balancing_tests;
mod bridge;
mod chain;
mod condition;
mod group;
mod load_balancer;
mod loaded;
mod maglev;
mod mirror;
mod pool;
mod qos;
mod route_table;
mod router;
mod shelf;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mn_ids::{
    BridgeId, ChainId, Class, HealthMonitorId, Id, IpAddrGroupId, Kind, L2InsertionId,
    LoadBalancerId, MirrorId, ObjectKey, PoolId, PortGroupId, PortId, QosPolicyId, RouterId,
};

pub use bridge::{BridgeView, FarEnd, Link};
pub use chain::{ChainView, RuleView};
pub use condition::{ConditionView, Probe};
pub use group::{AddrSet, PortSet};
pub use load_balancer::LoadBalancerView;
pub use loaded::Loaded;
pub use mirror::MirrorView;
pub use pool::{Eligible, PoolView, Standing, Verdict};
pub use qos::Bandwidth;
pub use route_table::{Candidate, Matches, RouteTable};
pub use router::RouterView;

use crate::object::{DeviceId, HealthMonitor, L2Insertion, Pool, Port, QosPolicy};
use bridge::BridgeEntry;
use chain::ChainEntry;
use load_balancer::LoadBalancerEntry;
use pool::PoolEntry;
use router::RouterEntry;
use shelf::Shelf;

/// An immutable picture of what is loaded.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    bridges: Shelf<BridgeEntry>,
    routers: Shelf<RouterEntry>,
    ports: Shelf<Single<Port>>,
    chains: Shelf<ChainEntry>,
    port_groups: Shelf<Single<PortSet>>,
    addr_groups: Shelf<Single<AddrSet>>,
    load_balancers: Shelf<LoadBalancerEntry>,
    pools: Shelf<PoolEntry>,
    health_monitors: Shelf<Single<HealthMonitor>>,
    mirrors: Shelf<Single<MirrorView>>,
    qos_policies: Shelf<Single<QosPolicy>>,
    l2_insertions: Shelf<Single<L2Insertion>>,
    /// Objects that are part of a device; kept to know what a change replaces.
    routes: Shelf<Arc<crate::object::Route>>,
    dhcp_subnets: Shelf<Arc<crate::object::DhcpSubnet>>,
    dhcp_v6_subnets: Shelf<Arc<crate::object::DhcpV6Subnet>>,
    vips: Shelf<Arc<crate::object::Vip>>,
    pool_members: Shelf<Arc<crate::object::PoolMember>>,
    /// The chain of each loaded segment.
    chain_segments: Shelf<ChainId>,
}

/// What a snapshot says of an object.
#[derive(Debug)]
pub enum Lookup<'a, T> {
    Loaded(&'a T),
    /// It is known not to exist.
    Absent,
    /// Nobody asked for it yet.
    NotLoaded,
}

impl<T> Lookup<'_, T> {
    /// Whether it says something.
    const fn is_known(&self) -> bool {
        matches!(self, Self::Loaded(_) | Self::Absent)
    }
}

// Not derived: a reference can be copied whatever it refers to.
impl<T> Clone for Lookup<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Lookup<'_, T> {}

impl Snapshot {
    /// A bridge with its ports and DHCP subnets.
    #[must_use]
    pub fn bridge(&self, id: BridgeId) -> Lookup<'_, BridgeView> {
        self.bridges.get(id.uuid()).map_or(Lookup::NotLoaded, BridgeEntry::lookup)
    }

    /// A router with its ports' addresses and its routes.
    #[must_use]
    pub fn router(&self, id: RouterId) -> Lookup<'_, RouterView> {
        self.routers.get(id.uuid()).map_or(Lookup::NotLoaded, RouterEntry::lookup)
    }

    /// A port.
    #[must_use]
    pub fn port(&self, id: PortId) -> Lookup<'_, Port> {
        single(&self.ports, id)
    }

    /// A chain with its rules.
    #[must_use]
    pub fn chain(&self, id: ChainId) -> Lookup<'_, ChainView> {
        self.chains.get(id.uuid()).map_or(Lookup::NotLoaded, ChainEntry::lookup)
    }

    /// The members of a port group.
    #[must_use]
    pub fn port_group(&self, id: PortGroupId) -> Lookup<'_, PortSet> {
        single(&self.port_groups, id)
    }

    /// The addresses of an IP address group.
    #[must_use]
    pub fn ip_addr_group(&self, id: IpAddrGroupId) -> Lookup<'_, AddrSet> {
        single(&self.addr_groups, id)
    }

    /// A load balancer with its virtual addresses.
    #[must_use]
    pub fn load_balancer(&self, id: LoadBalancerId) -> Lookup<'_, LoadBalancerView> {
        self.load_balancers.get(id.uuid()).map_or(Lookup::NotLoaded, LoadBalancerEntry::lookup)
    }

    /// A pool with its members.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Lookup<'_, PoolView> {
        self.pools.get(id.uuid()).map_or(Lookup::NotLoaded, PoolEntry::lookup)
    }

    /// A pool, whether its members are loaded or not.
    #[must_use]
    pub fn pool_alone(&self, id: PoolId) -> Lookup<'_, Pool> {
        self.pools.get(id.uuid()).map_or(Lookup::NotLoaded, PoolEntry::lookup_alone)
    }

    /// How the members of pools are checked.
    #[must_use]
    pub fn health_monitor(&self, id: HealthMonitorId) -> Lookup<'_, HealthMonitor> {
        single(&self.health_monitors, id)
    }

    /// A mirror.
    #[must_use]
    pub fn mirror(&self, id: MirrorId) -> Lookup<'_, MirrorView> {
        single(&self.mirrors, id)
    }

    /// A policy of service quality.
    #[must_use]
    pub fn qos_policy(&self, id: QosPolicyId) -> Lookup<'_, QosPolicy> {
        single(&self.qos_policies, id)
    }

    /// An insertion of an inspecting machine.
    #[must_use]
    pub fn l2_insertion(&self, id: L2InsertionId) -> Lookup<'_, L2Insertion> {
        single(&self.l2_insertions, id)
    }

    /// Adds to `missing` what a walk through this port is going to need and is not loaded. Saves the
    /// walk as many round trips.
    pub fn missing_around(&self, port: PortId, missing: &mut Vec<ObjectKey>) {
        self.around(port, &mut |key| {
            if !self.is_loaded(key) {
                missing.push(key);
            }
        });
    }

    /// What a walk through this port is going to need besides the port: its device, the filters and
    /// mirrors of both, its peer; a router's load balancer.
    pub fn around(&self, port: PortId, each: &mut impl FnMut(ObjectKey)) {
        let Lookup::Loaded(port) = self.port(port) else { return };
        let device = port.device();
        each(device.into());
        let (filters, mirrors) = match device {
            DeviceId::Bridge(id) => match self.bridge(id) {
                Lookup::Loaded(bridge) => (bridge.filters(), bridge.mirrors()),
                Lookup::Absent | Lookup::NotLoaded => ([None; 2], [&[][..]; 2]),
            },
            DeviceId::Router(id) => match self.router(id) {
                Lookup::Loaded(router) => {
                    router.load_balancer_id.into_iter().for_each(|id| each(id.into()));
                    (router.filters(), router.mirrors())
                }
                Lookup::Absent | Lookup::NotLoaded => ([None; 2], [&[][..]; 2]),
            },
        };
        let filters = port.filters().into_iter().chain(filters);
        filters.flatten().for_each(|id| each(id.into()));
        let mirrors = port.mirrors().into_iter().chain(mirrors);
        mirrors.flatten().for_each(|id| each((*id).into()));
        if let Some(Some(policy)) = self.policy_of(port) {
            each(policy.into());
        }
        let insertions = port.insertion_ids.iter().chain(&port.srv_insertion_ids);
        insertions.for_each(|id| self.around_insertion(*id, each));
        if let Some(peer) = port.peer_id {
            each(peer.into());
        }
    }

    /// What frames that pass an insertion are going to need: both its ports.
    fn around_insertion(&self, id: L2InsertionId, each: &mut impl FnMut(ObjectKey)) {
        each(id.into());
        if let Lookup::Loaded(insertion) = self.l2_insertion(id) {
            each(insertion.port_id.into());
            each(insertion.srv_port_id.into());
        }
    }

    /// Whether a lookup of the object says something, be it that there is none.
    #[must_use]
    pub fn is_loaded(&self, key: ObjectKey) -> bool {
        match key.class {
            Class::Bridge => self.bridge(Id::from_uuid(key.id)).is_known(),
            Class::Router => self.router(Id::from_uuid(key.id)).is_known(),
            Class::Port => self.port(Id::from_uuid(key.id)).is_known(),
            Class::Chain => self.chain(Id::from_uuid(key.id)).is_known(),
            Class::PortGroup => self.port_group(Id::from_uuid(key.id)).is_known(),
            Class::IpAddrGroup => self.ip_addr_group(Id::from_uuid(key.id)).is_known(),
            Class::LoadBalancer => self.load_balancer(Id::from_uuid(key.id)).is_known(),
            Class::Pool => self.pool(Id::from_uuid(key.id)).is_known(),
            Class::HealthMonitor => self.health_monitor(Id::from_uuid(key.id)).is_known(),
            Class::Mirror => self.mirror(Id::from_uuid(key.id)).is_known(),
            Class::QosPolicy => self.qos_policy(Id::from_uuid(key.id)).is_known(),
            Class::L2Insertion => self.l2_insertion(Id::from_uuid(key.id)).is_known(),
            Class::ChainSegment
            | Class::DhcpSubnet
            | Class::DhcpV6Subnet
            | Class::Host
            | Class::PoolMember
            | Class::Route
            | Class::Rule
            | Class::SystemState
            | Class::TunnelZone
            | Class::Vip => false,
        }
    }

    /// How many objects of each class it holds, on their way to be loaded too.
    #[must_use]
    pub fn held(&self) -> [(Class, usize); 18] {
        [
            (Class::Bridge, self.bridges.len()),
            (Class::Router, self.routers.len()),
            (Class::Port, self.ports.len()),
            (Class::Chain, self.chains.len()),
            (Class::ChainSegment, self.chain_segments.len()),
            (Class::PortGroup, self.port_groups.len()),
            (Class::IpAddrGroup, self.addr_groups.len()),
            (Class::Mirror, self.mirrors.len()),
            (Class::QosPolicy, self.qos_policies.len()),
            (Class::L2Insertion, self.l2_insertions.len()),
            (Class::Route, self.routes.len()),
            (Class::DhcpSubnet, self.dhcp_subnets.len()),
            (Class::DhcpV6Subnet, self.dhcp_v6_subnets.len()),
            (Class::LoadBalancer, self.load_balancers.len()),
            (Class::Vip, self.vips.len()),
            (Class::Pool, self.pools.len()),
            (Class::PoolMember, self.pool_members.len()),
            (Class::HealthMonitor, self.health_monitors.len()),
        ]
    }
}

/// An object that is loaded by itself.
#[derive(Debug)]
struct Single<T> {
    /// Its own selector is complete: absence is a fact.
    watched: bool,
    value: Option<Arc<T>>,
}

impl<T> Clone for Single<T> {
    fn clone(&self) -> Self {
        Self { watched: self.watched, value: self.value.clone() }
    }
}

impl<T> Default for Single<T> {
    fn default() -> Self {
        Self { watched: false, value: None }
    }
}

impl<T> Single<T> {
    fn lookup(&self) -> Lookup<'_, T> {
        match &self.value {
            Some(value) => Lookup::Loaded(value),
            None if self.watched => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }
}

fn single<K: Kind, T>(shelf: &Shelf<Single<T>>, id: Id<K>) -> Lookup<'_, T> {
    shelf.get(id.uuid()).map_or(Lookup::NotLoaded, Single::lookup)
}
