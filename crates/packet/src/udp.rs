//! The header of UDP (RFC 768).

use core::net::IpAddr;

use crate::wire::{take, take_len};
use crate::{WireError, udp_checksum};

/// The ports of a UDP datagram.
///
/// ```text
/// |          Source Port          |       Destination Port        |
/// |            Length             |           Checksum            |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UdpHeader {
    pub src: u16,
    pub dst: u16,
}

impl UdpHeader {
    /// Octets on the wire.
    pub const LEN: usize = 8;
    /// Where the checksum stands.
    pub const CHECKSUM_AT: usize = 6;

    /// Splits the payload of an IP packet into the header and as many octets as its length says.
    /// The checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where the octets end before the header or its length;
    /// [`WireError::Malformed`] where the length is below 8.
    pub fn split(octets: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, rest) = take::<{ Self::LEN }>(octets, "UDP header")?;
        let [s0, s1, d0, d1, l0, l1, _, _] = *header;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(payload_len) = len.checked_sub(Self::LEN) else {
            return Err(WireError::malformed("UDP header", "the datagram is shorter than it"));
        };
        let (payload, _) = take_len(rest, payload_len, "UDP payload")?;
        let header = Self { src: u16::from_be_bytes([s0, s1]), dst: u16::from_be_bytes([d0, d1]) };
        Ok((header, payload))
    }

    /// The datagram with `payload` between two addresses, checksum included.
    ///
    /// A payload above 65,527 octets is cut: no datagram of ours is so long.
    #[must_use]
    pub fn datagram(&self, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
        let payload = &payload[..payload.len().min(usize::from(u16::MAX) - Self::LEN)];
        let mut out = Vec::with_capacity(Self::LEN + payload.len());
        out.extend_from_slice(&self.src.to_be_bytes());
        out.extend_from_slice(&self.dst.to_be_bytes());
        out.extend_from_slice(&((Self::LEN + payload.len()) as u16).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(payload);
        let checksum = udp_checksum(src, dst, &out);
        out[Self::CHECKSUM_AT..Self::LEN].copy_from_slice(&checksum.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IpProtocol, transport_checksum};

    #[test]
    fn a_datagram_round_trips_and_is_refused_cut_short() {
        let header = UdpHeader { src: 68, dst: 67 };
        let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let octets = header.datagram(src, dst, b"odd");
        assert_eq!(transport_checksum(src, dst, IpProtocol::UDP, &octets), 0);
        assert_eq!(UdpHeader::split(&octets), Ok((header, &b"odd"[..])));
        for cut in 0..octets.len() {
            assert!(matches!(UdpHeader::split(&octets[..cut]), Err(WireError::Truncated { .. })));
        }
        for len in 0..8 {
            let mut short = octets.clone();
            short[5] = len;
            assert!(matches!(UdpHeader::split(&short), Err(WireError::Malformed { .. })));
        }
    }
}
