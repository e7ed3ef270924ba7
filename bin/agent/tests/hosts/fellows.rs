//! Ports that share their connections: what leaves by one is answered by another (`PG-02`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::IpAddr;
use std::time::Duration;

use mn_ids::{ChainId, Id, PortId};
use mn_packet::{
    EtherType, EthernetHeader, IpProtocol, Layers, Mac, TcpFlags, TcpHeader, UdpHeader, ip_packet,
};
use mn_topology::{AnyObject, Condition, PortGroup, RuleAction, Test};

use crate::gateways::OUTSIDE;
use crate::lab::{Lab, SETTLE_FOR};
use crate::mail::Trouble;
use crate::station::Station;

const INSIDE: &str = "10.0.1.1";
/// The machine's router.
const VIA: Mac = Mac([2, 0, 0, 0, 1, 1]);

/// A machine behind a filter that lets only answers in, and two ways out that share connections.
struct Net {
    lab: Lab,
    vm: Station,
    /// The routers outside, and the MACs of our ports to them.
    outside: [Station; 2],
    uplinks: [Mac; 2],
}

impl Net {
    /// The machine is on host 0, the ways out on these; packets leave by the first.
    async fn new(hosts: usize, workers: usize, ways: [usize; 2]) -> Self {
        let lab = Lab::with(hosts, workers, mn_agent::Patience::default()).await;
        let (bridge, router) = (lab.bridge().await, lab.router().await);
        lab.link(router, bridge, 1, &["10.0.1.254/24"]).await;
        let (vm, port) = lab.station(0, bridge, 1, &[INSIDE]).await;
        lab.lets_answers_in(port).await;
        let first = lab.uplink(ways[0], router, 21, 100).await;
        let second = lab.uplink(ways[1], router, 22, 200).await;
        let (outside, uplinks) = ([first.0, second.0], [first.1, second.1]);
        lab.share(&outside).await;
        tokio::time::sleep(SETTLE_FOR * 2).await;
        Self { lab, vm, outside, uplinks }
    }

    /// The machine sends a message; whether it comes out by the first way.
    async fn sends(&self, message: &Message) -> bool {
        let frame = message.frame((self.vm.mac, VIA), (INSIDE, OUTSIDE));
        self.lab.send(&self.vm, &frame);
        self.comes(&self.outside[0], (INSIDE, OUTSIDE), message.protocol).await
    }

    /// Whether a message from outside that comes in by a way reaches the machine.
    async fn answers(&self, way: usize, message: &Message) -> bool {
        let station = &self.outside[way];
        let frame = message.frame((station.mac, self.uplinks[way]), (OUTSIDE, INSIDE));
        self.lab.send(station, &frame);
        self.comes(&self.vm, (OUTSIDE, INSIDE), message.protocol).await
    }

    async fn comes(&self, to: &Station, ends: (&str, &str), protocol: IpProtocol) -> bool {
        let is_it = |frame: &[u8]| is_between(frame, ends, protocol);
        let seen = self.lab.arrives_within(Duration::from_secs(1), &to.interface, is_it).await;
        self.lab.take_seen();
        seen.is_some()
    }
}

/// What is in a packet, from whomever to whomever.
struct Message {
    protocol: IpProtocol,
    octets: fn(IpAddr, IpAddr, (u16, u16)) -> Vec<u8>,
    ports: (u16, u16),
}

impl Message {
    fn datagram(ports: (u16, u16)) -> Self {
        let octets =
            |src, dst, (from, to)| UdpHeader { src: from, dst: to }.datagram(src, dst, b"hello");
        Self { protocol: IpProtocol::UDP, octets, ports }
    }

    fn syn(ports: (u16, u16)) -> Self {
        Self {
            protocol: IpProtocol::TCP,
            octets: |a, b, it| segment(a, b, it, TcpFlags::SYN),
            ports,
        }
    }

