//! Neighbours of routers while they are used, when they change, and when they die.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mn_agent::Patience;
use mn_packet::ndp::NdMessage;
use mn_packet::{Arp, ArpOp, EtherType, EthernetHeader, IcmpHeader, Layers, Mac, Network, ndp};

use crate::lab::{Lab, SETTLE_FOR, Seen, Station, is_arp_reply};
use crate::metrics::{get, sample};

/// So that a test does not take minutes.
const IMPATIENT: Patience = Patience { reachable_for: Duration::from_secs(2) };
const GATEWAYS: [Mac; 2] = [Mac([2, 0, 0, 0, 1, 1]), Mac([2, 0, 0, 0, 1, 2])];

/// A router between two bridges: one station of each, on the hosts named.
async fn routed(hosts: usize, of_two: usize, workers: usize) -> (Lab, Station, Station) {
    let lab = Lab::with(hosts, workers, IMPATIENT).await;
    let (left, right) = (lab.bridge().await, lab.bridge().await);
    let router = lab.router().await;
    lab.link(router, left, 1, &["10.0.1.254/24", "2001:db8:1::fe/64"]).await;
    lab.link(router, right, 2, &["10.0.2.254/24", "2001:db8:2::fe/64"]).await;
    let (one, _) = lab.station(0, left, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let (two, _) = lab.station(of_two, right, 2, &["10.0.2.2", "2001:db8:2::2"]).await;
    (lab, one, two)
}

/// The question for an address, if the frame is one.
fn asked_for(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let layers = Layers::of(frame).ok()?;
    match layers.network {
        Network::Arp(arp) if arp.op == ArpOp::REQUEST && !arp.is_gratuitous() => {
            Some((arp.target.into(), layers.ethernet.dst))
        }
        _ => None,
    }
}

fn is_unreachable(frame: &[u8]) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    let Some(Ok((header, _))) = layers.ip().map(|ip| IcmpHeader::split(ip.payload)) else {
        return false;
    };
    (header.ty, header.code) == (3, 1)
}

