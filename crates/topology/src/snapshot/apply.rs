//! How a snapshot becomes the next.

mod balancing;
mod chain;
mod dhcp;
mod port;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mn_flow::Tag;
use mn_ids::{
    BridgeId, ChainId, Class, Id, LoadBalancerId, Object, ObjectKey, PoolId, PortId, RouterId,
};
use mn_packet::Mac;
use uuid::Uuid;

use super::route_table::tag as route_tag;
use super::{
    AddrSet, Candidate, FarEnd, Link, Loaded, Lookup, MirrorView, PortSet, Shelf, Single, Snapshot,
};
use crate::AnyObject;
use crate::object::{Bridge, DeviceId, L2Insertion, Port, PortKind, QosPolicy, Route, Router};

use port::{own, read_of_port};

impl Snapshot {
    /// The snapshot after these changes, and what they touch of what flows have read (see the
    /// module's table), each tag once.
    ///
    /// All changes of one revision belong into one call, so that no packet sees half of it. An
    /// object that is deleted is a change to `None`; `complete` alone removes nothing.
    #[must_use]
    pub fn apply(
        &self,
        changes: impl IntoIterator<Item = (ObjectKey, Option<AnyObject>)>,
        complete: &[Loaded],
    ) -> (Self, Vec<Tag>) {
        let mut next = Next::after(self);
        for (key, object) in changes {
            next.change(key, object);
        }
        for loaded in complete {
            next.watched(*loaded, true);
        }
        next.finish()
    }

    /// The snapshot without what only these selectors kept loaded, and the tags of all of it: a
    /// flow that still read it would not hear of changes any more.
    #[must_use]
    pub fn forget(&self, selectors: &[Loaded]) -> (Self, Vec<Tag>) {
        let mut next = Next::after(self);
        for loaded in selectors {
            next.watched(*loaded, false);
        }
        for loaded in selectors {
            for key in self.kept_by(*loaded) {
                if !next.is_watched(key) {
                    next.change(key, None);
                }
            }
        }
        next.finish()
    }

    /// The objects that a selector shows.
    fn kept_by(&self, loaded: Loaded) -> Vec<ObjectKey> {
        match loaded {
            Loaded::Object(key) => vec![key],
            Loaded::Referrers { to, class } => self.referrers(to, class).unwrap_or_default(),
        }
    }

    /// What is here of one class that refers to an object; `None` where nothing is kept of it.
    fn referrers(&self, to: ObjectKey, class: Class) -> Option<Vec<ObjectKey>> {
        let ports = |ids: &[PortId]| ids.iter().map(|id| (*id).into()).collect();
        Some(match (to.class, class) {
            (Class::Bridge, Class::Port) => ports(&self.bridges.get(to.id)?.ports),
            (Class::Bridge, Class::DhcpSubnet) => {
                self.bridges.get(to.id)?.dhcp.iter().map(|subnet| subnet.key()).collect()
            }
            (Class::Bridge, Class::DhcpV6Subnet) => {
                self.bridges.get(to.id)?.dhcp_v6.iter().map(|subnet| subnet.key()).collect()
            }
            (Class::Router, Class::Port) => ports(&self.routers.get(to.id)?.ports),
            (Class::Router, Class::Route) => {
                self.routers.get(to.id)?.routes.ids().map(ObjectKey::from).collect()
            }
            (Class::Chain, Class::ChainSegment) => {
                self.chains.get(to.id)?.segments().map(ObjectKey::from).collect()
            }
            (Class::LoadBalancer, Class::Vip) => {
                self.load_balancers.get(to.id)?.vips.ids().map(ObjectKey::from).collect()
            }
            (Class::Pool, Class::PoolMember) => {
                self.pools.get(to.id)?.members().map(ObjectKey::from).collect()
            }
            _ => return None,
        })
    }
}

