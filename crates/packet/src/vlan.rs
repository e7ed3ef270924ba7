//! VLAN identifiers and tags.

use core::fmt;
use core::num::NonZeroU16;
use core::str::FromStr;

/// A VLAN a frame can be tagged with, 1 to 4094 (IEEE 802.1Q, Table 9-2).
///
/// 0 (priority tag) and 4095 (reserved) name no VLAN, so they have no value of this type.
/// "Untagged" is `None`, never a number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VlanId(NonZeroU16);

impl VlanId {
    /// The highest VLAN, 4094.
    pub const MAX: u16 = 4094;

    /// The number on the wire, 1 to 4094.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for VlanId {
    type Error = VlanIdError;

    fn try_from(number: u16) -> Result<Self, VlanIdError> {
        match NonZeroU16::new(number) {
            Some(id) if number <= Self::MAX => Ok(Self(id)),
            _ => Err(VlanIdError::OutOfRange(number)),
        }
    }
}

impl FromStr for VlanId {
    type Err = VlanIdError;

    fn from_str(text: &str) -> Result<Self, VlanIdError> {
        text.parse::<u16>().map_err(|_| VlanIdError::NotANumber)?.try_into()
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a value is not a [`VlanId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VlanIdError {
    /// The text is not a decimal number that fits 16 bits.
    #[error("a VLAN is a decimal number")]
    NotANumber,
    /// The number names no VLAN.
    #[error("VLAN {0} is outside 1..={max}", max = VlanId::MAX)]
    OutOfRange(u16),
}

/// The tag control information of one 802.1Q tag: priority (3 bits), a bit that flow keys use for
/// "a tag is present" (on the wire: DEI, which we clear), VLAN number (12 bits).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VlanTag(u16);

impl VlanTag {
    /// No tag.
    pub const NONE: Self = Self(0);
    /// The bit of a flow key that says a tag is there.
    pub const PRESENT: u16 = 0x1000;
    /// The three bits of the priority.
    const PRIORITY: u16 = 0xe000;

    /// The tag of a frame in `vlan` with priority 0.
    #[must_use]
    pub const fn of(vlan: VlanId) -> Self {
        Self(Self::PRESENT | vlan.get())
    }

    /// A tag from the TCI on the wire (host order).
    #[must_use]
    pub const fn from_wire(tci: u16) -> Self {
        Self(tci | Self::PRESENT)
    }

    /// A tag from the field of a flow key, where [`Self::PRESENT`] says if there is one.
    #[must_use]
    pub const fn from_key(field: u16) -> Self {
        Self(field)
    }

    /// The field of a flow key.
    #[must_use]
    pub const fn key(self) -> u16 {
        self.0
    }

    /// The same VLAN with the priority (PCP) of another tag.
    #[must_use]
    pub const fn with_priority_of(self, other: Self) -> Self {
        Self((self.0 & !Self::PRIORITY) | (other.0 & Self::PRIORITY))
    }

    /// The TCI to put on the wire, DEI clear (host order).
    #[must_use]
    pub const fn wire(self) -> u16 {
        self.0 & !Self::PRESENT
    }

    /// Whether there is a tag.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// The VLAN it names; `None` for no tag, a priority tag (0) and 4095.
    #[must_use]
    pub fn vlan(self) -> Option<VlanId> {
        if self.is_present() { VlanId::try_from(self.0 & 0xfff).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The domain is 65,536 values: test all of them.
    #[test]
    fn every_number_is_a_vlan_that_round_trips_or_is_refused() {
        for number in 0..=u16::MAX {
            let parsed = number.to_string().parse::<VlanId>();
            if (1..=VlanId::MAX).contains(&number) {
                assert_eq!(parsed.map(|vlan| vlan.to_string()), Ok(number.to_string()));
            } else {
                assert_eq!(parsed, Err(VlanIdError::OutOfRange(number)));
            }
        }
        assert_eq!("0x10".parse::<VlanId>(), Err(VlanIdError::NotANumber));
    }
}