/// Questions for `addr` that came to an interface, by the MAC they were sent to.
fn questions(seen: &[Seen], to: &str, addr: &str) -> Vec<Mac> {
    let addr: IpAddr = addr.parse().expect("an address");
    let asked = seen.iter().filter_map(|seen| match seen {
        Seen::At { interface, frame, .. } if interface == to => asked_for(frame),
        _ => None,
    });
    asked.filter(|(target, _)| *target == addr).map(|(_, mac)| mac).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbor_in_use_is_asked_where_it_is_and_its_flows_stay() {
    let (lab, one, two) = routed(2, 1, 1).await;
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 0).await);
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 1).await);
    let cookies = |lab: &Lab| lab.flows(0).iter().map(|flow| flow.spec.cookie).collect::<Vec<_>>();
    let before = cookies(&lab);
    lab.take_seen();
    let (arrived, _) = lab
        .arrives_within(Duration::from_secs(15), "tap2", |frame| {
            asked_for(frame) == Some(("10.0.2.2".parse().unwrap(), two.mac))
        })
        .await
        .expect("the neighbour in use is asked");
    assert_eq!(EthernetHeader::split(&arrived).unwrap().0.dst, two.mac, "it alone");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(questions(&lab.take_seen(), "tap2", "10.0.2.2").iter().all(|to| *to == two.mac));
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 2).await);
    assert!(before.iter().all(|cookie| cookies(&lab).contains(cookie)), "no flow was touched");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbor_that_changes_its_mac_in_silence_is_found_at_the_new_one() {
    let (lab, one, mut two) = routed(1, 0, 1).await;
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 0).await);
    lab.changes_mac(&mut two, Mac([2, 0, 0, 0, 0, 0x77]));
    let changed_at = Instant::now();
    let mut sequence = 1;
    while !lab
        .pings_within(Duration::from_millis(200), &one, GATEWAYS[0], "10.0.2.2", sequence)
        .await
    {
        sequence += 1;
        assert!(changed_at.elapsed() < Duration::from_secs(20), "still at the old MAC");
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_to_a_neighbor_that_dies_are_refused_until_it_speaks_again() {
    let (lab, one, two) = routed(1, 0, 1).await;
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 0).await);
    lab.silence(&two);
    lab.take_seen();
    let died_at = Instant::now();
    let mut sequence = 1;
    let refused = |frame: &[u8]| is_unreachable(frame);
    while lab.arrives_within(Duration::from_millis(100), "tap1", refused).await.is_none() {
        lab.send(&one, &one.echo(GATEWAYS[0], two.addrs[0], sequence));
        sequence += 1;
        assert!(died_at.elapsed() < Duration::from_secs(20), "nobody says that it is gone");
    }
    let questions = questions(&lab.take_seen(), "tap2", "10.0.2.2");
    assert_eq!(questions, [two.mac, Mac::BROADCAST, Mac::BROADCAST], "first where it was");
    // Nobody is asked for now, so it must be heard that it is back.
    lab.revive(&two);
    let IpAddr::V4(addr) = two.addrs[0] else { panic!("IPv4 first") };
    lab.send(&two, &Arp::gratuitous(two.mac, addr).frame());
    tokio::time::sleep(SETTLE_FOR).await;
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 9999).await);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_agent_that_would_hear_a_neighbor_is_dead_its_silence_stops_nothing() {
    let (mut lab, one, _two) = routed(2, 1, 1).await;
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 0).await);
    assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", 1).await);
    lab.stop_agent(1).await;
    lab.take_seen();
    // Three requests in vain, twice over.
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!(!questions(&lab.take_seen(), "tap2", "10.0.2.2").is_empty(), "it was asked");
    for sequence in 2..5 {
        assert!(lab.pings(&one, GATEWAYS[0], "10.0.2.2", sequence).await, "ping {sequence}");
    }
    lab.stop().await;
}

/// What a machine sends to find out whether a neighbour that it knows is there still.
fn probes(from: &Station, to: &Station) -> [Vec<u8>; 3] {
    let [IpAddr::V4(v4), IpAddr::V6(v6)] = from.addrs[..] else { panic!("one of each version") };
    let [IpAddr::V4(target4), IpAddr::V6(target6)] = to.addrs[..] else { panic!("likewise") };
    let header = |eth_type| EthernetHeader::untagged(from.mac, to.mac, eth_type);
    let solicitation =
        NdMessage::NeighborSolicitation { target: target6, source_mac: Some(from.mac) };
    [
        Arp::request(from.mac, v4, target4).frame_in(&header(EtherType::ARP)),
        solicitation.frame(&header(EtherType::IPV6), v6, target6),
        // As Linux does it: from its link-local address.
        solicitation.frame(&header(EtherType::IPV6), ndp::link_local(from.mac), target6),
    ]
}

