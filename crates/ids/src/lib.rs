//! Identifiers that cannot be mistaken for one another, and what refers to what.
//!
//! Words only: what a bridge *is* stands in `topology`.

mod id;
mod object;

pub use id::*;
pub use object::{Class, Object, ObjectKey, OnDelete, Reference};
