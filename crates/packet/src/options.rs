//! Options one after the other: a code, a length and data, in a form of each protocol's own.

use core::marker::PhantomData;

use crate::WireError;

/// An option, and the octets after it.
pub(crate) type Taken<'a, C> = ((C, &'a [u8]), &'a [u8]);

/// How options of one protocol stand in octets.
pub(crate) trait Form {
    type Code;

    /// Takes the next option off; `None` after the last.
    fn take(octets: &[u8]) -> Result<Option<Taken<'_, Self::Code>>, WireError>;
}

/// Options as they stand. One that is cut short ends them: see [`check`].
pub(crate) struct Options<'a, F>(&'a [u8], PhantomData<F>);

impl<'a, F: Form> Options<'a, F> {
    pub(crate) const fn of(octets: &'a [u8]) -> Self {
        Self(octets, PhantomData)
    }
}

impl<'a, F: Form> Iterator for Options<'a, F> {
    type Item = (F::Code, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (option, rest) = F::take(self.0).ok().flatten()?;
        self.0 = rest;
        Some(option)
    }
}

/// Whether all options end inside `octets`.
pub(crate) fn check<F: Form>(mut octets: &[u8]) -> Result<(), WireError> {
    while let Some((_, rest)) = F::take(octets)? {
        octets = rest;
    }
    Ok(())
}
