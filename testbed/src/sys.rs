//! The one file of the testbed with `unsafe`: opening a tap device.
#![expect(unsafe_code, reason = "there is no safe wrapper for the ioctls of /dev/net/tun")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// From linux/if_tun.h.
const IFF_TAP: i16 = 0x0002;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const TUN_F_CSUM: u32 = 0x01;
const TUN_F_TSO4: u32 = 0x02;
const TUN_F_TSO6: u32 = 0x04;

nix::ioctl_write_int!(tun_set_iff, b'T', 202);
nix::ioctl_write_int!(tun_set_offload, b'T', 208);

/// `struct ifreq` of linux/if.h, as far as TUNSETIFF reads it: name, flags, padding to 40 octets.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    padding: [u8; 22],
}

/// Opens the tap of this name in the calling thread's network namespace, making it when it is not
/// there. Frames come with a `virtio_net_hdr` of ten octets, and large ones are taken whole.
pub(crate) fn open_tap(name: &str) -> io::Result<File> {
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
        padding: [0; 22],
    };
    let octets = name.as_bytes();
    if octets.len() >= request.name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface's name is too long"));
    }
    request.name[..octets.len()].copy_from_slice(octets);
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: TUNSETIFF reads a `struct ifreq` (40 octets) at the given address and keeps no
    // pointer; `request` has that layout and outlives the call.
    unsafe { tun_set_iff(file.as_raw_fd(), (&raw const request) as u64) }?;
    // SAFETY: TUNSETOFFLOAD takes flags by value; the descriptor is open.
    unsafe { tun_set_offload(file.as_raw_fd(), u64::from(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) }?;
    Ok(file)
}
