//! A VM of a test's own making: it says and hears frames as they are, tags and all.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::{LabError, Namespace, Outcome, sys};

/// The `virtio_net_hdr` before each frame of a tap: nothing is left to the other side.
const HEADER: [u8; 10] = [0; 10];
const FRAME_BYTES_MAX: usize = 65_536;

/// A tap on a host that this process holds.
#[derive(Debug)]
pub struct Wire {
    tap: File,
    heard: Receiver<Vec<u8>>,
}

impl Wire {
    /// Makes a tap in a host's namespace, up, and listens to it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(host: &Namespace, interface: &str) -> Outcome<Self> {
        let what = || LabError::machine(format!("open the tap {interface}"));
        let name = interface.to_owned();
        let tap = host.enter(move || sys::open_tap(&name))?.map_err(what())?;
        // A host's stack has nothing to say on a VM's interface.
        host.set(&format!("ipv6/conf/{interface}/disable_ipv6"), "1")?;
        host.ip(&format!("link set {interface} up"))?;
        let mut from = tap.try_clone().map_err(what())?;
        let (to, heard) = mpsc::channel();
        // Ends when the tap goes with its namespace, or nobody listens any more.
        std::thread::spawn(move || {
            let mut octets = vec![0; FRAME_BYTES_MAX];
            while let Ok(len) = from.read(&mut octets) {
                let frame = octets.get(HEADER.len()..len).unwrap_or_default().to_vec();
                if to.send(frame).is_err() {
                    break;
                }
            }
        });
        Ok(Self { tap, heard })
    }

    /// Says a frame.
    ///
    /// # Errors
    /// When the tap takes nothing.
    pub fn send(&self, frame: &[u8]) -> Outcome {
        let octets = [&HEADER, frame].concat();
        let sent = (&self.tap).write_all(&octets);
        sent.map_err(LabError::machine("send a frame"))
    }

    /// Whether a frame comes for which this holds, before the time is over. Frames that come before
    /// it are forgotten.
    pub fn hears(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(frame) if wanted(&frame) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}
