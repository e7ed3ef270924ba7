//! What routers do, as stories.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry, Field, FlowMask, ScopedAddr, Tag};
use mn_packet::ndp::NdMessage;
use mn_packet::{Arp, IcmpHeader, Layers, Network, TcpFlags, TcpHeader, to_v6};
use mn_simulation::walk::{RouteLost, Step};
use mn_simulation::{Effect, Entry};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};

const TWO_BRIDGES: &str = "
    bridge blue
      vm1    02::01  10.0.1.5  fd01::5
      vm2    02::02  10.0.1.6  fd01::6
    bridge green
      vm3    02::03  10.0.2.7  fd02::7
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64  ra slaac
      green  02::a2  10.0.2.1/24  fd02::1/64
      up     02::b1  192.0.2.1/24  peer 02::99 192.0.2.254
      route 0.0.0.0/0 via up 192.0.2.254
      route 10.66.0.0/16 blackhole
      route 10.67.0.0/16 reject
";

/// The ICMP header and source of an answer.
fn icmp(frame: &[u8]) -> (u8, u8, IpAddr) {
    let layers = Layers::of(frame).unwrap();
    let ip = layers.ip().expect("an IP packet");
    let (header, _) = IcmpHeader::split(ip.payload).unwrap();
    (header.ty, header.code, ip.src)
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_router_takes_one_hop_and_a_bridge_takes_none() {
    let lab = Lab::read(TWO_BRIDGES);
    for version in ["", "v6"] {
        lab.send(&format!("vm1 > vm2 tcp 80 {version}")).arrives("vm2", 0);
        let sent = lab.send(&format!("vm1 > vm3 tcp 80 {version}"));
        sent.arrives("vm3", 1);
        let headers = sent.arrivals()[0].headers;
        assert_eq!((headers.eth_src, headers.eth_dst), (mac("02::a2"), mac("02::03")));
    }
}

#[test]
fn a_routed_flow_reads_the_macs_the_version_the_destination_and_whether_hops_are_left() {
    let lab = Lab::read(TWO_BRIDGES);
    let routed = [Field::EthSrc, Field::EthDst, Field::EthType, Field::Vlan, Field::Ttl]
        .into_iter()
        .fold(FlowMask::NONE, |mask, field| mask | field.into());
    // The destination is its own next hop, so all of it counts.
    lab.send("vm1 > vm3 tcp 80").reads(routed | FlowMask::nw_dst(128)).lasts(Expiry::Idle);
    // Through a gateway as many bits count as tell it from the other routes: 198 from 192, here.
    lab.send("vm1 > 198.51.100.1 tcp 80")
        .arrives("edge.up", 1)
        .reads(routed | FlowMask::nw_dst(96 + 6));
    // The search itself ended where 10.0.2.7 parts from the router's own 10.0.2.1.
    lab.send("vm1 > vm3 tcp 80").tagged(Tag::Route {
        router: named("edge"),
        addr: to_v6(addr("10.0.2.7")),
        len: 96 + 30,
    });
    let gateway = ScopedAddr::on(named("edge.up"), addr("192.0.2.254"));
    let neighbor = Tag::Neighbor { router: named("edge"), addr: gateway };
    lab.send("vm1 > 198.51.100.1 tcp 80").tagged(neighbor);
}

#[test]
fn a_packet_at_its_last_hop_comes_back_as_time_exceeded_from_where_it_entered() {
    let lab = Lab::read(TWO_BRIDGES);
    let sent = lab.send("vm1 > vm3 udp 33434 ttl 1");
    sent.drops(DropCause::TtlExpired).lasts(Expiry::None);
    let answer = sent.answered_at("edge.blue");
    assert_eq!(icmp(&answer), (11, 0, addr("10.0.1.1")));
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);

    let sent = lab.send("vm1 > vm3 udp 33434 ttl 1 v6");
    let answer = sent.drops(DropCause::TtlExpired).answered_at("edge.blue");
    assert_eq!(icmp(&answer), (3, 0, addr("fd01::1")));
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);
}

const CHAIN_OF_ROUTERS: &str = "
    bridge blue
      vm1  02::01  10.0.1.5
    bridge green
      vm3  02::03  10.0.2.7
    router west
      blue  02::a1  10.0.1.1/24
      east  02::a2  10.9.0.1/30
      route 10.0.2.0/24 via east 10.9.0.2
    router east
      west   02::b1  10.9.0.2/30
      green  02::b2  10.0.2.1/24
      route 10.0.1.0/24 via west 10.9.0.1
