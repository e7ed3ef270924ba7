//! Changes to the packet that an ICMP error quotes (RFC 5508 §4.2).

use std::net::IpAddr;

use mn_packet::icmp::{is_echo, is_error};
use mn_packet::{
    IcmpHeader, IpProtocol, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader, checksum_update_octets,
};

use super::packet::{Ip, Packet};
use super::rewrite::{End, Misfit, octets, update_udp};

/// A quoted packet.
struct Quoted {
    /// What is known of the packet that quotes.
    outer: Ip,
    /// Where the ICMP message begins.
    message_at: usize,
    /// Where the quoted header begins.
    at: usize,
    /// Where the quoted transport header begins, and its protocol; `None` where it is not quoted
    /// (a later fragment) or not found (IPv6 extension headers are not walked here).
    transport: Option<(usize, IpProtocol)>,
}

impl Quoted {
    /// Where the transport checksum is to be quoted, and whether it covers the addresses.
    fn checksum(&self) -> Option<(usize, bool)> {
        let (transport, protocol) = self.transport?;
        let (offset, covers_addresses) = match protocol {
            IpProtocol::TCP => (TcpHeader::CHECKSUM_AT, true),
            IpProtocol::UDP => (UdpHeader::CHECKSUM_AT, true),
            // What quotes is the ICMP of its version; that of IPv4 has no pseudo header.
            icmp if icmp == self.outer.protocol => (IcmpHeader::CHECKSUM_AT, !self.outer.is_v4),
            _ => return None,
        };
        Some((transport + offset, covers_addresses))
    }
}

impl Packet {
    /// Sets an address of the packet an ICMP error quotes; its port too, or the identifier of an
    /// echo, where the quotation has it.
    ///
    /// The checksums of the quoted IPv4 header, of the quoted transport header where it is quoted
    /// so far, and of the ICMP message follow. What is behind the end of the quoting packet is not
    /// part of the quotation.
    ///
    /// # Errors
    ///
    /// [`Misfit`] where the packet is no ICMP error of its own version, quotes no whole IP header
    /// (without options) or one of another version than `addr`.
    pub fn set_inner(&mut self, end: End, addr: IpAddr, port: Option<u16>) -> Result<(), Misfit> {
        let quoted = self.quoted(addr.is_ipv4())?;
        let (at, len) = end.address(addr.is_ipv4());
        let at = quoted.at + at;
        let (old, new) = (self.frame[at..at + len].to_vec(), octets(&addr));
        if addr.is_ipv4() {
            let checksum_at = quoted.at + 10;
            let checksum = checksum_update_octets(self.word(checksum_at), &old, &new);
            self.store_quoted(&quoted, checksum_at, &checksum.to_be_bytes());
        }
        self.store_quoted(&quoted, at, &new);
        if quoted.checksum().is_some_and(|(_, covers_addresses)| covers_addresses) {
            self.update_quoted(&quoted, &old, &new);
        }
        if let (Some(port), Some(at)) = (port, self.quoted_port(&quoted, end)) {
            let (old, new) = (self.word(at).to_be_bytes(), port.to_be_bytes());
            self.store_quoted(&quoted, at, &new);
            self.update_quoted(&quoted, &old, &new);
        }
        Ok(())
    }

    /// Where the quoted port is, or the identifier of a quoted echo.
    fn quoted_port(&self, quoted: &Quoted, end: End) -> Option<usize> {
        let (transport, protocol) = quoted.transport?;
        let at = transport + if protocol.has_ports() { end.port() } else { 4 };
        if at + 2 > quoted.outer.end {
            return None;
        }
        let echo = || protocol == quoted.outer.protocol && is_echo(protocol, self.frame[transport]);
        (protocol.has_ports() || echo()).then_some(at)
    }

    fn quoted(&self, is_v4: bool) -> Result<Quoted, Misfit> {
        let (outer, message_at) = self.icmp().ok_or(Misfit)?;
        if outer.is_v4 != is_v4 || !is_error(outer.protocol, self.frame[message_at]) {
            return Err(Misfit);
        }
        let at = message_at + IcmpHeader::LEN;
        let quote = self.frame.get(at..outer.end).ok_or(Misfit)?;
        let transport = if is_v4 { quoted_v4(quote) } else { quoted_v6(quote) }?;
        let transport = transport.map(|(offset, protocol)| (at + offset, protocol));
        Ok(Quoted { outer, message_at, at, transport })
    }

    /// Stores whole words of the quotation; the checksum of the message follows.
    fn store_quoted(&mut self, quoted: &Quoted, at: usize, new: &[u8]) {
        if !self.offload.checksum_partial {
            let old = self.frame[at..at + new.len()].to_vec();
            let checksum_at = quoted.message_at + IcmpHeader::CHECKSUM_AT;
            let checksum = checksum_update_octets(self.word(checksum_at), &old, new);
            self.set_word(checksum_at, checksum);
        }
        self.frame[at..at + new.len()].copy_from_slice(new);
    }

    /// Brings the quoted transport checksum along, where it is quoted.
    fn update_quoted(&mut self, quoted: &Quoted, old: &[u8], new: &[u8]) {
        let Some((at, _)) = quoted.checksum() else { return };
        if at + 2 > quoted.outer.end {
            return;
        }
        let before = self.word(at);
        let after = match quoted.transport {
            Some((_, IpProtocol::UDP)) => update_udp(before, old, new),
            _ => checksum_update_octets(before, old, new),
        };
        self.store_quoted(quoted, at, &after.to_be_bytes());
    }
}

/// Where the transport header of a quoted IPv4 packet begins, and its protocol.
fn quoted_v4(quote: &[u8]) -> Result<Option<(usize, IpProtocol)>, Misfit> {
    let header = quote.first_chunk::<{ Ipv4Header::LEN }>().ok_or(Misfit)?;
    let [vihl, _, _, _, _, _, f0, f1, _, protocol, ..] = *header;
    if vihl >> 4 != 4 || vihl & 0xf < 5 {
        return Err(Misfit);
    }
    let is_later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
    Ok((!is_later).then_some((usize::from(vihl & 0xf) * 4, IpProtocol(protocol))))
}

/// Likewise for IPv6.
fn quoted_v6(quote: &[u8]) -> Result<Option<(usize, IpProtocol)>, Misfit> {
    let header = quote.first_chunk::<{ Ipv6Header::LEN }>().ok_or(Misfit)?;
    if header[0] >> 4 != 6 {
        return Err(Misfit);
    }
    Ok(Some((Ipv6Header::LEN, IpProtocol(header[6]))))
}
