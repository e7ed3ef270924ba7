//! The header of VXLAN (RFC 7348 §5).

use crate::WireError;
use crate::wire::take;

/// The header in front of the inner frame.
///
/// ```text
/// |R|R|R|R|I|R|R|R|            Reserved                           |
/// |                VXLAN Network Identifier (VNI) |   Reserved    |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VxlanHeader {
    /// 24 bits; the upper octet is not sent.
    pub vni: u32,
}

impl VxlanHeader {
    /// Octets on the wire.
    pub const LEN: usize = 8;
    /// The UDP port it is sent to.
    pub const PORT: u16 = 4789;
    /// The I flag: the VNI field is valid.
    const FLAG_VNI: u8 = 0x08;

    /// Splits the payload of a UDP datagram into its header and the inner frame.
    ///
    /// Reserved bits are ignored, as §5 requires of a receiver.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] below 8 octets; [`WireError::Malformed`] when the I flag is clear.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, inner) = take::<{ Self::LEN }>(datagram, "VXLAN header")?;
        let [flags, _, _, _, a, b, c, _] = *header;
        if flags & Self::FLAG_VNI == 0 {
            return Err(WireError::malformed("VXLAN header", "it has no VNI"));
        }
        Ok((Self { vni: u32::from_be_bytes([0, a, b, c]) }, inner))
    }

    /// The octets to put in front of the inner frame, reserved bits zero.
    #[must_use]
    pub const fn emit(self) -> [u8; Self::LEN] {
        let [_, a, b, c] = self.vni.to_be_bytes();
        [Self::FLAG_VNI, 0, 0, 0, a, b, c, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VNI_5001: VxlanHeader = VxlanHeader { vni: 5001 };

    #[test]
    fn emits_the_octets_of_the_rfc_and_splits_them_again() {
        assert_eq!(VNI_5001.emit(), [0x08, 0, 0, 0, 0x00, 0x13, 0x89, 0]);
        let datagram = [&VNI_5001.emit()[..], b"inner"].concat();
        assert_eq!(VxlanHeader::split(&datagram), Ok((VNI_5001, &b"inner"[..])));
    }

    #[test]
    fn ignores_reserved_bits_and_refuses_what_names_no_segment() {
        let noisy = [0xff, 0xff, 0xff, 0xff, 0x00, 0x13, 0x89, 0xff];
        assert_eq!(VxlanHeader::split(&noisy), Ok((VNI_5001, &[][..])));
        assert!(matches!(VxlanHeader::split(&[0; 8]), Err(WireError::Malformed { .. })));
        for got in 0..VxlanHeader::LEN {
            let cut = &VNI_5001.emit()[..got];
            assert!(matches!(VxlanHeader::split(cut), Err(WireError::Truncated { .. })));
        }
    }
}