";

#[test]
fn each_router_of_a_path_takes_a_hop_and_answers_for_itself() {
    let lab = Lab::read(CHAIN_OF_ROUTERS);
    lab.send("vm1 > vm3 udp 9 ttl 64").arrives("vm3", 2).lasts(Expiry::Idle);
    lab.send("vm1 > vm3 udp 9 ttl 3").arrives("vm3", 2);
    let first = lab.send("vm1 > vm3 udp 9 ttl 1");
    assert_eq!(icmp(&first.answered_at("west.blue")).2, addr("10.0.1.1"));
    let second = lab.send("vm1 > vm3 udp 9 ttl 2");
    second.drops(DropCause::TtlExpired).lasts(Expiry::None);
    let answer = second.answered_at("east.west");
    assert_eq!(icmp(&answer).2, addr("10.9.0.2"));
    lab.emit(named("east.west"), &answer).arrives("vm1", 1);
}

#[test]
fn a_flow_of_which_only_the_headers_are_left_is_decided_as_its_packets_were() {
    let lab = Lab::read(CHAIN_OF_ROUTERS);
    let packet = lab.send("vm1 > vm3 udp 9 ttl 64");
    let headers = Built { frame: Vec::new(), ..packet.built.clone() };
    let again = lab.inject("its headers", Entry::Ingress(headers.port), &headers);
    again.arrives("vm3", 2).lasts(Expiry::Idle);
    assert_eq!(
        (&again.outcome, &again.buffers.actions),
        (&packet.outcome, &packet.buffers.actions)
    );
    // Whether any hop was left when it came, its headers say.
    let spent = lab.send("vm1 > vm3 udp 9 ttl 1").built.clone();
    let spent = Built { frame: Vec::new(), ..spent };
    let refused = lab.inject("headers", Entry::Ingress(spent.port), &spent);
    refused.drops(DropCause::TtlExpired);
}

#[test]
fn blackholes_are_silent_rejects_answer_and_so_does_the_lack_of_a_route() {
    let lab = Lab::read(TWO_BRIDGES);
    lab.send("vm1 > 10.66.1.1 udp 9").drops(DropCause::Blackhole).silently().lasts(Expiry::Idle);
    let reject = lab.send("vm1 > 10.67.1.1 udp 9");
    let answer = reject.drops(DropCause::RejectRoute).answered_at("edge.blue");
    assert_eq!(icmp(&answer), (3, 13, addr("10.0.1.1")));
    let nowhere = lab.send("vm1 > 2001:db8::1 udp 9 v6");
    let answer = nowhere.drops(DropCause::NoRoute).answered_at("edge.blue");
    assert_eq!(icmp(&answer), (1, 0, addr("fd01::1")));
}

#[test]
fn errors_are_not_sent_about_errors_groups_and_later_fragments() {
    let lab = Lab::read(TWO_BRIDGES);
    lab.send("vm1 > 10.67.1.1 error").drops(DropCause::RejectRoute).silently();
    lab.send("vm1 > 10.67.1.1 udp 9 later").drops(DropCause::RejectRoute).silently();
    lab.send("vm1 > 10.67.1.1 udp 9 first").drops(DropCause::RejectRoute).answered_at("edge.blue");
    lab.send("vm1 > 10.67.1.1 udp 9 addr-from 224.0.0.9").silently();
    lab.send("vm1 > 10.67.1.1 udp 9 addr-from 0.0.0.0").silently();
    // A broadcast of the subnet in a frame to the router alone.
    lab.send("vm1 > 10.0.1.255 udp 9 ttl 1").silently();
}

#[test]
fn an_unanswered_reject_may_be_a_flow_and_reads_what_kept_it_from_answering() {
    let lab = Lab::read(TWO_BRIDGES);
    let sent = lab.send("vm1 > 10.67.1.1 error");
    sent.lasts(Expiry::Idle);
    let mask = sent.decision().unwrap().mask;
    for field in [Field::NwProto, Field::TpSrc, Field::Fragment, Field::NwSrc, Field::NwDst] {
        assert!(mask.contains(field), "{field:?} in {mask:?}");
    }
}

