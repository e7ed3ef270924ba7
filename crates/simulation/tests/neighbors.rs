//! Neighbours of routers: who is asked, who answers, and what an answer means.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::net::{IpAddr, Ipv4Addr};

use mn_flow::{DropCause, Expiry, Field, FlowMask, Rewrite, ScopedAddr, Tag, VirtualAction};
use mn_packet::ndp::{self, NdMessage, NeighborAdvertisement};
use mn_packet::{Arp, EtherType, EthernetHeader};
use mn_simulation::{Effect, Entry};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};
use mn_topology::DeviceId;

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
        let query = lab.query("edge.blue", target);
        // Nobody but a machine that lives can answer.
        lab.emit(named("edge.blue"), &query).floods(&["vm1", "vm2"]).silently();
    }
    lab.tables.neighbors.clear();
    for target in ["10.0.1.5", "fd01::5"] {
        let query = lab.query("edge.blue", target);
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

/// What stations of one bridge say to one another, each to the other alone.
const SAID: [&str; 4] = [
    "vm1 > vm2 arp mac-to 02::02",
    "vm1 > vm2 arp-reply",
    "vm1 > vm2 ns v6 mac-to 02::02",
    "vm1 > vm2 na v6",
];

fn knows(lab: &mut Lab, addrs: [&str; 2], station: &str) {
    for text in addrs {
        lab.tables.bridge_neighbors.insert((named("blue"), addr(text)), mac(station));
    }
}

#[test]
fn what_one_station_says_to_another_makes_a_flow_where_it_is_known_already() {
    let mut lab = Lab::read(NETWORK);
    for said in SAID {
        let sent = lab.send(said);
        sent.arrives("vm2", 0).lasts(Expiry::None);
        let learned = |effect: &Effect| matches!(effect, Effect::LearnBridgeNeighbor { .. });
        assert!(sent.buffers.effects.iter().any(learned), "{said} teaches");
    }
    knows(&mut lab, ["10.0.1.5", "fd01::5"], "02::01");
    for said in SAID {
        let told = addr(if said.contains("v6") { "fd01::5" } else { "10.0.1.5" });
        let read = Tag::BridgeNeighbor { bridge: named("blue"), addr: told };
        lab.send(said).arrives("vm2", 0).lasts(Expiry::Idle).tagged(read);
    }
    // Question and answer are one flow: it reads who speaks, to whom, and what it could teach.
    let headers = [Field::EthDst, Field::EthSrc, Field::EthType, Field::NwSrc, Field::Vlan];
    let read = headers.into_iter().fold(FlowMask::NONE, |mask, field| mask | field.into());
    lab.send(SAID[0]).reads(read);
    lab.send(SAID[1]).reads(read);
}

#[test]
fn a_probe_from_the_link_local_address_of_its_mac_makes_a_flow_though_nobody_learned_it() {
    let mut lab = Lab::read(NETWORK);
    let own = ndp::link_local(mac("02::01"));
    let probe = format!("vm1 > vm2 ns v6 mac-to 02::02 addr-from {own}");
    lab.send(&probe).arrives("vm2", 0).lasts(Expiry::Idle);
    // Where it is known to be another's, and for any other such address, it must be heard.
    let other = "vm1 > vm2 ns v6 mac-to 02::02 addr-from fe80::77";
    lab.send(other).arrives("vm2", 0).lasts(Expiry::None);
    lab.tables.bridge_neighbors.insert((named("blue"), own.into()), mac("02::66"));
    lab.send(&probe).arrives("vm2", 0).lasts(Expiry::None);
}

#[test]
fn an_address_that_is_known_elsewhere_or_that_all_hear_of_makes_no_flow() {
    let mut lab = Lab::read(NETWORK);
    knows(&mut lab, ["10.0.1.5", "fd01::5"], "02::66");
    for said in SAID {
        lab.send(said).arrives("vm2", 0).lasts(Expiry::None);
    }
    knows(&mut lab, ["10.0.1.5", "fd01::5"], "02::01");
    for said in ["vm1 > vm2 arp", "vm1 > vm2 garp", "vm1 > vm2 ns v6"] {
        lab.send(said).lasts(Expiry::None);
    }
}

#[test]
fn who_speaks_for_another_mac_teaches_nothing_whatever_the_flow() {
    let lab = Lab::read(NETWORK);
    let poison =
        Arp::request(mac("02::66"), Ipv4Addr::new(10, 0, 1, 5), Ipv4Addr::new(10, 0, 1, 6));
    let header = EthernetHeader::untagged(mac("02::01"), mac("02::02"), EtherType::ARP);
    let frame = Built::of(named("vm1"), poison.frame_in(&header));
    let sent = lab.inject("a lie", Entry::Ingress(named("vm1")), &frame);
    // The station itself may speak next, and be heard: no flow hides it.
    sent.arrives("vm2", 0).lasts(Expiry::None);
    let learned = |effect: &Effect| matches!(effect, Effect::LearnBridgeNeighbor { .. });
    assert!(!sent.buffers.effects.iter().any(learned));
}

/// Questions for the router's addresses, of all and of it alone.
const ASKED: [&str; 6] = [
    "vm1 > 10.0.1.1 arp",
    "vm1 > 10.0.1.1 arp mac-to 02::a1",
    "vm1 > fd01::1 ns v6",
    "vm1 > fd01::1 ns v6 mac-to 02::a1",
    "vm1 > fd01::1 ns v6 addr-from fe80::ff:fe00:1",
    "vm1 > fe80::ff:fe00:a1 ns v6",
];

#[test]
fn what_a_router_answers_makes_a_flow_that_answers_and_still_teaches() {
    let lab = Lab::read(NETWORK);
    for asked in ASKED {
        let sent = lab.send(asked);
        let port = lab.station("vm1").port;
        sent.arrives("vm1", 0).lasts(Expiry::Idle).silently();
        let answer = Rewrite::Answer { mac: mac("02::a1"), router: true };
        let actions =
            [VirtualAction::Copy, VirtualAction::Rewrite(answer), VirtualAction::Deliver(port)];
        assert_eq!(sent.buffers.actions, actions, "{asked}");
        sent.tagged(Tag::Port(named("edge.blue")));
        let learned = |effect: &Effect| matches!(effect, Effect::LearnNeighbor { .. });
        assert!(sent.buffers.effects.iter().any(learned), "{asked} teaches");
        // It holds for who asks, from where, and for what: for no other target.
        let read = sent.decision().unwrap().mask;
        let whole = [Field::EthDst, Field::EthSrc, Field::NwSrc, Field::NwDst, Field::NwProto];
        assert!(whole.into_iter().all(|field| read.contains(field)), "{read:?}");
        assert_eq!((read.nw_src_len(), read.nw_dst_len()), (128, 128));
    }
}

#[test]
fn what_a_bridge_answers_makes_a_flow_too() {
    let mut lab = Lab::read(NETWORK);
    knows(&mut lab, ["10.0.1.6", "fd01::6"], "02::02");
    for (asked, addr) in [("vm1 > vm2 arp", "10.0.1.6"), ("vm1 > vm2 ns v6", "fd01::6")] {
        let sent = lab.send(asked);
        sent.arrives("vm1", 0).lasts(Expiry::Idle);
        let answer = Rewrite::Answer { mac: mac("02::02"), router: false };
        assert!(sent.buffers.actions.contains(&VirtualAction::Rewrite(answer)), "{asked}");
        let addr = addr.parse().unwrap();
        sent.tagged(Tag::BridgeNeighbor { bridge: named("blue"), addr });
    }
}

#[test]
fn an_answer_passes_the_filters_of_its_way_back() {
    let lab = Lab::read(
        "
        bridge blue
          vm1    02::01  10.0.1.5  fd01::5  out quiet
        router edge
          blue   02::a1  10.0.1.1/24  fd01::1/64
        chain quiet
          drop arp
        ",
    );
    let sent = lab.send("vm1 > 10.0.1.1 arp");
    assert!(sent.arrivals().is_empty());
    sent.lasts(Expiry::None);
    lab.send("vm1 > fd01::1 ns v6").arrives("vm1", 0).lasts(Expiry::Idle);
}

#[test]
fn a_question_from_who_is_not_known_yet_is_answered_alone() {
    let lab = Lab::read(NETWORK);
    // The answer's way back is not known before the question has taught where it came from.
    let sent = lab.send("vm1 > 10.0.1.1 arp mac-from 02::77");
    sent.drops(DropCause::Consumed).lasts(Expiry::None);
    sent.answered_at("edge.blue");
}

#[test]
fn a_machine_that_claims_its_routers_address_teaches_nothing_and_is_told_of() {
    let lab = Lab::read(NETWORK);
    for claim in [
        "vm1 > vm2 arp addr-from 10.0.1.1",
        "vm1 > vm2 arp-reply addr-from 10.0.1.1",
        "vm1 > 10.0.1.1 arp addr-from 10.0.1.1",
        "vm1 > vm2 ns v6 addr-from fd01::1",
        "vm1 > vm2 na v6 addr-from fd01::1",
        "vm1 > vm2 na v6 addr-from fe80::ff:fe00:a1",
    ] {
        let sent = lab.send(claim);
        sent.lasts(Expiry::None);
        let claims = sent.buffers.effects.iter().filter(|it| {
            matches!(it, Effect::AddressClaimed { device: DeviceId::Bridge(_), mac: by, .. }
                if *by == mac("02::01"))
        });
        assert_eq!(claims.count(), 1, "{claim}: {:?}", sent.buffers.effects);
        let learns = |it: &Effect| {
            matches!(it, Effect::LearnBridgeNeighbor { .. } | Effect::LearnNeighbor { .. })
        };
        assert!(!sent.buffers.effects.iter().any(learns), "{claim}: {:?}", sent.buffers.effects);
    }
}