/// The next snapshot while it is made.
struct Next {
    snapshot: Snapshot,
    tags: BTreeSet<Tag>,
    /// The ports that came, went or changed their link, per bridge.
    bridges: BTreeMap<BridgeId, BTreeSet<PortId>>,
    /// The ports that came or went, per router.
    routers: BTreeMap<RouterId, BTreeSet<PortId>>,
    /// The chains of which something came, changed or went.
    chains: BTreeSet<ChainId>,
    /// The load balancers of which something came, changed or went.
    load_balancers: BTreeSet<LoadBalancerId>,
    /// Likewise the pools.
    pools: BTreeSet<PoolId>,
}

impl Next {
    fn after(snapshot: &Snapshot) -> Self {
        Self {
            snapshot: snapshot.clone(),
            tags: BTreeSet::new(),
            bridges: BTreeMap::new(),
            routers: BTreeMap::new(),
            chains: BTreeSet::new(),
            load_balancers: BTreeSet::new(),
            pools: BTreeSet::new(),
        }
    }

    fn change(&mut self, key: ObjectKey, object: Option<AnyObject>) {
        match object {
            Some(AnyObject::Bridge(bridge)) => self.bridge(bridge.id, Some(bridge)),
            Some(AnyObject::Router(router)) => self.router(router.id, Some(router)),
            Some(AnyObject::Port(port)) => self.port(port.id, Some(port)),
            Some(AnyObject::Route(route)) => self.route(route.id.uuid(), Some(route)),
            Some(AnyObject::DhcpSubnet(subnet)) => {
                self.dhcp_subnet(subnet.id.uuid(), Some(subnet));
            }
            Some(AnyObject::DhcpV6Subnet(subnet)) => {
                self.dhcp_v6_subnet(subnet.id.uuid(), Some(subnet));
            }
            Some(AnyObject::Chain(chain)) => self.chain(chain.id, Some(&chain)),
            Some(AnyObject::ChainSegment(segment)) => {
                self.chain_segment(segment.id, Some(&segment));
            }
            Some(AnyObject::PortGroup(group)) => {
                self.port_group(group.id.uuid(), Some(PortSet::of(&group)));
            }
            Some(AnyObject::IpAddrGroup(group)) => {
                self.addr_group(group.id.uuid(), Some(AddrSet::of(&group)));
            }
            Some(AnyObject::LoadBalancer(balancer)) => {
                self.load_balancer(balancer.id, Some(balancer));
            }
            Some(AnyObject::Vip(vip)) => self.vip(vip.id.uuid(), Some(vip)),
            Some(AnyObject::Pool(pool)) => self.pool(pool.id, Some(pool)),
            Some(AnyObject::PoolMember(member)) => self.pool_member(member.id, Some(member)),
            Some(AnyObject::HealthMonitor(monitor)) => {
                self.health_monitor(monitor.id.uuid(), Some(monitor));
            }
            Some(AnyObject::Mirror(mirror)) => {
                self.mirror(mirror.id.uuid(), Some(MirrorView::of(&mirror)));
            }
            Some(AnyObject::QosPolicy(policy)) => self.qos_policy(policy.id.uuid(), Some(policy)),
            Some(AnyObject::L2Insertion(insertion)) => {
                self.l2_insertion(insertion.id.uuid(), Some(insertion));
            }
            Some(AnyObject::Host(_) | AnyObject::SystemState(_) | AnyObject::TunnelZone(_)) => {}
            None => self.deleted(key),
        }
    }

    fn deleted(&mut self, key: ObjectKey) {
        match key.class {
            Class::Bridge => self.bridge(Id::from_uuid(key.id), None),
            Class::Router => self.router(Id::from_uuid(key.id), None),
            Class::Port => self.port(Id::from_uuid(key.id), None),
            Class::Route => self.route(key.id, None),
            Class::DhcpSubnet => self.dhcp_subnet(key.id, None),
            Class::DhcpV6Subnet => self.dhcp_v6_subnet(key.id, None),
            Class::Chain => self.chain(Id::from_uuid(key.id), None),
            Class::ChainSegment => self.chain_segment(Id::from_uuid(key.id), None),
            Class::PortGroup => self.port_group(key.id, None),
            Class::IpAddrGroup => self.addr_group(key.id, None),
            Class::LoadBalancer => self.load_balancer(Id::from_uuid(key.id), None),
            Class::Vip => self.vip(key.id, None),
            Class::Pool => self.pool(Id::from_uuid(key.id), None),
            Class::PoolMember => self.pool_member(Id::from_uuid(key.id), None),
            Class::HealthMonitor => self.health_monitor(key.id, None),
            Class::Mirror => self.mirror(key.id, None),
            Class::QosPolicy => self.qos_policy(key.id, None),
            Class::L2Insertion => self.l2_insertion(key.id, None),
            Class::Host | Class::Rule | Class::SystemState | Class::TunnelZone => {}
        }
    }

