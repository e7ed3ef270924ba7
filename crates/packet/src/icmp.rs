//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and errors that quote a packet.

use core::net::IpAddr;

use crate::wire::take;
use crate::{
    EthernetHeader, IpPacket, IpProtocol, Ipv4Header, Ipv6Header, Layers, Mac, WireError, checksum,
    eth_type_of, ip_packet, transport_checksum,
};

/// The first 8 octets of a message of either version.
///
/// ```text
/// |     Type      |     Code      |           Checksum            |
/// |                        Rest (by type)                         |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IcmpHeader {
    pub ty: u8,
    pub code: u8,
    /// Echo: identifier and sequence number. Errors: MTU, pointer or nothing.
    pub rest: [u8; 4],
}

impl IcmpHeader {
    /// Octets on the wire.
    pub const LEN: usize = 8;
    /// Where the checksum stands.
    pub const CHECKSUM_AT: usize = 2;

    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const REDIRECT: u8 = 5;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;

    pub const V6_UNREACHABLE: u8 = 1;
    pub const V6_TOO_BIG: u8 = 2;
    pub const V6_TIME_EXCEEDED: u8 = 3;
    pub const V6_PARAMETER_PROBLEM: u8 = 4;
    pub const V6_ECHO_REQUEST: u8 = 128;
    pub const V6_ECHO_REPLY: u8 = 129;

    /// Splits an ICMP message of either version. The checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] below 8 octets.
    pub fn split(message: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, body) = take::<{ Self::LEN }>(message, "ICMP header")?;
        let [ty, code, _, _, rest @ ..] = *header;
        Ok((Self { ty, code, rest }, body))
    }

    /// The identifier, where it is an echo of this protocol's.
    #[must_use]
    pub const fn echo_id(&self, protocol: IpProtocol) -> Option<u16> {
        if is_echo(protocol, self.ty) {
            let [a, b, _, _] = self.rest;
            Some(u16::from_be_bytes([a, b]))
        } else {
            None
        }
    }

    /// The message with `body` between two addresses, checksum included. The version is the
    /// addresses'.
    #[must_use]
    pub fn message(&self, src: IpAddr, dst: IpAddr, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN + body.len());
        out.extend_from_slice(&[self.ty, self.code, 0, 0]);
        out.extend_from_slice(&self.rest);
        out.extend_from_slice(body);
        let sum = match icmp_of(src) {
            IpProtocol::ICMP => checksum(&out),
            icmpv6 => transport_checksum(src, dst, icmpv6, &out),
        };
        out[Self::CHECKSUM_AT..Self::CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// Whether an ICMP type is an echo request or reply.
#[must_use]
pub const fn is_echo(protocol: IpProtocol, ty: u8) -> bool {
    match protocol {
        IpProtocol::ICMP => matches!(ty, IcmpHeader::ECHO_REQUEST | IcmpHeader::ECHO_REPLY),
        IpProtocol::ICMPV6 => {
            matches!(ty, IcmpHeader::V6_ECHO_REQUEST | IcmpHeader::V6_ECHO_REPLY)
        }
        _ => false,
    }
}

/// Whether an ICMP type is an error, which quotes the packet it is about.
///
/// ICMP: RFC 1122 §3.2.2, redirect and source quench (4) included. ICMPv6: RFC 4443 §2.1.
#[must_use]
pub const fn is_error(protocol: IpProtocol, ty: u8) -> bool {
    match protocol {
        IpProtocol::ICMP => matches!(ty, 3..=5 | 11 | 12),
        IpProtocol::ICMPV6 => ty < 128,
        _ => false,
    }
}

/// The ICMP of the version of an address.
#[must_use]
pub const fn icmp_of(addr: IpAddr) -> IpProtocol {
    if addr.is_ipv4() { IpProtocol::ICMP } else { IpProtocol::ICMPV6 }
}

/// What an error says, for both versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IcmpError {
    /// There is no route.
    NetUnreachable,
    /// The next hop does not answer.
    HostUnreachable,
    /// Nobody listens.
    PortUnreachable,
    /// The protocol is not spoken.
    ProtocolUnreachable,
    /// A filter forbids it (RFC 1812 §5.2.7.1 code 13; RFC 4443 §3.1 code 1).
    Prohibited,
    /// The time to live is used up.
    TtlExceeded,
    /// The next link takes packets of at most this many octets.
    TooBig { mtu: u32 },
}

impl IcmpError {
    /// The header that says so in the version of `addr`.
    #[must_use]
    pub fn header(self, addr: IpAddr) -> IcmpHeader {
        let (ty, code, rest) = if addr.is_ipv4() { self.v4() } else { self.v6() };
        IcmpHeader { ty, code, rest: rest.to_be_bytes() }
    }

    /// RFC 792, RFC 1191 §4 and RFC 1812 §5.2.7.
    fn v4(self) -> (u8, u8, u32) {
        match self {
            Self::NetUnreachable => (IcmpHeader::UNREACHABLE, 0, 0),
            Self::HostUnreachable => (IcmpHeader::UNREACHABLE, 1, 0),
            Self::ProtocolUnreachable => (IcmpHeader::UNREACHABLE, 2, 0),
            Self::PortUnreachable => (IcmpHeader::UNREACHABLE, 3, 0),
            Self::TooBig { mtu } => (IcmpHeader::UNREACHABLE, 4, mtu.min(u32::from(u16::MAX))),
            Self::Prohibited => (IcmpHeader::UNREACHABLE, 13, 0),
            Self::TtlExceeded => (IcmpHeader::TIME_EXCEEDED, 0, 0),
        }
    }

