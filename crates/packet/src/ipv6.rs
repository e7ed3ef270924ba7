//! The header of IPv6 and its extension headers (RFC 8200).

use core::net::Ipv6Addr;

use crate::wire::{take, take_len};
use crate::{IpProtocol, WireError};

/// The header of an IPv6 packet.
///
/// ```text
/// |Version| Traffic Class |           Flow Label                  |
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// |                     Source Address (16)                       |
/// |                   Destination Address (16)                    |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv6Header {
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// The first header of the payload, an extension header or the protocol.
    pub next_header: IpProtocol,
    pub hop_limit: u8,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
}

impl Ipv6Header {
    /// Octets on the wire.
    pub const LEN: usize = 40;
    /// The default hop limit of packets we make.
    pub const HOP_LIMIT: u8 = 64;

    /// A header of ours.
    #[must_use]
    pub const fn new(src: Ipv6Addr, dst: Ipv6Addr, next_header: IpProtocol) -> Self {
        Self { traffic_class: 0, flow_label: 0, next_header, hop_limit: Self::HOP_LIMIT, src, dst }
    }

    /// Splits the payload of a frame of type IPv6 into the header and as many octets as the
    /// payload length says. Jumbograms (RFC 2675) are not known: their payload has no octets.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where the octets end before the header or the payload length;
    /// [`WireError::Malformed`] where the version is not 6.
    pub fn split(octets: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (_whole, _) = take::<{ Self::LEN }>(octets, "IPv6 header")?;
        let (fixed, rest) = take::<8>(octets, "IPv6 header")?;
        let [v, t, f0, f1, l0, l1, next_header, hop_limit] = *fixed;
        if v >> 4 != 6 {
            return Err(WireError::malformed("IPv6 header", "its version is not 6"));
        }
        let (src, rest) = take::<16>(rest, "IPv6 header")?;
        let (dst, rest) = take::<16>(rest, "IPv6 header")?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let (payload, _) = take_len(rest, len, "IPv6 payload")?;
        let header = Self {
            traffic_class: v << 4 | t >> 4,
            flow_label: u32::from_be_bytes([0, t & 0xf, f0, f1]),
            next_header: IpProtocol(next_header),
            hop_limit,
            src: Ipv6Addr::from_octets(*src),
            dst: Ipv6Addr::from_octets(*dst),
        };
        Ok((header, payload))
    }

    /// The largest packet that every link carries at least (RFC 8200 §5).
    pub const MTU_MIN: u32 = 1280;

    /// The header in front of `payload_len` octets, which are cut to 65,535: no packet of ours is
    /// so long.
    #[must_use]
    pub fn emit(&self, payload_len: usize) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        let len = u16::try_from(payload_len).unwrap_or(u16::MAX);
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&len.to_be_bytes());
        out[6] = self.next_header.0;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.src.octets());
        out[24..].copy_from_slice(&self.dst.octets());
        out
    }
}

/// The fields of a fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FragmentHeader {
    /// In units of 8 octets; 13 bits.
    pub offset: u16,
    pub more: bool,
    pub id: u32,
}

/// Where the extension headers of a packet end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upper<'a> {
    /// The protocol after the extension headers.
    pub protocol: IpProtocol,
    /// The fragment header, where there is one.
    pub fragment: Option<FragmentHeader>,
    /// The upper-layer header and what follows; for a later fragment what follows its fragment
    /// header.
    pub payload: &'a [u8],
}

/// The most extension headers a packet may have. RFC 8200 §4.1 knows no more than seven places.
pub const EXTENSIONS_MAX: usize = 8;

/// Walks the extension headers of a packet: hop-by-hop options, routing, destination options,
/// fragment and authentication (RFC 4302). Every other protocol ends the walk.
///
/// `first` is the header's next header, `payload` what [`Ipv6Header::split`] gave. The order of the
/// headers is not checked. A fragment with an offset ends the walk, for what follows is not a
/// header; its protocol is what its fragment header says. A fragment header with offset 0 and no
/// more fragments is a whole datagram (RFC 6946).
///
/// # Errors
///
/// For each header in turn: [`WireError::Malformed`] where it is one more than [`EXTENSIONS_MAX`] or
/// a second fragment header; [`WireError::Truncated`] where the payload ends inside it (RFC 7112
/// forbids this for first fragments too).
pub fn walk_extensions(first: IpProtocol, payload: &[u8]) -> Result<Upper<'_>, WireError> {
    let mut upper = Upper { protocol: first, fragment: None, payload };
    for count in 0..=EXTENSIONS_MAX {
        if !upper.protocol.is_extension() {
            return Ok(upper);
        }
        if count == EXTENSIONS_MAX {
            break;
        }
        upper = upper.next()?;
        if upper.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Ok(upper);
        }
    }
    Err(WireError::malformed(EXTENSION, "too many"))
}

const EXTENSION: &str = "IPv6 extension header";

