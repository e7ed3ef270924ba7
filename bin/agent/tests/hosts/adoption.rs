//! What an agent makes of the flows of the one before it.

use mn_ids::{Id, PortId, RouterId};
use mn_packet::Mac;
use mn_topology::{Route, RouteTarget};

use crate::lab::{Lab, until};

/// A route to a subnet by a neighbour.
async fn via(lab: &Lab, router: RouterId, dst: &str, port: PortId, gateway: &str) {
    lab.create(Route {
        id: Id::random(),
        router_id: router,
        src: "0.0.0.0/0".parse().expect("a prefix"),
        dst: dst.parse().expect("a prefix"),
        target: RouteTarget::Normal {
            next_hop_port: port,
            gateway: Some(gateway.parse().expect("an address")),
        },
        weight: 0,
        attributes: None,
        learned: false,
        path: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_through_two_routers_are_adopted_as_they_are() {
    let mut lab = Lab::new(1).await;
    let (left, core, right) = (lab.bridge().await, lab.bridge().await, lab.bridge().await);
    let (west, east) = (lab.router().await, lab.router().await);
    lab.link(west, left, 1, &["10.0.1.254/24"]).await;
    let to_east = lab.link(west, core, 2, &["10.0.9.1/24"]).await;
    let to_west = lab.link(east, core, 3, &["10.0.9.2/24"]).await;
    lab.link(east, right, 4, &["10.0.2.254/24"]).await;
    via(&lab, west, "10.0.2.0/24", to_east, "10.0.9.2").await;
    via(&lab, east, "10.0.1.0/24", to_west, "10.0.9.1").await;
    let (one, port) = lab.station(0, left, 1, &["10.0.1.1"]).await;
    let (_two, _) = lab.station(0, right, 2, &["10.0.2.2"]).await;
    let gateway = Mac([2, 0, 0, 0, 1, 1]);
    for sequence in 0..3 {
        assert!(lab.pings(&one, gateway, "10.0.2.2", sequence).await, "ping {sequence}");
    }
    lab.settled().await;
    let carried = |lab: &Lab| -> Vec<u64> {
        lab.flows(0).iter().map(|flow| flow.counters.packets).filter(|count| *count > 0).collect()
    };
    let before = carried(&lab);
    assert!(before.len() >= 2, "one flow each way: {before:?}");
    lab.stop_agent(0).await;
    lab.start(0);
    lab.active(0, port).await;
    until("everything is verified", || async {
        let status = lab.status(0).await;
        status.unverified == 0 && status.adopted > 0
    })
    .await;
    assert_eq!(lab.status(0).await.replaced, 0, "none was decided otherwise");
    assert_eq!(carried(&lab).len(), before.len(), "the counters went on");
    assert!(lab.pings(&one, gateway, "10.0.2.2", 9).await);
    lab.stop().await;
}
