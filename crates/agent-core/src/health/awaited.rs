//! The answers that this host waits for.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use mn_simulation::CheckKey;

/// The conversations under way: one thread holds them, packet workers look here whether a packet to
/// a router's address is of one. They look for packets to the ports of checks alone.
#[derive(Debug, Default)]
pub struct Awaited(RwLock<HashSet<CheckKey>>);

impl Awaited {
    /// Whether such an answer is waited for.
    #[must_use]
    pub fn has(&self, key: &CheckKey) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Waits for answers; whether it did not before.
    pub fn insert(&self, key: CheckKey) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key)
    }

    /// Waits no more.
    pub fn remove(&self, key: &CheckKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
