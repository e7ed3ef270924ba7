//! What an agent holds follows its traffic.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mn_ids::{BridgeId, PortId};
use mn_topology::{AnyObject, Condition, RuleAction};

use crate::lab::{Lab, is_arp_reply};
use crate::metrics::{get, sample};
use crate::station::Station;

/// Longer than the agents take to hear of uses, twice.
const UNUSED_FOR: Duration = Duration::from_secs(11);

/// How long the agent may take to tell what it holds.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// A bridge that nothing else is linked to, with two stations on one host that have talked.
struct Island {
    bridge: BridgeId,
    stations: [(Station, PortId); 2],
}

impl Lab {
    async fn island(&self, number: u8) -> Island {
        let bridge = self.bridge().await;
        let one = self.station(0, bridge, 2 * number, &["10.9.0.1"]).await;
        let two = self.station(0, bridge, 2 * number + 1, &["10.9.0.2"]).await;
        let island = Island { bridge, stations: [one, two] };
        assert!(self.talks(&island, 1).await, "island {number}");
        island
    }

    async fn talks(&self, island: &Island, sequence: u16) -> bool {
        let [(one, _), (two, _)] = &island.stations;
        self.pings_within(Duration::from_secs(3), one, two.mac, "10.9.0.2", sequence).await
    }

    async fn binds(&self, island: &Island, bound: bool) {
        for (station, port) in &island.stations {
            let host = bound.then(|| self.hosts[0].id);
            let interface = bound.then(|| station.interface.clone());
            self.change((*port).into(), |object| {
                if let AnyObject::Port(port) = object {
                    (port.host_id, port.interface_name) = (host, interface.clone());
                }
            })
            .await;
            if bound {
                self.active(0, *port).await;
            }
        }
    }
}

/// How many bridges and ports the agent says it holds.
async fn held(metrics: SocketAddr) -> (f64, f64) {
    let answer = get(metrics, "/metrics").await;
    let of = |class: &str| {
        let label = format!("class=\"{class}\"");
        sample(&answer, &["midonet_agent_objects", &label]).expect("it is told")
    };
    (of("bridge"), of("port"))
}

/// Waits until it says so; what it said last.
async fn comes_to_hold(metrics: SocketAddr, want: (f64, f64), within: Duration) -> (f64, f64) {
    let end = Instant::now() + within;
    loop {
        let now = held(metrics).await;
        if now == want || Instant::now() > end {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_churn_of_devices_an_agent_holds_no_more_than_its_ports_need() {
    const ISLANDS: u8 = 8;
    let lab = Lab::forgetting(1, UNUSED_FOR).await;
    let metrics = lab.serves_metrics(0).await;
    let stays = lab.island(1).await;
    let mut islands = Vec::new();
    for number in 2..2 + ISLANDS {
        islands.push(lab.island(number).await);
    }
    let all = (f64::from(ISLANDS) + 1.0, 2.0 * f64::from(ISLANDS) + 2.0);
    assert_eq!(comes_to_hold(metrics, all, TOLD_WITHIN).await, all, "bridges, ports");
    for island in &islands {
        lab.binds(island, false).await;
    }
    // It keeps them for a while: they might come back.
    tokio::time::sleep(UNUSED_FOR / 2).await;
    assert_eq!(held(metrics).await, all);
    let own = (1.0, 2.0);
    assert_eq!(comes_to_hold(metrics, own, 2 * UNUSED_FOR).await, own, "bridges, ports");
    assert!(lab.talks(&stays, 2).await, "what is in use stayed");

    // What was given up is loaded as it is now when it is needed again.
    let (id, _) = lab.chain(Condition::default(), RuleAction::Drop).await;
    let shut = &islands[0];
    lab.change(shut.bridge.into(), |object| {
        if let AnyObject::Bridge(bridge) = object {
            bridge.inbound_filter_id = Some(id);
        }
    })
    .await;
    let open = &islands[1];
    lab.binds(shut, true).await;
    lab.binds(open, true).await;
    let [(one, _), _] = &open.stations;
    lab.take_seen();
    lab.send(one, &one.who_has("10.9.0.2"));
    assert!(lab.arrives(&one.interface, is_arp_reply).await.is_some(), "what was learned is there");
    assert!(lab.talks(open, 3).await);
    assert!(!lab.talks(shut, 3).await, "the filter came while nobody looked");
    let own = (3.0, 6.0);
    assert_eq!(comes_to_hold(metrics, own, TOLD_WITHIN).await, own, "bridges, ports");
    lab.stop().await;
}
