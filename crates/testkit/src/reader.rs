//! From a lab's text to its objects.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use mn_flow::ScopedAddr;
use mn_ids::{HostId, MirrorId};
use mn_packet::{IpPrefix, Mac};
use mn_topology::{
    AnyObject, Bridge, Chain, ClientId, DhcpHost, DhcpSubnet, DhcpV6Host, DhcpV6Subnet, IfAddr,
    IpAddrGroup, Mirror, Port, PortGroup, PortKind, RaMode, Route, RouteTarget, Router, RouterPort,
    StaticRoute,
};

use crate::balancing::{balancer, pool};
use crate::lab::Station;
use crate::rule::rule;
use crate::{Tables, mac, named};

/// What a text describes.
#[derive(Default)]
pub(crate) struct Read {
    pub objects: Vec<AnyObject>,
    pub stations: BTreeMap<String, Station>,
    pub tables: Tables,
}

/// A device or list and its lines, split into words.
pub(crate) struct Block<'a> {
    kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) rest: Vec<&'a str>,
    pub(crate) lines: Vec<Vec<&'a str>>,
}

pub(crate) fn read(text: &str) -> Read {
    let blocks = blocks(text);
    let kinds: BTreeMap<&str, &str> = blocks.iter().map(|block| (block.name, block.kind)).collect();
    let mut read = Read::default();
    for block in &blocks {
        match block.kind {
            "bridge" => read.bridge(block),
            "router" => read.router(block, &kinds),
            "chain" => read.chain(block),
            "mirror" => read.mirror(block),
            "qos" => read
                .objects
                .push(AnyObject::QosPolicy(crate::qos::policy(block.name, &block.lines))),
            "balancer" => read.objects.push(AnyObject::LoadBalancer(balancer(block))),
            "pool" => read.objects.extend(pool(block)),
            "insertion" => read.insertion(block),
            "addresses" => read.objects.push(AnyObject::IpAddrGroup(IpAddrGroup {
                id: named(block.name),
                name: block.name.to_owned(),
                addrs: block.rest.iter().map(|addr| addr.parse().unwrap()).collect(),
            })),
            _ => read.objects.push(AnyObject::PortGroup(PortGroup {
                id: named(block.name),
                tenant_id: None,
                name: Some(block.name.to_owned()),
                stateful: false,
                port_ids: block.rest.iter().map(|port| named(port)).collect(),
            })),
        }
    }
    read.introduce();
    read.insert();
    read
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [
                kind @ ("bridge" | "router" | "chain" | "mirror" | "qos" | "insertion" | "balancer"
                | "pool" | "addresses" | "ports"),
                name,
                ref rest @ ..,
            ] => {
                blocks.push(Block { kind, name, rest: rest.to_vec(), lines: Vec::new() });
            }
            _ => blocks.last_mut().expect("a line belongs to something").lines.push(words),
        }
    }
    blocks
}

/// The mirrors of one hook: their names, with commas.
fn mirrors(names: &str) -> Vec<MirrorId> {
    names.split(',').map(named).collect()
}

fn bind(port: &mut Port, name: &str) {
    port.host_id = Some(named::<mn_ids::Host>("host") as HostId);
    port.interface_name = Some(name.to_owned());
}

/// A port of a bridge that carries this VLAN.
fn bridge_port(bridge: &str, vlan: Option<&&str>) -> PortKind {
    let vlan_id = vlan.map_or(0, |number| number.parse().unwrap());
    PortKind::Bridge { bridge_id: named(bridge), vlan_id }
}

/// The mirrors of a port at the hook of this name.
fn hook<'a>(port: &'a mut Port, word: &str) -> Option<&'a mut Vec<MirrorId>> {
    Some(match word {
        "in-mirrors" => &mut port.inbound_mirror_ids,
        "post-in-mirrors" => &mut port.post_in_filter_mirror_ids,
        "pre-out-mirrors" => &mut port.pre_out_filter_mirror_ids,
        "out-mirrors" => &mut port.outbound_mirror_ids,
        _ => return None,
    })
}

