//! Where each header of a frame begins.

use core::net::{IpAddr, Ipv6Addr};

use crate::wire::take;
use crate::{
    Arp, EtherType, EthernetHeader, FragmentHeader, IpProtocol, Ipv4Header, Ipv6Header, WireError,
    to_v6, walk_extensions,
};

/// A frame taken apart down to its transport header, which is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layers<'a> {
    pub ethernet: EthernetHeader,
    /// Octets before the network header.
    pub network_at: usize,
    pub network: Network<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network<'a> {
    Arp(Arp),
    Ip(IpPacket<'a>),
    /// Anything else.
    Other,
}

/// An IP packet of either version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpPacket<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// The whole TOS or traffic class octet.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// The protocol after IPv6 extension headers.
    pub protocol: IpProtocol,
    /// Where it is part of a fragmented datagram (an IPv6 atomic fragment is not).
    pub fragment: Option<FragmentHeader>,
    /// IPv4's DF; IPv6 packets are never fragmented on the way.
    pub dont_fragment: bool,
    /// Octets of the frame before `payload`.
    pub transport_at: usize,
    /// The transport header and what follows, as far as the packet's length says.
    pub payload: &'a [u8],
    /// The packet from its first octet to its last; padding of the frame left out.
    pub packet: &'a [u8],
}

impl<'a> Layers<'a> {
    /// Takes a frame apart, tags in line.
    ///
    /// # Errors
    ///
    /// Those of [`EthernetHeader::split`], [`Arp::parse`], [`Ipv4Header::split`],
    /// [`Ipv6Header::split`] and [`walk_extensions`]. An IPv6 packet from or to an IPv4-mapped
    /// address is malformed: it would pass for IPv4 wherever both versions are one, and nobody
    /// may send it (RFC 4942 §2.2).
    pub fn of(frame: &'a [u8]) -> Result<Self, WireError> {
        let (ethernet, payload) = EthernetHeader::split(frame)?;
        let network_at = ethernet.wire_len();
        let network = match ethernet.eth_type {
            EtherType::ARP => Network::Arp(Arp::parse(payload)?),
            EtherType::IPV4 => Network::Ip(IpPacket::v4(payload, network_at)?),
            EtherType::IPV6 => Network::Ip(IpPacket::v6(payload, network_at)?),
            _ => Network::Other,
        };
        Ok(Self { ethernet, network_at, network })
    }

    /// The IP packet, where it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<&IpPacket<'a>> {
        match &self.network {
            Network::Ip(ip) => Some(ip),
            _ => None,
        }
    }
}

impl<'a> IpPacket<'a> {
    /// An IPv4 packet that begins `at` octets into its frame.
    pub fn v4(octets: &'a [u8], at: usize) -> Result<Self, WireError> {
        let parts = Ipv4Header::split(octets)?;
        let header = parts.header;
        let header_len = Ipv4Header::LEN + parts.options.len();
        let fragment = FragmentHeader {
            offset: header.fragment_offset,
            more: header.more_fragments,
            id: u32::from(header.id),
        };
        Ok(Self {
            src: header.src.into(),
            dst: header.dst.into(),
            tos: header.tos,
            ttl: header.ttl,
            protocol: header.protocol,
            fragment: header.is_fragment().then_some(fragment),
            dont_fragment: header.dont_fragment,
            transport_at: at + header_len,
            payload: parts.payload,
            packet: &octets[..header_len + parts.payload.len()],
        })
    }

    /// An IPv6 packet that begins `at` octets into its frame.
    pub fn v6(octets: &'a [u8], at: usize) -> Result<Self, WireError> {
        let (header, payload) = Ipv6Header::split(octets)?;
        let mapped = |addr: Ipv6Addr| addr.to_ipv4_mapped().is_some();
        if mapped(header.src) || mapped(header.dst) {
            return Err(WireError::malformed("IPv6 header", "an IPv4-mapped address"));
        }
        let upper = walk_extensions(header.next_header, payload)?;
        let packet_len = Ipv6Header::LEN + payload.len();
        Ok(Self {
            src: header.src.into(),
            dst: header.dst.into(),
            tos: header.traffic_class,
            ttl: header.hop_limit,
            protocol: upper.protocol,
            fragment: upper.fragment.filter(|part| part.more || part.offset != 0),
            dont_fragment: true,
            transport_at: at + packet_len - upper.payload.len(),
            payload: upper.payload,
            packet: &octets[..packet_len],
        })
    }