#[test]
fn the_longest_destination_wins_then_the_longest_source_then_the_lowest_weight() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.130
        router edge
          blue  02::a1  10.0.1.1/24
          a     02::b1  192.0.2.1/30  peer 02::91 192.0.2.2
          b     02::b2  192.0.2.5/30  peer 02::92 192.0.2.6
          c     02::b3  192.0.2.9/30  peer 02::93 192.0.2.10
          route 0.0.0.0/0 via a 192.0.2.2 weight 10
          route 0.0.0.0/0 via b 192.0.2.6 weight 20
          route 0.0.0.0/0 from 10.0.1.128/25 via c 192.0.2.10 weight 90
          route 198.51.100.0/24 via b 192.0.2.6 weight 99
        ",
    );
    lab.send("vm1 > 203.0.113.1 udp 9").arrives("edge.a", 1);
    lab.send("vm2 > 203.0.113.1 udp 9").arrives("edge.c", 1);
    let specific = lab.send("vm2 > 198.51.100.1 udp 9");
    specific.arrives("edge.b", 1);
    let lost = specific.walk.steps.iter().find_map(|step| match step {
        Step::Route { lost, .. } => Some(lost.iter().map(|(_, why)| *why).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(lost, Some(vec![RouteLost::ShorterPrefix; 3]));
}

#[test]
fn a_route_through_a_port_that_is_down_is_none() {
    let mut lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
        router edge
          blue  02::a1  10.0.1.1/24
          a     02::b1  192.0.2.1/30  peer 02::91 192.0.2.2
          b     02::b2  192.0.2.5/30  peer 02::92 192.0.2.6
          route 0.0.0.0/0 via a 192.0.2.2 weight 10
          route 0.0.0.0/0 via b 192.0.2.6 weight 20
        ",
    );
    lab.send("vm1 > 203.0.113.1 udp 9").arrives("edge.a", 1);
    lab.port("edge.a", |port| port.admin_state_up = false);
    lab.send("vm1 > 203.0.113.1 udp 9").arrives("edge.b", 1).tagged(Tag::Port(named("edge.a")));
}

#[test]
fn a_next_hop_that_nobody_knows_is_waited_for_and_one_that_is_silent_is_reported() {
    let mut lab = Lab::read(TWO_BRIDGES);
    let edge = named("edge");
    lab.tables.neighbors.clear();
    lab.send("vm1 > vm3 tcp 80").awaits("edge.green", "10.0.2.7");
    lab.send("vm1 > vm3 tcp 80 v6").awaits("edge.green", "fd02::7");
    lab.send("vm1 > 198.51.100.1 tcp 80").awaits("edge.up", "192.0.2.254");
    lab.tables.unreachable.insert((edge, ScopedAddr::on(named("edge.green"), addr("10.0.2.7"))));
    let sent = lab.send("vm1 > vm3 udp 80");
    let answer = sent.drops(DropCause::NeighborUnreachable).answered_at("edge.blue");
    assert_eq!(icmp(&answer), (3, 1, addr("10.0.1.1")));
}

#[test]
fn a_query_for_a_neighbour_reaches_it_and_its_answer_teaches_the_router() {
    for (to, version) in [("10.0.2.7", "arp-reply"), ("fd02::7", "na")] {
        let mut lab = Lab::read(TWO_BRIDGES);
        lab.tables.neighbors.clear();
        let query = lab.query("edge.green", to);
        lab.emit(named("edge.green"), &query).floods(&["vm3"]).lasts(Expiry::None);
        let own = if version == "na" { "fd02::1" } else { "10.0.2.1" };
        let told = lab.send(&format!("vm3 > {own} {version} mac-to 02::a2"));
        told.teaches(&Effect::LearnNeighbor {
            router: named("edge"),
            port: named("edge.green"),
            addr: addr(to),
            mac: mac("02::03"),
        });
        let effects = told.buffers.effects.clone();
        drop(told);
        lab.tables.learn(&effects);
        let v6 = if version == "na" { "v6" } else { "" };
        lab.send(&format!("vm1 > vm3 tcp 80 {v6}")).arrives("vm3", 1);
    }
}

#[test]
fn a_router_answers_for_its_own_addresses_and_for_no_others() {
    let lab = Lab::read(TWO_BRIDGES);
    let sent = lab.send("vm1 > 10.0.1.1 arp");
    // Known to be the router's: no machine hears the question.
    sent.lasts(Expiry::Idle).silently();
    let answer = sent.answered_back("vm1");
    let Network::Arp(arp) = Layers::of(&answer).unwrap().network else { panic!("not ARP") };
    assert_eq!((arp.sender_mac, arp.target_mac), (mac("02::a1"), mac("02::01")));
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);

    let sent = lab.send("vm1 > fd01::1 ns");
    let answer = sent.answered_back("vm1");
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);
    let link_local = lab.send("vm1 > fe80::ff:fe00:a1 ns");
    link_local.answered_back("vm1");

    lab.send("vm1 > 10.0.2.1 arp").floods(&["vm2"]).silently();
    lab.send("vm1 > 10.0.1.99 arp").floods(&["vm2"]).silently();
}

