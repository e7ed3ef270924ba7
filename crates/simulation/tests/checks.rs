//! Checks of members of pools: the way out, and who takes the answers.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry};
use mn_ids::RouterId;
use mn_packet::{
    EthernetHeader, IpProtocol, Mac, TcpFlags, TcpHeader, eth_type_of, ip_packet, to_v6,
};
use mn_simulation::nat::Endpoint;
use mn_simulation::{CHECK_PORT_FIRST, CheckKey, Effect, Entry, address_toward};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};
use mn_topology::{AnyObject, LoadBalancer, Router};

/// A router between two bridges, whose inbound filter lets no connection pass.
const NETWORK: &str = "
    bridge blue
      vm1  02::01  10.0.1.5  fd01::5
    bridge green
      vm2  02::02  10.0.2.6  fd02::6
    router edge
      in wall
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
      route 10.66.0.0/16 blackhole
    chain wall
      drop tcp
      drop udp
";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn edge() -> RouterId {
    named("edge")
}

/// The network, with a load balancer at the router.
fn balanced() -> Lab {
    let mut lab = Lab::read(NETWORK);
    let id = named("lb");
    lab.put(LoadBalancer { id, admin_state_up: true, router_id: Some(edge()) });
    let Some(AnyObject::Router(router)) = lab.objects.get(&edge().into()) else {
        panic!("there is a router")
    };
    let router = Router { load_balancer_id: Some(id), ..router.clone() };
    lab.put(router);
    lab
}

fn check(own: &str, member: &str) -> CheckKey {
    CheckKey {
        router: edge(),
        protocol: IpProtocol::TCP,
        own: Endpoint { addr: to_v6(addr(own)), port: CHECK_PORT_FIRST + 7 },
        member: Endpoint { addr: to_v6(addr(member)), port: 80 },
    }
}

/// A check's first packet, as the router is to send it.
fn syn(own: &str, member: &str) -> Built {
    let (src, dst) = (addr(own), addr(member));
    let header = TcpHeader {
        src: CHECK_PORT_FIRST + 7,
        dst: 80,
        flags: TcpFlags::SYN,
        ..TcpHeader::default()
    };
    let packet = ip_packet(src, dst, 64, IpProtocol::TCP, &header.segment(src, dst, &[]));
    let frame = EthernetHeader::untagged(Mac::ZERO, Mac::ZERO, eth_type_of(src)).frame(&packet);
    Built::of(named("vm1"), frame)
}

const WAYS: [(&str, &str, &str, &str); 4] = [
    ("10.0.1.1", "10.0.1.5", "vm1", "02::a1"),
    ("10.0.2.1", "10.0.2.6", "vm2", "02::a2"),
    ("fd01::1", "fd01::5", "vm1", "02::a1"),
    ("fd02::1", "fd02::6", "vm2", "02::a2"),
];

#[test]
fn a_check_goes_from_the_routers_address_toward_the_member_past_its_filters_with_all_its_hops() {
    let lab = balanced();
    for (own, member, vm, port) in WAYS {
        let toward = address_toward(&lab.snapshot, edge(), addr(member)).unwrap();
        assert_eq!(toward.map(|(_, from)| from), Some(addr(own)));
        let sent = lab.inject(member, Entry::Router(edge()), &syn(own, member));
        sent.arrives(vm, 0).lasts(Expiry::None);
        let headers = sent.arrivals()[0].headers;
        assert_eq!(headers.eth_src, mac(port), "from the router's port");
    }
    let nowhere = syn("10.0.1.1", "10.66.0.1");
    lab.inject("nowhere", Entry::Router(edge()), &nowhere).drops(DropCause::Blackhole);
    assert_eq!(address_toward(&lab.snapshot, edge(), addr("10.66.0.1")), Ok(None));
    assert_eq!(address_toward(&lab.snapshot, edge(), addr("198.51.100.1")), Ok(None));
}

#[test]
fn a_router_without_a_load_balancer_takes_no_answers() {
    let mut lab = Lab::read(NETWORK);
    lab.tables.checks.insert(check("10.0.1.1", "10.0.1.5"));
    let answer = format!("vm1 > 10.0.1.1 tcp {} sport 80 syn ack", CHECK_PORT_FIRST + 7);
    lab.send(&answer).drops_by("wall", 0).lasts(Expiry::Idle);
}