impl Read {
    fn bridge(&mut self, block: &Block<'_>) {
        let mut bridge = Bridge {
            id: named(block.name),
            tenant_id: None,
            name: Some(block.name.to_owned()),
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            qos_policy_id: None,
        };
        for line in &block.lines {
            match line[..] {
                ["in", chain] => bridge.inbound_filter_id = Some(named(chain)),
                ["out", chain] => bridge.outbound_filter_id = Some(named(chain)),
                ["down"] => bridge.admin_state_up = false,
                ["policy", name] => bridge.qos_policy_id = Some(named(name)),
                ["in-mirrors", names] => bridge.inbound_mirror_ids = mirrors(names),
                ["out-mirrors", names] => bridge.outbound_mirror_ids = mirrors(names),
                ["link", far, ref rest @ ..] => self.bridge_link(block.name, far, rest),
                ["dhcp", subnet, ref rest @ ..] if subnet.contains(':') => {
                    self.dhcp_v6(block.name, subnet, rest);
                }
                ["dhcp", subnet, ref rest @ ..] => self.dhcp(block.name, subnet, rest),
                [name, hardware, ref rest @ ..] => {
                    self.machine(block.name, name, mac(hardware), rest);
                }
                ref other => panic!("{other:?} is nothing a bridge has"),
            }
        }
        self.objects.push(bridge.into());
    }

    fn bridge_link(&mut self, near: &str, far: &str, rest: &[&str]) {
        let vlan = match rest {
            [] => 0,
            ["vlan", number] => number.parse().unwrap(),
            other => panic!("{other:?} is nothing a link has"),
        };
        for (from, to, vlan_id) in [(near, far, vlan), (far, near, 0)] {
            let kind = PortKind::Bridge { bridge_id: named(from), vlan_id };
            let mut end = Port::new(named(&format!("{from}.{to}")), kind);
            end.peer_id = Some(named(&format!("{to}.{from}")));
            self.objects.push(end.into());
        }
    }

