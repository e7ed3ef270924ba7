//! Whole frames of an interface, past the stack of its namespace.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// How often a thread that reads looks whether it is to stop.
const NAP_US: i64 = 20_000;

/// A socket for the frames of an interface, in the calling thread's namespace. Reading ends after
/// a moment without a frame.
pub(crate) fn open(interface: &str) -> io::Result<OwnedFd> {
    let all = SockProtocol::EthAll;
    let opened = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all)?;
    let address = getifaddrs()?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address.filter(|address| address.as_link_addr().is_some()));
    let address = address.ok_or_else(|| io::Error::other(format!("there is no {interface}")))?;
    bind(opened.as_raw_fd(), &address)?;
    setsockopt(&opened, sockopt::ReceiveTimeout, &TimeVal::new(0, NAP_US))?;
    Ok(opened)
}
