//! Many machines behind one address, with two gateways: what goes out by one is answered by the
//! other (contracts §6).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mn_ids::{Id, PortId, RouterId};
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Layers, Mac, UdpHeader, ip_packet};
use mn_topology::{
    AnyObject, Condition, IfAddr, NatTarget, Port, PortKind, RaMode, Route, RouteTarget,
    RouterPort, RuleAction, Test, Then,
};

use crate::lab::{Lab, SETTLE_FOR, Seen, until};
use crate::mail::{Datagram, Trouble};
use crate::metrics::{get, sample};
use crate::station::Station;

pub const PUBLIC: &str = "203.0.113.2";
pub const OUTSIDE: &str = "198.51.100.9";

/// A network with two ways out.
struct Net {
    lab: Lab,
    vm: Station,
    vm_port: PortId,
    /// The routers outside, and the MACs of our ports to them.
    outside: [Station; 2],
    uplinks: [Mac; 2],
}

impl Net {
    /// A machine on host 0, gateways on hosts 1 and 2; packets go out by the first.
    async fn new(hosts: usize) -> Self {
        let (lab, router, (vm, vm_port)) = Lab::translating(hosts).await;
        let first = lab.uplink(1, router, 21, 100).await;
        let second = lab.uplink(2, router, 22, 200).await;
        let uplinks = [first.1, second.1];
        let net = Self { lab, vm, vm_port, outside: [first.0, second.0], uplinks };
        tokio::time::sleep(SETTLE_FOR * 2).await;
        net
    }

    /// The machine sends the first datagram from a port.
    fn begins(&self, port: u16) {
        let gateway = Mac([2, 0, 0, 0, 1, 1]);
        let to = OUTSIDE.parse().unwrap();
        self.lab.send(&self.vm, &self.vm.datagram(gateway, to, port, 53));
    }

    /// Answers what came out with this public port, by a gateway.
    fn answers(&self, by: usize, public: u16) {
        let (from, to): (IpAddr, IpAddr) = (OUTSIDE.parse().unwrap(), PUBLIC.parse().unwrap());
        let message = UdpHeader { src: 53, dst: public }.datagram(from, to, b"hello again");
        let packet = ip_packet(from, to, 60, IpProtocol::UDP, &message);
        let station = &self.outside[by];
        let frame = EthernetHeader::untagged(station.mac, self.uplinks[by], EtherType::IPV4);
        self.lab.send(station, &frame.frame(&packet));
    }

    /// Begins a connection and waits until it came out; its public port.
    async fn connects(&self, port: u16) -> u16 {
        self.begins(port);
        let frame = self.lab.arrives(&self.outside[0].interface, |frame| {
            datagram(frame).is_some_and(|(_, to)| to.0.to_string() == OUTSIDE)
        });
        let (frame, _) = frame.await.expect("it comes out");
        let ((_, public), _) = datagram(&frame).expect("a datagram");
        self.lab.take_seen();
        public
    }

    /// Whether the answer to it arrives, coming in by a gateway.
    async fn is_answered(&self, by: usize, public: u16, port: u16) -> bool {
        self.answers(by, public);
        let home = |frame: &[u8]| is_answer(frame, port);
        self.lab.arrives_within(Duration::from_secs(2), &self.vm.interface, home).await.is_some()
    }

    async fn metric(&self, host: usize, words: &[&str]) -> f64 {
        let address = self.lab.serves_metrics(host).await;
        sample(&get(address, "/metrics").await, words).unwrap_or(-1.0)
    }
}

/// An address and a port.
type End = (IpAddr, u16);

/// Where a datagram comes from and goes to.
fn datagram(frame: &[u8]) -> Option<(End, End)> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip().filter(|ip| ip.protocol == IpProtocol::UDP)?;
    let (from, to) = ip.ports()?;
    Some(((ip.src, from), (ip.dst, to)))
}

fn is_answer(frame: &[u8], port: u16) -> bool {
    datagram(frame).is_some_and(|((src, from), (dst, to))| {
        src.to_string() == OUTSIDE && from == 53 && dst.to_string() == "10.0.1.1" && to == port
    })
}

impl Lab {
    /// So many hosts, a router that translates, and behind it a machine on the first host with its
    /// port.
    pub async fn translating(hosts: usize) -> (Self, RouterId, (Station, PortId)) {
        let lab = Self::new(hosts).await;
        let (bridge, router) = (lab.bridge().await, lab.router().await);
        lab.link(router, bridge, 1, &["10.0.1.254/24"]).await;
        lab.translates(router).await;
        let machine = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
        (lab, router, machine)
    }

