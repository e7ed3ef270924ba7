//! From a frame to its flow key.

use core::net::{IpAddr, Ipv6Addr};

use mn_packet::ndp::{HOP_LIMIT, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION};
use mn_packet::{
    Arp, EtherType, EthernetHeader, IpPacket, IpProtocol, Layers, Network, TcpFlags, UdpHeader,
    WireError, eth_type_of, icmp, to_v6,
};

use crate::{Class, DropCause, FlowKey, Fragment, PortNo, TcpClass};

/// How a tunnelled frame came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunnelOrigin {
    /// The VNI, mark included.
    pub vni: u32,
    /// The outer source.
    pub src: IpAddr,
}

/// Reads the headers of a frame, tags in line, without FCS. `conn` is left for the caller to set.
///
/// This is the definition that the BPF programs are compared with. Checks are made from the outer
/// header to the inner one and within a header in the order below; the first that fails decides.
///
/// | header | `Truncated` | `Malformed` | not checked |
/// |---|---|---|---|
/// | Ethernet | below 14 octets; a tag of the first two not whole | | |
/// | type below 0x600 | | | all: `eth_type` is [`FlowKey::LLC`] |
/// | third tag | | | all: `eth_type` is the tag's |
/// | ARP | below 28 octets | not IPv4 over Ethernet | padding; an opcode above 255 is 0 in the key |
/// | IPv4 | below 20 octets | version not 4; IHL below 5 | checksum, options |
/// | | options not whole | total length below the header's | |
/// | | total length beyond the frame | | a frame that is longer: padding |
/// | IPv6 | below 40 octets | version not 6 | |
/// | | payload length beyond the frame | | a longer frame; jumbograms have no payload |
/// | | | source or destination IPv4-mapped | |
/// | extension headers | as [`mn_packet::walk_extensions`] | likewise | their order and content |
/// | later fragment | | | everything behind the IP header: no ports, class `Later` |
/// | TCP | below 20 octets | | data offset, checksum |
/// | UDP | below 8 octets | | length, checksum |
/// | ICMP over IPv4, ICMPv6 over IPv6 | below 8 octets | | checksum |
/// | neighbour discovery | below 24 octets | target IPv4-mapped | options |
/// | other protocols | | | all: no ports |
///
/// Transport headers must lie within the IP packet, whose length the IP header says; what follows
/// in the frame is padding and is never read. This goes for first fragments too, so a first
/// fragment too small for its transport header is truncated (RFC 1858 §3).
///
/// Neighbour discovery is an ICMPv6 message of type 135 or 136 with code 0, in a packet with hop
/// limit 255 that is not a fragment (an atomic one is none): RFC 4861 §7.1, RFC 6980 §5. What fails
/// one of these is ICMPv6 like any other, and is never marked.
///
/// # Errors
///
/// [`DropCause::Truncated`] or [`DropCause::Malformed`].
pub fn extract(
    frame: &[u8],
    in_port: PortNo,
    tunnel: Option<TunnelOrigin>,
) -> Result<FlowKey, DropCause> {
    let layers = Layers::of(frame).map_err(cause)?;
    let mut key = link(&layers.ethernet, in_port, tunnel);
    match &layers.network {
        Network::Arp(arp) => write_arp(&mut key, arp),
        Network::Ip(ip) => write_ip(&mut key, ip)?,
        Network::Other => {}
    }
    Ok(key)
}

/// The drop cause of an error of the packet's octets.
fn cause(error: WireError) -> DropCause {
    match error {
        WireError::Truncated { .. } => DropCause::Truncated,
        WireError::Malformed { .. } => DropCause::Malformed,
    }
}

