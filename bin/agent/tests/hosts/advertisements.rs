//! Router advertisements that nobody asked for.

use std::net::Ipv6Addr;
use std::time::Duration;

use mn_packet::Layers;
use mn_packet::ndp::{NdMessage, RouterAdvertisement};
use mn_topology::{AnyObject, PortKind, RaMode};

use crate::lab::{Lab, Seen};

fn advertisement(frame: &[u8]) -> Option<RouterAdvertisement> {
    let layers = Layers::of(frame).ok()?;
    match NdMessage::parse(layers.ip()?.payload) {
        Ok(Some(NdMessage::RouterAdvertisement(told))) => Some(told),
        _ => None,
    }
}

/// Whether it offers the prefix, as one that may be used.
fn offers(frame: &[u8], prefix: &str) -> Option<bool> {
    let told = advertisement(frame)?;
    let prefix: Ipv6Addr = prefix.parse().expect("an address");
    let offered = told.prefixes.iter().find(|offered| offered.prefix == prefix)?;
    Some(offered.preferred > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_advertises_a_router_to_its_own_machines_and_tells_them_of_another_prefix() {
    let lab = Lab::new(2).await;
    let (bridge, router) = (lab.bridge().await, lab.router().await);
    let port = lab.link(router, bridge, 1, &["10.0.1.254/24", "2001:db8:1::fe/64"]).await;
    lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    lab.take_seen();
    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object
            && let PortKind::Router(kind) = &mut port.kind
        {
            kind.ra_mode = RaMode::Slaac;
        }
    })
    .await;
    let offered = |frame: &[u8]| offers(frame, "2001:db8:1::") == Some(true);
    for tap in ["tap1", "tap2"] {
        assert!(lab.arrives(tap, offered).await.is_some(), "{tap}");
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let seen = lab.take_seen();
    let told = seen.iter().filter(|seen| match seen {
        Seen::At { frame, .. } => advertisement(frame).is_some(),
        Seen::Between { .. } => false,
    });
    assert_eq!(told.count(), 2, "each machine is told once");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Between { .. })), "by its own host");

    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object
            && let PortKind::Router(kind) = &mut port.kind
        {
            kind.ra_prefixes = vec!["2001:db8:2::/64".parse().expect("a prefix")];
        }
    })
    .await;
    let moved = |frame: &[u8]| {
        offers(frame, "2001:db8:2::") == Some(true) && offers(frame, "2001:db8:1::") == Some(false)
    };
    for tap in ["tap1", "tap2"] {
        assert!(lab.arrives(tap, moved).await.is_some(), "{tap}");
    }

    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object
            && let PortKind::Router(kind) = &mut port.kind
        {
            kind.ra_mode = RaMode::Off;
        }
    })
    .await;
    let ends = |frame: &[u8]| advertisement(frame).is_some_and(|told| told.lifetime == 0);
    assert!(lab.arrives("tap1", ends).await.is_some(), "it is no router for hosts any more");
    lab.stop().await;
}
