//! Why a datagram was not taken.

/// Why a datagram was not taken. Each is counted by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Refused {
    /// Not from a member of the zone.
    #[error("its sender is no member of the zone")]
    Stranger,
    #[error("it is longer than any of ours")]
    Oversized,
    /// Lengths, numbers or kinds that no datagram of this version has.
    #[error("it cannot be read")]
    Malformed,
    /// Not made with the zone's key, or not for this host.
    #[error("it is not authentic")]
    Forged,
    /// Seen before, too old to know, or of an earlier life of its sender.
    #[error("it was here before")]
    Replayed,
    /// For an earlier life of this host.
    #[error("it is for an earlier life of this host")]
    Stale,
}

impl Refused {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Stranger,
        Self::Oversized,
        Self::Malformed,
        Self::Forged,
        Self::Replayed,
        Self::Stale,
    ];

    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Stale => "stale",
        }
    }
}
