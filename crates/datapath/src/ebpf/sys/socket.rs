//! Sockets that send frames.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;

use super::owned;

/// A packet socket that sends on one interface, takes a `virtio_net_hdr` before each frame, and
/// marks all it sends.
pub fn packet_socket(ifindex: u32, mark: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only. Protocol 0: nothing is received.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = owned(fd.into())?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_MARK, mark)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a whole sockaddr_ll of the length given.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

fn set_option(fd: &OwnedFd, level: i32, option: i32, value: u32) -> io::Result<()> {
    // SAFETY: the option's value is a u32 that lives during the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
