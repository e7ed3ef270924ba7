//! From single checks to a verdict.

use std::num::NonZeroU32;

use mn_topology::Health;

/// What the checks of a member have come to so far.
///
/// ```text
///             a check passes
///   (none) ─────────────────────▶ ACTIVE ◀────────────┐
///     │                             │                 │ a check passes
///     └── `max_retries` in a row ───┴──▶ INACTIVE ────┘
///              fail
/// ```
///
/// One check that passes is enough: a member that came back is used within one interval (`HM-02`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    health: Option<Health>,
    failed: u32,
}

impl Tally {
    /// Goes on from what another said.
    #[must_use]
    pub const fn after(health: Option<Health>) -> Self {
        Self { health, failed: 0 }
    }

    /// The verdict; none before the first.
    #[must_use]
    pub const fn health(&self) -> Option<Health> {
        self.health
    }

    /// Counts a check. The verdict, where it is another now.
    pub fn count(&mut self, passed: bool, max_retries: NonZeroU32) -> Option<Health> {
        self.failed = if passed { 0 } else { self.failed.saturating_add(1) };
        let now = match (passed, self.failed >= max_retries.get()) {
            (true, _) => Health::Active,
            (false, true) => Health::Inactive,
            (false, false) => return None,
        };
        (self.health.replace(now) != Some(now)).then_some(now)
    }
}
