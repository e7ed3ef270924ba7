//! A VM on a tap, as a hypervisor makes it: a process that holds the host's tap and hands frames
//! to the guest. The guest is a namespace with a tap of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;

use crate::namespace::Namespace;
use crate::{LabError, Outcome, sys};

/// The largest frame with its `virtio_net_hdr`: 64 KiB of IP, Ethernet, two tags, ten octets.
const FRAME_BYTES_MAX: usize = 65_536 + 14 + 8 + 10;

/// Opens a tap in each namespace and hands every frame of one to the other, until killed.
///
/// # Errors
/// When a tap cannot be opened or vanishes.
pub fn bridge_taps(host: (&str, &str), guest: (&str, &str)) -> Outcome {
    let outer = open(host)?;
    let inner = open(guest)?;
    let clone = |file: &File| file.try_clone().map_err(LabError::machine("duplicate a tap"));
    let (from_guest, to_host) = (clone(&inner)?, clone(&outer)?);
    let up = thread::spawn(move || forward(from_guest, to_host));
    let down = forward(outer, inner);
    down.and(up.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .map_err(LabError::machine("hand frames between taps"))
}

fn open((namespace, name): (&str, &str)) -> Outcome<File> {
    let what = format!("open the tap {name} in {namespace}");
    let name = name.to_owned();
    Namespace::existing(namespace)
        .enter(move || sys::open_tap(&name))?
        .map_err(LabError::machine(what))
}

fn forward(mut from: File, mut to: File) -> io::Result<()> {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    loop {
        let length = match from.read(&mut frame) {
            Ok(length) => length,
            Err(error) if is_passing(&error) => {
                thread::sleep(std::time::Duration::from_millis(5));
                continue;
            }
            Err(error) => return Err(error),
        };
        match to.write(&frame[..length]) {
            Ok(_) => {}
            // A tap that is down takes nothing, as a cable that is not plugged in.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a tap's refusal passes when the interface comes up or its queue empties. EINVAL is the
/// kernel's word on a frame with a header it does not take.
fn is_passing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let passing = [Errno::EIO, Errno::ENOBUFS, Errno::EAGAIN, Errno::EINTR, Errno::EINVAL];
    error.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}
