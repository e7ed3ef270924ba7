//! The datapath's own numbers.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A port of one host's datapath. The agent gives them out; they are not interface indexes, so
/// flows survive an interface that goes and returns.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct PortNo(pub u32);

impl PortNo {
    /// No port: where packets of our own come from.
    pub const NONE: Self = Self(0);
    /// The tunnel device.
    pub const TUNNEL: Self = Self(1);
    /// The first number given to a bound interface.
    pub const FIRST_BOUND: Self = Self(16);
}

/// An index into the table of hosts we tunnel to.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct PeerIndex(pub u32);

/// An index into the table of output groups.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct GroupIndex(pub u32);

/// The device whose connections a `track` action belongs to, as a number of this host's datapath.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct Zone(pub u32);

/// Names one installed flow for as long as it is installed, also across agents.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct Cookie(pub u64);

impl Cookie {
    /// The worker whose flow it is: the first octet.
    #[must_use]
    pub const fn worker(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// What a tunnel key names at its receiver.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub enum KeyKind {
    /// One activation of one port.
    Port,
    /// An exact set of ports: one flood copy for all of them.
    Group,
    /// Messages between agents.
    State,
}

/// The key (VNI) of a tunnelled packet: 24 bits, scoped to its receiver.
///
/// ```text
///  23 22   21    20                      0
/// | type | mark |         value           |
/// ```
///
/// The mark is set by the sender's datapath, never here: see [`TunnelKey::MARK`].
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct TunnelKey(u32);

impl TunnelKey {
    /// The highest value.
    pub const VALUE_MAX: u32 = (1 << 21) - 1;
    /// The bit of a VNI that marks the forward direction of a tracked connection.
    pub const MARK: u32 = 1 << 21;

    /// The key of this kind and value; `None` where the value does not fit 21 bits.
    #[must_use]
    pub const fn new(kind: KeyKind, value: u32) -> Option<Self> {
        if value > Self::VALUE_MAX {
            return None;
        }
        let kind = match kind {
            KeyKind::Port => 0,
            KeyKind::Group => 1,
            KeyKind::State => 2,
        };
        Some(Self(kind << 22 | value))
    }

    /// The key in a VNI and whether the mark was set; `None` for the reserved type and for more
    /// than 24 bits.
    #[must_use]
    pub const fn from_vni(vni: u32) -> Option<(Self, bool)> {
        if vni >> 24 != 0 || vni >> 22 == 3 {
            return None;
        }
        Some((Self(vni & !Self::MARK), vni & Self::MARK != 0))
    }

    /// What it names.
    #[must_use]
    pub const fn kind(self) -> KeyKind {
        match self.0 >> 22 {
            0 => KeyKind::Port,
            1 => KeyKind::Group,
            _ => KeyKind::State,
        }
    }

    /// The value, at most [`Self::VALUE_MAX`].
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0 & Self::VALUE_MAX
    }

    /// The VNI on the wire, mark clear.
    #[must_use]
    pub const fn vni(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#x}", self.kind(), self.value())
    }
}

impl fmt::Display for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}
