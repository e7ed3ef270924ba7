//! Packets there and answers back.

use std::net::IpAddr;

use mn_flow::{FlowKey, Rewrite, VirtualAction};
use mn_packet::{
    EthernetHeader, IcmpHeader, IpProtocol, TcpFlags, TcpHeader, UdpHeader, eth_type_of, from_v6,
    icmp::icmp_of, ip_packet, to_v6,
};
use mn_simulation::Entry;
use mn_testkit::packet::Built;
use mn_testkit::{Arrival, Lab, Sent};

/// One direction of a connection, as a machine sees it. Of an echo, `src_port` is its identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    pub protocol: IpProtocol,
    pub src: IpAddr,
    pub src_port: u16,
    pub dst: IpAddr,
    pub dst_port: u16,
    /// An echo that answers.
    pub answers: bool,
}

impl Ends {
    /// What a key shows.
    pub fn of(key: &FlowKey) -> Self {
        let echo = key.nw_proto.is_icmp();
        Self {
            protocol: key.nw_proto,
            src: from_v6(key.nw_src),
            dst: from_v6(key.nw_dst),
            src_port: if echo { key.tp_dst } else { key.tp_src },
            dst_port: if echo || !key.nw_proto.has_ports() { 0 } else { key.tp_dst },
            answers: echo && matches!(key.icmp_type(), 0 | 129),
        }
    }

    pub fn answer(self) -> Self {
        let (src_port, dst_port) = if self.protocol.is_icmp() {
            (self.src_port, 0)
        } else {
            (self.dst_port, self.src_port)
        };
        let answers = self.protocol.is_icmp() && !self.answers;
        Self { src: self.dst, dst: self.src, src_port, dst_port, answers, ..self }
    }

    /// The packet, from its first octet.
    pub fn packet(self, hops: u8) -> Vec<u8> {
        let Self { protocol, src, dst, .. } = self;
        let message = match protocol {
            IpProtocol::TCP => TcpHeader {
                src: self.src_port,
                dst: self.dst_port,
                flags: TcpFlags::ACK,
                ..TcpHeader::default()
            }
            .segment(src, dst, b"data"),
            IpProtocol::UDP => {
                UdpHeader { src: self.src_port, dst: self.dst_port }.datagram(src, dst, b"data")
            }
            own if own == icmp_of(src) => {
                let ty = match (src.is_ipv4(), self.answers) {
                    (true, false) => IcmpHeader::ECHO_REQUEST,
                    (true, true) => IcmpHeader::ECHO_REPLY,
                    (false, false) => IcmpHeader::V6_ECHO_REQUEST,
                    (false, true) => IcmpHeader::V6_ECHO_REPLY,
                };
                let [a, b] = self.src_port.to_be_bytes();
                IcmpHeader { ty, code: 0, rest: [a, b, 0, 1] }.message(src, dst, b"data")
            }
            _ => b"something else".to_vec(),
        };
        ip_packet(src, dst, hops, protocol, &message)
    }

    /// The error that `from` sends to the source of this packet.
    pub fn error(self, from: IpAddr) -> Vec<u8> {
        let header = mn_packet::IcmpError::HostUnreachable.header(from);
        let message = header.message(from, self.src, &self.packet(3));
        ip_packet(from, self.src, 64, icmp_of(from), &message)
    }
}

/// Sends a packet back out of where `arrival` came in, between the same machines.
pub fn back<'a>(lab: &'a Lab, arrival: &Arrival, packet: &[u8]) -> Sent<'a> {
    let to = from_v6(arrival.headers.nw_src);
    let ethernet =
        EthernetHeader::untagged(arrival.headers.eth_dst, arrival.headers.eth_src, eth_type_of(to));
    let built = Built::of(arrival.port, ethernet.frame(packet));
    lab.inject("a packet back", Entry::Ingress(built.port), &built)
}

/// The only copy of a packet that arrives.
#[track_caller]
pub fn only(sent: &Sent<'_>) -> Arrival {
    let arrivals = sent.arrivals();
    assert_eq!(arrivals.len(), 1, "{:#?}\n{:?}", sent.walk, sent.outcome);
    arrivals[0]
}

/// What a quoted packet is after a list of actions.
pub fn quoted(mut quote: Ends, actions: &[VirtualAction]) -> Ends {
    for action in actions {
        match *action {
            VirtualAction::Rewrite(Rewrite::InnerSrc(addr, port)) => {
                quote.src = addr;
                quote.src_port = port.unwrap_or(quote.src_port);
            }
            VirtualAction::Rewrite(Rewrite::InnerDst(addr, port)) => {
                quote.dst = addr;
                let echo = quote.protocol.is_icmp();
                let kept = if echo { &mut quote.src_port } else { &mut quote.dst_port };
                *kept = port.unwrap_or(*kept);
            }
            _ => {}
        }
    }
    quote
}

/// Whether the actions set an address of the packet itself to this.
pub fn sets_source(actions: &[VirtualAction], to: &str) -> bool {
    let to: IpAddr = to.parse().unwrap();
    let source =
        |headers: &Rewrite| matches!(headers, Rewrite::NwSrc(addr) if to_v6(*addr) == to_v6(to));
    actions.iter().any(|action| matches!(action, VirtualAction::Rewrite(it) if source(it)))
}
