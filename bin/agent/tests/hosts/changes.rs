//! Changes of the network take effect on live flows within 100 ms, on each host, and on no others.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mn_datapath::InstalledFlow;
use mn_flow::{Action, Cookie};
use mn_ids::{ChainId, Id, PortId, RouteId, RouterId};
use mn_nsdb::{Op, Store, Transaction};
use mn_packet::{IpProtocol, Layers, Mac, UdpHeader};
use mn_topology::{
    AnyObject, Chain, Condition, PortRange, Route, RouteTarget, Rule, RuleAction, Test,
};

use crate::lab::{Lab, SETTLE_FOR, Station};

/// What is drawn and done: a slice of it in CI.
struct Scale {
    routers: u8,
    /// Flows of each router, each way.
    flows: u16,
    changes: usize,
}

fn scale() -> Scale {
    if std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1") {
        Scale { routers: 50, flows: 100, changes: 200 }
    } else {
        Scale { routers: 5, flows: 20, changes: 20 }
    }
}

/// A router between a station on each of two hosts, and what stands in their way.
struct Site {
    router: RouterId,
    gateways: [Mac; 2],
    stations: [Station; 2],
    ports: [PortId; 2],
    /// Read by the router of every packet, so that each connection is a flow.
    chain: ChainId,
    shut: bool,
    down: bool,
    unplugged: bool,
    hole: Option<RouteId>,
}

/// From the first station to the second, or back.
type Way = usize;

impl Site {
    /// Whether what is drawn lets packets through.
    fn passes(&self, way: Way) -> bool {
        !self.shut && !self.down && !self.unplugged && (way == 1 || self.hole.is_none())
    }

    fn packet(&self, way: Way, flow: u16) -> Vec<u8> {
        let to = self.stations[1 - way].addrs[0];
        self.stations[way].datagram(self.gateways[way], to, 5000, flow)
    }
}

fn rules(shut: bool) -> Vec<Rule> {
    let ports = PortRange { start: 1, end: if shut { u16::MAX } else { 1 } };
    let condition = Condition {
        nw_proto: Some(Test::Is(IpProtocol::UDP)),
        tp_dst: Some(Test::Is(ports)),
        ..Condition::default()
    };
    vec![Rule { id: Id::random(), condition, action: RuleAction::Drop, meter_name: None }]
}

/// Whether a frame is the datagram of this flow to this station.
fn is_of_flow(frame: &[u8], to: IpAddr, flow: u16) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    let Some(ip) = layers.ip() else { return false };
    let ours = ip.protocol == IpProtocol::UDP && ip.dst == to;
    ours && UdpHeader::split(ip.payload).is_ok_and(|(header, _)| header.dst == flow)
}

impl Lab {
    async fn site(&self, number: u8) -> Site {
        let (left, right) = (self.bridge().await, self.bridge().await);
        let router = self.router().await;
        let chain = Chain {
            id: Id::random(),
            tenant_id: None,
            name: Some(format!("guard {number}")),
            rules: rules(false),
            segments: Vec::new(),
        };
        let chain_id = chain.id;
        self.create(chain).await;
        self.change(router.into(), |object| {
            if let AnyObject::Router(router) = object {
                router.inbound_filter_id = Some(chain_id);
            }
        })
        .await;
        let macs = [2 * number + 1, 2 * number + 2];
        let net = |side: usize, host: u8| format!("10.{}.{}.{host}", number + 1, side + 1);
        self.link(router, left, macs[0], &[&format!("{}/24", net(0, 254))]).await;
        self.link(router, right, macs[1], &[&format!("{}/24", net(1, 254))]).await;
        let (one, first) = self.station(0, left, macs[0], &[&net(0, 1)]).await;
        let (two, second) = self.station(1, right, macs[1], &[&net(1, 1)]).await;
        Site {
            router,
            gateways: macs.map(|mac| Mac([2, 0, 0, 0, 1, mac])),
            stations: [one, two],
            ports: [first, second],
            chain: chain_id,
            shut: false,
            down: false,
            unplugged: false,
            hole: None,
        }
    }

    /// Sends a packet of a flow; whether it came within this time.
    async fn crosses(&self, site: &Site, way: Way, flow: u16, within: Duration) -> bool {
        self.take_seen();
        self.send(&site.stations[way], &site.packet(way, flow));
        let to = &site.stations[1 - way];
        let addr = to.addrs[0];
        let came = move |frame: &[u8]| is_of_flow(frame, addr, flow);
        self.arrives_within(within, &to.interface, came).await.is_some()
    }

