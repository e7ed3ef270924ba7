//! What a worker has done, for others to read.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mn_agent_core::PortLimit;
use mn_flow::{DropCause, PortNo};

/// One worker's numbers. The worker writes, anyone reads.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) upcalls: Count,
    pub(crate) simulations: Count,
    pub(crate) installed: Count,
    pub(crate) invalidated: Count,
    pub(crate) evicted: Count,
    pub(crate) expired: Count,
    pub(crate) failed: Count,
    /// What the flows that left had carried.
    pub(crate) left_packets: Count,
    pub(crate) left_octets: Count,
    pub(crate) adopted: Count,
    pub(crate) replaced: Count,
    /// From the agent's start until its last adopted flow was decided about.
    pub(crate) adoption_ms: Count,
    /// Messages to the control thread that found its queue full.
    pub(crate) unheard: Count,
    /// Addresses of bridges' networks that were heard at another MAC than before.
    pub(crate) moved_addresses: Count,
    pub(crate) flows: Count,
    /// Translations that were made, those that are known, and blocks of ports.
    pub(crate) translated: Count,
    pub(crate) translations: Count,
    pub(crate) nat_blocks: Count,
    /// Wishes for ports that were refused: none is left to lease.
    pub(crate) nat_exhausted: Count,
    /// Clients that are not tied to their member: as many are as may be.
    pub(crate) untied: Count,
    /// Segments that flows could not tell of.
    pub(crate) untold: Count,
    pub(crate) waiting: Count,
    pub(crate) unverified: Count,
    /// Packets dropped here and not in the datapath. Copied once a second, off the packet path.
    pub(crate) drops: Mutex<HashMap<(PortNo, DropCause), u64>>,
    /// How often ports ran into limits for which nothing is dropped. Likewise.
    pub(crate) pressed: Mutex<HashMap<(PortNo, PortLimit), u64>>,
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