    fn bridge(&mut self, id: BridgeId, new: Option<Bridge>) {
        let entry = self.snapshot.bridges.entry(id.uuid());
        if entry.bridge.value.as_deref().map(read_of_bridge) != new.as_ref().map(read_of_bridge) {
            self.tags.insert(Tag::Bridge(id));
        }
        entry.bridge.value = new.map(Arc::new);
        self.bridges.entry(id).or_default();
    }

    fn router(&mut self, id: RouterId, new: Option<Router>) {
        let entry = self.snapshot.routers.entry(id.uuid());
        if entry.router.value.as_deref().map(read_of_router) != new.as_ref().map(read_of_router) {
            self.tags.insert(Tag::Router(id));
        }
        entry.router.value = new.map(Arc::new);
        self.routers.entry(id).or_default();
    }

    fn port(&mut self, id: PortId, new: Option<Port>) {
        let entry = self.snapshot.ports.entry(id.uuid());
        let old = entry.value.take();
        let new = new.map(Arc::new);
        entry.value = new.clone();
        if !entry.watched && new.is_none() {
            self.snapshot.ports.remove(id.uuid());
        }
        if old.as_deref().map(read_of_port) != new.as_deref().map(read_of_port) {
            self.tags.insert(Tag::Port(id));
        }
        // Who sends to a port asks whether it is where it is bound.
        let host = |port: &Port| port.binding().map(|binding| binding.host_id);
        if old.as_deref().and_then(host) != new.as_deref().and_then(host) {
            self.tags.insert(Tag::Location(id));
        }
        self.own_routes(old.as_deref(), new.as_deref());
        for port in [&old, &new].into_iter().flatten() {
            match port.device() {
                DeviceId::Bridge(bridge) => self.bridges.entry(bridge).or_default().insert(id),
                DeviceId::Router(router) => self.routers.entry(router).or_default().insert(id),
            };
            // The bridge at the other end knows what is at this one.
            let peer = port.peer_id.map(|peer| (peer, self.snapshot.port(peer)));
            if let Some((peer, Lookup::Loaded(far))) = peer
                && let DeviceId::Bridge(bridge) = far.device()
            {
                self.bridges.entry(bridge).or_default().insert(peer);
            }
        }
    }

    /// A router's port brings a route to each of its addresses.
    fn own_routes(&mut self, old: Option<&Port>, new: Option<&Port>) {
        let (old, new) = (own(old), own(new));
        for (router, candidate) in old.iter().filter(|own| !new.contains(own)) {
            self.snapshot.routers.entry(router.uuid()).routes.remove(candidate);
            self.tags.insert(route_tag(*router, candidate));
        }
        for (router, candidate) in new.iter().filter(|own| !old.contains(own)) {
            self.snapshot.routers.entry(router.uuid()).routes.insert(*candidate);
            self.tags.insert(route_tag(*router, candidate));
        }
    }

    fn route(&mut self, id: Uuid, new: Option<Route>) {
        let new = new.map(Arc::new);
        let old = match &new {
            Some(route) => self.snapshot.routes.insert(id, Arc::clone(route)),
            None => self.snapshot.routes.remove(id),
        };
        let part = |route: &Option<Arc<Route>>| {
            route.as_deref().map(|route| (route.router_id, Candidate::from(route)))
        };
        let (old, new) = (part(&old), part(&new));
        if old == new {
            return;
        }
        for (router, candidate) in [old, new].into_iter().flatten() {
            self.tags.insert(route_tag(router, &candidate));
            self.routers.entry(router).or_default();
        }
        if let Some((router, candidate)) = old {
            self.snapshot.routers.entry(router.uuid()).routes.remove(&candidate);
        }
        if let Some((router, candidate)) = new {
            self.snapshot.routers.entry(router.uuid()).routes.insert(candidate);
        }
    }

