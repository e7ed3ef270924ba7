//! What was exchanged, for metrics and tests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use mn_flowstate::Refused;

use crate::worker::report::Count;

/// Counted since the agent began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: Count,
    pub(crate) received: Count,
    /// Records that were told and that were taken.
    pub(crate) told: Count,
    pub(crate) taken: Count,
    /// Records that came again.
    pub(crate) repeated: Count,
    /// Datagrams the network refused.
    pub(crate) unsent: Count,
    /// Copies of other hosts' translations.
    pub(crate) copies: Count,
    /// Records that peers are not known to have.
    pub(crate) owed: Count,
    /// Records dropped because a peer was away for too long.
    pub(crate) dropped: Count,
    refused: Mutex<BTreeMap<Refused, u64>>,
}

impl Counts {
    pub(super) fn refuse(&self, cause: Refused) {
        if let Ok(mut refused) = self.refused.lock() {
            *refused.entry(cause).or_default() += 1;
        }
    }

    /// Datagrams not taken, by cause; those that never came too.
    pub(crate) fn refused(&self) -> BTreeMap<Refused, u64> {
        let counted = self.refused.lock().map(|refused| refused.clone()).unwrap_or_default();
        Refused::ALL.map(|cause| (cause, counted.get(&cause).copied().unwrap_or(0))).into()
    }
}
