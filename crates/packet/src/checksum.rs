//! The Internet checksum (RFC 1071), its update (RFC 1624), and pseudo-headers.

use core::net::IpAddr;

use crate::IpProtocol;

/// The Internet checksum of `data`, as a number in host order.
///
/// Over data that contains its own right checksum the result is 0. An odd octet at the end counts
/// as if a zero octet followed (RFC 1071 §1).
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    !fold(sum(data))
}

/// The checksum of a TCP, UDP or ICMPv6 message between two addresses, pseudo-header included.
///
/// `message` is the whole message from the first octet of its header on, its checksum field
/// holding zero (or the right checksum: then the result is 0). IPv4: RFC 9293 §3.1, RFC 768; IPv6:
/// RFC 8200 §8.1.
///
/// # The caller's part
///
/// A UDP result of 0 is sent as `0xffff`: see [`udp_checksum`]. Both addresses are of one version;
/// the pseudo-header's sum does not depend on where in it an address stands.
#[must_use]
pub fn transport_checksum(src: IpAddr, dst: IpAddr, protocol: IpProtocol, message: &[u8]) -> u16 {
    !fold(u64::from(pseudo_header(src, dst, protocol, message.len())) + sum(message))
}

/// [`transport_checksum`] of a UDP datagram: never 0, which would mean "not computed" (RFC 768).
#[must_use]
pub fn udp_checksum(src: IpAddr, dst: IpAddr, datagram: &[u8]) -> u16 {
    match transport_checksum(src, dst, IpProtocol::UDP, datagram) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The ones' complement sum of a pseudo-header: what the checksum field of a packet holds whose
/// checksum is left to the device that sends it.
#[must_use]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: IpProtocol, len: usize) -> u16 {
    let addr = |addr| match addr {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    fold(addr(src) + addr(dst) + u64::from(protocol.0) + len as u64)
}

/// Updates an Internet checksum for a 16-bit word of the covered data that changed from `old`
/// to `new`.
///
/// All three are numbers in host order, as `u16::from_be_bytes` reads them from a header. To
/// rewrite an IPv4 address, call it once per half. Constant time; the packet is not read.
///
/// The result equals a full recomputation unless the covered data becomes all zero, which no
/// IPv4 header and no pseudo-header is.
///
/// # The caller's part
///
/// A UDP checksum of 0 over IPv4 means "not computed" (RFC 768): leave it alone. A UDP result of
/// 0 is sent as `0xffff`.
///
/// # Source
///
/// RFC 1624 §3, equation 3: `HC' = ~(~HC + ~m + m')`, in ones' complement arithmetic. Not the
/// equation of RFC 1141, which the same section shows to differ from a full recomputation where
/// a sum crosses zero.
#[must_use]
pub fn checksum_update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// [`checksum_update`] for every 16-bit word of two equally long pieces of even length that stand
/// at an even place of the covered data.
#[must_use]
pub fn checksum_update_octets(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert!(old.len() == new.len() && old.len().is_multiple_of(2), "whole words for words");
    !fold(u64::from(!checksum) + u64::from(!fold(sum(old))) + sum(new))
}

/// The sum of the 16-bit words of `data`, carries not yet added back. No input is long enough to
/// overflow 64 bits.
fn sum(data: &[u8]) -> u64 {
    let (words, odd) = data.as_chunks::<2>();
    let words: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
    match odd {
        [octet] => words + (u64::from(*octet) << 8),
        _ => words,
    }
}

/// Adds the carries of a ones' complement sum back into its low 16 bits.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> u16 {
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        checksum(&octets)
    }

    #[test]
    fn gives_the_sum_of_the_example_in_rfc_1071_section_3() {
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(checksum(&[0x12, 0x34, 0x56]), checksum(&[0x12, 0x34, 0x56, 0]));
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn an_update_agrees_with_a_full_recomputation_for_every_new_word() {
        for old in [0x0000, 0x0001, 0x5555, 0xfffe, 0xffff] {
            let before = words(&[0x4500, old, 0xc0a8]);
            for new in 0..=u16::MAX {
                let after = words(&[0x4500, new, 0xc0a8]);
                assert_eq!(checksum_update(before, old, new), after);
                let (old, new) = (old.to_be_bytes(), new.to_be_bytes());
                assert_eq!(checksum_update_octets(before, &old, &new), after);
            }
        }
    }

    #[test]
    fn an_update_gives_the_result_of_the_example_in_rfc_1624_section_4() {
        assert_eq!(checksum_update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing_over_either_version() {
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            let mut message = *b"\x12\x34\x00\x35\x00\x0b\x00\x00abc";
            let sum = udp_checksum(src, dst, &message);
            message[6..8].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(transport_checksum(src, dst, IpProtocol::UDP, &message), 0);
        }
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        let (src, dst) = ("0.0.0.0".parse().unwrap(), "0.0.0.0".parse().unwrap());
        // 17 (protocol) + 2 (length) and a word that fills up to 0xffff.
        let word = (0xffff_u16 - 17 - 2).to_be_bytes();
        assert_eq!(transport_checksum(src, dst, IpProtocol::UDP, &word), 0);
        assert_eq!(udp_checksum(src, dst, &word), 0xffff);
    }
}