impl Upper<'_> {
    /// Passes over the extension header that `payload` begins with.
    fn next(self) -> Result<Self, WireError> {
        if self.protocol == IpProtocol::FRAGMENT {
            return self.fragment();
        }
        let (&[next, len, ..], _) = take::<8>(self.payload, EXTENSION)?;
        // RFC 8200 §4.3: units of 8 beyond the first 8; RFC 4302 §2.2: units of 4 beyond 8.
        let unit = if self.protocol == IpProtocol::AH { 4 } else { 8 };
        let (_, rest) = take_len(self.payload, 8 + usize::from(len) * unit, EXTENSION)?;
        Ok(Self { protocol: IpProtocol(next), payload: rest, ..self })
    }

    /// Passes over a fragment header.
    fn fragment(self) -> Result<Self, WireError> {
        if self.fragment.is_some() {
            return Err(WireError::malformed(EXTENSION, "two fragment headers"));
        }
        let (&[next, _, o0, o1, i0, i1, i2, i3], rest) = take::<8>(self.payload, EXTENSION)?;
        let offset = u16::from_be_bytes([o0, o1]);
        let header = FragmentHeader {
            offset: offset >> 3,
            more: offset & 1 != 0,
            id: u32::from_be_bytes([i0, i1, i2, i3]),
        };
        Ok(Self { protocol: IpProtocol(next), fragment: Some(header), payload: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Ipv6Header = Ipv6Header {
        traffic_class: 0xb8,
        flow_label: 0xabcde,
        hop_limit: 3,
        ..Ipv6Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED, IpProtocol::UDP)
    };

    #[test]
    fn a_packet_round_trips_and_is_refused_cut_short_or_of_another_version() {
        let mut octets = [&HEADER.emit(4)[..], b"data, padding"].concat();
        assert_eq!(Ipv6Header::split(&octets), Ok((HEADER, &b"data"[..])));
        for cut in 0..44 {
            let error = Ipv6Header::split(&octets[..cut]).unwrap_err();
            assert!(matches!(error, WireError::Truncated { .. }), "{cut}: {error}");
        }
        octets[0] = 0x40;
        assert!(matches!(Ipv6Header::split(&octets), Err(WireError::Malformed { .. })));
        let short = Ipv6Header::split(&octets[..39]);
        assert!(matches!(short, Err(WireError::Truncated { .. })), "a header that is not whole");
    }

    fn fragment(next: u8, offset: u16, more: bool) -> [u8; 8] {
        let [o0, o1] = (offset << 3 | u16::from(more)).to_be_bytes();
        [next, 0, o0, o1, 0, 0, 0, 9]
    }

    #[test]
    fn every_kind_of_extension_header_is_passed_over() {
        let chain = [
            &[43, 0, 0, 0, 0, 0, 0, 0][..], // hop-by-hop, then routing
            &[60, 1, 0, 0, 0, 0, 0, 0],     // routing of 16 octets, then destination options
            &[0; 8],
            &[51, 0, 0, 0, 0, 0, 0, 0], // destination options, then authentication
            &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // authentication of 12 octets, then fragment
            &fragment(6, 0, true),
            b"tcp",
        ]
        .concat();
        let upper = walk_extensions(IpProtocol::HOP_BY_HOP, &chain).unwrap();
        let header = FragmentHeader { offset: 0, more: true, id: 9 };
        let want =
            Upper { protocol: IpProtocol::TCP, fragment: Some(header), payload: &b"tcp"[..] };
        assert_eq!(upper, want);
        for cut in 0..chain.len() - 3 {
            let error = walk_extensions(IpProtocol::HOP_BY_HOP, &chain[..cut]).unwrap_err();
            assert!(matches!(error, WireError::Truncated { .. }), "{cut}: {error}");
        }
    }

    #[test]
    fn a_later_fragment_ends_the_walk_and_an_atomic_one_does_not() {
        let later = [&fragment(60, 1, false)[..], &[0xff; 8]].concat();
        let upper = walk_extensions(IpProtocol::FRAGMENT, &later).unwrap();
        assert_eq!((upper.protocol, upper.payload), (IpProtocol(60), &[0xff; 8][..]));
        let atomic = [&fragment(60, 0, false)[..], &[17, 0, 0, 0, 0, 0, 0, 0], b"udp"].concat();
        let upper = walk_extensions(IpProtocol::FRAGMENT, &atomic).unwrap();
        assert_eq!((upper.protocol, upper.payload), (IpProtocol::UDP, &b"udp"[..]));
    }

    #[test]
    fn a_second_fragment_header_and_a_ninth_extension_header_are_malformed() {
        let twice = [fragment(44, 0, false), fragment(17, 0, false)].concat();
        assert!(walk_extensions(IpProtocol::FRAGMENT, &twice).is_err());
        let options = |count: usize| [[60, 0, 0, 0, 0, 0, 0, 0].repeat(count), vec![0; 64]];
        let chain = |count: usize| {
            let mut chain = options(count).concat();
            chain[(count - 1) * 8] = 59;
            walk_extensions(IpProtocol::DESTINATION_OPTIONS, &chain)
                .map(|upper| upper.protocol)
                .ok()
        };
        assert_eq!(chain(EXTENSIONS_MAX), Some(IpProtocol(59)));
        assert_eq!(chain(EXTENSIONS_MAX + 1), None);
    }
}
