//! Machines that look for the routers next to them, whoever lives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use mn_agent::Patience;
use mn_flow::{Action, Rewrite};
use mn_ids::{ObjectKey, PortId};
use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, ArpOp, EtherType, EthernetHeader, Layers, Mac, Network};
use mn_topology::{AnyObject, PortKind};

use crate::lab::{Lab, SETTLE_FOR, until};
use crate::station::Station;

const GATEWAY: Mac = Mac([2, 0, 0, 0, 1, 1]);
const V4: &str = "10.0.1.254";
const V6: &str = "2001:db8:1::fe";
/// Long enough for what is learned to become flows, and for a heartbeat to get old.
const LONG: Duration = Duration::from_millis(2500);

/// A bridge with a router, and two machines of it on one host, which have said who they are and
/// have asked for nothing. The router's port.
async fn network(workers: usize) -> (Lab, [Station; 2], PortId) {
    let lab = Lab::with(1, workers, Patience::default()).await;
    let (bridge, router) = (lab.bridge().await, lab.router().await);
    let gateway = lab.link(router, bridge, 1, &["10.0.1.254/24", "2001:db8:1::fe/64"]).await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2", "2001:db8:1::2"]).await;
    for station in [&one, &two] {
        let [IpAddr::V4(v4), IpAddr::V6(v6)] = station.addrs[..] else { panic!("one of each") };
        lab.send(station, &Arp::gratuitous(station.mac, v4).frame());
        lab.send(station, &ndp::announce(station.mac, v6, false));
    }
    tokio::time::sleep(LONG).await;
    (lab, [one, two], gateway)
}

/// What a machine may ask for its router's addresses: all and the router alone, from its address
/// and its link-local one.
fn questions(from: &Station, v4: &str) -> Vec<(IpAddr, Vec<u8>)> {
    let [IpAddr::V4(own4), IpAddr::V6(own6)] = from.addrs[..] else { panic!("one of each") };
    let target: IpAddr = v4.parse().unwrap();
    let IpAddr::V4(target4) = target else { panic!("an IPv4 address") };
    let mut all = Vec::new();
    for to in [Mac::BROADCAST, GATEWAY] {
        let ethernet = EthernetHeader::untagged(from.mac, to, EtherType::ARP);
        all.push((target, Arp::request(from.mac, own4, target4).frame_in(&ethernet)));
    }
    for target in [V6.parse().unwrap(), ndp::link_local(GATEWAY)] {
        for src in [own6, ndp::link_local(from.mac)] {
            all.push((target.into(), ndp::solicit(from.mac, src, target)));
            let ethernet = EthernetHeader::untagged(from.mac, GATEWAY, EtherType::IPV6);
            let asked = NdMessage::NeighborSolicitation { target, source_mac: Some(from.mac) };
            all.push((target.into(), asked.frame(&ethernet, src, target)));
        }
    }
    all
}

/// Whether it says that the address is at the router.
fn tells(frame: &[u8], addr: IpAddr) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    match layers.network {
        Network::Arp(arp) => {
            arp.op == ArpOp::REPLY && (IpAddr::from(arp.sender), arp.sender_mac) == (addr, GATEWAY)
        }
        Network::Ip(ip) => matches!(
            NdMessage::parse(ip.payload),
            Ok(Some(NdMessage::NeighborAdvertisement(told)))
                if IpAddr::from(told.target) == addr
                    && told.target_mac == Some(GATEWAY)
                    && told.router
                    && told.solicited
        ),
        Network::Other => false,
    }
}

/// How many of these questions are answered to who asks.
async fn answered(lab: &Lab, from: &Station, questions: &[(IpAddr, Vec<u8>)]) -> usize {
    let mut count = 0;
    for (addr, question) in questions {
        lab.take_seen();
        lab.send(from, question);
        let told = lab.arrives_within(Duration::from_millis(300), &from.interface, |frame| {
            tells(frame, *addr)
        });
        count += usize::from(told.await.is_some());
    }
    count
}

fn answering(lab: &Lab) -> usize {
    let answers = |action: &Action| matches!(action, Action::Rewrite(Rewrite::Answer { .. }));
    lab.flows(0).iter().filter(|flow| flow.spec.actions.iter().any(answers)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_agent_is_dead_a_machine_finds_the_router_that_it_never_asked_for() {
    for workers in [1, 2] {
        let (mut lab, stations, _) = network(workers).await;
        lab.stop_agent(0).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for station in &stations {
            let questions = questions(station, V4);
            assert_eq!(answered(&lab, station, &questions).await, questions.len());
        }
        // Whose address nobody has heard, is not known to be there.
        let mut other = questions(&stations[0], V4);
        other.truncate(1);
        other[0].1 =
            Arp::request(stations[0].mac, [10, 0, 1, 77].into(), [10, 0, 1, 254].into()).frame();
        assert_eq!(answered(&lab, &stations[0], &other).await, 0);
        // The next agent keeps the flows, and decides likewise.
        let before = answering(&lab);
        lab.start(0);
        until("everything is verified", || async {
            let status = lab.status(0).await;
            status.unverified == 0 && status.adopted > 0
        })
        .await;
        assert_eq!(lab.status(0).await.replaced, 0);
        assert!(answering(&lab) >= before && before > 0, "{before} flows");
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_change_with_the_routers_port_and_at_once() {
    let (mut lab, [one, _two], gateway) = network(1).await;
    let old = questions(&one, V4);
    assert_eq!(answered(&lab, &one, &old[..2]).await, 2);
    let moves = |object: &mut AnyObject| {
        if let AnyObject::Port(port) = object
            && let PortKind::Router(kind) = &mut port.kind
        {
            kind.addresses[0].addr = "10.0.1.253".parse().unwrap();
        }
    };
    lab.change(ObjectKey::from(gateway), moves).await;
    tokio::time::sleep(SETTLE_FOR).await;
    assert_eq!(answered(&lab, &one, &old[..2]).await, 0, "the address is the router's no more");
    tokio::time::sleep(LONG).await;
    lab.stop_agent(0).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let new = questions(&one, "10.0.1.253");
    assert_eq!(answered(&lab, &one, &new).await, new.len());
    assert_eq!(answered(&lab, &one, &old[..2]).await, 0);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_claims_the_routers_address_is_counted_and_not_believed() {
    let (lab, [one, two], _) = network(1).await;
    let metrics = lab.serves_metrics(0).await;
    let moved = || async {
        let told = crate::metrics::get(metrics, "/metrics").await;
        crate::metrics::sample(&told, &["midonet_agent_moved_addresses_total"]).unwrap()
    };
    let v6: Ipv6Addr = V6.parse().unwrap();
    let reply = Arp {
        op: ArpOp::REPLY,
        sender_mac: two.mac,
        sender: [10, 0, 1, 254].into(),
        target_mac: one.mac,
        target: [10, 0, 1, 1].into(),
    };
    let mut claims = 0.0;
    for claim in [
        Arp::gratuitous(two.mac, [10, 0, 1, 254].into()).frame(),
        reply.frame(),
        ndp::announce(two.mac, v6, true),
        ndp::announce(two.mac, ndp::link_local(GATEWAY), true),
    ] {
        assert_eq!(moved().await, claims);
        lab.send(&two, &claim);
        tokio::time::sleep(SETTLE_FOR).await;
        claims += 1.0;
    }
    assert_eq!(moved().await, claims);
    let questions = questions(&one, V4);
    assert_eq!(answered(&lab, &one, &questions).await, questions.len(), "by the router");
    lab.stop().await;
}