    fn port_group(&mut self, id: Uuid, new: Option<PortSet>) {
        let changed = replace(&mut self.snapshot.port_groups, id, new);
        self.tags.extend(changed.then_some(Tag::PortGroup(Id::from_uuid(id))));
    }

    fn addr_group(&mut self, id: Uuid, new: Option<AddrSet>) {
        let changed = replace(&mut self.snapshot.addr_groups, id, new);
        self.tags.extend(changed.then_some(Tag::IpAddrGroup(Id::from_uuid(id))));
    }

    fn mirror(&mut self, id: Uuid, new: Option<MirrorView>) {
        let changed = replace(&mut self.snapshot.mirrors, id, new);
        self.tags.extend(changed.then_some(Tag::Mirror(Id::from_uuid(id))));
    }

    fn qos_policy(&mut self, id: Uuid, new: Option<QosPolicy>) {
        let old = self.snapshot.qos_policies.get(id).and_then(|entry| entry.value.clone());
        let mark = new.as_ref().map(QosPolicy::mark);
        replace(&mut self.snapshot.qos_policies, id, new);
        if old.as_deref().map(QosPolicy::mark) != mark {
            self.tags.insert(Tag::QosPolicy(Id::from_uuid(id)));
        }
    }

    fn l2_insertion(&mut self, id: Uuid, new: Option<L2Insertion>) {
        let changed = replace(&mut self.snapshot.l2_insertions, id, new);
        self.tags.extend(changed.then_some(Tag::L2Insertion(Id::from_uuid(id))));
    }

    fn finish(mut self) -> (Snapshot, Vec<Tag>) {
        for (id, ports) in core::mem::take(&mut self.bridges) {
            self.rebuild_bridge(id, &ports);
        }
        for (id, ports) in core::mem::take(&mut self.routers) {
            self.rebuild_router(id, &ports);
        }
        for id in core::mem::take(&mut self.chains) {
            self.rebuild_chain(id);
        }
        for id in core::mem::take(&mut self.load_balancers) {
            self.rebuild_load_balancer(id);
        }
        for id in core::mem::take(&mut self.pools) {
            self.rebuild_pool(id);
        }
        (self.snapshot, self.tags.into_iter().collect())
    }

    fn rebuild_bridge(&mut self, id: BridgeId, changed: &BTreeSet<PortId>) {
        let is_here = |port: &PortId| match self.snapshot.port(*port) {
            Lookup::Loaded(port) => port.device() == DeviceId::Bridge(id),
            Lookup::Absent | Lookup::NotLoaded => false,
        };
        let old = self.snapshot.bridges.get(id.uuid()).cloned().unwrap_or_default();
        let ports = merge(&old.ports, changed, is_here);
        let mut links: Vec<Link> =
            old.links.iter().filter(|link| !changed.contains(&link.port)).copied().collect();
        links.extend(changed.iter().filter_map(|port| self.link(*port)));
        links.sort_unstable_by_key(|link| link.port);
        if ports.is_some() {
            self.tags.insert(Tag::Flood { bridge: id, vlan: None });
        }
        let carries_vlan = |port: &PortId| match self.snapshot.port(*port) {
            Lookup::Loaded(port) => port.device() == DeviceId::Bridge(id) && port.vlan().is_some(),
            Lookup::Absent | Lookup::NotLoaded => false,
        };
        let vlan_ports = merge(&old.vlan_ports, changed, carries_vlan);
        // Whether any port carries a VLAN decides where MACs are learned and looked up.
        if vlan_ports.as_ref().is_some_and(|now| now.is_empty() != old.vlan_ports.is_empty()) {
            self.tags.insert(Tag::Bridge(id));
        }
        let macs = |links: &[Link]| -> BTreeSet<(Mac, PortId, u16)> {
            let mac = |link: &Link| match link.far {
                FarEnd::Router { mac, .. } => Some((mac, link.port, link.vlan)),
                FarEnd::Bridge | FarEnd::Unknown => None,
            };
            links.iter().filter_map(mac).collect()
        };
        for (mac, ..) in macs(&old.links).symmetric_difference(&macs(&links)) {
            self.tags.insert(Tag::Mac { bridge: id, vlan: None, mac: *mac });
        }
        let entry = self.snapshot.bridges.entry(id.uuid());
        if let Some(ports) = ports {
            entry.ports = ports;
        }
        if let Some(vlan_ports) = vlan_ports {
            entry.vlan_ports = vlan_ports;
        }
        if *entry.links != *links {
            entry.links = links.into();
        }
        entry.compile();
        if entry.is_empty() {
            self.snapshot.bridges.remove(id.uuid());
        }
    }