    fn syn_ack(ports: (u16, u16)) -> Self {
        let octets = |a, b, it| segment(a, b, it, TcpFlags::SYN | TcpFlags::ACK);
        Self { protocol: IpProtocol::TCP, octets, ports }
    }

    fn frame(&self, (from, to): (Mac, Mac), (src, dst): (&str, &str)) -> Vec<u8> {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let message = (self.octets)(src, dst, self.ports);
        let packet = ip_packet(src, dst, 64, self.protocol, &message);
        EthernetHeader::untagged(from, to, EtherType::IPV4).frame(&packet)
    }
}

fn segment(src: IpAddr, dst: IpAddr, (from, to): (u16, u16), flags: TcpFlags) -> Vec<u8> {
    TcpHeader { src: from, dst: to, flags, ..TcpHeader::default() }.segment(src, dst, b"")
}

fn is_between(frame: &[u8], (src, dst): (&str, &str), protocol: IpProtocol) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    let is_it = |ip: &mn_packet::IpPacket<'_>| {
        ip.src.to_string() == src && ip.dst.to_string() == dst && ip.protocol == protocol
    };
    layers.ip().is_some_and(is_it)
}

impl Lab {
    /// IP gets to a port's machine only as answers.
    async fn lets_answers_in(&self, port: PortId) {
        let answers = Condition { match_return_flow: true, ..Condition::default() };
        let others = Condition {
            match_forward_flow: true,
            dl_type: Some(Test::Is(EtherType::IPV4)),
            ..Condition::default()
        };
        let from: ChainId = self.chain(answers, RuleAction::Accept).await.0;
        let to: ChainId = self.chain(others, RuleAction::Drop).await.0;
        self.change(port.into(), |object| {
            if let AnyObject::Port(port) = object {
                (port.inbound_filter_id, port.outbound_filter_id) = (Some(from), Some(to));
            }
        })
        .await;
    }

    /// The ports that lead to these stations share their connections.
    async fn share(&self, stations: &[Station]) {
        let mut port_ids = Vec::new();
        for Station { host, interface, .. } in stations {
            port_ids.push(self.status(*host).await.ports[interface]);
        }
        port_ids.sort_unstable();
        let (id, tenant_id, name) = (Id::random(), None, None);
        self.create(PortGroup { id, tenant_id, name, stateful: true, port_ids }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_by_a_fellow_that_is_faster_than_the_message_waits_for_it() {
    for workers in [1, 2] {
        let net = Net::new(3, workers, [1, 2]).await;
        assert!(net.sends(&Message::datagram((3999, 53))).await);
        net.lab.mail.trouble(Trouble { late: Duration::from_millis(6), ..Trouble::default() });
        let mut answered = 0;
        for port in 4000..4020 {
            assert!(net.sends(&Message::datagram((port, 53))).await, "{port} goes out");
            answered += u32::from(net.answers(1, &Message::datagram((53, port))).await);
            assert!(net.sends(&Message::syn((port, 80))).await, "{port} goes out");
            answered += u32::from(net.answers(1, &Message::syn_ack((80, port))).await);
        }
        // A machine whose cores are taken away for a moment may let one wait in vain.
        assert!(answered >= 36, "{answered} of 40 are answered");
        net.lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fellows_share_alike_on_two_hosts_on_one_and_on_the_machine_s_own() {
    for ways in [[1, 2], [1, 1], [0, 0], [0, 1], [1, 0]] {
        let net = Net::new(3, 1, ways).await;
        for port in 4000..4005 {
            assert!(net.sends(&Message::syn((port, 80))).await, "{ways:?}: {port} goes out");
            for way in [1, 0, 1] {
                let answer = Message::syn_ack((80, port));
                assert!(net.answers(way, &answer).await, "{ways:?}: {port} is answered by {way}");
            }
        }
        for way in 0..2 {
            let uncalled = Message::syn_ack((80, 3000));
            assert!(!net.answers(way, &uncalled).await, "{ways:?}: nobody asked for it");
        }
        net.lab.stop().await;
    }
}
