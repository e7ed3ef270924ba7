//! Checks of the members of pools (`HM-*`): which of them this host checks, the conversations, and
//! what they come to.
//!
//! ```text
//! State ──▶ placing: which members are this host's ──▶ Checker ──▶ frames for the router to send
//!                                                        ▲  │
//!                              answers, taken by a walk ─┘  └──▶ verdicts for the state table
//! ```

mod awaited;
mod checker;
mod placing;
mod probe;
mod tally;
#[cfg(test)]
mod tests;

pub use awaited::Awaited;
pub use checker::{Checker, Told};
pub use placing::{Checkers, Whereabouts, whereabouts};
pub use probe::{Goal, Probe};
pub use tally::Tally;

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use mn_ids::{PoolId, PoolMemberId, RouterId};
use mn_topology::{Check, Health};

/// A member in its pool.
pub type MemberKey = (PoolId, PoolMemberId);

/// What is to be checked, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The router before whose load balancer the member is, and its address toward the member.
    pub router: RouterId,
    pub own: IpAddr,
    pub address: IpAddr,
    pub port: NonZeroU16,
    pub check: Check,
    pub delay: Duration,
    pub timeout: Duration,
    /// Checks in a row that must fail before the member counts as dead.
    pub max_retries: NonZeroU32,
}

/// A target as this host takes it over.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    pub target: Target,
    /// What the last checker, here or elsewhere, said of it.
    pub before: Option<Health>,
}