    /// The link of a bridge's port.
    fn link(&self, id: PortId) -> Option<Link> {
        let Lookup::Loaded(port) = self.snapshot.port(id) else { return None };
        let PortKind::Bridge { vlan_id, .. } = port.kind else { return None };
        let peer = port.peer_id?;
        let far = match self.snapshot.port(peer) {
            Lookup::Loaded(far) => match &far.kind {
                PortKind::Router(far) => FarEnd::Router { router: far.router_id, mac: far.mac },
                PortKind::Bridge { .. } => FarEnd::Bridge,
            },
            Lookup::Absent | Lookup::NotLoaded => FarEnd::Unknown,
        };
        Some(Link { port: id, peer, far, vlan: vlan_id })
    }

    fn rebuild_router(&mut self, id: RouterId, changed: &BTreeSet<PortId>) {
        let is_here = |port: &PortId| match self.snapshot.port(*port) {
            Lookup::Loaded(port) => port.device() == DeviceId::Router(id),
            Lookup::Absent | Lookup::NotLoaded => false,
        };
        let old = self.snapshot.routers.get(id.uuid()).map(|entry| Arc::clone(&entry.ports));
        let ports = merge(&old.unwrap_or_default(), changed, is_here);
        let entry = self.snapshot.routers.entry(id.uuid());
        if let Some(ports) = ports {
            entry.ports = ports;
        }
        entry.compile();
        if entry.is_empty() {
            self.snapshot.routers.remove(id.uuid());
        }
    }
}

/// What flows read of a bridge itself.
fn read_of_bridge(bridge: &Bridge) -> impl PartialEq {
    (bridge.admin_state_up, bridge.filters(), bridge.mirrors(), bridge.qos_policy_id)
}

/// What flows read of a router itself.
fn read_of_router(router: &Router) -> impl PartialEq {
    let (filters, mirrors) = (router.filters(), router.mirrors());
    (router.admin_state_up, filters, mirrors, router.load_balancer_id, router.ecmp)
}

/// The sorted list with the changed members that are there and without those that are not; `None`
/// where that is the same list.
fn merge(
    old: &[PortId],
    changed: &BTreeSet<PortId>,
    is_here: impl Fn(&PortId) -> bool,
) -> Option<Arc<[PortId]>> {
    let differs = changed.iter().any(|port| is_here(port) != old.binary_search(port).is_ok());
    if !differs {
        return None;
    }
    let mut new: Vec<PortId> = old.iter().filter(|port| !changed.contains(port)).copied().collect();
    new.extend(changed.iter().filter(|port| is_here(port)));
    new.sort_unstable();
    Some(new.into())
}

/// Replaces a value; says whether it is another.
fn replace<T: PartialEq>(shelf: &mut Shelf<Single<T>>, id: Uuid, new: Option<T>) -> bool {
    let entry = shelf.entry(id);
    let changed = entry.value.as_deref() != new.as_ref();
    let gone = new.is_none() && !entry.watched;
    if changed {
        entry.value = new.map(Arc::new);
    }
    if gone {
        shelf.remove(id);
    }
    changed
}