#[test]
fn an_answer_is_taken_by_whichever_port_it_comes() {
    let mut lab = balanced();
    // Of two equal routes, the check's address was of one and its way the other.
    let ways = [("10.0.1.1", "10.0.2.6", ""), ("fd01::1", "fd02::6", "v6")];
    for (own, member, version) in ways {
        let answer = format!("vm2 > {own} tcp {} sport 80 syn ack {version}", CHECK_PORT_FIRST + 7);
        let unasked = lab.send(&answer);
        unasked.drops_by("wall", 0).lasts(Expiry::None);
        lab.tables.checks.insert(check(own, member));
        let sent = lab.send(&answer);
        sent.drops(DropCause::Consumed);
        let heard = |effect: &Effect| matches!(effect, Effect::CheckAnswered { key, .. } if *key == check(own, member));
        assert!(sent.buffers.effects.iter().any(heard));
    }
}

#[test]
fn the_answer_of_a_translated_connection_is_no_answer_to_a_check_and_has_a_flow() {
    let network = "
        bridge blue
          vm1  02::01  10.0.1.5
        bridge street
          out  02::e1  198.51.100.9
        router edge
          blue    02::a1  10.0.1.1/24
          street  02::b1  198.51.100.1/24
          in pre
          out post
          balanced by lb
        balancer lb edge
        pool web lb
          vip 198.51.100.1@61500
          member 10.0.1.5@8080
        chain pre
          rev-snat to 198.51.100.1/32
          dnat 10.0.1.5@22 to 198.51.100.1/32 dport 61501
        chain post
          snat 198.51.100.1@61440-65535 out-port edge.street
    ";
    let mut lab = Lab::read(network);
    let sent = lab.send("vm1 > out tcp 80 syn");
    sent.arrives("out", 1);
    let from = sent.arrivals()[0].headers.tp_src;
    assert!(from >= CHECK_PORT_FIRST);
    let effects = sent.buffers.effects.clone();
    lab.tables.learn(&effects);
    let answer = format!("out > 198.51.100.1 tcp {from} sport 80 syn ack");
    lab.send(&answer).arrives("vm1", 1).lasts(Expiry::Idle);
    // So do connections to a port of the router's that is a machine's, or a virtual address.
    for port in [61500, 61501] {
        let packet = format!("out > 198.51.100.1 tcp {port}");
        let first = lab.send(&format!("{packet} syn"));
        let effects = first.arrives("vm1", 1).buffers.effects.clone();
        lab.tables.learn(&effects);
        lab.send(&format!("{packet} ack")).arrives("vm1", 1).lasts(Expiry::Idle);
    }
    // Any other may be one to a check.
    lab.send("out > 198.51.100.1 tcp 61502").drops(DropCause::Consumed).lasts(Expiry::None);
}

#[test]
fn what_a_member_sends_back_is_an_answer_to_its_own_filter() {
    let guarded = NETWORK
        .replace("10.0.1.5  fd01::5", "10.0.1.5  fd01::5 in own out open")
        .replace("chain wall", "chain own\n      accept return-flow\n      drop\n    chain open\n      accept tcp dport 80\n      drop\n    chain wall");
    let lab = Lab::read(&guarded);
    for (own, member, vm, _) in &WAYS[..1] {
        let sent = lab.inject(member, Entry::Router(edge()), &syn(own, member));
        sent.arrives(vm, 0).lasts(Expiry::None);
        assert!(sent.arrivals()[0].tracked, "its answer is known by that");
    }
}

#[test]
fn an_answer_that_goes_through_the_router_is_no_answer() {
    let mut lab = balanced();
    // As if the other machine had the router's end of the conversation.
    lab.tables.checks.insert(check("10.0.2.6", "10.0.1.5"));
    let answer = format!("vm1 > vm2 tcp {} sport 80 syn ack", CHECK_PORT_FIRST + 7);
    lab.send(&answer).drops_by("wall", 0).lasts(Expiry::Idle);
}
