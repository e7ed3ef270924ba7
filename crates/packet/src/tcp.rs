//! The header of TCP (RFC 9293), and the reset that answers a segment.

use core::net::IpAddr;
use core::ops::BitOr;

use crate::wire::{take, take_len};
use crate::{
    EthernetHeader, IpPacket, IpProtocol, Ipv4Header, WireError, eth_type_of, ip_packet,
    transport_checksum,
};

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The header of a segment without its options.
///
/// ```text
/// |          Source Port          |       Destination Port        |
/// |                        Sequence Number                        |
/// |                    Acknowledgment Number                      |
/// | Offset| Rsrvd |     Flags     |             Window            |
/// |           Checksum            |         Urgent Pointer        |
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpHeader {
    pub src: u16,
    pub dst: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: TcpFlags,
    pub window: u16,
}

impl TcpHeader {
    /// Octets of a header without options.
    pub const LEN: usize = 20;
    /// Where the checksum stands.
    pub const CHECKSUM_AT: usize = 16;

    /// Splits the payload of an IP packet into the header and the segment's data, options left
    /// out. The checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where the octets end before the header or its options;
    /// [`WireError::Malformed`] where the data offset is below 5 words.
    pub fn split(octets: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, rest) = take::<{ Self::LEN }>(octets, "TCP header")?;
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
        let Some(options) = (usize::from(offset >> 4) * 4).checked_sub(Self::LEN) else {
            return Err(WireError::malformed("TCP header", "it says it has less than 20 octets"));
        };
        let (_, data) = take_len(rest, options, "TCP options")?;
        let header = Self {
            src: u16::from_be_bytes([s0, s1]),
            dst: u16::from_be_bytes([d0, d1]),
            seq: u32::from_be_bytes([q0, q1, q2, q3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(flags),
            window: u16::from_be_bytes([w0, w1]),
        };
        Ok((header, data))
    }

    /// The segment with `data` and no options between two addresses, checksum included.
    #[must_use]
    pub fn segment(&self, src: IpAddr, dst: IpAddr, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN + data.len());
        out.extend_from_slice(&self.src.to_be_bytes());
        out.extend_from_slice(&self.dst.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.to_be_bytes());
        out.extend_from_slice(&[5 << 4, self.flags.0]);
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(data);
        let checksum = transport_checksum(src, dst, IpProtocol::TCP, &out);
        out[Self::CHECKSUM_AT..Self::CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
        out
    }

    /// The reset that refuses this segment, which carried `data_len` octets; `None` for a reset,
    /// which is never answered.
    ///
    /// RFC 9293 §3.10.7.1: with ACK the reset takes its sequence number from the acknowledgment;
    /// without, it has number 0 and acknowledges the segment, SYN and FIN counted.
    #[must_use]
    pub fn reset(&self, data_len: usize) -> Option<Self> {
        if self.flags.has(TcpFlags::RST) {
            return None;
        }
        let reset = Self { src: self.dst, dst: self.src, ..Self::default() };
        if self.flags.has(TcpFlags::ACK) {
            return Some(Self { seq: self.ack, flags: TcpFlags::RST, ..reset });
        }
        let control =
            u32::from(self.flags.has(TcpFlags::SYN)) + u32::from(self.flags.has(TcpFlags::FIN));
        let ack = self.seq.wrapping_add(data_len as u32).wrapping_add(control);
        Some(Self { ack, flags: TcpFlags::RST | TcpFlags::ACK, ..reset })
    }
}

/// The frame that refuses the segment in `refused` as its destination would, in a frame with this
/// Ethernet header (its type is set here).
///
/// `None` where it is no segment whose header is whole, or itself a reset. The checksum of
/// `refused` is not looked at.
#[must_use]
pub fn reset_frame(ethernet: &EthernetHeader, refused: &IpPacket<'_>) -> Option<Vec<u8>> {
    if refused.protocol != IpProtocol::TCP || refused.fragment.is_some() {
        return None;
    }
    let (header, data) = TcpHeader::split(refused.payload).ok()?;
    let (from, to) = (refused.dst, refused.src);
    let segment = header.reset(data.len())?.segment(from, to, &[]);
    let packet = ip_packet(from, to, Ipv4Header::TTL, IpProtocol::TCP, &segment);
    Some(EthernetHeader { eth_type: eth_type_of(from), ..*ethernet }.frame(&packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EtherType, Layers, Mac};

    const SYN: TcpHeader = TcpHeader {
        src: 40000,
        dst: 80,
        seq: u32::MAX,
        ack: 0,
        flags: TcpFlags::SYN,
        window: 64240,
    };

    #[test]
    fn a_segment_round_trips_and_is_refused_cut_short() {
        let (src, dst) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let octets = SYN.segment(src, dst, b"data");
        assert_eq!(transport_checksum(src, dst, IpProtocol::TCP, &octets), 0);
        assert_eq!(TcpHeader::split(&octets), Ok((SYN, &b"data"[..])));
        for cut in 0..TcpHeader::LEN {
            assert!(matches!(TcpHeader::split(&octets[..cut]), Err(WireError::Truncated { .. })));
        }
    }

    #[test]
    fn the_data_offset_decides_where_the_data_begins() {
        let addr = "10.0.0.1".parse().unwrap();
        let mut octets = SYN.segment(addr, addr, b"opt.data");
        let mut data_at = |words: u8| {
            octets[12] = words << 4;
            TcpHeader::split(&octets).map(|(_, data)| data.to_vec())
        };
        assert_eq!(data_at(6), Ok(b"data".to_vec()));
        assert!(matches!(data_at(4), Err(WireError::Malformed { .. })));
        assert!(matches!(data_at(8), Err(WireError::Truncated { .. })));
    }

    #[test]
    fn a_reset_has_the_numbers_of_the_rfc() {
        let reset = SYN.reset(0).unwrap();
        assert_eq!((reset.seq, reset.ack, reset.flags), (0, 0, TcpFlags::RST | TcpFlags::ACK));
        assert_eq!((reset.src, reset.dst, reset.window), (80, 40000, 0));
        let fin = TcpHeader { flags: TcpFlags::FIN, seq: 100, ..SYN };
        assert_eq!(fin.reset(10).unwrap().ack, 111);
        let data = TcpHeader { flags: TcpFlags::ACK, seq: 100, ack: 7, ..SYN };
        let reset = data.reset(10).unwrap();
        assert_eq!((reset.seq, reset.ack, reset.flags), (7, 0, TcpFlags::RST));
        assert_eq!(reset.reset(0), None, "a reset is never answered");
    }

    #[test]
    fn a_refused_segment_is_answered_by_its_destination_however_it_came() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let fin = TcpHeader { flags: TcpFlags::FIN, ..SYN };
            let packet = ip_packet(src, dst, 9, IpProtocol::TCP, &fin.segment(src, dst, b"abc"));
            let mut frame =
                EthernetHeader::untagged(mac(1), mac(2), eth_type_of(src)).frame(&packet);
            // Padding is not data.
            frame.extend([0; 6]);
            let layers = Layers::of(&frame).unwrap();
            let ethernet = EthernetHeader::untagged(mac(2), mac(1), EtherType(0));
            let reset = reset_frame(&ethernet, layers.ip().unwrap()).unwrap();
            let layers = Layers::of(&reset).unwrap();
            let ip = layers.ip().unwrap();
            assert_eq!((ip.src, ip.dst, ip.ports()), (dst, src, Some((80, 40000))));
            assert_eq!(transport_checksum(ip.src, ip.dst, ip.protocol, ip.payload), 0);
            assert_eq!(TcpHeader::split(ip.payload).unwrap().0.ack, 3);
            assert_eq!(reset_frame(&ethernet, ip), None);
        }
    }
}