    /// Whether it is a fragment without the transport header.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    /// The addresses as flow keys hold them.
    #[must_use]
    pub const fn addresses_v6(&self) -> (Ipv6Addr, Ipv6Addr) {
        (to_v6(self.src), to_v6(self.dst))
    }

    /// The source and destination port of TCP and UDP, where the packet has them.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !self.protocol.has_ports() || self.is_later_fragment() {
            return None;
        }
        let (&[s0, s1, d0, d1], _) = take::<4>(self.payload, "ports").ok()?;
        Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }
}

/// An IP packet of ours with one transport message and no options.
///
/// Both addresses are of one version; two versions would make an IPv6 packet with a mapped address.
#[must_use]
pub fn ip_packet(
    src: IpAddr,
    dst: IpAddr,
    hops: u8,
    protocol: IpProtocol,
    message: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(Ipv6Header::LEN + message.len());
    if let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) {
        let header = Ipv4Header { ttl: hops, ..Ipv4Header::new(src, dst, protocol) };
        out.extend_from_slice(&header.emit(message.len()));
    } else {
        let header =
            Ipv6Header { hop_limit: hops, ..Ipv6Header::new(to_v6(src), to_v6(dst), protocol) };
        out.extend_from_slice(&header.emit(message.len()));
    }
    out.extend_from_slice(message);
    out
}

/// The Ethernet type of packets with this address.
#[must_use]
pub const fn eth_type_of(addr: IpAddr) -> EtherType {
    if addr.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mac, UdpHeader};

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn udp(src: &str, dst: &str) -> Vec<u8> {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let datagram = UdpHeader { src: 1, dst: 2 }.datagram(src, dst, b"data");
        let packet = ip_packet(src, dst, 64, IpProtocol::UDP, &datagram);
        EthernetHeader::untagged(A, B, eth_type_of(src)).frame(&packet)
    }

    #[test]
    fn packets_of_both_versions_are_found_in_frames_with_padding() {
        for (src, dst, at) in [("10.0.0.1", "10.0.0.2", 34), ("2001:db8::1", "2001:db8::2", 54)] {
            let mut frame = udp(src, dst);
            let len = frame.len();
            frame.extend([0; 9]);
            let layers = Layers::of(&frame).unwrap();
            let ip = layers.ip().unwrap();
            assert_eq!((ip.src.to_string(), ip.dst.to_string()), (src.into(), dst.into()));
            assert_eq!((ip.transport_at, ip.payload), (at, &frame[at..len]));
            assert_eq!(ip.packet, &frame[14..len]);
            assert_eq!(ip.ports(), Some((1, 2)));
        }
    }

    #[test]
    fn a_mapped_address_in_an_ipv6_packet_is_malformed() {
        for (src, dst) in [("::ffff:10.0.0.1", "2001:db8::1"), ("2001:db8::1", "::ffff:10.0.0.1")] {
            let (src, dst): (Ipv6Addr, Ipv6Addr) = (src.parse().unwrap(), dst.parse().unwrap());
            let packet = Ipv6Header::new(src, dst, IpProtocol::UDP).emit(0);
            let frame = EthernetHeader::untagged(A, B, EtherType::IPV6).frame(&packet);
            assert!(matches!(Layers::of(&frame), Err(WireError::Malformed { .. })));
        }
    }

    #[test]
    fn what_is_neither_arp_nor_ip_is_let_alone() {
        let frame = EthernetHeader::untagged(A, B, EtherType(0x88cc)).frame(&[]);
        assert_eq!(Layers::of(&frame).unwrap().network, Network::Other);
    }
}
