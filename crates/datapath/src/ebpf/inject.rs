//! Frames of ours: sent on the inject device, whose program carries out their actions.
//!
//! Each socket marks its frames with the place of its action list. The program runs inside the
//! send call, so a list may be written anew as soon as the call has returned.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mn_datapath_abi::limits::INJECT_SLOTS;
use mn_datapath_abi::{Inject, Plain};
use nix::sys::socket::{MsgFlags, sendmsg};

use super::action::Slots;
use super::open::system;
use super::sys::{self, Shared};
use crate::{DatapathError, Offload};

mod vnet;

/// The sockets of the inject device.
pub struct Injector {
    lists: Shared<Inject>,
    /// Socket n marks with n + 1: the kernel's own packets on the device have mark 0.
    sockets: Vec<Mutex<OwnedFd>>,
    next: AtomicUsize,
}

impl Injector {
    /// As many sockets as there may be threads that send at the same time.
    pub fn open(
        lists: Shared<Inject>,
        ifindex: u32,
        threads: usize,
    ) -> Result<Self, DatapathError> {
        lists.write(0, &Inject::default());
        let sockets = (1..=threads.clamp(1, INJECT_SLOTS - 1))
            .map(|mark| {
                sys::packet_socket(ifindex, u32::try_from(mark).unwrap_or(0))
                    .map(Mutex::new)
                    .map_err(system("opening a packet socket"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { lists, sockets, next: AtomicUsize::new(0) })
    }

    /// Carries out a list of actions with a frame.
    pub fn send(&self, frame: &[u8], offload: Offload, slots: &Slots) -> Result<(), DatapathError> {
        let header = vnet::header(frame, offload)?;
        let start = self.next.fetch_add(1, Relaxed);
        let count = self.sockets.len();
        let free = (0..count)
            .map(|n| (start + n) % count)
            .find_map(|place| self.sockets[place].try_lock().ok().map(|socket| (place, socket)));
        let (place, socket) = match free {
            Some(free) => free,
            None => {
                let place = start % count;
                let socket =
                    self.sockets[place].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (place, socket)
            }
        };
        let list = Inject { slots: slots.len.into(), zero: 0, actions: slots.slots };
        let used = 8 + 8 * usize::from(slots.len);
        self.lists.write_from(place + 1, 0, &list.octets()[..used]);
        let parts = [IoSlice::new(&header), IoSlice::new(frame)];
        let none = None::<&nix::sys::socket::LinkAddr>;
        match sendmsg(socket.as_raw_fd(), &parts, &[], MsgFlags::empty(), none) {
            // The program has sent it nowhere or has sent copies only, and has counted that.
            Ok(_) | Err(nix::errno::Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(system("sending a frame")(error.into())),
        }
    }
}
