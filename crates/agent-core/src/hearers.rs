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
    /// ports that the device, if it is a router, or the routers at it, if it is a bridge, could send
    /// to either end of the connection by. What is sent by one of them may be answered by another
    /// (ECMP, gateways that stand in for one another).
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
        let routers = search.routers_at(binding.key.device);
        for end in [binding.translated().dst, binding.key.tuple.src] {
            search.routers_to(&routers, end);
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

    /// The router itself, or those that are linked to the bridge.
    fn routers_at(&mut self, device: DeviceId) -> Vec<RouterId> {
        let bridge = match device {
            DeviceId::Router(router) => return vec![router],
            DeviceId::Bridge(bridge) => bridge,
        };
        match self.snapshot.bridge(bridge) {
            Lookup::Loaded(view) => {
                view.links().iter().filter_map(|link| self.port(link.port)).collect()
            }
            Lookup::Absent => Vec::new(),
            Lookup::NotLoaded => {
                self.missing.push(bridge.into());
                Vec::new()
            }
        }
    }

    /// Adds the hosts of all ports that lead to an address, from these routers and from those
    /// behind them.
    fn routers_to(&mut self, first: &[RouterId], addr: Ipv6Addr) {
        let v4 = addr.to_ipv4_mapped().is_some();
        let version = if v4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let mut seen: HashSet<RouterId> = first.iter().copied().collect();
        let mut todo = first.to_vec();
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

#[cfg(test)]
mod tests {
    use mn_ids::Host;
    use mn_simulation::Effect;
    use mn_testkit::{Lab, named};

    use super::*;

    /// A machine whose bridge or router translates, and two gateways outside.
    fn world(bridge: &str, router: &str) -> Lab {
        let mut lab = Lab::read(&format!(
            "
            bridge blue
              vm1  02::01  10.0.1.5
              {bridge}
            router edge
              blue   02::a1  10.0.1.1/24
              one    02::b1  192.0.2.1/24     peer 02::98 192.0.2.254
              other  02::b2  198.51.100.1/24  peer 02::99 198.51.100.254
              route 0.0.0.0/0 via one 192.0.2.254 weight 1
              route 0.0.0.0/0 via other 198.51.100.254 weight 2
              {router}
            chain post
              snat 203.0.113.2@1024-2047 udp
            "
        ));
        for port in ["vm1", "edge.one", "edge.other"] {
            lab.port(port, |it| it.host_id = Some(host(port)));
        }
        lab
    }

    fn host(port: &str) -> HostId {
        named::<Host>(port)
    }

    /// What a datagram to the outside begins.
    fn begun(lab: &Lab) -> NatBinding {
        let sent = lab.send("vm1 > 203.0.113.99 udp 53");
        let begun = sent.buffers.effects.iter().find_map(|effect| match effect {
            Effect::Translate(binding) => Some(*binding),
            _ => None,
        });
        begun.expect("it is translated")
    }

    #[test]
    fn whoever_may_see_the_answer_hears_whether_a_router_or_a_bridge_translates() {
        let mut all = vec![host("edge.one"), host("edge.other")];
        all.sort_unstable();
        for (bridge, router) in [("", "out post"), ("out post", "")] {
            let lab = world(bridge, router);
            let ports = [named("edge.one")];
            let told = Hearers::of(&lab.snapshot, host("vm1"), &begun(&lab), ports);
            assert_eq!(told, Hearers { hosts: all.clone(), missing: Vec::new() }, "{bridge}");
        }
    }

    #[test]
    fn what_is_not_loaded_is_asked_for() {
        let binding = begun(&world("out post", ""));
        let told = Hearers::of(&Snapshot::default(), host("vm1"), &binding, []);
        let bridge: mn_ids::BridgeId = named("blue");
        assert_eq!(told.missing, [ObjectKey::from(bridge)]);
    }
}
