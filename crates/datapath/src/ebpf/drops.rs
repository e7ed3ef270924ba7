//! Dropped packets, by port and cause.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mn_datapath_abi::{DropKey, Plain};
use mn_flow::{DropCause, PortNo};

use super::open::system;
use super::outputs::all_keys;
use super::sys;
use crate::DatapathError;

/// The table of drops.
#[derive(Clone)]
pub struct Drops(Arc<OwnedFd>);

impl Drops {
    pub fn open(map: OwnedFd) -> Self {
        Self(Arc::new(map))
    }

    /// All that was counted since the datapath was made.
    pub fn all(&self) -> Result<Vec<(PortNo, DropCause, u64)>, DatapathError> {
        let mut out = Vec::new();
        for key in all_keys(self.0.as_fd(), size_of::<DropKey>())? {
            let mut value = [0; 8];
            if !sys::map_lookup(self.0.as_fd(), &key, &mut value).map_err(system("bpf"))? {
                continue;
            }
            let key = DropKey::from_octets(&key).unwrap_or_default();
            let cause = u16::try_from(key.cause).ok().and_then(DropCause::from_code);
            if let Some(cause) = cause {
                out.push((PortNo(key.port), cause, u64::from_ne_bytes(value)));
            }
        }
        Ok(out)
    }

    /// Counts packets that no program counted.
    pub fn count(&self, port: PortNo, cause: DropCause, packets: u64) {
        let key = DropKey { port: port.0, cause: cause as u32 };
        let mut value = [0; 8];
        let before = sys::map_lookup(self.0.as_fd(), key.octets(), &mut value);
        let count = if let Ok(true) = before { u64::from_ne_bytes(value) } else { 0 };
        // Racing with a program that counts the same costs a count, not a packet.
        let _ = sys::map_update(self.0.as_fd(), key.octets(), (count + packets).octets());
    }
}
