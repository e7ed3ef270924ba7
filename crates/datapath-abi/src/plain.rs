//! Values that are their octets.

/// A value every octet of which is part of it (no padding) and for which any octets are a value.
///
/// # Safety
///
/// The type is `#[repr(C)]` of integers and arrays of them, and has no padding.
pub unsafe trait Plain: Copy + Default + 'static {
    /// Its octets.
    fn octets(&self) -> &[u8] {
        // SAFETY: the value has `size_of::<Self>()` initialised octets (no padding), and lives as
        // long as the slice.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast(), size_of::<Self>()) }
    }

    /// The value with these octets; `None` where there are too few.
    fn from_octets(octets: &[u8]) -> Option<Self> {
        if octets.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: there are enough octets, any octets are a value, and they need no alignment.
        Some(unsafe { octets.as_ptr().cast::<Self>().read_unaligned() })
    }
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(
            // SAFETY: `#[repr(C)]` of integers only; the assertions beside the type show that its
            // size is the sum of its fields.
            unsafe impl $crate::Plain for $type {}
        )*
    };
}

pub(crate) use plain;

plain!(u32, u64, [u8; 16]);
