//! Array maps as memory.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use mn_datapath_abi::Plain;
use nix::libc;

use super::{BPF_F_MMAPABLE, BPF_MAP_TYPE_ARRAY, map_info};

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
    /// Maps an array; its values must have this size.
    pub fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        let entries = map_info(map)?.max_entries as usize;
        Self::map_part(map, 0, entries)
    }

    /// Maps some values of an array, from the first of them on; together they begin and end at a
    /// page. What is mapped counts as our memory from then on, whether it is used or not.
    pub fn map_part(map: BorrowedFd<'_>, first: usize, len: usize) -> io::Result<Self> {
        let info = map_info(map)?;
        if info.value_size as usize != size_of::<T>()
            || info.map_type != BPF_MAP_TYPE_ARRAY
            || info.flags & BPF_F_MMAPABLE == 0
        {
            return Err(io::Error::other("a pinned map has another layout"));
        }
        let stride = size_of::<T>().next_multiple_of(8);
        let begin = libc::off_t::try_from(stride * first).map_err(io::Error::other)?;
        // SAFETY: a fresh mapping of a map, whose size in octets the kernel checks.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                stride * len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                begin,
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
