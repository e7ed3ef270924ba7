//! Changes to headers, checksums kept as right or wrong as they were.

use std::net::IpAddr;

use mn_flow::Rewrite;
use mn_packet::icmp::is_echo;
use mn_packet::{
    EtherType, EthernetHeader, IcmpHeader, IpProtocol, TcpHeader, UdpHeader, VlanTag,
    checksum_update_octets,
};

use super::packet::{Ip, Packet};

/// The packet has not what an action changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Misfit;

/// Which end of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    /// Where the address stands in its header, and its length.
    pub const fn address(self, is_v4: bool) -> (usize, usize) {
        match (self, is_v4) {
            (Self::Source, true) => (12, 4),
            (Self::Destination, true) => (16, 4),
            (Self::Source, false) => (8, 16),
            (Self::Destination, false) => (24, 16),
        }
    }

    /// Where the port stands in its header.
    pub const fn port(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Destination => 2,
        }
    }
}

/// What a transport checksum covers besides the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Covered {
    /// The pseudo-header.
    Pseudo,
    /// The message itself.
    Message,
}

/// The octets of an address.
pub(super) fn octets(addr: &IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

impl Packet {
    /// Changes one header.
    ///
    /// # Errors
    ///
    /// [`Misfit`] where the packet has no such header; it is then as it was before.
    pub fn rewrite(&mut self, rewrite: Rewrite) -> Result<(), Misfit> {
        self.rewritten |= matches!(
            rewrite,
            Rewrite::NwSrc(_)
                | Rewrite::NwDst(_)
                | Rewrite::TpSrc(_)
                | Rewrite::TpDst(_)
                | Rewrite::IcmpId(_)
                | Rewrite::PushVlan(_)
                | Rewrite::PopVlan
                | Rewrite::Answer { .. }
        );
        match rewrite {
            Rewrite::EthDst(mac) => self.frame[..6].copy_from_slice(&mac.0),
            Rewrite::EthSrc(mac) => self.frame[6..12].copy_from_slice(&mac.0),
            Rewrite::NwSrc(addr) => self.set_address(End::Source, addr)?,
            Rewrite::NwDst(addr) => self.set_address(End::Destination, addr)?,
            Rewrite::NwTos(tos) => self.set_tos(tos)?,
            Rewrite::TpSrc(port) => self.set_port(End::Source, port)?,
            Rewrite::TpDst(port) => self.set_port(End::Destination, port)?,
            Rewrite::IcmpId(id) => self.set_icmp_id(id)?,
            Rewrite::Answer { mac, router } => self.answer(mac, router)?,
            Rewrite::DecTtl => self.dec_ttl()?,
            Rewrite::PushVlan(tag) => self.push_vlan(tag),
            Rewrite::PopVlan => self.pop_vlan()?,
            Rewrite::InnerSrc(addr, port) => self.set_inner(End::Source, addr, port)?,
            Rewrite::InnerDst(addr, port) => self.set_inner(End::Destination, addr, port)?,
        }
        Ok(())
    }

    fn set_address(&mut self, end: End, addr: IpAddr) -> Result<(), Misfit> {
        let ip = self.ip.filter(|ip| ip.is_v4 == addr.is_ipv4()).ok_or(Misfit)?;
        let (at, len) = end.address(ip.is_v4);
        let at = self.network_at + at;
        let (old, new) = (self.frame[at..at + len].to_vec(), octets(&addr));
        self.update_transport(ip, Covered::Pseudo, &old, &new);
        self.store_network(ip, at, &new);
        Ok(())
    }

    fn set_tos(&mut self, tos: u8) -> Result<(), Misfit> {
        let ip = self.ip.ok_or(Misfit)?;
        let at = self.network_at;
        let (first, second) = (self.frame[at], self.frame[at + 1]);
        let new = if ip.is_v4 {
            [first, tos]
        } else {
            [first & 0xf0 | tos >> 4, tos << 4 | second & 0xf]
        };
        self.store_network(ip, at, &new);
        Ok(())
    }

    fn dec_ttl(&mut self) -> Result<(), Misfit> {
        let ip = self.ip.ok_or(Misfit)?;
        let hops = self.hops().ok_or(Misfit)?.checked_sub(1).ok_or(Misfit)?;
        let at = self.network_at;
        if ip.is_v4 {
            let protocol = self.frame[at + 9];
            self.store_network(ip, at + 8, &[hops, protocol]);
        } else {
            self.frame[at + 7] = hops;
        }
        Ok(())
    }

    /// Stores whole words of the network header; the IPv4 header's checksum follows.
    fn store_network(&mut self, ip: Ip, at: usize, new: &[u8]) {
        if ip.is_v4 {
            let old = self.frame[at..at + new.len()].to_vec();
            let checksum_at = self.network_at + 10;
            let checksum = checksum_update_octets(self.word(checksum_at), &old, new);
            self.set_word(checksum_at, checksum);
        }
        self.frame[at..at + new.len()].copy_from_slice(new);
    }

    /// A later fragment follows the first, whose port is set.
    fn set_port(&mut self, end: End, port: u16) -> Result<(), Misfit> {
        if self.is_later_fragment() {
            return Ok(());
        }
        let ip = self.ip.filter(|ip| ip.protocol.has_ports()).ok_or(Misfit)?;
        let at = ip.transport_at.ok_or(Misfit)? + end.port();
        self.store_transport(ip, at, port);
        Ok(())
    }

    fn set_icmp_id(&mut self, id: u16) -> Result<(), Misfit> {
        if self.is_later_fragment() {
            return Ok(());
        }
        let (ip, at) = self.icmp().ok_or(Misfit)?;
        if !is_echo(ip.protocol, self.frame[at]) {
            return Err(Misfit);
        }
        self.store_transport(ip, at + 4, id);
        Ok(())
    }

    /// The ICMP message of this packet's own version: what is known of the packet, and where the
    /// message begins.
    pub fn icmp(&self) -> Option<(Ip, usize)> {
        let ip = self.ip?;
        let own = if ip.is_v4 { IpProtocol::ICMP } else { IpProtocol::ICMPV6 };
        Some((ip, ip.transport_at.filter(|_| ip.protocol == own)?))
    }

    /// Stores a word of the transport message; its checksum follows.
    pub fn store_transport(&mut self, ip: Ip, at: usize, new: u16) {
        let old = self.word(at).to_be_bytes();
        self.update_transport(ip, Covered::Message, &old, &new.to_be_bytes());
        self.set_word(at, new);
    }

    /// Brings the transport checksum along.
    ///
    /// A UDP checksum of 0 is "not computed" and stays so; over IPv6 too, where tunnels may send
    /// it (RFC 6935). A partial checksum is the sum of the pseudo-header, not complemented, and
    /// covers nothing else.
    pub fn update_transport(&mut self, ip: Ip, covered: Covered, old: &[u8], new: &[u8]) {
        let Some(at) = checksum_at(ip, covered) else { return };
        let before = self.word(at);
        let after = if self.offload.checksum_partial {
            match covered {
                Covered::Pseudo => !checksum_update_octets(!before, old, new),
                Covered::Message => before,
            }
        } else if ip.protocol == IpProtocol::UDP {
            update_udp(before, old, new)
        } else {
            checksum_update_octets(before, old, new)
        };
        self.set_word(at, after);
    }

    fn push_vlan(&mut self, tag: VlanTag) {
        let [a, b] = EtherType::VLAN.0.to_be_bytes();
        let [c, d] = tag.wire().to_be_bytes();
        self.frame.splice(12..12, [a, b, c, d]);
        self.shift(EthernetHeader::TAG_LEN as isize);
    }

    fn pop_vlan(&mut self) -> Result<(), Misfit> {
        if !EtherType(self.word(12)).is_tag() || self.frame.len() < 18 {
            return Err(Misfit);
        }
        self.frame.drain(12..12 + EthernetHeader::TAG_LEN);
        self.shift(-(EthernetHeader::TAG_LEN as isize));
        Ok(())
    }

    /// Says that everything after the addresses has moved.
    fn shift(&mut self, by: isize) {
        // A frame whose third tag was popped has no network header that we know.
        self.network_at = self.network_at.saturating_add_signed(by).max(EthernetHeader::LEN);
        if let Some(ip) = &mut self.ip {
            ip.end = ip.end.saturating_add_signed(by);
            ip.transport_at = ip.transport_at.map(|at| at.saturating_add_signed(by));
        }
    }

    pub fn is_later_fragment(&self) -> bool {
        self.ip.is_some_and(|ip| ip.transport_at.is_none())
    }

    /// The 16-bit number at this place.
    pub fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.frame[at], self.frame[at + 1]])
    }

    pub fn set_word(&mut self, at: usize, word: u16) {
        self.frame[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }
}

/// Where the transport checksum stands that covers a field; `None` where there is none.
fn checksum_at(ip: Ip, covered: Covered) -> Option<usize> {
    let at = ip.transport_at?;
    match ip.protocol {
        IpProtocol::TCP => Some(at + TcpHeader::CHECKSUM_AT),
        IpProtocol::UDP => Some(at + UdpHeader::CHECKSUM_AT),
        IpProtocol::ICMPV6 if !ip.is_v4 => Some(at + IcmpHeader::CHECKSUM_AT),
        // ICMP has no pseudo-header (RFC 792).
        IpProtocol::ICMP if ip.is_v4 && covered == Covered::Message => {
            Some(at + IcmpHeader::CHECKSUM_AT)
        }
        _ => None,
    }
}

/// A UDP checksum for changed octets: 0 stays, and no other becomes 0 (RFC 768).
pub(super) fn update_udp(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    match checksum {
        0 => 0,
        before => match checksum_update_octets(before, old, new) {
            0 => 0xffff,
            after => after,
        },
    }
}
