//! Which hosts must know a translation (agent-facts §17): those by whose ports packets of the
//! connection may come in, and no others.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv6Addr;

use mn_ids::{HostId, ObjectKey, PortId, RouterId};
use mn_packet::EtherType;
use mn_simulation::nat::NatBinding;
use mn_topology::DeviceId;
use mn_topology::snapshot::{Lookup, Snapshot};

/// Routers that are looked at, one linked to the other.
const ROUTERS_MAX: usize = 16;

/// The hosts that are to hear of a translation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hearers {
    /// Sorted; this host is not among them.
    pub hosts: Vec<HostId>,
    /// What has to be loaded before they are known.
    pub missing: Vec<ObjectKey>,
}

impl Hearers {
    /// Those of a translation whose packet went out by these ports: their hosts, and those of all
    /// ports that the device's routers could send to either end of the connection by. What is sent
    /// by one of them may be answered by another (ECMP, gateways that stand in for one another).
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        own: HostId,
        binding: &NatBinding,
        delivered: impl IntoIterator<Item = PortId>,
    ) -> Self {
        let mut search = Search { snapshot, hosts: BTreeSet::new(), missing: Vec::new() };
        for port in delivered {
            search.port(port);
        }
        if let DeviceId::Router(router) = binding.key.device {
            for end in [binding.translated().dst, binding.key.tuple.src] {
                search.routers_to(router, end);
            }
        }
        search.hosts.remove(&own);
        Self { hosts: search.hosts.into_iter().collect(), missing: search.missing }
    }
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    hosts: BTreeSet<HostId>,
    missing: Vec<ObjectKey>,
}

impl Search<'_> {
    /// Adds the host of a port; the router that the port leads to, if it leads to one.
    fn port(&mut self, port: PortId) -> Option<RouterId> {
        match self.snapshot.port(port) {
            Lookup::Loaded(port) => {
                self.hosts.extend(port.binding().map(|binding| binding.host_id));
                match self.snapshot.port(port.peer_id?) {
                    Lookup::Loaded(peer) => match peer.device() {
                        DeviceId::Router(router) => return Some(router),
                        DeviceId::Bridge(_) => {}
                    },
                    Lookup::Absent => {}
                    Lookup::NotLoaded => self.missing.extend(port.peer_id.map(ObjectKey::from)),
                }
            }
            Lookup::Absent => {}
            Lookup::NotLoaded => self.missing.push(port.into()),
        }
        None
    }

    /// Adds the hosts of all ports that lead to an address, from this router and from those
    /// behind it.
    fn routers_to(&mut self, first: RouterId, addr: Ipv6Addr) {
        let v4 = addr.to_ipv4_mapped().is_some();
        let version = if v4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let (mut seen, mut todo) = (HashSet::from([first]), vec![first]);
        while let Some(router) = todo.pop() {
            let view = match self.snapshot.router(router) {
                Lookup::Loaded(view) => view,
                Lookup::Absent => continue,
                Lookup::NotLoaded => {
                    self.missing.push(router.into());
                    continue;
                }
            };
            let matches = view.routes().search(version, addr);
            let ports: BTreeSet<PortId> =
                matches.groups().flatten().filter_map(|route| route.port()).collect();
            for port in ports {
                if let Some(next) = self.port(port)
                    && seen.len() < ROUTERS_MAX
                    && seen.insert(next)
                {
                    todo.push(next);
                }
            }
        }
    }
}
