//! What a translated TCP connection costs its hosts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::IpAddr;
use std::time::Duration;

use mn_packet::{
    EtherType, EthernetHeader, IpProtocol, Layers, Mac, TcpFlags, TcpHeader, ip_packet,
};

use crate::gateways::{OUTSIDE, PUBLIC};
use crate::lab::{Lab, SETTLE_FOR, until};
use crate::metrics::{get, sample};
use crate::station::Station;

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;

/// A machine on the first host, and a way out on the last.
struct Net {
    lab: Lab,
    vm: Station,
    outside: Station,
    uplink: Mac,
}

/// A connection of the machine's to port 80 of somebody outside.
#[derive(Clone, Copy)]
struct Connection {
    port: u16,
    /// Its port as it is seen outside.
    public: u16,
}

impl Net {
    async fn new(hosts: usize) -> Self {
        let (lab, router, (vm, _)) = Lab::translating(hosts).await;
        let (outside, uplink) = lab.uplink(hosts - 1, router, 21, 100).await;
        let net = Self { lab, vm, outside, uplink };
        tokio::time::sleep(SETTLE_FOR * 2).await;
        net
    }

    /// The machine sends a segment; its ports where it came out.
    async fn sends(&self, port: u16, flags: TcpFlags) -> Option<(u16, u16)> {
        let macs = (self.vm.mac, Mac([2, 0, 0, 0, 1, 1]));
        let frame = segment(macs, ("10.0.1.1", OUTSIDE), (port, 80), flags);
        self.passes(&self.vm, &frame, &self.outside, PUBLIC).await
    }

    /// It is answered; the ports of the answer where it arrives.
    async fn answers(&self, to: Connection, flags: TcpFlags) -> Option<(u16, u16)> {
        let macs = (self.outside.mac, self.uplink);
        let frame = segment(macs, (OUTSIDE, PUBLIC), (80, to.public), flags);
        self.passes(&self.outside, &frame, &self.vm, OUTSIDE).await
    }

    /// One sends a frame, the other gets a segment from this address; its ports.
    async fn passes(
        &self,
        from: &Station,
        frame: &[u8],
        to: &Station,
        src: &str,
    ) -> Option<(u16, u16)> {
        self.lab.take_seen();
        self.lab.send(from, frame);
        let arrives = |frame: &[u8]| ports(frame, src).is_some();
        let within = Duration::from_secs(2);
        let (frame, _) = self.lab.arrives_within(within, &to.interface, arrives).await?;
        ports(&frame, src)
    }

    async fn begins(&self, port: u16) -> Connection {
        let (public, _) = self.sends(port, SYN).await.expect("it comes out");
        Connection { port, public }
    }

    /// From the answer on: something is said, both sides end it.
    async fn goes_on_to_its_end(&self, it: Connection) {
        let home = Some((80, it.port));
        let out = Some((it.public, 80));
        assert_eq!(self.answers(it, SYN | ACK).await, home);
        for flags in [ACK, ACK, FIN | ACK] {
            assert_eq!(self.sends(it.port, flags).await, out);
        }
        for flags in [ACK, FIN | ACK] {
            assert_eq!(self.answers(it, flags).await, home);
        }
        assert_eq!(self.sends(it.port, ACK).await, out);
    }

    async fn upcalls(&self, host: usize) -> f64 {
        let address = self.lab.serves_metrics(host).await;
        sample(&get(address, "/metrics").await, &["midonet_agent_upcalls_total"]).unwrap()
    }

    /// Flows of a host with this port at either end.
    fn flows(&self, host: usize, port: u16) -> usize {
        let of = |key: &mn_flow::FlowKey| key.tp_src == port || key.tp_dst == port;
        self.lab.flows(host).iter().filter(|flow| of(&flow.spec.key)).count()
    }
}

fn segment(macs: (Mac, Mac), ends: (&str, &str), ports: (u16, u16), flags: TcpFlags) -> Vec<u8> {
    let ends: (IpAddr, IpAddr) = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
    let header = TcpHeader { src: ports.0, dst: ports.1, flags, ..TcpHeader::default() };
    let message = header.segment(ends.0, ends.1, b"");
    let packet = ip_packet(ends.0, ends.1, 64, IpProtocol::TCP, &message);
    EthernetHeader::untagged(macs.0, macs.1, EtherType::IPV4).frame(&packet)
}

/// The ports of a segment from this address.
fn ports(frame: &[u8], from: &str) -> Option<(u16, u16)> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    (ip.protocol == IpProtocol::TCP && ip.src.to_string() == from).then_some(ip.ports()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_through_snat_costs_one_upcall_from_its_first_segment_to_its_last() {
    for hosts in [1, 2] {
        let net = Net::new(hosts).await;
        // The neighbours are learned with the first.
        let first = net.begins(4000).await;
        net.goes_on_to_its_end(first).await;
        for port in 4001..4006 {
            let before = (net.upcalls(0).await, net.upcalls(hosts - 1).await);
            let connection = net.begins(port).await;
            // On a busy machine the way out may hear of it a moment later.
            until("the answer is expected", || async {
                net.flows(hosts - 1, connection.public) == 1
            })
            .await;
            net.goes_on_to_its_end(connection).await;
            assert_eq!(net.upcalls(0).await - before.0, 1.0, "the first segment's alone");
            if hosts > 1 {
                assert_eq!(net.upcalls(1).await, before.1, "none where the answer comes in");
            }
        }
        net.lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_of_a_connection_that_has_ended_leave_soon_and_another_s_stay() {
    let net = Net::new(1).await;
    let (over, open) = (net.begins(4000).await, net.begins(4001).await);
    assert!(net.answers(open, SYN | ACK).await.is_some());
    net.goes_on_to_its_end(over).await;
    assert_eq!(net.flows(0, over.port), 1, "for what comes late");
    until("its flows have left", || async {
        net.flows(0, over.port) == 0 && net.flows(0, over.public) == 0
    })
    .await;
    assert_eq!((net.flows(0, open.port), net.flows(0, open.public)), (1, 1));
    // The same ends again: a new connection, by the same port.
    assert_eq!(net.begins(4000).await.public, over.public);
    assert_eq!(net.answers(over, SYN | ACK).await, Some((80, 4000)));
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_translates_hears_of_the_segments_that_only_the_way_out_sees() {
    let net = Net::new(2).await;
    let (over, reset, open) =
        (net.begins(4000).await, net.begins(4001).await, net.begins(4002).await);
    for it in [reset, open] {
        assert!(net.answers(it, SYN | ACK).await.is_some());
        assert!(net.sends(it.port, ACK).await.is_some());
    }
    net.goes_on_to_its_end(over).await;
    assert!(net.answers(reset, TcpFlags::RST).await.is_some());
    until("the flows of those that are over have left", || async {
        net.flows(0, over.port) == 0 && net.flows(0, reset.port) == 0
    })
    .await;
    assert_eq!(net.flows(0, open.port), 1, "the other goes on");
    assert_eq!(net.begins(4000).await.public, over.public, "the same ends again");
    assert_eq!(net.answers(over, SYN | ACK).await, Some((80, 4000)));
    net.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_the_other_side_does_not_obey_ends_nothing() {
    let net = Net::new(1).await;
    let it = net.begins(4000).await;
    assert!(net.answers(it, SYN | ACK).await.is_some());
    assert!(net.sends(4000, TcpFlags::RST).await.is_some());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..3 {
        assert_eq!(net.answers(it, ACK).await, Some((80, 4000)));
        assert_eq!(net.sends(4000, ACK).await, Some((it.public, 80)));
    }
    net.lab.stop().await;
}
