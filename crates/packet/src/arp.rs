//! The Address Resolution Protocol for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::wire::take;
use crate::{EtherType, EthernetHeader, Mac, WireError};

/// What an ARP packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArpOp(pub u16);

impl ArpOp {
    pub const REQUEST: Self = Self(1);
    pub const REPLY: Self = Self(2);
}

/// An ARP packet of IPv4 addresses over Ethernet.
///
/// ```text
/// | hardware type 1  | protocol type 0x0800 |
/// |   6   |    4     |       operation      |
/// | sender MAC (6), sender IPv4 (4)         |
/// | target MAC (6), target IPv4 (4)         |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arp {
    pub op: ArpOp,
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target_mac: Mac,
    pub target: Ipv4Addr,
}

impl Arp {
    /// Octets on the wire.
    pub const LEN: usize = 28;
    /// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
    const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

    /// Reads the payload of a frame of type [`EtherType::ARP`]; what follows is padding.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] below 28 octets; [`WireError::Malformed`] where it is not about
    /// IPv4 over Ethernet.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (packet, _) = take::<{ Self::LEN }>(payload, "ARP")?;
        let (kind, rest) = take::<6>(packet, "ARP")?;
        if *kind != Self::KIND {
            return Err(WireError::malformed("ARP", "not IPv4 over Ethernet"));
        }
        let (op, rest) = take::<2>(rest, "ARP")?;
        let (sender_mac, rest) = take::<6>(rest, "ARP")?;
        let (sender, rest) = take::<4>(rest, "ARP")?;
        let (target_mac, rest) = take::<6>(rest, "ARP")?;
        let (target, _) = take::<4>(rest, "ARP")?;
        Ok(Self {
            op: ArpOp(u16::from_be_bytes(*op)),
            sender_mac: Mac(*sender_mac),
            sender: Ipv4Addr::from_octets(*sender),
            target_mac: Mac(*target_mac),
            target: Ipv4Addr::from_octets(*target),
        })
    }

    /// Appends the packet.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::KIND);
        out.extend_from_slice(&self.op.0.to_be_bytes());
        out.extend_from_slice(&self.sender_mac.0);
        out.extend_from_slice(&self.sender.octets());
        out.extend_from_slice(&self.target_mac.0);
        out.extend_from_slice(&self.target.octets());
    }

    /// Who has `target`? Asked by `sender`.
    #[must_use]
    pub const fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { op: ArpOp::REQUEST, sender_mac, sender, target_mac: Mac::ZERO, target }
    }

    /// The answer to this request: its target is at `mac`.
    #[must_use]
    pub const fn reply(&self, mac: Mac) -> Self {
        Self {
            op: ArpOp::REPLY,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// An announcement that `addr` is at `mac`: a request for the own address (RFC 5227 §3 says
    /// why a request and not a reply).
    #[must_use]
    pub const fn gratuitous(mac: Mac, addr: Ipv4Addr) -> Self {
        Self::request(mac, addr, addr)
    }

    /// Whether sender and target are one address: an announcement.
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }

    /// The untagged frame this goes in: from the sender, requests to all, replies to the target.
    #[must_use]
    pub fn ethernet(&self) -> EthernetHeader {
        let dst = if self.op == ArpOp::REQUEST { Mac::BROADCAST } else { self.target_mac };
        EthernetHeader::untagged(self.sender_mac, dst, EtherType::ARP)
    }

    /// The whole frame, with the Ethernet header of [`Self::ethernet`].
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        self.frame_in(&self.ethernet())
    }

    /// The whole frame with this Ethernet header, e.g. a tagged one.
    #[must_use]
    pub fn frame_in(&self, ethernet: &EthernetHeader) -> Vec<u8> {
        let mut out = Vec::with_capacity(ethernet.wire_len() + Self::LEN);
        EthernetHeader { eth_type: EtherType::ARP, ..*ethernet }.emit(&mut out);
        self.emit(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OWNER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_request_has_the_octets_of_the_rfc() {
        let frame = Arp::request(ASKER, A, B).frame();
        let mut want = vec![0xff; 6];
        want.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
        want.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        want.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(frame, want);
    }

    #[test]
    fn a_reply_goes_to_the_asker_alone() {
        let reply = Arp::request(ASKER, A, B).reply(OWNER);
        assert_eq!((reply.sender, reply.target, reply.target_mac), (B, A, ASKER));
        assert_eq!((reply.ethernet().src, reply.ethernet().dst), (OWNER, ASKER));
        assert!(Arp::gratuitous(OWNER, B).is_gratuitous());
    }

    #[test]
    fn packets_round_trip_and_are_refused_cut_short_or_of_another_kind() {
        let arp = Arp::request(ASKER, A, B).reply(OWNER);
        let mut octets = Vec::new();
        arp.emit(&mut octets);
        assert_eq!(Arp::parse(&octets), Ok(arp));
        for cut in 0..Arp::LEN {
            assert!(matches!(Arp::parse(&octets[..cut]), Err(WireError::Truncated { .. })));
        }
        for at in 0..6 {
            let mut other = octets.clone();
            other[at] ^= 0x10;
            assert!(matches!(Arp::parse(&other), Err(WireError::Malformed { .. })), "octet {at}");
        }
    }
}