#[test]
fn neighbours_are_learned_of_the_port_s_subnets_alone_and_after_its_filter() {
    let lab = Lab::read(TWO_BRIDGES);
    let learned = |text: &str| {
        let sent = lab.send(text);
        let neighbors = sent.buffers.effects.iter().filter_map(|effect| match effect {
            Effect::LearnNeighbor { addr, .. } => Some(addr.to_string()),
            _ => None,
        });
        neighbors.collect::<Vec<_>>()
    };
    assert_eq!(learned("vm1 > all garp addr-from 10.0.1.77"), ["10.0.1.77"]);
    assert_eq!(learned("vm1 > all garp addr-from 10.0.2.77"), [""; 0]);
    assert_eq!(learned("vm1 > all garp addr-from 10.0.1.1"), [""; 0], "nobody takes its own");

    let filtered =
        Lab::read(&TWO_BRIDGES.replace("02::a1  10.0.1.1/24", "02::a1 in quiet 10.0.1.1/24"));
    let mut filtered = filtered;
    let text = "chain quiet\n drop arp";
    let chain = Lab::read(text).objects.into_values().next().unwrap();
    filtered.put(chain);
    let sent = filtered.send("vm1 > all garp addr-from 10.0.1.77");
    assert!(!sent.buffers.effects.iter().any(|it| matches!(it, Effect::LearnNeighbor { .. })));
}

#[test]
fn any_of_its_addresses_answers_an_echo() {
    let lab = Lab::read(TWO_BRIDGES);
    for to in ["10.0.1.1", "10.0.2.1", "fd01::1", "fd02::1", "fe80::ff:fe00:a1"] {
        let v6 = if to.contains(':') { "v6" } else { "" };
        let sent = lab.send(&format!("vm1 > {to} icmp {v6}"));
        sent.drops(DropCause::Consumed).lasts(Expiry::None);
        let answer = sent.answered_at("edge.blue");
        assert_eq!(icmp(&answer).2, addr(to));
        lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);
    }
}

#[test]
fn an_echo_through_one_router_to_the_next_is_answered_with_the_right_macs() {
    let lab = Lab::read(CHAIN_OF_ROUTERS);
    let sent = lab.send("vm1 > 10.9.0.2 icmp");
    let answer = sent.answered_at("east.west");
    let ethernet = Layers::of(&answer).unwrap().ethernet;
    assert_eq!((ethernet.src, ethernet.dst), (mac("02::b1"), mac("02::a2")));
    lab.emit(named("east.west"), &answer).arrives("vm1", 1);
}

#[test]
fn udp_and_tcp_to_a_router_are_refused_so_that_traceroute_ends() {
    let lab = Lab::read(TWO_BRIDGES);
    let udp = lab.send("vm1 > 10.0.1.1 udp 33434");
    assert_eq!(icmp(&udp.answered_at("edge.blue")), (3, 3, addr("10.0.1.1")));
    let tcp = lab.send("vm1 > 10.0.1.1 tcp 22 syn len 0").answered_at("edge.blue");
    let layers = Layers::of(&tcp).unwrap();
    let (reset, _) = TcpHeader::split(layers.ip().unwrap().payload).unwrap();
    assert_eq!((reset.src, reset.ack), (22, 1001));
    assert!(reset.flags.has(TcpFlags::RST));
}

#[test]
fn a_frame_for_another_mac_and_an_unknown_protocol_are_not_a_router_s() {
    let lab = Lab::read(
        "
        router edge
          up    02::b1  192.0.2.1/24  peer 02::99 192.0.2.254
          down  02::b2  10.0.0.1/24   peer 02::98 10.0.0.2
        ",
    );
    lab.send("up > down udp 9 mac-to 02::77").drops(DropCause::NotForRouter).silently();
    lab.send("up > all udp 9").drops(DropCause::NotForRouter).silently();
    lab.send("up > 10.0.0.2 udp 9 vlan 5").drops(DropCause::VlanMismatch).silently();
    // A tag that only gives a priority comes off.
    let sent = lab.send("up > 10.0.0.2 udp 9 vlan 57344");
    sent.arrives("edge.down", 1);
    assert!(!sent.arrivals()[0].headers.vlan.is_present());
}

