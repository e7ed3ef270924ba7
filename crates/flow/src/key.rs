//! The headers a flow can match.

use core::net::Ipv6Addr;

use mn_packet::ndp::NEIGHBOR_SOLICITATION;
use mn_packet::{ArpOp, EtherType, IpProtocol, Mac, VlanTag};

use crate::PortNo;

/// The headers of one packet, and how it came. `datapath-abi` has the same as octets.
///
/// A header the packet does not have is zero. Field meanings by payload:
///
/// | field | IPv4, IPv6 | ARP | ICMP, ICMPv6 | neighbour discovery |
/// |---|---|---|---|---|
/// | `nw_src` | source | sender's address | | |
/// | `nw_dst` | destination | target's address | | the target, and `class` says so |
/// | `nw_proto` | protocol after extension headers | opcode | | |
/// | `tp_src` | source port | | type << 8 \| code | likewise |
/// | `tp_dst` | destination port | | identifier of echo, else 0 | 0 |
///
/// First fragments have ports, later ones none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FlowKey {
    pub in_port: PortNo,
    /// The VNI it was tunnelled with, mark included; 0 where it was not.
    pub tun_key: u32,
    /// The outer source, IPv4-mapped.
    pub tun_src: Ipv6Addr,
    pub eth_dst: Mac,
    pub eth_src: Mac,
    /// The type after at most two tags. A frame of IEEE 802.3 with a length has [`FlowKey::LLC`].
    pub eth_type: EtherType,
    /// The outer tag.
    pub vlan: VlanTag,
    pub inner_vlan: VlanTag,
    /// IPv4-mapped for IPv4 and ARP.
    pub nw_src: Ipv6Addr,
    pub nw_dst: Ipv6Addr,
    pub nw_proto: IpProtocol,
    /// The whole TOS or traffic class octet.
    pub nw_tos: u8,
    pub class: Class,
    pub conn: Conn,
    pub tp_src: u16,
    pub tp_dst: u16,
}

impl FlowKey {
    /// The Ethernet type of a frame that has a length instead of one.
    pub const LLC: EtherType = EtherType(0x05ff);

    /// The ICMP type, for ICMP of either version.
    #[must_use]
    pub const fn icmp_type(&self) -> u8 {
        self.tp_src.to_be_bytes()[0]
    }

    /// The ICMP code, likewise.
    #[must_use]
    pub const fn icmp_code(&self) -> u8 {
        self.tp_src.to_be_bytes()[1]
    }

    /// Whether it is an ARP request.
    #[must_use]
    pub fn is_arp_request(&self) -> bool {
        self.eth_type == EtherType::ARP && u16::from(self.nw_proto.0) == ArpOp::REQUEST.0
    }

    /// Whether it is a neighbour solicitation.
    #[must_use]
    pub const fn is_solicitation(&self) -> bool {
        self.class.neighbor_discovery && self.icmp_type() == NEIGHBOR_SOLICITATION
    }
}

impl Default for FlowKey {
    fn default() -> Self {
        Self {
            in_port: PortNo::NONE,
            tun_key: 0,
            tun_src: Ipv6Addr::UNSPECIFIED,
            eth_dst: Mac::ZERO,
            eth_src: Mac::ZERO,
            eth_type: EtherType(0),
            vlan: VlanTag::NONE,
            inner_vlan: VlanTag::NONE,
            nw_src: Ipv6Addr::UNSPECIFIED,
            nw_dst: Ipv6Addr::UNSPECIFIED,
            nw_proto: IpProtocol(0),
            nw_tos: 0,
            class: Class::default(),
            conn: Conn::None,
            tp_src: 0,
            tp_dst: 0,
        }
    }
}

/// Whether a packet is part of a fragmented datagram.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fragment {
    /// A whole datagram (an IPv6 atomic fragment too, RFC 6946).
    #[default]
    None,
    /// The first of several: it has the ports.
    First,
    /// Another: it has none.
    Later,
}

/// What the flags of a TCP segment say of its connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TcpClass {
    /// Anything else, and everything that is not TCP.
    #[default]
    Other,
    /// SYN without ACK, FIN and RST: opens a connection.
    Syn,
    /// FIN without RST.
    Fin,
    /// RST.
    Rst,
}

/// Small facts about a packet that share one octet of the key:
///
/// ```text
///  7 6   5    4 3     2    1 0
/// |0 0| ND |  TCP  | TTL |frag.|
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Class {
    pub fragment: Fragment,
    /// The time to live (hop limit) is at most 1, so a router may not forward it.
    pub ttl_spent: bool,
    pub tcp: TcpClass,
    /// A neighbour solicitation or advertisement: `nw_dst` is its target.
    pub neighbor_discovery: bool,
}

impl Class {
    /// The bits of [`Class::fragment`].
    pub const FRAGMENT: u8 = 0b0000_0011;
    /// The bit of [`Class::ttl_spent`].
    pub const TTL: u8 = 0b0000_0100;
    /// The bits of [`Class::tcp`].
    pub const TCP: u8 = 0b0001_1000;
    /// Of the bits of [`Class::tcp`] the one that FIN and RST have.
    pub const TCP_ENDS: u8 = 0b0001_0000;
    /// The bit of [`Class::neighbor_discovery`].
    pub const ND: u8 = 0b0010_0000;

    /// The octet of the key.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.fragment as u8
            | (self.ttl_spent as u8) << 2
            | (self.tcp as u8) << 3
            | (self.neighbor_discovery as u8) << 5
    }

    /// Reads the octet of a key; `None` for a value no packet gives.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        let fragment = match octet & Self::FRAGMENT {
            0 => Fragment::None,
            1 => Fragment::First,
            2 => Fragment::Later,
            _ => return None,
        };
        if octet & 0b1100_0000 != 0 {
            return None;
        }
        let tcp = match octet >> 3 & 3 {
            0 => TcpClass::Other,
            1 => TcpClass::Syn,
            2 => TcpClass::Fin,
            _ => TcpClass::Rst,
        };
        Some(Self {
            fragment,
            ttl_spent: octet & Self::TTL != 0,
            tcp,
            neighbor_discovery: octet & Self::ND != 0,
        })
    }
}

/// What the datapath's connection table says of a packet, before its flow is looked up.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Conn {
    /// It belongs to no tracked connection.
    #[default]
    None,
    /// It goes the way the first packet went.
    Forward,
    /// It answers.
    Return,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_octet_round_trips_or_is_refused() {
        for octet in 0..=u8::MAX {
            match Class::from_octet(octet) {
                Some(class) => assert_eq!(class.octet(), octet),
                None => assert!(octet & 0b1100_0000 != 0 || octet & 3 == 3, "{octet:#x}"),
            }
        }
    }
}