    /// Makes one change; returns when the state database has answered.
    async fn changes_one(&self, site: &mut Site, what: usize) -> &'static str {
        match what {
            0 => {
                site.shut = !site.shut;
                let shut = site.shut;
                self.change(site.chain.into(), |object| {
                    if let AnyObject::Chain(chain) = object {
                        chain.rules = rules(shut);
                    }
                })
                .await;
                "the rules of a chain"
            }
            1 => {
                site.down = !site.down;
                let up = !site.down;
                self.change(site.router.into(), |object| {
                    if let AnyObject::Router(router) = object {
                        router.admin_state_up = up;
                    }
                })
                .await;
                "the router"
            }
            2 => {
                site.unplugged = !site.unplugged;
                let up = !site.unplugged;
                self.change(site.ports[1].into(), |object| {
                    if let AnyObject::Port(port) = object {
                        port.admin_state_up = up;
                    }
                })
                .await;
                "a port"
            }
            _ => {
                self.turn_hole(site).await;
                "a route"
            }
        }
    }

    /// Digs a black hole for the way there, or fills it.
    async fn turn_hole(&self, site: &mut Site) {
        if let Some(hole) = site.hole.take() {
            let op = Op::Delete { key: hole.into(), expected: None };
            let done = self.store.transact(Transaction { ops: vec![op] }).await;
            done.unwrap_or_else(|error| panic!("{hole}: {error}"));
            return;
        }
        let id = Id::random();
        self.create(Route {
            id,
            router_id: site.router,
            src: "0.0.0.0/0".parse().expect("a prefix"),
            dst: format!("{}/32", site.stations[1].addrs[0]).parse().expect("a prefix"),
            target: RouteTarget::Blackhole,
            weight: 0,
            attributes: None,
            learned: false,
            path: None,
        })
        .await;
        site.hole = Some(id);
    }

    /// The flows that carry a site's packets, on both hosts.
    fn cookies(&self, site: &Site) -> Vec<Cookie> {
        let carries = |host: usize, flow: &InstalledFlow| {
            let (key, actions) = (&flow.spec.key, &flow.spec.actions);
            let drops = |action: &Action| matches!(action, Action::Drop { .. });
            let ours = (key.eth_src, key.tp_src) == (site.stations[host].mac, 5000);
            ours && !actions.iter().any(drops)
        };
        let on = |host| {
            let flows = self.flows(host).into_iter();
            flows.filter(move |flow| carries(host, flow)).map(|flow| flow.spec.cookie)
        };
        let mut cookies: Vec<Cookie> = (0..2).flat_map(on).collect();
        cookies.sort();
        cookies
    }
}

/// A sequence of choices that is the same in every run (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % end as u64) as usize
    }
}

/// Sends a packet of every flow, so that all are there and none is idle.
async fn enliven(lab: &Lab, sites: &[Site], flows: u16) {
    for site in sites {
        for way in 0..2 {
            if site.passes(way) {
                assert!(lab.crosses(site, way, 10_000, Duration::from_secs(5)).await);
            }
            for flow in 10_001..10_000 + flows {
                lab.send(&site.stations[way], &site.packet(way, flow));
            }
            tokio::task::yield_now().await;
        }
    }
    lab.settled().await;
    lab.take_seen();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_reaches_live_flows_on_each_host_within_100_ms_and_touches_no_others() {
    let Scale { routers, flows, changes } = scale();
    let lab = Lab::new(2).await;
    let mut sites = Vec::new();
    for number in 0..routers {
        sites.push(lab.site(number).await);
    }
    // Once more: the first packets were flooded and asked for.
    for _ in 0..2 {
        enliven(&lab, &sites, flows).await;
    }
    let live: usize = sites.iter().map(|site| lab.cookies(site).len()).sum();
    assert!(live >= 2 * usize::from(routers) * usize::from(flows), "{live} flows live");
    let (mut draw, mut turned, mut slowest) = (Draw(1), 0, Duration::ZERO);
    for number in 0..changes {
        if number % 20 == 19 {
            enliven(&lab, &sites, flows).await;
        }
        let (at, other) = (draw.below(sites.len()), draw.below(sites.len()));
        let before = (other != at).then(|| lab.cookies(&sites[other]));
        let passed = [0, 1].map(|way| sites[at].passes(way));
        let flow = 10_000 + draw.below(flows.into()) as u16;
        let what = lab.changes_one(&mut sites[at], draw.below(4)).await;
        let answered = Instant::now();
        let site = &sites[at];
        for (way, passed) in passed.into_iter().enumerate() {
            let passes = site.passes(way);
            if passes == passed {
                continue;
            }
            // Until the first packet that fares as was drawn.
            loop {
                let sent_at = answered.elapsed();
                let came = lab.crosses(site, way, flow, Duration::from_millis(5)).await;
                if came == passes {
                    (turned, slowest) = (turned + 1, slowest.max(sent_at));
                    assert!(sent_at <= SETTLE_FOR, "{what}, way {way}: after {sent_at:?}");
                    break;
                }
                assert!(sent_at <= 10 * SETTLE_FOR, "{what}, way {way}: never");
            }
        }
        tokio::time::sleep(SETTLE_FOR.saturating_sub(answered.elapsed())).await;
        for way in 0..2 {
            let patience = if site.passes(way) { 1000 } else { 10 };
            let came = lab.crosses(site, way, flow, Duration::from_millis(patience)).await;
            assert_eq!(came, site.passes(way), "{what}, way {way}: after 100 ms");
        }
        if let Some(before) = before {
            assert_eq!(lab.cookies(&sites[other]), before, "{what}: flows elsewhere stay");
        }
    }
    println!("{live} flows, {changes} changes, {turned} turns, the slowest after {slowest:?}");
    assert!(turned >= changes / 2, "{turned} of {changes} changed what packets do");
    lab.stop().await;
}
