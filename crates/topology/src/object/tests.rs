//! What can be stored, and what cannot.

use core::net::IpAddr;

use mn_ids::{
    BridgeId, ChainId, HostId, IpAddrGroupId, PortId, RouteId, RouterId, RuleId, TunnelZoneId,
};
use mn_packet::{IpPrefix, Mac};

use super::*;

fn bridge_port() -> Port {
    port(PortKind::Bridge { bridge_id: BridgeId::random(), vlan_id: 0 })
}

fn router_port(addresses: &[&str]) -> Port {
    let address = |text: &&str| {
        let (addr, len) = text.split_once('/').unwrap();
        IfAddr { addr: addr.parse().unwrap(), len: len.parse().unwrap() }
    };
    port(PortKind::Router(RouterPort {
        router_id: RouterId::random(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: addresses.iter().map(address).collect(),
        ra_mode: RaMode::Off,
        ra_prefixes: Vec::new(),
        ra_interval: None,
    }))
}

fn port(kind: PortKind) -> Port {
    Port::new(PortId::random(), kind)
}

fn field<T>(checked: Result<T, Invalid>) -> Option<&'static str> {
    checked.err().map(|invalid| invalid.field)
}

#[test]
fn a_router_port_has_addresses_that_a_router_can_have() {
    for (addresses, wrong) in [
        (&["10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64"][..], false),
        (&["10.0.0.1/31", "10.0.0.3/32"], false),
        (&["10.0.0.1/33"], true),
        (&["2001:db8::1/129"], true),
        (&["10.0.0.255/24"], true),
        (&["0.0.0.0/8"], true),
        (&["127.0.0.1/8"], true),
        (&["224.0.0.1/24"], true),
        (&["ff02::1/64"], true),
        (&["10.0.0.1/24", "10.0.0.1/16"], true),
    ] {
        let found = field(router_port(addresses).validate());
        assert_eq!(found, wrong.then_some("addresses"), "{addresses:?}");
    }
}

#[test]
fn a_port_is_bound_with_host_and_interface_or_not_at_all() {
    let host = Some(HostId::random());
    let peer = Some(PortId::random());
    for (host_id, interface, peer_id, wrong) in [
        (None, None, None, None),
        (host, Some("tap1"), None, None),
        (None, None, peer, None),
        (host, None, None, Some("interface_name")),
        (None, Some("tap1"), None, Some("host_id")),
        (host, Some("tap1"), peer, Some("peer_id")),
        (host, Some(""), None, Some("interface_name")),
        (host, Some("sixteen-octets-x"), None, Some("interface_name")),
        (host, Some("a/b"), None, Some("interface_name")),
        (host, Some(".."), None, Some("interface_name")),
    ] {
        let interface_name = interface.map(str::to_owned);
        let port = Port { host_id, interface_name, peer_id, ..bridge_port() };
        assert_eq!(field(port.validate()), wrong, "{interface:?}");
    }
}

#[test]
fn a_link_joins_two_free_ports_of_two_devices() {
    let (a, b) = (bridge_port(), router_port(&[]));
    assert_eq!(a.check_link(&b), Ok(()));
    assert_eq!(a.check_link(&a), Err(NotLinkable::Itself));
    let sibling = Port { id: PortId::random(), ..a.clone() };
    assert_eq!(a.check_link(&sibling), Err(NotLinkable::SameDevice));
    let linked = Port { peer_id: Some(PortId::random()), ..b.clone() };
    assert_eq!(a.check_link(&linked), Err(NotLinkable::HasPeer(b.id)));
    let bound = Port { host_id: Some(HostId::random()), ..a.clone() };
    assert_eq!(bound.check_link(&b), Err(NotLinkable::IsBound(a.id)));
}

