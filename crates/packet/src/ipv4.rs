//! The header of IPv4 (RFC 791).

use core::net::Ipv4Addr;

use crate::wire::{take, take_len};
use crate::{IpProtocol, WireError, checksum};

/// The header of an IPv4 packet without its options.
///
/// ```text
/// |Version|  IHL  |      TOS      |          Total Length         |
/// |         Identification        |Flags|      Fragment Offset    |
/// |  Time to Live |    Protocol   |        Header Checksum        |
/// |                         Source Address                        |
/// |                      Destination Address                      |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv4Header {
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// Where in the datagram the payload belongs, in units of 8 octets; 13 bits.
    pub fragment_offset: u16,
    pub ttl: u8,
    pub protocol: IpProtocol,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
}

/// The parts of an IPv4 packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv4Packet<'a> {
    pub header: Ipv4Header,
    /// Options with their padding, 0 to 40 octets, not looked at.
    pub options: &'a [u8],
    /// As long as the total length says; what follows in the frame is not part of the packet.
    pub payload: &'a [u8],
}

impl Ipv4Header {
    /// Octets of a header without options.
    pub const LEN: usize = 20;
    /// The default time to live of packets we make (RFC 1700).
    pub const TTL: u8 = 64;
    const MORE: u16 = 0x2000;
    const DONT: u16 = 0x4000;
    const OFFSET: u16 = 0x1fff;

    /// A header for a whole datagram of ours: not to be fragmented, hence without an
    /// identification (RFC 6864 §4.1).
    #[must_use]
    pub const fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: IpProtocol) -> Self {
        Self {
            tos: 0,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: Self::TTL,
            protocol,
            src,
            dst,
        }
    }

    /// Splits the payload of a frame of type IPv4. The header's checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where the octets end before the header, its options or the total
    /// length; [`WireError::Malformed`] where the version is not 4, the header length is below 5
    /// words or the total length is below the header's.
    pub fn split(octets: &[u8]) -> Result<Ipv4Packet<'_>, WireError> {
        let (fixed, rest) = take::<{ Self::LEN }>(octets, "IPv4 header")?;
        let [
            vihl,
            tos,
            l0,
            l1,
            i0,
            i1,
            f0,
            f1,
            ttl,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = *fixed;
        if vihl >> 4 != 4 {
            return Err(WireError::malformed("IPv4 header", "its version is not 4"));
        }
        let header_len = usize::from(vihl & 0xf) * 4;
        let Some(options_len) = header_len.checked_sub(Self::LEN) else {
            return Err(WireError::malformed("IPv4 header", "it says it has less than 20 octets"));
        };
        let (options, rest) = take_len(rest, options_len, "IPv4 options")?;
        let total = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(payload_len) = total.checked_sub(header_len) else {
            return Err(WireError::malformed("IPv4 header", "the packet is shorter than it"));
        };
        let (payload, _) = take_len(rest, payload_len, "IPv4 payload")?;
        let flags = u16::from_be_bytes([f0, f1]);
        let header = Self {
            tos,
            id: u16::from_be_bytes([i0, i1]),
            dont_fragment: flags & Self::DONT != 0,
            more_fragments: flags & Self::MORE != 0,
            fragment_offset: flags & Self::OFFSET,
            ttl,
            protocol: IpProtocol(protocol),
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
        };
        Ok(Ipv4Packet { header, options, payload })
    }

    /// Whether it is part of a fragmented datagram.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// The header without options in front of `payload_len` octets, checksum included.
    ///
    /// A length that does not fit the total length is cut to 65,535: no packet of ours is so long.
    #[must_use]
    pub fn emit(&self, payload_len: usize) -> [u8; Self::LEN] {
        let total = u16::try_from(Self::LEN + payload_len).unwrap_or(u16::MAX);
        let [l0, l1] = total.to_be_bytes();
        let [i0, i1] = self.id.to_be_bytes();
        let more = if self.more_fragments { Self::MORE } else { 0 };
        let dont = if self.dont_fragment { Self::DONT } else { 0 };
        let [f0, f1] = (self.fragment_offset & Self::OFFSET | more | dont).to_be_bytes();
        let [s0, s1, s2, s3] = self.src.octets();
        let [d0, d1, d2, d3] = self.dst.octets();
        let mut header = [
            0x45,
            self.tos,
            l0,
            l1,
            i0,
            i1,
            f0,
            f1,
            self.ttl,
            self.protocol.0,
            0,
            0,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ];
        [header[10], header[11]] = checksum(&header).to_be_bytes();
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Ipv4Header = Ipv4Header {
        tos: 0xb8,
        id: 0x1234,
        ttl: 7,
        ..Ipv4Header::new(
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(192, 168, 1, 2),
            IpProtocol::UDP,
        )
    };

    fn packet() -> Vec<u8> {
        [&HEADER.emit(4)[..], b"data"].concat()
    }

    #[test]
    fn a_packet_round_trips_and_its_checksum_is_right() {
        let octets = packet();
        let parts = Ipv4Header::split(&octets).unwrap();
        assert_eq!((parts.header, parts.options, parts.payload), (HEADER, &[][..], &b"data"[..]));
        assert_eq!(checksum(&octets[..20]), 0);
    }

    #[test]
    fn what_follows_the_total_length_is_padding() {
        let mut octets = packet();
        octets.extend([0; 22]);
        assert_eq!(Ipv4Header::split(&octets).unwrap().payload, b"data");
    }

    #[test]
    fn a_packet_cut_anywhere_is_truncated() {
        let octets = packet();
        for cut in 0..octets.len() {
            let error = Ipv4Header::split(&octets[..cut]).unwrap_err();
            assert!(matches!(error, WireError::Truncated { .. }), "{cut}: {error}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_malformed() {
        for (at, octet) in [(0, 0x65), (0, 0x44), (0, 0x40), (3, 19)] {
            let mut octets = packet();
            octets[at] = octet;
            let error = Ipv4Header::split(&octets).unwrap_err();
            assert!(matches!(error, WireError::Malformed { .. }), "{at} {octet:#x}: {error}");
        }
    }

    #[test]
    fn options_are_kept_apart_from_the_payload() {
        let mut octets = packet();
        octets[0] = 0x46;
        octets[3] = 28;
        octets.splice(20..20, [0x94, 4, 0, 0]);
        let parts = Ipv4Header::split(&octets).unwrap();
        assert_eq!((parts.options, parts.payload), (&[0x94, 4, 0, 0][..], &b"data"[..]));
    }

    #[test]
    fn either_sign_of_a_fragment_makes_it_one() {
        let fragment = |more_fragments, fragment_offset| {
            let header = Ipv4Header { more_fragments, fragment_offset, ..HEADER };
            Ipv4Header::split(&header.emit(0)).unwrap().header
        };
        assert!(!fragment(false, 0).is_fragment());
        assert!(fragment(true, 0).is_fragment());
        assert!(fragment(false, 0x1fff).is_fragment());
        assert!(fragment(true, 1).dont_fragment, "the other flag stays");
    }
}
