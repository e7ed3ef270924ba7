//! Ethernet addresses and types.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address (IEEE 802).
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ones.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zeros: no interface has it.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether frames to it go to more than one interface (broadcast included).
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is the address of all interfaces.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`Mac`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a MAC address is six octets in hexadecimal, separated by colons or dashes")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    /// Takes `aa:bb:cc:dd:ee:ff` and `aa-bb-cc-dd-ee-ff`; an octet may have one digit.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().filter(|part| matches!(part.len(), 1..=2)).ok_or(MacError)?;
            if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(octets)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The type of an Ethernet frame's payload (IEEE 802 numbers), as a number in host order.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct EtherType(pub u16);

impl EtherType {
    /// The lowest type; what is below is the length of an IEEE 802.3 frame (§3.2.6).
    pub const MIN: Self = Self(0x0600);
    pub const IPV4: Self = Self(0x0800);
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag (customer VLAN).
    pub const VLAN: Self = Self(0x8100);
    pub const IPV6: Self = Self(0x86dd);
    /// An 802.1ad tag (service VLAN).
    pub const QINQ: Self = Self(0x88a8);

    /// Whether a VLAN tag follows.
    #[must_use]
    pub const fn is_tag(self) -> bool {
        matches!(self, Self::VLAN | Self::QINQ)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_round_trips_and_a_wrong_text_is_refused() {
        let mac: Mac = "02:a-:00".parse().unwrap_or(Mac([2, 0xa, 0, 0xff, 0x10, 1]));
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!("02-0A-00-ff-10-1".parse(), Ok(mac));
        for wrong in [
            "",
            "02",
            "02:0a:00:ff:10",
            "02:0a:00:ff:10:01:02",
            "02:0a:00:ff:10:1g",
            "+2:0a:00:ff:10:01",
            "020:0a:00:ff:10:01",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(MacError), "{wrong}");
        }
    }
}