#[test]
fn a_route_is_of_one_ip_version() {
    let route = |src: &str, dst: &str, gateway: Option<&str>| Route {
        id: RouteId::random(),
        router_id: RouterId::random(),
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        target: RouteTarget::Normal {
            next_hop_port: PortId::random(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        },
        weight: 0,
        attributes: None,
        learned: false,
        path: None,
    };
    for (src, dst, gateway, wrong) in [
        ("0.0.0.0/0", "10.0.0.0/8", Some("10.0.0.1"), None),
        ("::/0", "2001:db8::/32", Some("fe80::1"), None),
        ("::/0", "10.0.0.0/8", None, Some("src")),
        ("0.0.0.0/0", "10.0.0.0/8", Some("fe80::1"), Some("gateway")),
        ("0.0.0.0/0", "10.0.0.0/8", Some("224.0.0.1"), Some("gateway")),
    ] {
        assert_eq!(field(route(src, dst, gateway).validate()), wrong, "{src} {dst} {gateway:?}");
    }
}

fn rule(condition: Condition, action: RuleAction) -> Rule {
    Rule { id: RuleId::random(), condition, action, meter_name: None }
}

fn to(from: &str, to: &str, ports: (u16, u16)) -> Vec<NatTarget> {
    let (port_from, port_to) = ports;
    vec![NatTarget {
        addr_from: from.parse().unwrap(),
        addr_to: to.parse().unwrap(),
        port_from,
        port_to,
    }]
}

#[test]
fn a_rule_that_reads_ports_looks_at_no_later_fragment() {
    let ports = Some(Test::Is(PortRange { start: 80, end: 80 }));
    for policy in [
        FragmentPolicy::Any,
        FragmentPolicy::Header,
        FragmentPolicy::Nonheader,
        FragmentPolicy::Unfragmented,
    ] {
        let condition = Condition { fragment_policy: policy, ..Condition::default() };
        let reading = Condition { tp_dst: ports.clone(), ..condition.clone() };
        let whole = matches!(policy, FragmentPolicy::Header | FragmentPolicy::Unfragmented);
        assert_eq!(condition.validate(), Ok(()));
        assert_eq!(reading.validate().is_ok(), whole, "{policy:?}");
        let nat = |targets| RuleAction::Snat { targets, then: Then::Accept };
        let one = nat(to("10.0.0.1", "10.0.0.1", (0, 0)));
        let many = nat(to("10.0.0.1", "10.0.0.2", (0, 0)));
        let unfragmented = policy == FragmentPolicy::Unfragmented;
        assert_eq!(rule(condition.clone(), one.clone()).validate(), Ok(()));
        assert_eq!(rule(condition, many).validate().is_ok(), unfragmented, "{policy:?}");
        assert_eq!(rule(reading, one).validate().is_ok(), unfragmented, "{policy:?}");
    }
}

#[test]
fn the_default_fragment_policy_is_one_that_is_taken() {
    let nat = |targets| RuleAction::Dnat { targets, then: Then::Accept };
    let actions = [
        RuleAction::Drop,
        RuleAction::Jump { chain_id: ChainId::random() },
        nat(to("10.0.0.1", "10.0.0.1", (0, 0))),
        nat(to("10.0.0.1", "10.0.0.1", (1024, 2048))),
        RuleAction::RevSnat { then: Then::Return },
    ];
    for action in actions {
        for tp_src in [None, Some(Test::IsNot(PortRange { start: 0, end: 9 }))] {
            let fragment_policy = Rule::default_fragment_policy(&action, tp_src.is_some());
            let condition = Condition { fragment_policy, tp_src, ..Condition::default() };
            assert_eq!(rule(condition, action.clone()).validate(), Ok(()), "{action:?}");
        }
    }
}

#[test]
fn a_condition_that_no_packet_can_meet_is_refused() {
    let prefix = |text: &str| Some(Test::Is(text.parse::<IpPrefix>().unwrap()));
    let range = |start, end| Some(Test::Is(PortRange { start, end }));
    let fragment_policy = FragmentPolicy::Header;
    let none = Condition { fragment_policy, ..Condition::default() };
    for (condition, wrong) in [
        (Condition { vlan: Some(4095), ..none.clone() }, "vlan"),
        (Condition { vlan: Some(7), no_vlan: true, ..none.clone() }, "vlan"),
        (Condition { tp_dst: range(90, 80), ..none.clone() }, "tp_dst"),
        (
            Condition { nw_src: prefix("10.0.0.0/8"), nw_dst: prefix("::/0"), ..none.clone() },
            "nw_dst",
        ),
    ] {
        assert_eq!(field(condition.validate()), Some(wrong));
    }
}

#[test]
fn a_zone_has_no_address_twice() {
    let member = |addr: &str| TunnelZoneMember {
        host_id: HostId::random(),
        addr: addr.parse::<IpAddr>().unwrap(),
    };
    let zone = |addrs: &[&str]| TunnelZone {
        id: TunnelZoneId::random(),
        name: "z".to_owned(),
        kind: TunnelZoneKind::Vxlan,
        members: addrs.iter().map(|addr| member(addr)).collect(),
    };
    assert_eq!(zone(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]).validate(), Ok(()));
    for wrong in [&["192.0.2.1", "192.0.2.1"][..], &["0.0.0.0"], &["127.0.0.1"], &["ff02::1"]] {
        assert_eq!(field(zone(wrong).validate()), Some("members.addr"), "{wrong:?}");
    }
}

#[test]
fn names_are_counted_in_characters() {
    let group = |name: String| {
        IpAddrGroup { id: IpAddrGroupId::random(), name, addrs: Vec::new() }.validate()
    };
    assert_eq!(group("ü".repeat(255)), Ok(()));
    assert_eq!(field(group("ü".repeat(256))), Some("name"));
    assert_eq!(field(group(String::new())), Some("name"));
}
