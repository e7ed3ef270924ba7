//! The system calls that no safe wrapper has, and memory shared with the kernel. The only unsafe
//! code of this crate.

#![expect(unsafe_code, reason = "bpf(2), mmap(2) and raw sockets")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use mn_datapath_abi::Plain;
use nix::libc;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Array maps that can be mapped into memory.
pub const BPF_F_MMAPABLE: u32 = 1 << 10;
pub const BPF_MAP_TYPE_ARRAY: u32 = 2;
pub const BPF_MAP_TYPE_RINGBUF: u32 = 27;

/// `union bpf_attr` for operations on elements.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for `BPF_MAP_CREATE`, as far as we use it.
#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct MapInfo {
    pub map_type: u32,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
}

/// Calls bpf(2) with an attribute block of this type.
fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` octets of `attr`, which is `repr(C)`;
    // addresses in it were taken from references that live until after the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>() as libc::c_long)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The file descriptor a call has made.
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Makes an inner map.
pub fn map_create(kind: u32, value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type: kind,
        key_size: if kind == BPF_MAP_TYPE_RINGBUF { 0 } else { 4 },
        value_size,
        max_entries: entries,
        map_flags: flags,
        name: *b"mn_inner\0\0\0\0\0\0\0\0",
        ..CreateAttr::default()
    };
    owned(bpf(BPF_MAP_CREATE, &mut attr)?)
}

/// Reads the value of a key into `value`; `false` where there is none. The buffer must be as long
/// as the map's values (of all processors, for a per-processor map), which is checked.
pub fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        zero: 0,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets the value of a key.
pub fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        zero: 0,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Removes a key; `false` where it was not there.
pub fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    let mut attr =
        ElementAttr { map_fd: raw(map), zero: 0, key: key.as_ptr() as u64, value: 0, flags: 0 };
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Turns `key` into the key after it, `None` into the first; `false` after the last.
pub fn map_next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        zero: 0,
        key: key.map_or(0, |key| key.as_ptr() as u64),
        value: next.as_mut_ptr() as u64,
        flags: 0,
    };
    match bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a map by its number.
pub fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = [id, 0, 0];
    owned(bpf(BPF_MAP_GET_FD_BY_ID, &mut attr)?)
}

/// What a map is.
pub fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let mut attr = InfoAttr {
        fd: raw(map),
        len: u32::try_from(size_of::<MapInfo>()).unwrap_or(0),
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Waits until every program that ran when this was called has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` waits for an RCU grace period, and tc programs run inside one.
pub fn grace_period() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the struct it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Waits until the descriptor can be read, at most so long; whether it can.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(i32::try_from(timeout.subsec_nanos()).unwrap_or(0)),
    };
    // SAFETY: one pollfd and one timespec, both alive; no signal mask.
    let result = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    match result {
        0.. => Ok(result > 0),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

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

/// An array map in our memory. The kernel's programs read and write it at the same time, so whole
/// values are copied by words and may be torn; what must not be torn is atomic.
#[derive(Debug)]
pub struct Shared<T> {
    base: NonNull<u8>,
    len: usize,
    stride: usize,
    value: PhantomData<T>,
}

// SAFETY: the memory is the kernel's, stays mapped as long as this value, and is only accessed
// through atomics.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: likewise.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// Maps an array of `entries` values; the map must have as many of this size.
    pub fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        let info = map_info(map)?;
        if info.value_size as usize != size_of::<T>()
            || info.map_type != BPF_MAP_TYPE_ARRAY
            || info.flags & BPF_F_MMAPABLE == 0
        {
            return Err(io::Error::other("a pinned map has another layout"));
        }
        let len = info.max_entries as usize;
        let stride = size_of::<T>().next_multiple_of(8);
        // SAFETY: a fresh mapping of a whole map, whose size in octets the kernel checks.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                stride * len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap at 0"))?;
        Ok(Self { base, len, stride, value: PhantomData })
    }

    /// How many values it has.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The word `at` octets into a value.
    pub fn word(&self, index: usize, at: usize) -> &AtomicU64 {
        assert!(index < self.len && at.is_multiple_of(8) && at + 8 <= self.stride);
        // SAFETY: inside the mapping (asserted), aligned to 8 as mapping, stride and `at` are.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(index * self.stride + at).cast()) }
    }

    /// The half word `at` octets into a value.
    pub fn half(&self, index: usize, at: usize) -> &AtomicU32 {
        assert!(index < self.len && at.is_multiple_of(4) && at + 4 <= self.stride);
        // SAFETY: inside the mapping (asserted), aligned to 4 as mapping, stride and `at` are.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(index * self.stride + at).cast()) }
    }

    /// Copies a value out.
    pub fn read(&self, index: usize) -> T {
        use std::sync::atomic::Ordering::Relaxed;
        let mut out = T::default();
        let octets = out_octets(&mut out);
        for (n, chunk) in octets.chunks_mut(8).enumerate() {
            let word = self.word(index, 8 * n).load(Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        out
    }

    /// Copies a value in.
    pub fn write(&self, index: usize, value: &T) {
        self.write_from(index, 0, value.octets());
    }

    /// Copies octets in, `at` (a multiple of 8) octets into a value; a last word that is not whole
    /// is filled with zeros.
    pub fn write_from(&self, index: usize, at: usize, octets: &[u8]) {
        use std::sync::atomic::Ordering::Relaxed;
        for (n, chunk) in octets.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(index, at + 8 * n).store(u64::from_ne_bytes(word), Relaxed);
        }
    }
}

/// The octets of a value, to be written.
fn out_octets<T: Plain>(value: &mut T) -> &mut [u8] {
    // SAFETY: a `Plain` value is `size_of::<T>()` octets, any of which are a value.
    unsafe { std::slice::from_raw_parts_mut((&raw mut *value).cast(), size_of::<T>()) }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and nothing refers to it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.stride * self.len) };
    }
}
