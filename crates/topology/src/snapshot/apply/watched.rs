//! Which selectors are complete, and what they keep.

use mn_ids::{Class, Id, ObjectKey};
use uuid::Uuid;

use super::super::{Loaded, Shelf, Single};
use super::Next;
use crate::object::DeviceId;

impl Next {
    /// Notes that a selector is complete, or no longer watched.
    pub(super) fn watched(&mut self, loaded: Loaded, watched: bool) {
        match loaded {
            Loaded::Object(key) => self.watched_object(key, watched),
            Loaded::Referrers { to, class } => self.watched_referrers(to, class, watched),
        }
    }

    fn watched_object(&mut self, key: ObjectKey, watched: bool) {
        let snapshot = &mut self.snapshot;
        match key.class {
            Class::Bridge => snapshot.bridges.entry(key.id).bridge.watched = watched,
            Class::Router => snapshot.routers.entry(key.id).router.watched = watched,
            Class::Port => watch(&mut snapshot.ports, key.id, watched),
            Class::Chain => snapshot.chains.entry(key.id).chain.watched = watched,
            Class::PortGroup => watch(&mut snapshot.port_groups, key.id, watched),
            Class::IpAddrGroup => watch(&mut snapshot.addr_groups, key.id, watched),
            Class::Mirror => watch(&mut snapshot.mirrors, key.id, watched),
            Class::QosPolicy => watch(&mut snapshot.qos_policies, key.id, watched),
            Class::L2Insertion => watch(&mut snapshot.l2_insertions, key.id, watched),
            Class::LoadBalancer => {
                snapshot.load_balancers.entry(key.id).balancer.watched = watched;
            }
            Class::Pool => snapshot.pools.entry(key.id).pool.watched = watched,
            Class::HealthMonitor => watch(&mut snapshot.health_monitors, key.id, watched),
            Class::ChainSegment
            | Class::DhcpSubnet
            | Class::DhcpV6Subnet
            | Class::Host
            | Class::PoolMember
            | Class::Route
            | Class::Rule
            | Class::SystemState
            | Class::TunnelZone
            | Class::Vip => {}
        }
        self.rebuild(key);
    }

    fn watched_referrers(&mut self, to: ObjectKey, class: Class, watched: bool) {
        match (to.class, class) {
            (Class::Bridge, Class::Port) => {
                self.snapshot.bridges.entry(to.id).ports_complete = watched;
            }
            (Class::Bridge, Class::DhcpSubnet) => {
                self.snapshot.bridges.entry(to.id).dhcp_complete = watched;
            }
            (Class::Bridge, Class::DhcpV6Subnet) => {
                self.snapshot.bridges.entry(to.id).dhcp_v6_complete = watched;
            }
            (Class::Chain, Class::ChainSegment) => {
                self.snapshot.chains.entry(to.id).segments_complete = watched;
            }
            (Class::LoadBalancer, Class::Vip) => {
                self.snapshot.load_balancers.entry(to.id).vips_complete = watched;
            }
            (Class::Pool, Class::PoolMember) => {
                self.snapshot.pools.entry(to.id).members_complete = watched;
            }
            (Class::Router, Class::Port) => {
                self.snapshot.routers.entry(to.id).ports_complete = watched;
            }
            (Class::Router, Class::Route) => {
                self.snapshot.routers.entry(to.id).routes_complete = watched;
            }
            _ => return,
        }
        self.rebuild(to);
    }

    /// Notes that what is kept of this object with what refers to it is to be made anew.
    fn rebuild(&mut self, key: ObjectKey) {
        match key.class {
            Class::Bridge => drop(self.bridges.entry(Id::from_uuid(key.id)).or_default()),
            Class::Router => drop(self.routers.entry(Id::from_uuid(key.id)).or_default()),
            Class::Chain => drop(self.chains.insert(Id::from_uuid(key.id))),
            Class::LoadBalancer => drop(self.load_balancers.insert(Id::from_uuid(key.id))),
            Class::Pool => drop(self.pools.insert(Id::from_uuid(key.id))),
            _ => {}
        }
    }

    /// Whether a selector other than the one being forgotten shows the object.
    pub(super) fn is_watched(&self, key: ObjectKey) -> bool {
        let snapshot = &self.snapshot;
        match key.class {
            Class::Bridge => snapshot.bridges.get(key.id).is_some_and(|entry| entry.bridge.watched),
            Class::Router => snapshot.routers.get(key.id).is_some_and(|entry| entry.router.watched),
            Class::LoadBalancer => {
                let entry = snapshot.load_balancers.get(key.id);
                entry.is_some_and(|entry| entry.balancer.watched)
            }
            Class::Pool => snapshot.pools.get(key.id).is_some_and(|entry| entry.pool.watched),
            Class::ChainSegment => {
                let chain = snapshot.chain_segments.get(key.id);
                let entry = chain.and_then(|chain| snapshot.chains.get(chain.uuid()));
                entry.is_some_and(|entry| entry.segments_complete)
            }
            Class::Port => {
                let Some(port) = snapshot.ports.get(key.id) else { return false };
                port.watched
                    || port.value.as_ref().is_some_and(|port| match port.device() {
                        DeviceId::Bridge(id) => snapshot
                            .bridges
                            .get(id.uuid())
                            .is_some_and(|entry| entry.ports_complete),
                        DeviceId::Router(id) => snapshot
                            .routers
                            .get(id.uuid())
                            .is_some_and(|entry| entry.ports_complete),
                    })
            }
            _ => false,
        }
    }
}

fn watch<T>(shelf: &mut Shelf<Single<T>>, id: Uuid, watched: bool) {
    let entry = shelf.entry(id);
    entry.watched = watched;
    if !watched && entry.value.is_none() {
        shelf.remove(id);
    }
}
