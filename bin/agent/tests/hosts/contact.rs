//! First contact: what is sent while a port is on its way goes on when it is there, and waits for
//! no retry.

use std::time::{Duration, Instant};

use mn_agent_core::limits::{ASK_EVERY, PLACE_FOR};
use mn_datapath::Datapath;
use mn_flow::{Action, DropCause};
use mn_ids::{BridgeId, PortId};
use mn_packet::Mac;

use crate::lab::{Lab, SETTLE_FOR, Seen, Station, is_arp_reply, is_echo_reply, until};

/// The MAC of a router's first port in these labs.
const GATEWAY: Mac = Mac([2, 0, 0, 0, 1, 1]);

impl Lab {
    /// A station whose interface is not there yet, and its port, bound to that interface.
    async fn expected(
        &self,
        host: usize,
        bridge: BridgeId,
        number: u8,
        addrs: &[&str],
    ) -> (Station, PortId) {
        let station = self.stranger(host, number, addrs);
        let port = self.bind(&station, bridge).await;
        (station, port)
    }

    /// Waits until a host's datapath has an interface, and not a moment longer.
    async fn serves(&self, host: usize, ifindex: u32) {
        until("the interface is a port's", || async {
            let attached = self.hosts[host].datapath.attached().expect("the software answers");
            attached.iter().any(|(_, interface)| interface.ifindex == ifindex)
        })
        .await;
    }

    /// A station asks for each of these by way of the router.
    fn asks(&self, from: &Station, to: [&str; 2], sequence: u16) {
        for to in to {
            self.send(from, &from.echo(GATEWAY, to.parse().expect("an address"), sequence));
        }
    }

    /// Two bridges, a router between them, and its port on each of both IP versions.
    async fn routed(&self) -> (BridgeId, BridgeId) {
        let (left, right) = (self.bridge().await, self.bridge().await);
        let router = self.router().await;
        self.link(router, left, 1, &["10.0.1.254/24", "2001:db8:1::fe/64"]).await;
        self.link(router, right, 2, &["10.0.2.254/24", "2001:db8:2::fe/64"]).await;
        (left, right)
    }

