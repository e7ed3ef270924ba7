//! A tap: an interface whose far end is a file. Workers are woken by one, and tests have no VM.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const IFF_TAP: i16 = 2;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
/// Checksums and TCP over both versions left to us.
const TUN_F_TCP: libc::c_ulong = 1 | 2 | 4;
/// UDP segments too (Linux 6.2).
const TUN_F_UDP: libc::c_ulong = 0x20 | 0x40;

/// `struct ifreq` with flags.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// The file of a tap. Frames have a `virtio_net_hdr` of 10 octets in front.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// Makes a tap with this name in our network namespace, or opens one that nobody has open.
    /// It does not wait for frames.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn open(name: &str) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let fd = OwnedFd::from(file);
        let mut request = InterfaceRequest {
            name: [0; 16],
            flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
            rest: [0; 22],
        };
        for (octet, name) in request.name[..15].iter_mut().zip(name.as_bytes()) {
            *octet = *name;
        }
        // SAFETY: the kernel reads and writes one ifreq, which is 40 octets.
        let made = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        set_offload(&fd, TUN_F_TCP | TUN_F_UDP).or_else(|_| set_offload(&fd, TUN_F_TCP))?;
        nix::fcntl::fcntl(
            fd.as_fd(),
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )?;
        Ok(Self(fd))
    }
}

fn set_offload(fd: &OwnedFd, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the argument is a number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETOFFLOAD, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