    fn machine(&mut self, bridge: &str, name: &str, mac: Mac, rest: &[&str]) {
        let mut at = Port::new(named(name), bridge_port(bridge, None));
        bind(&mut at, name);
        let mut addrs = Vec::new();
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            if let Some(hook) = hook(&mut at, word) {
                *hook = words.next().map(|names| mirrors(names)).unwrap_or_default();
                continue;
            }
            match *word {
                "in" => at.inbound_filter_id = words.next().map(|chain| named(chain)),
                "out" => at.outbound_filter_id = words.next().map(|chain| named(chain)),
                "policy" => at.qos_policy_id = words.next().map(|name| named(name)),
                "down" => at.admin_state_up = false,
                "vlan" => at.kind = bridge_port(bridge, words.next()),
                "loose" => at.host_id = None,
                addr => addrs.push(addr.parse().unwrap()),
            }
        }
        let station = Station { port: at.id, mac, addrs, device: bridge.to_owned() };
        self.tables.macs.insert((named(bridge), at.vlan(), mac), at.id);
        self.stations.insert(name.to_owned(), station);
        self.objects.push(at.into());
    }

    fn dhcp(&mut self, bridge: &str, subnet: &str, rest: &[&str]) {
        let addr = |text: &str| -> Ipv4Addr { text.parse().unwrap() };
        let mut object = DhcpSubnet {
            id: named(&format!("{bridge}/{subnet}")),
            bridge_id: named(bridge),
            subnet: subnet.parse().unwrap(),
            default_gateway: None,
            server_addr: None,
            dns_server_addrs: Vec::new(),
            interface_mtu: None,
            routes: Vec::new(),
            enabled: true,
            hosts: Vec::new(),
        };
        let mut words = rest.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a word that wants another is not the last");
            match word {
                "gateway" => object.default_gateway = Some(addr(value())),
                "server" => object.server_addr = Some(addr(value())),
                "dns" => object.dns_server_addrs.push(addr(value())),
                "mtu" => object.interface_mtu = value().parse().ok(),
                "route" => {
                    let destination = value().parse().unwrap();
                    object.routes.push(StaticRoute { destination, gateway: addr(value()) });
                }
                other => panic!("{other:?} is nothing a DHCP subnet has"),
            }
        }
        self.objects.push(object.into());
    }

    fn dhcp_v6(&mut self, bridge: &str, subnet: &str, rest: &[&str]) {
        let mut dns_server_addrs = Vec::new();
        for pair in rest.chunks(2) {
            let ["dns", addr] = pair else { panic!("{pair:?} is nothing a DHCPv6 subnet has") };
            dns_server_addrs.push(addr.parse().unwrap());
        }
        let object = DhcpV6Subnet {
            id: named(&format!("{bridge}/{subnet}")),
            bridge_id: named(bridge),
            prefix: subnet.parse().unwrap(),
            dns_server_addrs,
            hosts: Vec::new(),
        };
        self.objects.push(object.into());
    }

    fn router(&mut self, block: &Block<'_>, kinds: &BTreeMap<&str, &str>) {
        let mut router = Router {
            id: named(block.name),
            tenant_id: None,
            name: Some(block.name.to_owned()),
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            load_balancer_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            as_number: 0,
            ecmp: mn_topology::Ecmp::Flow,
        };
        for line in &block.lines {
            match line[..] {
                ["in", chain] => router.inbound_filter_id = Some(named(chain)),
                ["out", chain] => router.outbound_filter_id = Some(named(chain)),
                ["down"] => router.admin_state_up = false,
                ["balanced", "by", name] => router.load_balancer_id = Some(named(name)),
                ["symmetric"] => router.ecmp = mn_topology::Ecmp::Symmetric,
                ["in-mirrors", names] => router.inbound_mirror_ids = mirrors(names),
                ["out-mirrors", names] => router.outbound_mirror_ids = mirrors(names),
                ["route", dst, ref rest @ ..] => self.route(block.name, dst, rest),
                [name, hardware, ref rest @ ..] => {
                    let far = kinds.get(name).copied();
                    self.router_port(block.name, name, mac(hardware), far, rest);
                }
                ref other => panic!("{other:?} is nothing a router has"),
            }
        }
        self.objects.push(router.into());
    }

    fn router_port(
        &mut self,
        router: &str,
        far: &str,
        mac_addr: Mac,
        far_kind: Option<&str>,
        rest: &[&str],
    ) {
        let mut kind = RouterPort {
            router_id: named(router),
            mac: mac_addr,
            addresses: Vec::new(),
            ra_mode: RaMode::Off,
            ra_prefixes: Vec::new(),
            ra_interval: None,
        };
        let mut at = Port::new(named(&format!("{router}.{far}")), PortKind::Router(kind.clone()));
        let mut words = rest.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a word that wants another is not the last");
            if let Some(hook) = hook(&mut at, word) {
                *hook = mirrors(value());
                continue;
            }
            match word {
                "in" => at.inbound_filter_id = Some(named(value())),
                "out" => at.outbound_filter_id = Some(named(value())),
                "policy" => at.qos_policy_id = Some(named(value())),
                "down" => at.admin_state_up = false,
                "ra" => kind.ra_mode = ra_mode(value()),
                "peer" => {
                    let (mac, addr) = (mac(value()), value().parse().unwrap());
                    let station =
                        Station { port: at.id, mac, addrs: vec![addr], device: router.to_owned() };
                    let scoped = ScopedAddr::on(at.id, addr);
                    self.tables.neighbors.insert((named(router), scoped), mac);
                    self.stations.insert(far.to_owned(), station);
                }
                text => {
                    let (addr, len) = text.split_once('/').expect("an address with its length");
                    let own = IfAddr { addr: addr.parse().unwrap(), len: len.parse().unwrap() };
                    kind.addresses.push(own);
                }
            }
        }
        for own in &kind.addresses {
            let subnet = own.subnet().unwrap().to_string();
            self.route(router, &subnet, &["via", far]);
        }
        at.kind = PortKind::Router(kind);
        match far_kind {
            Some("bridge") => {
                at.peer_id = Some(named(&format!("{far}.{router}")));
                let kind = PortKind::Bridge { bridge_id: named(far), vlan_id: 0 };
                let mut end = Port::new(named(&format!("{far}.{router}")), kind);
                end.peer_id = Some(at.id);
                self.objects.push(end.into());
            }
            Some(_) => at.peer_id = Some(named(&format!("{far}.{router}"))),
            None => bind(&mut at, far),
        }
        self.objects.push(at.into());
    }

    fn route(&mut self, router: &str, dst: &str, rest: &[&str]) {
        let dst: IpPrefix = dst.parse().unwrap();
        let any = if dst.network().is_ipv4() { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 };
        let mut route = Route {
            id: named(&format!("{router}/{dst} {}", rest.join(" "))),
            router_id: named(router),
            src: any,
            dst,
            target: RouteTarget::Blackhole,
            weight: 0,
            attributes: None,
            learned: false,
            path: None,
        };
        let mut words = rest.iter().copied().peekable();
        while let Some(word) = words.next() {
            match word {
                "blackhole" => route.target = RouteTarget::Blackhole,
                "reject" => route.target = RouteTarget::Reject,
                "path" => route.path = words.next().map(str::to_owned),
                "weight" => route.weight = words.next().unwrap().parse().unwrap(),
                "from" => route.src = words.next().unwrap().parse().unwrap(),
                "via" => {
                    let far = words.next().unwrap();
                    let gateway: Option<IpAddr> = words.peek().and_then(|word| word.parse().ok());
                    if gateway.is_some() {
                        words.next();
                    }
                    let next_hop_port = named(&format!("{router}.{far}"));
                    route.target = RouteTarget::Normal { next_hop_port, gateway };
                }
                other => panic!("{other:?} is nothing a route has"),
            }
        }
        self.objects.push(route.into());
    }

    /// `mirror NAME to PORT`, and a condition a line, as of a rule; `all` for one that tests nothing.
    fn mirror(&mut self, block: &Block<'_>) {
        let ["to", port] = block.rest[..] else { panic!("{:?} is nowhere", block.rest) };
        let condition = |words: &Vec<&str>| {
            let tests = if words[..] == ["all"] { String::new() } else { words.join(" ") };
            rule(named(""), &format!("accept {tests}")).condition
        };
        let conditions = block.lines.iter().map(condition).collect();
        let mirror = Mirror { id: named(block.name), to_port_id: named(port), conditions };
        self.objects.push(AnyObject::Mirror(mirror));
    }

    fn chain(&mut self, block: &Block<'_>) {
        let rules = block.lines.iter().enumerate().map(|(index, words)| {
            rule(named(&format!("{}:{index}", block.name)), &words.join(" "))
        });
        self.objects.push(AnyObject::Chain(Chain {
            id: named(block.name),
            tenant_id: None,
            name: Some(block.name.to_owned()),
            rules: rules.collect(),
            segments: Vec::new(),
        }));
    }

    /// Routers know the machines of the bridges they are linked with; DHCP serves those of its
    /// bridge.
    fn introduce(&mut self) {
        let mut links = Vec::new();
        for object in &self.objects {
            if let AnyObject::Port(Port {
                id,
                kind: PortKind::Router(kind),
                peer_id: Some(peer),
                ..
            }) = object
            {
                links.push((kind.router_id, *id, *peer));
            }
        }
        for (name, station) in &self.stations {
            for (router, near, peer) in &links {
                let linked = self.objects.iter().any(|object| {
                    matches!(object, AnyObject::Port(Port { id, kind: PortKind::Bridge { bridge_id, .. }, .. })
                        if id == peer && *bridge_id == named(&station.device))
                });
                if linked {
                    for addr in &station.addrs {
                        let addr = ScopedAddr::on(*near, *addr);
                        self.tables.neighbors.insert((*router, addr), station.mac);
                    }
                }
            }
            for object in &mut self.objects {
                lease(object, name, station);
            }
        }
    }
}

