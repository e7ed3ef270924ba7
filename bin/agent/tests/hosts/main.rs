//! Agents in one process, from a drawn topology to frames at stations.

mod adoption;
mod advertisements;
mod cable;
mod changes;
mod contact;
mod deletion;
mod fellows;
mod filters;
mod gateways;
mod holdings;
mod lab;
mod limits;
mod mail;
mod metrics;
mod neighbors;
mod questions;
mod rejects;
mod settled;
mod station;
mod tagged;
mod translated;
mod underlay;

use std::time::{Duration, Instant};

use lab::{Lab, SETTLE_FOR, Seen, copies, is_arp_reply, is_echo_reply, until};
use mn_agent_api::{Link, Request, Response};
use mn_api_types::walk::{VerdictKind, WalkRequest};
use mn_datapath::{Datapath, Delivery};
use mn_flow::{Action, KeyKind};
use mn_packet::{EtherType, EthernetHeader, Mac};
use mn_topology::{AnyObject, Condition, RuleAction};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stations_on_two_hosts_find_one_another_and_talk_through_installed_flows() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    lab.send(&one, &one.who_has("10.0.1.2"));
    assert!(lab.arrives("tap1", is_arp_reply).await.is_some());
    for sequence in 0..5 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await, "ping {sequence}");
    }
    let flows = lab.flows(0);
    let tunnelled = |action: &Action| matches!(action, Action::Tunnel { .. });
    let unicast = flows
        .iter()
        .find(|flow| flow.spec.key.eth_dst == two.mac && flow.spec.actions.iter().any(tunnelled));
    let carried = unicast.expect("a flow to the other station").counters.packets;
    assert!(carried >= 3, "{carried} of 5 packets went by the flow");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_between_two_hosts_carries_pings_of_both_versions() {
    let lab = Lab::new(2).await;
    let (left, right) = (lab.bridge().await, lab.bridge().await);
    let router = lab.router().await;
    lab.link(router, left, 1, &["10.0.1.254/24", "2001:db8:1::fe/64"]).await;
    lab.link(router, right, 2, &["10.0.2.254/24", "2001:db8:2::fe/64"]).await;
    let (one, _) = lab.station(0, left, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let _two = lab.station(1, right, 2, &["10.0.2.2", "2001:db8:2::2"]).await;
    let gateway = Mac([2, 0, 0, 0, 1, 1]);
    for sequence in 0..3 {
        assert!(lab.pings(&one, gateway, "10.0.2.2", sequence).await, "IPv4 {sequence}");
        assert!(lab.pings(&one, gateway, "2001:db8:2::2", sequence).await, "IPv6 {sequence}");
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_crosses_the_underlay_once_and_reaches_every_member() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    for number in 2..=4 {
        lab.station(1, bridge, number, &[&format!("10.0.1.{number}")]).await;
    }
    lab.take_seen();
    lab.send(&one, &one.who_has("10.0.1.99"));
    for tap in ["tap2", "tap3", "tap4"] {
        assert!(lab.arrives(tap, |_| true).await.is_some(), "{tap}");
    }
    let copies = copies(&lab.take_seen());
    let ((from, key), count) = copies.first_key_value().expect("a copy");
    assert_eq!((copies.len(), *from, key.kind(), *count), (1, 0, KeyKind::Group, 1));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_moves_takes_its_traffic_along_and_the_old_host_stops_accepting() {
    let lab = Lab::new(3).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (mut two, port) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    // It speaks, so that its place and address are known.
    lab.send(&two, &two.who_has("10.0.1.1"));
    assert!(lab.arrives("tap2", is_arp_reply).await.is_some());
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    let keys = lab.hosts[1].datapath.keys().unwrap();
    let is_port = |delivery: &Delivery| matches!(delivery, Delivery::Port(_));
    let (old_key, _) = keys.into_iter().find(|(_, delivery)| is_port(delivery)).unwrap();

    lab.plug(2, "tap2", 12);
    lab.moves(&mut two, 2, 12);
    tokio::time::sleep(SETTLE_FOR).await;
    lab.take_seen();
    let there = lab.hosts[2].id;
    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object {
            port.host_id = Some(there);
        }
    })
    .await;
    let moved_at = Instant::now();
    let mut sequence = 100;
    // All that was seen: the announcement may come before the first packet at the new place.
    let mut arrived = Vec::new();
    while !arrived.iter().any(|seen| matches!(seen, Seen::At { host: 2, .. })) {
        lab.send(&one, &one.echo(two.mac, "10.0.1.2".parse().unwrap(), sequence));
        sequence += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        arrived.extend(lab.take_seen());
        assert!(moved_at.elapsed() < Duration::from_millis(500), "still at the old place");
    }
    let announced = |seen: &Seen| match seen {
        Seen::At { host: 0, frame, .. } => is_gratuitous(frame, two.mac),
        _ => false,
    };
    if !arrived.iter().any(announced) {
        let from_two = |frame: &[u8]| is_gratuitous(frame, two.mac);
        assert!(lab.arrives("tap1", from_two).await.is_some(), "the move is announced");
    }
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    until("the old key is retired", || async {
        let keys = lab.hosts[1].datapath.keys().unwrap();
        keys.contains(&(old_key, Delivery::Retired))
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_that_returns_with_another_index_serves_its_port_again() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (mut two, port) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    lab.unplug(1, "tap2");
    until("the port is not active", || async { lab.status(1).await.ports.is_empty() }).await;
    lab.plug(1, "tap2", 77);
    lab.moves(&mut two, 1, 77);
    lab.active(1, port).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 1).await);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_added_stops_a_live_flow_and_the_flow_comes_back_without_it() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, port) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    let (id, _) = lab.chain(Condition::default(), RuleAction::Drop).await;
    let filter = async |filter| {
        lab.change(port.into(), |object| {
            if let AnyObject::Port(port) = object {
                port.outbound_filter_id = filter;
            }
        })
        .await;
        tokio::time::sleep(SETTLE_FOR).await;
        lab.take_seen();
    };
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    filter(Some(id)).await;
    let to = "10.0.1.2".parse().unwrap();
    lab.send(&one, &one.echo(two.mac, to, 1));
    tokio::time::sleep(SETTLE_FOR).await;
    let answered =
        |seen: &Seen| matches!(seen, Seen::At { frame, .. } if is_echo_reply(frame, to, 1));
    assert!(!lab.take_seen().iter().any(answered), "the rule drops it");
    filter(None).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 2).await);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_again_adopts_ports_and_flows_with_their_counters() {
    let mut lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    lab.send(&two, &two.who_has("10.0.1.1"));
    assert!(lab.arrives("tap2", is_arp_reply).await.is_some());
    // A MAC that the other host has just learned takes the flood's flow away when it is heard of,
    // and what that flow counted with it.
    for sequence in 0..5 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await);
        lab.settled().await;
    }
    let carried = |lab: &Lab| -> u64 {
        let flows = lab.flows(0);
        flows.iter().map(|flow| flow.counters.packets).max().unwrap_or(0)
    };
    let (before, attached) = (carried(&lab), lab.hosts[0].datapath.attached().unwrap());
    lab.stop_agent(0).await;
    assert_eq!(lab.hosts[0].datapath.attached().unwrap(), attached, "nothing is taken away");
    lab.start(0);
    lab.active(0, port).await;
    until("everything is verified", || async {
        let status = lab.status(0).await;
        status.unverified == 0 && status.adopted > 0 && status.replaced == 0
    })
    .await;
    assert_eq!(lab.hosts[0].datapath.attached().unwrap(), attached);
    assert!(carried(&lab) >= before, "the counters went on");
    lab.take_seen();
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 9).await);
    assert!(carried(&lab) > before, "by the adopted flow");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_tells_what_the_installed_flow_does_and_leaves_no_trace() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, from) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, to) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    for station in [&one, &two] {
        let other = if station.mac == one.mac { "10.0.1.2" } else { "10.0.1.1" };
        lab.send(station, &station.who_has(other));
        assert!(lab.arrives(&station.interface, is_arp_reply).await.is_some());
    }
    // A MAC that the other host has just learned takes the flood's flow away when it is heard of.
    for sequence in 0..2 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await);
        lab.settled().await;
    }
    let flows = lab.flows(0);
    lab.take_seen();
    let request = WalkRequest {
        from_port: Some(from),
        to_port: Some(to),
        ttl: 64,
        both: true,
        ..WalkRequest::default()
    };
    let handle = lab.hosts[0].agent.as_ref().unwrap().handle().clone();
    let Response::Walk(walk) = handle.ask(Request::Walk(Box::new(request))).await else {
        panic!("no walk");
    };
    assert_eq!(walk.verdict.kind, VerdictKind::Delivered);
    assert_eq!(walk.verdict.deliveries[0].port.id, to.uuid());
    assert!(walk.flow.is_some_and(|flow| flow.agrees), "the installed flow does the same");
    let out = walk.verdict.deliveries[0].tunnel.clone().unwrap();
    let answer = walk.answer.expect("it was asked for").0;
    assert_eq!(answer.entered_at.unwrap().id, lab.hosts[1].id.uuid());
    assert_eq!(answer.verdict.deliveries[0].port.id, from.uuid());
    let back = answer.verdict.deliveries[0].tunnel.clone().unwrap();
    assert_eq!((back.outer_src, back.outer_dst), (out.outer_dst, out.outer_src));
    assert_ne!(back.key, 0);
    assert_eq!(lab.flows(0), flows);
    assert!(lab.take_seen().is_empty(), "no packet was sent");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_request_is_refused_with_the_reason() {
    let lab = Lab::new(1).await;
    let handle = lab.hosts[0].agent.as_ref().unwrap().handle().clone();
    for wrong in ["", "nonsense", "{}", r#"{"request":"everything"}"#] {
        let answer = handle.ask_json(wrong).await;
        let answer: Response = serde_json::from_str(&answer).unwrap();
        assert!(matches!(answer, Response::Error { .. }), "{wrong}: {answer:?}");
    }
    let answer = handle.ask_json(r#"{"request":"flows","limit":5}"#).await;
    let answer: Response = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer, Response::Flows { flows: Vec::new(), installed: 0 });
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_from_the_database_it_forwards_resolves_what_it_knows_and_says_how_stale_it_is() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    let (three, port) = lab.station(1, bridge, 3, &["10.0.1.3"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    lab.cable.pull();
    until("it says that it is stale", || async {
        matches!(lab.status(0).await.link, Link::Stale { .. })
    })
    .await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 1).await, "a flow that was there");
    assert!(lab.pings(&one, three.mac, "10.0.1.3", 2).await, "a new one");
    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object {
            port.admin_state_up = false;
        }
    })
    .await;
    lab.cable.plug();
    until("it is up to date", || async { lab.status(0).await.link == Link::Connected }).await;
    tokio::time::sleep(SETTLE_FOR).await;
    lab.take_seen();
    let to = "10.0.1.3".parse().unwrap();
    lab.send(&one, &one.echo(three.mac, to, 3));
    tokio::time::sleep(SETTLE_FOR).await;
    let answered =
        |seen: &Seen| matches!(seen, Seen::At { frame, .. } if is_echo_reply(frame, to, 3));
    assert!(!lab.take_seen().iter().any(answered), "what changed meanwhile counts");
    lab.stop().await;
}

/// Whether a frame is a gratuitous ARP of this MAC.
fn is_gratuitous(frame: &[u8], mac: Mac) -> bool {
    let Ok((header, payload)) = EthernetHeader::split(frame) else { return false };
    header.eth_type == EtherType::ARP
        && mn_packet::Arp::parse(payload)
            .is_ok_and(|arp| arp.is_gratuitous() && arp.sender_mac == mac)
}
