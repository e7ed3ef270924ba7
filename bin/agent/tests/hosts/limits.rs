//! What one port may have of what all share, and what happens beyond it.

use std::collections::BTreeSet;
use std::time::Duration;

use mn_agent::{Capacities, Patience, PortLimits};
use mn_ids::Id;
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Layers, Mac};
use mn_topology::{AnyObject, Chain, Condition, NatTarget, Rule, RuleAction, Test, Then};

use crate::lab::{Lab, SETTLE_FOR, Seen};
use crate::metrics::{get, sample};
use crate::station::Station;

/// Machines that are not there: frames to them are flooded, each by a flow of its own.
fn nobody(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([2, 9, 9, 9, high, low])
}

impl Lab {
    /// How often a port ran into a limit, once that is as often as this at least.
    async fn pressure(&self, port: &str, limit: &str, least: f64) -> f64 {
        let address = self.serves_metrics(0).await;
        let label = format!("limit=\"{limit}\"");
        let words = ["midonet_agent_port_pressure_total", port, label.as_str()];
        for _ in 0..50 {
            let found = sample(&get(address, "/metrics").await, &words).unwrap_or(0.0);
            if found >= least {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("port {port} was never held back by its limit of {limit}");
    }

    /// To whom frames came at an interface, within a moment.
    async fn receivers(&self, interface: &str) -> BTreeSet<Mac> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let to = |seen: &Seen| match seen {
            Seen::At { interface: at, frame, .. } if at == interface => {
                EthernetHeader::split(frame).ok().map(|(ethernet, _)| ethernet.dst)
            }
            _ => None,
        };
        self.take_seen().iter().filter_map(to).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_flows_a_port_is_served_packet_by_packet_and_has_flows_again_when_some_leave() {
    let limits = PortLimits { flows: 5, ..PortLimits::default() };
    let lab = Lab::limited(Capacities::default(), limits).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    lab.take_seen();
    let to = "10.0.1.2".parse().unwrap();
    for number in 0..20 {
        lab.send(&one, &one.echo(nobody(number), to, number));
    }
    let all: BTreeSet<Mac> = (0..20).map(nobody).collect();
    assert!(lab.receivers("tap2").await.is_superset(&all), "every frame goes its way");
    let of_one = |lab: &Lab| {
        let is_of_one = |mac| mac == one.mac;
        lab.flows(0).iter().filter(|flow| is_of_one(flow.spec.key.eth_src)).count()
    };
    assert_eq!(of_one(&lab), 5);
    assert!(lab.pressure(&port.to_string(), "flows", 10.0).await >= 10.0);
    assert!(lab.pings(&two, one.mac, "10.0.1.1", 1).await, "another port has flows of its own");
    // Another member of the bridge: what was flooded is decided about anew.
    lab.station(0, bridge, 3, &["10.0.1.3"]).await;
    assert!(of_one(&lab) < 5);
    lab.send(&one, &one.echo(nobody(100), to, 100));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let found = lab.flows(0).iter().any(|flow| flow.spec.key.eth_dst == nobody(100));
    assert!(found, "there is room again");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn macs_beyond_a_port_s_limit_are_flooded_to_and_those_it_has_are_not() {
    let limits = PortLimits { macs: 3, ..PortLimits::default() };
    let lab = Lab::limited(Capacities::default(), limits).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    lab.station(0, bridge, 3, &["10.0.1.3"]).await;
    let to = "10.0.1.2".parse().unwrap();
    for number in 0..10 {
        let mut another = one.clone();
        another.mac = nobody(number);
        lab.send(&another, &another.echo(two.mac, to, number));
    }
    assert!(lab.pressure(&port.to_string(), "macs", 7.0).await >= 7.0);
    lab.take_seen();
    for number in 0..10 {
        lab.send(&two, &two.echo(nobody(number), "10.0.1.1".parse().unwrap(), number));
    }
    let at_three = lab.receivers("tap3").await;
    let flooded = (0..10).filter(|number| at_three.contains(&nobody(*number))).count();
    assert!((7..10).contains(&flooded), "{flooded} of 10 are flooded to");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_new_flows_is_cut_down_to_its_tokens_and_costs_its_neighbour_no_packet() {
    let buckets = Capacities { global: 4, tunnel: 0, vtep: 0, vm: 1 };
    let lab = Lab::limited(buckets, PortLimits { flows: 50, ..PortLimits::default() }).await;
    let bridge = lab.bridge().await;
    let (flooder, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (one, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    let (two, _) = lab.station(0, bridge, 3, &["10.0.1.3"]).await;
    let to = "10.0.1.3".parse().unwrap();
    let mut numbers = (0..u16::MAX).cycle();
    for sequence in 0..20 {
        for number in numbers.by_ref().take(1000) {
            lab.send(&flooder, &flooder.echo(nobody(number), to, number));
        }
        assert!(lab.pings(&one, two.mac, "10.0.1.3", sequence).await, "ping {sequence}");
    }
    assert!(lab.pressure(&port.to_string(), "upcalls", 1.0).await >= 1.0);
    let address = lab.serves_metrics(0).await;
    let metrics = get(address, "/metrics").await;
    let dropped = sample(&metrics, &["midonet_agent_htb_drops_total"]).unwrap_or(0.0);
    assert!(dropped >= 1.0, "{metrics}");
    assert!(lab.pings(&flooder, two.mac, "10.0.1.3", 100).await, "and it is served again");
    lab.stop().await;
}

/// Translates the source of all UDP to one address.
fn translates() -> Chain {
    let addr = "10.9.9.9".parse().expect("an address");
    let target = NatTarget { addr_from: addr, addr_to: addr, port_from: 1024, port_to: 65_535 };
    let condition = Condition {
        dl_type: Some(Test::Is(EtherType::IPV4)),
        nw_proto: Some(Test::Is(IpProtocol::UDP)),
        ..Condition::default()
    };
    let rule = Rule {
        id: Id::random(),
        condition,
        action: RuleAction::Snat { targets: vec![target], then: Then::Accept },
        meter_name: None,
    };
    Chain {
        id: Id::random(),
        tenant_id: None,
        name: Some("translates".to_owned()),
        rules: vec![rule],
        segments: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_a_port_s_ports_of_translation_are_dropped_and_those_it_has_go_on() {
    let limits = PortLimits { nat_ports: 5, ..PortLimits::default() };
    let lab = Lab::limited(Capacities::default(), limits).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    let chain = translates();
    let chain_id = chain.id;
    lab.create(chain).await;
    lab.change(bridge.into(), |object| {
        if let AnyObject::Bridge(bridge) = object {
            bridge.inbound_filter_id = Some(chain_id);
        }
    })
    .await;
    tokio::time::sleep(SETTLE_FOR).await;
    let send_all = |from: &Station| {
        for number in 0..20 {
            let to = if from.mac == one.mac { "10.0.1.2" } else { "10.0.1.1" };
            let via = if from.mac == one.mac { two.mac } else { one.mac };
            lab.send(from, &from.datagram(via, to.parse().unwrap(), 5000 + number, 53));
        }
    };
    let translated = |seen: Vec<Seen>| {
        let of = |seen: &Seen| match seen {
            Seen::At { frame, .. } => {
                let layers = Layers::of(frame).ok()?;
                let ip = layers.ip()?;
                (ip.src.to_string() == "10.9.9.9").then(|| ip.payload[..2].to_vec())
            }
            Seen::Between { .. } => None,
        };
        seen.iter().filter_map(of).collect::<Vec<_>>()
    };
    lab.take_seen();
    send_all(&one);
    assert!(lab.pressure(&port.to_string(), "nat-ports", 15.0).await >= 15.0);
    assert_eq!(translated(lab.take_seen()).len(), 5);
    send_all(&one);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(translated(lab.take_seen()).len(), 5, "those that were first go on");
    send_all(&two);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(translated(lab.take_seen()).len(), 5, "another port has its own");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_buckets_and_serve_all_the_same() {
    let lab = Lab::with(1, 4, Patience::default()).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    for sequence in 0..10 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await, "ping {sequence}");
    }
    lab.stop().await;
}
