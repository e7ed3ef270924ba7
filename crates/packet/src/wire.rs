//! What can be wrong with received octets.

/// Why received octets are not the header they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The octets end before the header does.
    #[error("truncated {header}: {got} of {need} octets")]
    Truncated { header: &'static str, need: usize, got: usize },
    /// A field has a value that the header cannot have.
    #[error("malformed {header}: {what}")]
    Malformed { header: &'static str, what: &'static str },
}

impl WireError {
    pub(crate) const fn malformed(header: &'static str, what: &'static str) -> Self {
        Self::Malformed { header, what }
    }
}

/// Splits the first `N` octets off.
pub(crate) fn take<'a, const N: usize>(
    octets: &'a [u8],
    header: &'static str,
) -> Result<(&'a [u8; N], &'a [u8]), WireError> {
    octets.split_first_chunk::<N>().ok_or(WireError::Truncated {
        header,
        need: N,
        got: octets.len(),
    })
}

/// Splits the first `len` octets off.
pub(crate) fn take_len<'a>(
    octets: &'a [u8],
    len: usize,
    header: &'static str,
) -> Result<(&'a [u8], &'a [u8]), WireError> {
    octets.split_at_checked(len).ok_or(WireError::Truncated {
        header,
        need: len,
        got: octets.len(),
    })
}
