//! Why an object cannot be stored as it is.

use core::fmt::Display;

/// A field whose value the model has no meaning for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} {value}: {reason}")]
pub struct Invalid {
    /// The stored field: `members.addr`.
    pub field: &'static str,
    /// Its value as text.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Invalid {
    /// The longest name of anything, in characters (api-facts §4).
    pub const NAME_MAX: usize = 255;

    pub(crate) fn new(field: &'static str, value: impl Display, reason: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), reason: reason.into() }
    }

    /// Refuses a value unless something holds for it.
    pub(crate) fn unless(
        holds: bool,
        field: &'static str,
        value: impl Display,
        reason: impl Into<String>,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::new(field, value, reason)) }
    }

    /// Refuses a name that is too long.
    pub(crate) fn in_name(name: Option<&str>) -> Result<(), Self> {
        let name = name.unwrap_or_default();
        let fits = name.chars().count() <= Self::NAME_MAX;
        Self::unless(fits, "name", name, "has more than 255 characters")
    }

    /// Refuses a name that is too long or missing where one is required.
    pub(crate) fn in_required_name(name: &str) -> Result<(), Self> {
        Self::unless(!name.is_empty(), "name", name, "must not be empty")?;
        Self::in_name(Some(name))
    }
}
