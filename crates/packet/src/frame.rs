//! The header of an Ethernet frame and its VLAN tags.

use crate::wire::take;
use crate::{EtherType, Mac, VlanTag, WireError};

/// The header of an Ethernet frame (IEEE 802.3) with at most two VLAN tags (IEEE 802.1Q).
///
/// A third tag is not taken as one: the type is then [`EtherType::VLAN`] or [`EtherType::QINQ`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EthernetHeader {
    pub dst: Mac,
    pub src: Mac,
    /// The outer tag.
    pub vlan: VlanTag,
    /// The inner tag; only where there is an outer one.
    pub inner_vlan: VlanTag,
    /// What follows the tags. A number below 0x600 is a length (IEEE 802.3 §3.2.6).
    pub eth_type: EtherType,
}

impl EthernetHeader {
    /// Octets of a header without tags.
    pub const LEN: usize = 14;
    /// Octets a tag adds.
    pub const TAG_LEN: usize = 4;

    /// Splits a frame, tags in line and without FCS, into its header and its payload.
    ///
    /// The DEI bit of a tag is not kept.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where the frame ends inside the addresses, the type or a tag.
    pub fn split(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (dst, rest) = take::<6>(frame, "Ethernet header")?;
        let (src, rest) = take::<6>(rest, "Ethernet header")?;
        let (mut eth_type, mut rest) = take::<2>(rest, "Ethernet header")?;
        let mut tags = [VlanTag::NONE; 2];
        for tag in &mut tags {
            if !EtherType(u16::from_be_bytes(*eth_type)).is_tag() {
                break;
            }
            let (tci, after) = take::<2>(rest, "VLAN tag")?;
            *tag = VlanTag::from_wire(u16::from_be_bytes(*tci));
            (eth_type, rest) = take::<2>(after, "VLAN tag")?;
        }
        let [vlan, inner_vlan] = tags;
        let eth_type = EtherType(u16::from_be_bytes(*eth_type));
        Ok((Self { dst: Mac(*dst), src: Mac(*src), vlan, inner_vlan, eth_type }, rest))
    }

    /// An untagged header.
    #[must_use]
    pub const fn untagged(src: Mac, dst: Mac, eth_type: EtherType) -> Self {
        Self { dst, src, vlan: VlanTag::NONE, inner_vlan: VlanTag::NONE, eth_type }
    }

    /// The header of an answer from `src`: to the source, with the same tags and type.
    #[must_use]
    pub const fn reply_from(&self, src: Mac) -> Self {
        Self { dst: self.src, src, ..*self }
    }

    /// Octets on the wire, 14 to 22.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        let tags = self.vlan.is_present() as usize + self.inner_vlan.is_present() as usize;
        Self::LEN + tags * Self::TAG_LEN
    }

    /// Appends the header. Tags go out as 802.1Q tags (0x8100), the outer one too.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.dst.0);
        out.extend_from_slice(&self.src.0);
        for tag in [self.vlan, self.inner_vlan] {
            if tag.is_present() {
                out.extend_from_slice(&EtherType::VLAN.0.to_be_bytes());
                out.extend_from_slice(&tag.wire().to_be_bytes());
            }
        }
        out.extend_from_slice(&self.eth_type.0.to_be_bytes());
    }

    /// A frame of this header and `payload`.
    #[must_use]
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.wire_len() + payload.len());
        self.emit(&mut out);
        out.extend_from_slice(payload);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTAGGED: EthernetHeader =
        EthernetHeader::untagged(Mac([2, 0, 0, 0, 0, 1]), Mac::BROADCAST, EtherType::ARP);

    fn tag(number: u16) -> VlanTag {
        VlanTag::from_wire(number)
    }

    #[test]
    fn headers_with_no_one_and_two_tags_round_trip_and_are_refused_cut_short() {
        for (vlan, inner_vlan) in [
            (VlanTag::NONE, VlanTag::NONE),
            (tag(7), VlanTag::NONE),
            (tag(0), VlanTag::NONE),
            (tag(0xe005), tag(0x0ffe)),
        ] {
            let header = EthernetHeader { vlan, inner_vlan, ..UNTAGGED };
            let frame = header.frame(b"payload");
            assert_eq!(EthernetHeader::split(&frame), Ok((header, &b"payload"[..])));
            for cut in 0..header.wire_len() {
                assert!(
                    matches!(
                        EthernetHeader::split(&frame[..cut]),
                        Err(WireError::Truncated { .. })
                    ),
                    "{header:?} cut to {cut}"
                );
            }
        }
    }

    #[test]
    fn a_third_tag_is_payload() {
        let two = EthernetHeader { vlan: tag(1), inner_vlan: tag(2), ..UNTAGGED };
        let mut frame = EthernetHeader { eth_type: EtherType::QINQ, ..two }.frame(&[]);
        frame.extend_from_slice(&[0, 3, 8, 0]);
        let (header, payload) = EthernetHeader::split(&frame).unwrap();
        assert_eq!((header.eth_type, payload), (EtherType::QINQ, &[0, 3, 8, 0][..]));
    }
}
