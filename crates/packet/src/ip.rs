//! Internet addresses of both versions as one: an IPv4 address is its IPv4-mapped IPv6 address.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address as flow keys hold it: IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
#[must_use]
pub const fn to_v6(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The address a flow key's field stands for.
#[must_use]
pub fn from_v6(addr: Ipv6Addr) -> IpAddr {
    addr.to_canonical()
}

/// The protocol inside an IP packet (IANA protocol numbers).
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const ICMPV6: Self = Self(58);
    /// Hop-by-hop options of IPv6.
    pub const HOP_BY_HOP: Self = Self(0);
    /// A routing header of IPv6.
    pub const ROUTING: Self = Self(43);
    /// A fragment header of IPv6.
    pub const FRAGMENT: Self = Self(44);
    /// Authentication header, of IPv6 here.
    pub const AH: Self = Self(51);
    /// Destination options of IPv6.
    pub const DESTINATION_OPTIONS: Self = Self(60);

    /// Whether its first four octets are source and destination port.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP)
    }

    /// Whether it is an IPv6 extension header that may stand before another header.
    #[must_use]
    pub const fn is_extension(self) -> bool {
        matches!(
            self,
            Self::HOP_BY_HOP
                | Self::ROUTING
                | Self::FRAGMENT
                | Self::AH
                | Self::DESTINATION_OPTIONS
        )
    }

    /// Whether it is ICMP of either version.
    #[must_use]
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmpv6"),
            Self(number) => number.fmt(f),
        }
    }
}

/// A set of addresses of one version that share their first bits: `10.0.1.0/24`, `2001:db8::/32`.
///
/// The bits after the length are zero, so two equal sets are equal values.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IpPrefix {
    network: IpAddr,
    len: u8,
}

impl IpPrefix {
    /// Every IPv4 address.
    pub const ANY_V4: Self = Self { network: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), len: 0 };
    /// Every IPv6 address.
    pub const ANY_V6: Self = Self { network: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// The set `addr` is in; bits of `addr` after `len` are ignored.
    ///
    /// # Errors
    ///
    /// [`PrefixError::TooLong`] above 32 for IPv4 and 128 for IPv6.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = if addr.is_ipv4() { 32 } else { 128 };
        if len > max {
            return Err(PrefixError::TooLong { len, max });
        }
        let network = match addr {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & mask32(len)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & mask128(len)).into()),
        };
        Ok(Self { network, len })
    }

    /// The set of one address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { network: addr, len: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The lowest address.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// How many bits all its addresses share, in the address's own version.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a prefix is never empty; this is its length in bits"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// How many bits of the 128 bits of a flow key's field they share: 96 more for IPv4.
    #[must_use]
    pub const fn len_in_key(&self) -> u8 {
        if self.network.is_ipv4() { self.len + 96 } else { self.len }
    }

    /// Whether the address is in the set. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.contains_key(to_v6(addr))
    }

    /// Whether the address in a flow key's field is in the set.
    #[must_use]
    pub fn contains_key(&self, addr: Ipv6Addr) -> bool {
        addr.to_ipv4_mapped().is_some() == self.network.is_ipv4()
            && addr.to_bits() & mask128(self.len_in_key()) == to_v6(self.network).to_bits()
    }

    /// The broadcast address of an IPv4 subnet that has one (length at most 30).
    #[must_use]
    pub fn broadcast(&self) -> Option<core::net::Ipv4Addr> {
        match self.network {
            IpAddr::V4(v4) if self.len <= 30 => Some((v4.to_bits() | !mask32(self.len)).into()),
            _ => None,
        }
    }
}

/// `len` one bits, then zeros.
fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

/// `len` one bits, then zeros.
fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// Why a value is not an [`IpPrefix`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrefixError {
    /// There is no `/`, or what stands before it is no address or after it no number.
    #[error("{0:?} is not ADDRESS/LENGTH")]
    NotAPrefix(String),
    /// The length does not fit the address's version.
    #[error("a prefix of {len} bits is longer than {max}")]
    TooLong { len: u8, max: u8 },
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wrong = || PrefixError::NotAPrefix(text.to_owned());
        let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
        let addr = addr.parse().map_err(|_| wrong())?;
        let len = len.parse().map_err(|_| wrong())?;
        Self::new(addr, len)
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for IpPrefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpPrefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_forgets_the_bits_after_its_length() {
        for (text, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
        ] {
            let prefix: IpPrefix = text.parse().unwrap();
            assert_eq!(prefix.to_string(), canonical);
        }
        assert_eq!(
            "10.0.0.0/33".parse::<IpPrefix>(),
            Err(PrefixError::TooLong { len: 33, max: 32 })
        );
    }

    #[test]
    fn v4_addresses_are_not_in_the_v6_default() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(IpPrefix::ANY_V4.contains(v4));
        assert!(!IpPrefix::ANY_V6.contains(v4));
        assert!(!IpPrefix::ANY_V4.contains("2001:db8::1".parse().unwrap()));
    }
}