/// Gives a machine an entry for each of its addresses in a subnet of its bridge.
fn lease(object: &mut AnyObject, name: &str, station: &Station) {
    match object {
        AnyObject::DhcpSubnet(subnet) if subnet.bridge_id == named(&station.device) => {
            subnet.hosts.extend(station.addrs.iter().filter_map(|addr| match addr {
                IpAddr::V4(v4) if subnet.subnet.contains(*addr) => Some(DhcpHost {
                    mac: station.mac,
                    addr: *v4,
                    name: name.to_owned(),
                    extra_options: Vec::new(),
                }),
                _ => None,
            }));
        }
        AnyObject::DhcpV6Subnet(subnet) if subnet.bridge_id == named(&station.device) => {
            let client_id: ClientId = station.mac.to_string().parse().unwrap();
            subnet.hosts.extend(station.addrs.iter().filter_map(|addr| match addr {
                IpAddr::V6(v6) if subnet.prefix.contains(*addr) => Some(DhcpV6Host {
                    client_id: client_id.clone(),
                    fixed_address: *v6,
                    name: name.to_owned(),
                }),
                _ => None,
            }));
        }
        _ => {}
    }
}

fn ra_mode(text: &str) -> RaMode {
    match text {
        "slaac" => RaMode::Slaac,
        "stateless" => RaMode::DhcpStateless,
        "stateful" => RaMode::DhcpStateful,
        other => panic!("{other:?} is no mode of router advertisements"),
    }
}