    /// RFC 4443 §3; a protocol nobody speaks is a parameter problem at the next header field.
    fn v6(self) -> (u8, u8, u32) {
        match self {
            Self::NetUnreachable => (IcmpHeader::V6_UNREACHABLE, 0, 0),
            Self::Prohibited => (IcmpHeader::V6_UNREACHABLE, 1, 0),
            Self::HostUnreachable => (IcmpHeader::V6_UNREACHABLE, 3, 0),
            Self::PortUnreachable => (IcmpHeader::V6_UNREACHABLE, 4, 0),
            Self::TooBig { mtu } => (IcmpHeader::V6_TOO_BIG, 0, mtu),
            Self::TtlExceeded => (IcmpHeader::V6_TIME_EXCEEDED, 0, 0),
            Self::ProtocolUnreachable => (IcmpHeader::V6_PARAMETER_PROBLEM, 1, 6),
        }
    }

    /// Whether this error may be sent about `packet`, which came in a frame to `dst_mac`.
    ///
    /// Never about an ICMP error (an unreadable ICMP message counts as one), a later fragment,
    /// or a packet whose source names no single host; about packets to a group only ICMPv6's "too
    /// big" (RFC 1812 §4.3.2.7; RFC 4443 §2.4 (e)). Whether an IPv4 destination is a subnet's
    /// broadcast address only the caller can know.
    #[must_use]
    pub fn may_answer(self, packet: &IpPacket<'_>, dst_mac: Mac) -> bool {
        let to_group = dst_mac.is_multicast() || is_group(packet.dst);
        let group_allowed = matches!(self, Self::TooBig { .. }) && packet.dst.is_ipv6();
        let error = packet.protocol.is_icmp()
            && packet.payload.first().is_none_or(|&ty| is_error(packet.protocol, ty));
        names_a_host(packet.src)
            && (!to_group || group_allowed)
            && !packet.is_later_fragment()
            && !error
    }

    /// The frame that tells the source of `original` from `from`, in a frame with the header
    /// `ethernet` (its type is set here).
    ///
    /// Quotes as much as fits: 576 octets in all for IPv4 (RFC 1812 §4.3.2.3), 1280 for IPv6
    /// (RFC 4443 §2.4 (c)). The caller has asked [`Self::may_answer`]. `from` is of the packet's
    /// version.
    #[must_use]
    pub fn frame(
        self,
        ethernet: &EthernetHeader,
        from: IpAddr,
        original: &IpPacket<'_>,
    ) -> Vec<u8> {
        let max = match from {
            IpAddr::V4(_) => 576 - Ipv4Header::LEN - IcmpHeader::LEN,
            IpAddr::V6(_) => Ipv6Header::MTU_MIN as usize - Ipv6Header::LEN - IcmpHeader::LEN,
        };
        let quote = &original.packet[..original.packet.len().min(max)];
        let message = self.header(from).message(from, original.src, quote);
        let hops = Ipv4Header::TTL;
        let packet = ip_packet(from, original.src, hops, icmp_of(from), &message);
        EthernetHeader { eth_type: eth_type_of(from), ..*ethernet }.frame(&packet)
    }
}

/// Whether an address is of more than one host (IPv4's limited broadcast included).
fn is_group(addr: IpAddr) -> bool {
    addr.is_multicast() || matches!(addr, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Whether an answer can go to this address.
fn names_a_host(addr: IpAddr) -> bool {
    let reserved = matches!(addr, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240);
    !is_group(addr) && !addr.is_unspecified() && !addr.is_loopback() && !reserved
}

/// The frame that answers the echo request in `frame`, from the MAC `mac` and the address that was
/// asked; `None` where it is no echo request to one host, or a fragment.
///
/// Tags, identifier, sequence number, TOS and data are the request's.
#[must_use]
pub fn echo_reply(frame: &[u8], mac: Mac) -> Option<Vec<u8>> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    if ip.fragment.is_some() || is_group(ip.dst) || !names_a_host(ip.src) {
        return None;
    }
    let (request, data) = match ip.protocol {
        protocol if protocol == icmp_of(ip.src) => IcmpHeader::split(ip.payload).ok()?,
        _ => return None,
    };
    let ty = match (ip.protocol, request.ty) {
        (IpProtocol::ICMP, IcmpHeader::ECHO_REQUEST) => IcmpHeader::ECHO_REPLY,
        (IpProtocol::ICMPV6, IcmpHeader::V6_ECHO_REQUEST) => IcmpHeader::V6_ECHO_REPLY,
        _ => return None,
    };
    let reply = IcmpHeader { ty, code: 0, rest: request.rest };
    let message = reply.message(ip.dst, ip.src, data);
    let mut packet = ip_packet(ip.dst, ip.src, Ipv4Header::TTL, ip.protocol, &message);
    set_tos(&mut packet, ip.tos);
    Some(layers.ethernet.reply_from(mac).frame(&packet))
}

/// Sets the TOS octet of a packet made by [`ip_packet`].
fn set_tos(packet: &mut [u8], tos: u8) {
    match packet {
        [0x45, old, ..] => {
            *old = tos;
            packet[10..12].copy_from_slice(&[0, 0]);
            let sum = checksum(&packet[..Ipv4Header::LEN]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        [first, second, ..] => {
            *first = 0x60 | tos >> 4;
            *second = tos << 4 | *second & 0xf;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
