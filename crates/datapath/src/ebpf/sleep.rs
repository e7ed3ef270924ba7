//! How a worker sleeps, and is woken.
//!
//! The programs wake one that says it sleeps, and no other. The ring's own way to wake is an
//! interrupt that the CPU sends itself: dear in a virtual machine (14 µs were measured in a nested
//! one, of 24 µs that a whole TCP connection takes). So a worker has a tap, and the packet that is
//! asked about is sent there once a copy of it is in the ring (ADR 0023).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mn_datapath_abi::Bell as AbiBell;

use super::netlink::Netlink;
use super::open::{silence, system};
use super::sys::{self, Shared, Tap};
use crate::{Bell, DatapathError};

/// Taps of workers are called this, and their number.
const DEVICE: &str = "mn-bell";

/// One worker's sleep.
pub struct Sleep {
    worker: usize,
    bells: Shared<AbiBell>,
    /// What the programs ring; none where the system has no taps: they use the ring's own way then.
    tap: Option<Tap>,
    /// What other threads ring.
    rung: Arc<File>,
}

impl Sleep {
    /// Makes a worker's tap, which goes with it.
    pub fn open(bells: BorrowedFd<'_>, worker: usize) -> Result<Self, DatapathError> {
        let bells = Shared::<AbiBell>::map(bells).map_err(system("mmap"))?;
        let opened = open_tap(&format!("{DEVICE}{worker}"));
        let (tap, ifindex) = match opened {
            Ok((tap, ifindex)) => (Some(tap), ifindex),
            Err(error) => {
                tracing::warn!(%error, worker, "no tap to wake a worker by: packets that are asked \
                    about take longer");
                (None, 0)
            }
        };
        bells.half(worker, AbiBell::ASLEEP_AT).store(0, SeqCst);
        bells.half(worker, AbiBell::IFINDEX_AT).store(ifindex, SeqCst);
        let rung = Arc::new(sys::event().map_err(system("eventfd"))?);
        Ok(Self { worker, bells, tap, rung })
    }

    /// From here on the programs wake the worker.
    pub fn announce(&self) {
        // An exchange, not a store: what is looked for afterwards must not be read before.
        self.bells.half(self.worker, AbiBell::ASLEEP_AT).swap(1, SeqCst);
    }

    /// From here on they need not.
    pub fn end(&self) {
        self.bells.half(self.worker, AbiBell::ASLEEP_AT).store(0, SeqCst);
    }

    /// Waits until something is there, or somebody rings.
    pub fn wait(&self, ring: BorrowedFd<'_>, timeout: Duration) -> Result<(), DatapathError> {
        let rung = self.rung.as_fd();
        // Without a tap the ring stands there twice.
        let tap = self.tap.as_ref().map_or(ring, AsFd::as_fd);
        let [is_tap, is_rung, _] =
            sys::wait_readable([tap, rung, ring], timeout).map_err(system("poll"))?;
        // What they say is that they were rung.
        if is_rung {
            let _ = (&*self.rung).read(&mut [0; 8]);
        }
        if is_tap && let Some(tap) = &self.tap {
            // A large packet may have come in pieces.
            while nix::unistd::read(tap.as_fd(), &mut [0; 64]).is_ok() {}
        }
        Ok(())
    }

    /// What any thread ends a wait with.
    pub fn bell(&self) -> Bell {
        let rung = Arc::clone(&self.rung);
        // Full only when nobody listened for 2^64 times.
        Bell::new(move || drop((&*rung).write(&1_u64.to_ne_bytes())))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.bells.half(self.worker, AbiBell::IFINDEX_AT).store(0, SeqCst);
    }
}

/// A tap that the host's own stack has nothing to do with, and its number.
fn open_tap(name: &str) -> io::Result<(Tap, u32)> {
    let tap = Tap::open(name)?;
    let ifindex = nix::net::if_::if_nametoindex(name)?;
    silence(name);
    Netlink::open()?.set_up(ifindex)?;
    Ok((tap, ifindex))
}