/// Whether it says where `station` is, by ARP or by neighbour discovery.
fn tells_of(frame: &[u8], station: &Station) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    match layers.network {
        Network::Arp(arp) => arp.op == ArpOp::REPLY && station.addrs.contains(&arp.sender.into()),
        Network::Ip(ip) => matches!(
            NdMessage::parse(ip.payload),
            Ok(Some(NdMessage::NeighborAdvertisement(told)))
                if station.addrs.contains(&told.target.into())
        ),
        Network::Other => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_agents_are_dead_machines_that_spoke_are_found_where_they_are() {
    let mut lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2", "2001:db8:1::2"]).await;
    let (three, _) = lab.station(0, bridge, 3, &["10.0.1.3", "2001:db8:1::3"]).await;
    // Everybody announces itself, and pings both others: no probe was sent yet.
    for station in [&one, &two, &three] {
        let [IpAddr::V4(v4), IpAddr::V6(v6)] = station.addrs[..] else { panic!("one of each") };
        lab.send(station, &Arp::gratuitous(station.mac, v4).frame());
        lab.send(station, &ndp::announce(station.mac, v6, false));
    }
    tokio::time::sleep(SETTLE_FOR).await;
    let pairs = [(&one, &two), (&two, &one), (&one, &three), (&three, &one)];
    for (from, to) in pairs {
        for addr in &to.addrs {
            assert!(lab.pings(from, to.mac, &addr.to_string(), 1).await, "{addr}");
        }
    }
    lab.stop_agent(0).await;
    lab.stop_agent(1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for (from, to) in pairs {
        for probe in probes(from, to) {
            lab.take_seen();
            lab.send(from, &probe);
            let told = lab.arrives(&from.interface, |frame| tells_of(frame, to)).await;
            assert!(told.is_some(), "{} of {}", from.interface, to.interface);
        }
    }
    // Who was never spoken to is not found: that takes an agent.
    lab.take_seen();
    lab.send(&two, &probes(&two, &three)[0]);
    tokio::time::sleep(SETTLE_FOR).await;
    assert!(lab.take_seen().is_empty());
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_takes_over_an_address_is_learned_though_probes_of_the_other_flow() {
    let lab = Lab::new(1).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2", "2001:db8:1::2"]).await;
    let (three, _) = lab.station(0, bridge, 3, &["10.0.1.3", "2001:db8:1::3"]).await;
    let announce = |station: &Station, addr: &str| {
        let frame = Arp::gratuitous(station.mac, addr.parse().unwrap()).frame();
        lab.send(station, &frame);
    };
    let carried = |lab: &Lab, from: &Station| {
        let of = |flow: &&mn_datapath::InstalledFlow| {
            (flow.spec.key.eth_type, flow.spec.key.eth_src) == (EtherType::ARP, from.mac)
        };
        lab.flows(0).iter().filter(of).count()
    };
    announce(&one, "10.0.1.1");
    for _ in 0..3 {
        lab.send(&one, &probes(&one, &two)[0]);
        tokio::time::sleep(SETTLE_FOR / 5).await;
    }
    assert_eq!(carried(&lab, &one), 1, "its probes flow");
    // It does not defend its address.
    lab.silence(&one);
    let metrics = lab.serves_metrics(0).await;
    let moved = "midonet_agent_moved_addresses_total";
    assert_eq!(sample(&get(metrics, "/metrics").await, &[moved]), Some(0.0));
    announce(&three, "10.0.1.1");
    tokio::time::sleep(SETTLE_FOR).await;
    assert_eq!(carried(&lab, &one), 0, "the flow went with what it depended on");
    // A question for the address is answered with where it is now, and where it is again later.
    for (station, mac) in [(None, three.mac), (Some(&one), one.mac)] {
        if let Some(station) = station {
            lab.send(station, &probes(station, &two)[0]);
            tokio::time::sleep(SETTLE_FOR).await;
        }
        lab.take_seen();
        lab.send(&two, &two.who_has("10.0.1.1"));
        let (answer, _) = lab.arrives("tap2", is_arp_reply).await.expect("an answer");
        assert_eq!(EthernetHeader::split(&answer).unwrap().0.src, mac);
    }
    let told = get(metrics, "/metrics").await;
    assert_eq!(sample(&told, &[moved]), Some(2.0), "there and back: two machines claim it");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_that_want_the_same_neighbor_ask_once_a_second_together() {
    let (lab, one, two) = routed(1, 0, 2).await;
    lab.silence(&two);
    lab.take_seen();
    // Enough connections for both workers to get some.
    for last in 0..40_u16 {
        lab.send(&one, &one.datagram(GATEWAYS[0], two.addrs[0], last, 53));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = lab.take_seen();
    assert_eq!(questions(&seen, "tap2", "10.0.2.2").len(), 3, "and then no more");
    assert!(seen.iter().any(
        |seen| matches!(seen, Seen::At { interface, frame, .. } if interface == "tap1" && is_unreachable(frame))
    ));
    lab.stop().await;
}