    /// Asserts that a station is answered before anybody would ask a second time.
    async fn answered_before_a_retry(&self, to: &Station, from: &str, begun_at: Instant) {
        let from = from.parse().expect("an address");
        let answer = |frame: &[u8]| is_echo_reply(frame, from, 1);
        let (_, at) = self.arrives(&to.interface, answer).await.expect("an answer");
        let took = at - begun_at;
        assert!(took < ASK_EVERY, "{from} answered after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_to_a_port_that_is_bound_reaches_it_when_its_interface_comes() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (_three, _) = lab.station(1, bridge, 3, &["10.0.1.3"]).await;
    let (two, _) = lab.expected(1, bridge, 2, &["10.0.1.2"]).await;
    tokio::time::sleep(SETTLE_FOR).await;
    lab.take_seen();
    lab.send(&one, &one.who_has("10.0.1.2"));
    assert!(lab.arrives("tap3", |_| true).await.is_some(), "the others are not kept waiting");
    lab.plug(1, &two.interface, two.ifindex);
    assert!(lab.arrives("tap1", is_arp_reply).await.is_some(), "one question was enough");
    let at_three = |seen: &&Seen| matches!(seen, Seen::At { interface, .. } if interface == "tap3");
    assert_eq!(lab.take_seen().iter().filter(at_three).count(), 1, "nobody got it twice");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_packet_to_a_station_whose_interface_is_away_reaches_it_when_it_is_back() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (mut two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await, "its place and MAC are known");
    lab.unplug(1, "tap2");
    tokio::time::sleep(SETTLE_FOR).await;
    lab.moves(&mut two, 1, 77);
    lab.send(&one, &one.echo(two.mac, "10.0.1.2".parse().unwrap(), 1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.plug(1, "tap2", 77);
    lab.answered_before_a_retry(&one, "10.0.1.2", Instant::now()).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_packet_of_a_port_is_answered_though_the_answer_is_faster_than_the_ports_place() {
    for round in 0..5 {
        let lab = Lab::new(2).await;
        let (left, right) = lab.routed().await;
        let (_near, _) = lab.station(1, left, 2, &["10.0.1.2", "2001:db8:1::2"]).await;
        let (_far, _) = lab.station(1, right, 3, &["10.0.2.3", "2001:db8:2::3"]).await;
        let (one, _) = lab.expected(0, left, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
        lab.plug(0, &one.interface, one.ifindex);
        lab.serves(0, one.ifindex).await;
        let begun_at = Instant::now();
        let bridged = Mac([2, 0, 0, 0, 0, 2]);
        let ways = [
            (bridged, "10.0.1.2"),
            (bridged, "2001:db8:1::2"),
            (GATEWAY, "10.0.2.3"),
            (GATEWAY, "2001:db8:2::3"),
        ];
        for (via, to) in ways {
            lab.send(&one, &one.echo(via, to.parse().unwrap(), 1));
        }
        for (_, to) in ways {
            lab.answered_before_a_retry(&one, to, begun_at).await;
        }
        println!("round {round}: {:?}", begun_at.elapsed());
        lab.stop().await;
    }
}

/// The addresses of the one that no port leads to yet.
const STRANGER: [&str; 2] = ["10.0.2.2", "2001:db8:2::2"];

/// A station, and another on the far side of a router whose interface is there and whose port, of
/// the bridge that comes too, is not.
async fn strangers() -> (Lab, Station, Station, BridgeId) {
    let lab = Lab::new(2).await;
    let (left, right) = lab.routed().await;
    let (one, _) = lab.station(0, left, 1, &["10.0.1.1", "2001:db8:1::1"]).await;
    let two = lab.stranger(1, 2, &STRANGER);
    lab.plug(1, &two.interface, two.ifindex);
    (lab, one, two, right)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_asks_in_vain_asks_again_the_moment_a_port_is_there() {
    let (lab, one, two, right) = strangers().await;
    lab.asks(&one, STRANGER, 1);
    let begun_at = Instant::now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.bind(&two, right).await;
    for to in STRANGER {
        lab.answered_before_a_retry(&one, to, begun_at).await;
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbor_that_was_given_up_is_reachable_the_moment_its_port_is_there() {
    let (lab, one, two, right) = strangers().await;
    lab.asks(&one, STRANGER, 0);
    // Unreachable: the router says so itself.
    let refused = |frame: &[u8]| frame[12..14] == [8, 0] && frame[34..36] == [3, 1];
    assert!(lab.arrives("tap1", refused).await.is_some(), "three questions, no answer");
    let port = lab.bind(&two, right).await;
    lab.active(1, port).await;
    let begun_at = Instant::now();
    lab.asks(&one, STRANGER, 1);
    for to in STRANGER {
        lab.answered_before_a_retry(&one, to, begun_at).await;
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_stays_away_is_waited_for_once_and_then_refused_by_a_flow() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (mut two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    lab.unplug(1, "tap2");
    tokio::time::sleep(SETTLE_FOR).await;
    let to = "10.0.1.2".parse().unwrap();
    lab.send(&one, &one.echo(two.mac, to, 1));
    tokio::time::sleep(PLACE_FOR + Duration::from_millis(200)).await;
    let refuses = |lab: &Lab| {
        let drop = [Action::Drop { cause: DropCause::NoLocation, rule: None }];
        lab.flows(0).iter().any(|flow| flow.spec.actions == drop)
    };
    assert!(!refuses(&lab), "what waited makes no flow");
    until("a flow refuses what comes then", || async {
        lab.send(&one, &one.echo(two.mac, to, 2));
        tokio::time::sleep(Duration::from_millis(5)).await;
        refuses(&lab)
    })
    .await;
    // And the flow goes when the port is back.
    lab.moves(&mut two, 1, 77);
    lab.plug(1, "tap2", 77);
    until("the flow is gone", || async { !refuses(&lab) }).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 3).await);
    let late = |frame: &[u8]| is_echo_reply(frame, to, 1) || is_echo_reply(frame, to, 2);
    let seen = lab.take_seen();
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::At { frame, .. } if late(frame))));
    lab.stop().await;
}