/// A key of what is known before the network header.
fn link(ethernet: &EthernetHeader, in_port: PortNo, tunnel: Option<TunnelOrigin>) -> FlowKey {
    let is_length = ethernet.eth_type.0 < EtherType::MIN.0;
    FlowKey {
        in_port,
        tun_key: tunnel.map_or(0, |tunnel| tunnel.vni),
        tun_src: tunnel.map_or(Ipv6Addr::UNSPECIFIED, |tunnel| to_v6(tunnel.src)),
        eth_dst: ethernet.dst,
        eth_src: ethernet.src,
        eth_type: if is_length { FlowKey::LLC } else { ethernet.eth_type },
        vlan: ethernet.vlan,
        inner_vlan: ethernet.inner_vlan,
        ..FlowKey::default()
    }
}

fn write_arp(key: &mut FlowKey, arp: &Arp) {
    key.nw_src = arp.sender.to_ipv6_mapped();
    key.nw_dst = arp.target.to_ipv6_mapped();
    key.nw_proto = IpProtocol(u8::try_from(arp.op.0).unwrap_or(0));
}

fn write_ip(key: &mut FlowKey, ip: &IpPacket<'_>) -> Result<(), DropCause> {
    (key.nw_src, key.nw_dst) = ip.addresses_v6();
    key.nw_proto = ip.protocol;
    key.nw_tos = ip.tos;
    key.class = Class {
        fragment: match ip.fragment {
            None => Fragment::None,
            Some(fragment) if fragment.offset == 0 => Fragment::First,
            Some(_) => Fragment::Later,
        },
        ttl_spent: ip.ttl <= 1,
        ..Class::default()
    };
    if key.class.fragment == Fragment::Later { Ok(()) } else { write_transport(key, ip) }
}

fn write_transport(key: &mut FlowKey, ip: &IpPacket<'_>) -> Result<(), DropCause> {
    match ip.protocol {
        IpProtocol::TCP => {
            let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, _, flags, ..] = *head::<20>(ip)?;
            (key.tp_src, key.tp_dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
            key.class.tcp = tcp_class(TcpFlags(flags));
        }
        IpProtocol::UDP => {
            let [s0, s1, d0, d1, ..] = *head::<{ UdpHeader::LEN }>(ip)?;
            (key.tp_src, key.tp_dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        }
        icmp if icmp == icmp::icmp_of(ip.src) => return write_icmp(key, ip),
        _ => {}
    }
    Ok(())
}

fn write_icmp(key: &mut FlowKey, ip: &IpPacket<'_>) -> Result<(), DropCause> {
    let [ty, code, _, _, id0, id1, ..] = *head::<{ icmp::IcmpHeader::LEN }>(ip)?;
    key.tp_src = u16::from_be_bytes([ty, code]);
    if icmp::is_echo(ip.protocol, ty) {
        key.tp_dst = u16::from_be_bytes([id0, id1]);
    }
    let neighbor_discovery = eth_type_of(ip.src) == EtherType::IPV6
        && matches!(ty, NEIGHBOR_SOLICITATION | NEIGHBOR_ADVERTISEMENT)
        && code == 0
        && ip.ttl == HOP_LIMIT
        && ip.fragment.is_none();
    if neighbor_discovery {
        let [_, _, _, _, _, _, _, _, target @ ..] = *head::<24>(ip)?;
        let target = Ipv6Addr::from_octets(target);
        if target.to_ipv4_mapped().is_some() {
            return Err(DropCause::Malformed);
        }
        key.nw_dst = target;
        key.class.neighbor_discovery = true;
    }
    Ok(())
}

/// The first octets of the transport header.
fn head<'a, const N: usize>(ip: &IpPacket<'a>) -> Result<&'a [u8; N], DropCause> {
    ip.payload.first_chunk::<N>().ok_or(DropCause::Truncated)
}

/// What the flags of a segment say of its connection.
const fn tcp_class(flags: TcpFlags) -> TcpClass {
    if flags.has(TcpFlags::RST) {
        TcpClass::Rst
    } else if flags.has(TcpFlags::FIN) {
        TcpClass::Fin
    } else if flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK) {
        TcpClass::Syn
    } else {
        TcpClass::Other
    }
}

#[cfg(test)]
mod tests;