    /// The router translates what leaves it to one address, and back.
    async fn translates(&self, router: RouterId) {
        let public: IpAddr = PUBLIC.parse().unwrap();
        let target =
            NatTarget { addr_from: public, addr_to: public, port_from: 1024, port_to: 65535 };
        let back = RuleAction::RevSnat { then: Then::Accept };
        let to_public = Condition {
            nw_dst: Some(Test::Is("203.0.113.2/32".parse().unwrap())),
            ..Condition::default()
        };
        let from_inside = Condition {
            nw_src: Some(Test::Is("10.0.0.0/8".parse().unwrap())),
            nw_dst: Some(Test::Is("198.51.100.0/24".parse().unwrap())),
            ..Condition::default()
        };
        let inbound = self.chain(to_public, back).await.0;
        let forth = RuleAction::Snat { targets: vec![target], then: Then::Accept };
        let outbound = self.chain(from_inside, forth).await.0;
        self.change(router.into(), |object| {
            if let AnyObject::Router(router) = object {
                router.inbound_filter_id = Some(inbound);
                router.outbound_filter_id = Some(outbound);
            }
        })
        .await;
    }

    /// A way out of a router on a host, by a router of others; that, and the MAC of our port.
    pub async fn uplink(
        &self,
        host: usize,
        router: RouterId,
        number: u8,
        weight: u32,
    ) -> (Station, Mac) {
        let interface = format!("tap{number}");
        let (ours, theirs) = (format!("172.16.{number}.2"), format!("172.16.{number}.1"));
        let ifindex = u32::from(number) + 10;
        self.plug(host, &interface, ifindex);
        let station = Station {
            host,
            interface: interface.clone(),
            mac: Mac([2, 0, 0, 0, 0, number]),
            addrs: vec![theirs.parse().unwrap()],
            ifindex,
        };
        self.stations.lock().unwrap().push(station.clone());
        let (id, mac) = (Id::random(), Mac([2, 0, 0, 0, 1, number]));
        let kind = PortKind::Router(RouterPort {
            router_id: router,
            mac,
            addresses: vec![IfAddr { addr: ours.parse().unwrap(), len: 24 }],
            ra_mode: RaMode::Off,
            ra_prefixes: Vec::new(),
            ra_interval: None,
        });
        let bound = Port {
            host_id: Some(self.hosts[host].id),
            interface_name: Some(interface),
            ..Port::new(id, kind)
        };
        self.create(bound).await;
        let route = |dst: &str, gateway: Option<IpAddr>, weight| Route {
            id: Id::random(),
            router_id: router,
            src: "0.0.0.0/0".parse().unwrap(),
            dst: dst.parse().unwrap(),
            target: RouteTarget::Normal { next_hop_port: id, gateway },
            weight,
            attributes: None,
            learned: false,
            path: None,
        };
        self.create(route(&format!("172.16.{number}.0/24"), None, 0)).await;
        self.create(route("0.0.0.0/0", Some(theirs.parse().unwrap()), weight)).await;
        self.active(host, id).await;
        (station, mac)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_in_by_the_other_gateway_finds_its_machine() {
    let net = Net::new(3).await;
    for port in 4000..4010 {
        let public = net.connects(port).await;
        assert!(net.is_answered(1, public, port).await, "by the other gateway: {port}");
        assert!(net.is_answered(0, public, port).await, "by the same: {port}");
    }
    for gateway in [1, 2] {
        assert_eq!(net.metric(gateway, &["state_copies"]).await, 10.0);
    }
    net.lab.stop().await;
}

/// The network that must be stood: 30 % of state messages are lost, 10 % come twice, all come up to
/// 50 ms late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_bad_network_no_answer_is_translated_wrongly_and_none_is_lost_for_good() {
    let connections = if std::env::var("MIDONET_LONG").is_ok() { 10_000_u16 } else { 1000 };
    let net = Net::new(3).await;
    net.connects(999).await;
    net.lab.mail.trouble(Trouble { lost: 30, twice: 10, late: Duration::from_millis(50) });
    let mut begun = HashMap::new();
    for batch in 0..connections / 50 {
        for port in 0..50 {
            net.begins(2000 + batch * 50 + port);
        }
        let (sent, expected) = (Instant::now(), begun.len() + 50);
        while begun.len() < expected && sent.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            for seen in net.lab.take_seen() {
                let Seen::At { interface, frame, .. } = seen else { continue };
                let Some(((src, public), _)) = datagram(&frame) else { continue };
                if interface == net.outside[0].interface && src.to_string() == PUBLIC {
                    begun.insert(public, ());
                }
            }
        }
    }
    assert_eq!(begun.len(), usize::from(connections), "each came out, with a port of its own");
    let owed = async || net.metric(0, &["state_owed"]).await == 0.0;
    until("everything has arrived", owed).await;
    net.lab.mail.trouble(Trouble::default());
    // The clock begins when an answer comes in; as many at once as began at once.
    let (mut answered, mut late) = (BTreeMap::new(), 0);
    let all: Vec<u16> = begun.into_keys().collect();
    for some in all.chunks(50) {
        let sent = Instant::now();
        some.iter().for_each(|public| net.answers(1, *public));
        let expected = answered.len() + some.len();
        while answered.len() < expected && sent.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for seen in net.lab.take_seen() {
                let Seen::At { interface, frame, when, .. } = seen else { continue };
                let Some(((src, _), (dst, to))) = datagram(&frame) else { continue };
                if interface == net.vm.interface {
                    let ends = (src.to_string(), dst.to_string());
                    assert_eq!(ends, (OUTSIDE.into(), "10.0.1.1".into()));
                    late += usize::from(when - sent > Duration::from_millis(30));
                    *answered.entry(to).or_insert(0) += 1;
                }
            }
        }
    }
    println!("{late} of {connections} answers took more than 30 ms");
    assert!(connections < 10_000 || late <= 100, "{late} took more than 30 ms");
    assert!(answered.values().all(|count| *count == 1), "each answer is one machine's");
    assert_eq!(answered.len(), usize::from(connections));
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_faster_than_the_state_waits_for_it() {
    let net = Net::new(3).await;
    net.connects(4000).await;
    net.lab.mail.trouble(Trouble { late: Duration::from_millis(6), ..Trouble::default() });
    let mut fast = 0;
    for port in 4001..4021 {
        let public = net.connects(port).await;
        fast += u32::from(net.is_answered(1, public, port).await);
    }
    assert_eq!(fast, 20);
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_said_again_or_too_long_changes_nothing_and_is_counted() {
    let net = Net::new(3).await;
    let public = net.connects(4000).await;
    assert!(net.is_answered(1, public, 4000).await);
    let tape = net.lab.mail.tape();
    let to_second = |it: &&Datagram| it.to == IpAddr::from([192, 168, 100, 3]);
    let real = tape.iter().rfind(|it| to_second(it)).expect("it was told").clone();
    let copies = net.metric(2, &["state_copies"]).await;

    net.lab.mail.deliver(real.clone());
    let mut forged = real.clone();
    forged.octets[70] ^= 1;
    net.lab.mail.deliver(forged);
    net.lab.mail.deliver(Datagram { octets: vec![0; 5000], ..real.clone() });
    net.lab.mail.deliver(Datagram { octets: vec![7; 100], ..real.clone() });
    net.lab.mail.deliver(Datagram { from: [10, 9, 9, 9].into(), ..real });
    let refused = async |cause: &str| net.metric(2, &["state_refused", cause]).await;
    for cause in ["replayed", "forged", "oversized", "malformed", "stranger"] {
        until(cause, || async { refused(cause).await >= 1.0 }).await;
    }
    assert_eq!(net.metric(2, &["state_copies"]).await, copies);
    assert!(net.is_answered(1, public, 4000).await, "all goes on");
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_survive_the_death_of_either_gateway_and_of_the_agent_that_made_them() {
    let mut net = Net::new(3).await;
    let mut public = HashMap::new();
    for port in 4000..4005 {
        public.insert(port, net.connects(port).await);
    }
    // The gateway's agent is killed; the next one has what it was told from its disk.
    net.lab.stop_agent(2).await;
    let missed = net.connects(4100).await;
    net.lab.start(2);
    tokio::time::sleep(SETTLE_FOR * 5).await;
    for (port, public) in &public {
        assert!(net.is_answered(1, *public, *port).await, "told before it died: {port}");
    }
    assert!(net.is_answered(1, missed, 4100).await, "told when it was back");
    // The first gateway is gone for good, and so is the agent that made the translations.
    net.lab.stop_agent(1).await;
    net.lab.stop_agent(0).await;
    net.lab.take_seen();
    for (port, public) in &public {
        assert!(net.is_answered(1, *public, *port).await, "nobody else is there: {port}");
    }
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_follows_a_machine_to_another_host_though_the_one_it_was_on_is_dead() {
    let mut net = Net::new(4).await;
    let public = net.connects(4000).await;
    assert!(net.is_answered(1, public, 4000).await);
    net.lab.stop_agent(0).await;
    net.lab.mail.cut([192, 168, 100, 1].into(), true);

    net.lab.plug(3, "tap1", 11);
    let mut vm = net.vm.clone();
    net.lab.moves(&mut vm, 3, 11);
    net.vm = vm;
    let there = net.lab.hosts[3].id;
    net.lab
        .change(net.vm_port.into(), |object| {
            if let AnyObject::Port(port) = object {
                port.host_id = Some(there);
            }
        })
        .await;
    net.lab.active(3, net.vm_port).await;
    until("the new host was told", || async { net.metric(3, &["state_copies"]).await >= 1.0 })
        .await;
    net.lab.take_seen();
    assert_eq!(net.connects(4000).await, public, "the connection keeps its port");
    assert!(net.is_answered(1, public, 4000).await);
    net.lab.stop().await;
}
