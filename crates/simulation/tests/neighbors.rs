//! Neighbours of routers: who is asked, who answers, and what an answer means.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry, ScopedAddr};
use mn_packet::ndp::{self, NdMessage, NeighborAdvertisement};
use mn_packet::{EtherType, EthernetHeader};
use mn_simulation::{Effect, Entry, neighbor_query};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};

const NETWORK: &str = "
    bridge blue
      vm1    02::01  10.0.1.5  fd01::5
      vm2    02::02  10.0.1.6  fd01::6
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      east   02::b1  10.8.0.1/24  peer 02::e1 fe80::1
      west   02::b2  10.9.0.1/24  peer 02::e2 fe80::1
      route fd0e::/16 via east fe80::1
      route fd0f::/16 via west fe80::1
";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_same_link_local_address_behind_two_ports_is_two_neighbours() {
    let mut lab = Lab::read(NETWORK);
    for (to, port, station) in
        [("fd0e::9", "edge.east", "02::e1"), ("fd0f::9", "edge.west", "02::e2")]
    {
        let sent = lab.send(&format!("vm1 > {to} udp 9 v6"));
        sent.arrives(port, 1);
        assert_eq!(sent.arrivals()[0].headers.eth_dst, mac(station), "{to}");
    }
    // One of them is gone: the other is no substitute, nor asked for in its place.
    let west = ScopedAddr::on(named("edge.west"), addr("fe80::1"));
    lab.tables.neighbors.remove(&(named("edge"), west));
    lab.send("vm1 > fd0e::9 udp 9 v6").arrives("edge.east", 1);
    lab.send("vm1 > fd0f::9 udp 9 v6").awaits("edge.west", "fe80::1");
}

#[test]
fn a_link_local_address_is_learned_for_the_port_where_it_is_heard() {
    let lab = Lab::read(NETWORK);
    let link_local = ndp::link_local(mac("02::e1"));
    let announced = ndp::announce(mac("02::e1"), link_local, true);
    for port in ["edge.east", "edge.west"] {
        let frame = Built::of(named(port), announced.clone());
        let sent = lab.inject("an announcement", Entry::Ingress(named(port)), &frame);
        sent.teaches(&Effect::LearnNeighbor {
            router: named("edge"),
            port: named(port),
            addr: link_local.into(),
            mac: mac("02::e1"),
        });
    }
}

#[test]
fn a_router_that_asks_for_what_it_knows_hears_the_machine_itself() {
    let mut lab = Lab::read(NETWORK);
    for target in ["10.0.1.5", "fd01::5"] {
        lab.tables.bridge_neighbors.insert((named("blue"), addr(target)), mac("02::01"));
        let query = neighbor_query(&lab.snapshot, named("edge.blue"), addr(target)).unwrap();
        // Nobody but a machine that lives can answer.
        lab.emit(named("edge.blue"), &query).floods(&["vm1", "vm2"]).silently();
    }
    lab.tables.neighbors.clear();
    for target in ["10.0.1.5", "fd01::5"] {
        let query = neighbor_query(&lab.snapshot, named("edge.blue"), addr(target)).unwrap();
        // What is not known may be answered by the bridge, which spares the machines.
        lab.emit(named("edge.blue"), &query).drops(DropCause::Consumed);
    }
}

/// The answer to a question to one station alone: it may leave out the MAC (RFC 4861 §4.4).
fn short_answer(from: &str) -> Built {
    let router = ndp::link_local(mac("02::a1"));
    let target = "fd01::5".parse().unwrap();
    let ethernet = EthernetHeader::untagged(mac(from), mac("02::a1"), EtherType::IPV6);
    let told = NeighborAdvertisement {
        target,
        router: false,
        solicited: true,
        overrides: true,
        target_mac: None,
    };
    let frame = NdMessage::NeighborAdvertisement(told).frame(&ethernet, target, router);
    Built::of(named("vm1"), frame)
}

#[test]
fn an_answer_without_a_mac_confirms_the_one_that_is_known_and_teaches_no_other() {
    let mut lab = Lab::read(NETWORK);
    let vm1 = Entry::Ingress(named("vm1"));
    let learned = |lab: &Lab, from| {
        let answer = short_answer(from);
        let sent = lab.inject("a short answer", vm1, &answer);
        sent.lasts(Expiry::None);
        let effects = &sent.buffers.effects;
        effects.iter().find_map(|effect| match effect {
            Effect::LearnNeighbor { mac, .. } => Some(*mac),
            _ => None,
        })
    };
    assert_eq!(learned(&lab, "02::01"), Some(mac("02::01")));
    assert_eq!(learned(&lab, "02::66"), None, "somebody else");
    lab.tables.neighbors.clear();
    assert_eq!(learned(&lab, "02::01"), None, "nothing is known that it could confirm");
}
