//! Packets that are refused, many of them.

use std::time::Duration;

use mn_packet::{IcmpHeader, Layers};
use mn_topology::{Condition, PortRange, RuleAction, Test};

use crate::lab::{Lab, SETTLE_FOR, Seen};
use crate::metrics::{get, sample};

fn is_refusal(seen: &Seen) -> bool {
    let Seen::At { frame, .. } = seen else { return false };
    let Ok(layers) = Layers::of(frame) else { return false };
    let header = layers.ip().map(|ip| IcmpHeader::split(ip.payload));
    matches!(header, Some(Ok((IcmpHeader { ty: 3, code: 13, .. }, _))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_packets_is_answered_within_its_budget_and_then_dropped_by_a_flow() {
    let lab = Lab::new(1).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    let discard = PortRange { start: 9, end: 9 };
    let condition = Condition { tp_dst: Some(Test::Is(discard)), ..Condition::default() };
    let (chain, _) = lab.chain(condition, RuleAction::Reject).await;
    lab.filter(port, chain).await;
    lab.take_seen();
    let metrics = lab.serves_metrics(0).await;
    let upcalls = async || {
        let answer = get(metrics, "/metrics").await;
        sample(&answer, &["midonet_agent_upcalls_total"]).expect("it is counted")
    };
    let before = upcalls().await;
    for _ in 0..100 {
        for _ in 0..50 {
            lab.send(&one, &one.datagram(two.mac, two.addrs[0], 4000, 9));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let went_up = upcalls().await - before;
    let refusals = lab.take_seen().iter().filter(|seen| is_refusal(seen)).count();
    assert!((100..250).contains(&refusals), "{refusals} answers: 100 at once, 100 a second");
    assert!(went_up < 1000.0, "{went_up} of 5000 went up: the rest is dropped by a flow");
    // What else the port sends is decided about at once.
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 1).await);
    // Later it is told again: the flow was brief, and its packets kept it no longer.
    tokio::time::sleep(Duration::from_secs(4)).await;
    lab.take_seen();
    lab.send(&one, &one.datagram(two.mac, two.addrs[0], 4000, 9));
    tokio::time::sleep(SETTLE_FOR).await;
    assert_eq!(lab.take_seen().iter().filter(|seen| is_refusal(seen)).count(), 1);
    lab.stop().await;
}
