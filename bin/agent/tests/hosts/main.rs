//! Two agents in one process, from a drawn topology to frames at stations.

mod lab;

use std::time::{Duration, Instant};

use lab::{Lab, Seen, copies, is_arp_reply, until};
use mn_flow::{Action, KeyKind};
use mn_packet::Mac;
use mn_topology::AnyObject;

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