#[test]
fn what_is_too_big_for_a_tunnel_is_told_the_size_that_fits() {
    let lab = Lab::read(TWO_BRIDGES);
    let sent = lab.send("vm1 > vm3 udp 9 len 1423");
    sent.drops(DropCause::TooBig).lasts(Expiry::None);
    let answer = sent.answered_at("edge.blue");
    assert_eq!(icmp(&answer), (3, 4, addr("10.0.1.1")));
    let layers = Layers::of(&answer).unwrap();
    let (header, _) = IcmpHeader::split(layers.ip().unwrap().payload).unwrap();
    assert_eq!(u32::from_be_bytes(header.rest), 1450);
    lab.send("vm1 > vm3 udp 9 len 1422").arrives("vm3", 1);
    let v6 = lab.send("vm1 > vm3 udp 9 len 1403 v6");
    assert_eq!(icmp(&v6.answered_at("edge.blue")), (2, 0, addr("fd01::1")));
    // A frame that is yet to be cut is judged by its segments.
    lab.send("vm1 > vm3 tcp 80 len 9000 gso 1410").arrives("vm3", 1);
    lab.send("vm1 > vm3 tcp 80 len 9000 gso 1411").drops(DropCause::TooBig);
}

#[test]
fn a_solicitation_for_routers_is_answered_where_the_port_advertises() {
    let lab = Lab::read(TWO_BRIDGES);
    let sent = lab.send("vm1 > all rs addr-from fe80::1");
    let answer = sent.answered_at("edge.blue");
    let layers = Layers::of(&answer).unwrap();
    let ip = layers.ip().unwrap();
    assert_eq!(ip.src, addr("fe80::ff:fe00:a1"));
    let Ok(Some(NdMessage::RouterAdvertisement(told))) = NdMessage::parse(ip.payload) else {
        panic!("no router advertisement")
    };
    assert_eq!((told.managed, told.other, told.mtu), (false, false, Some(1450)));
    let prefix = told.prefixes[0];
    assert_eq!((IpAddr::V6(prefix.prefix), prefix.len), (addr("fd01::"), 64));
    assert!(prefix.autonomous && prefix.on_link && told.lifetime > 0);
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);

    lab.send("vm3 > all rs addr-from fe80::3").silently();
}

#[test]
fn a_router_or_port_that_is_down_says_so() {
    let mut lab = Lab::read(TWO_BRIDGES);
    lab.port("edge.green", |port| port.admin_state_up = false);
    // The route went with the port; the default takes over.
    lab.send("vm1 > vm3 udp 9").arrives("edge.up", 1);
    let down = Lab::read(&format!("{TWO_BRIDGES}\n down"));
    let sent = down.send("vm1 > vm3 udp 9");
    let answer = sent.drops(DropCause::AdminDown).answered_at("edge.blue");
    assert_eq!(icmp(&answer), (3, 13, addr("10.0.1.1")));
}

#[test]
fn two_routers_that_send_to_each_other_are_a_loop_that_ends() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
        router west
          blue  02::a1  10.0.1.1/24
          east  02::a2  10.9.0.1/30
          route 10.7.0.0/16 via east 10.9.0.2
        router east
          west   02::b1  10.9.0.2/30
          route 10.7.0.0/16 via west 10.9.0.1
        ",
    );
    lab.send("vm1 > 10.7.0.1 udp 9 ttl 64").drops(DropCause::Looped).lasts(Expiry::Brief);
    lab.send("vm1 > 10.7.0.1 udp 9 ttl 4").drops(DropCause::TtlExpired);
}

#[test]
fn two_tenants_with_the_same_addresses_do_not_meet() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.6
        bridge other
          them1  02::01  10.0.1.5
          them2  02::02  10.0.1.6
        ",
    );
    lab.send("vm1 > vm2 udp 9").arrives("vm2", 0);
    lab.send("them1 > them2 udp 9").arrives("them2", 0);
    let forgotten = lab.forget();
    forgotten.send("vm1 > all udp 9").floods(&["vm2"]);
}

#[test]
fn arp_frames_have_the_form_the_query_promises() {
    let lab = Lab::read(TWO_BRIDGES);
    let frame = lab.query("edge.up", "192.0.2.254");
    let Network::Arp(arp) = Layers::of(&frame).unwrap().network else { panic!("not ARP") };
    let own = "192.0.2.1".parse().unwrap();
    assert_eq!(arp, Arp::request(mac("02::b1"), own, "192.0.2.254".parse().unwrap()));
    lab.emit(named("edge.up"), &frame).arrives("edge.up", 0);
}
