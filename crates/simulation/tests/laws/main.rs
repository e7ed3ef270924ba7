//! Laws that hold for every topology and packet, tried on random ones.
//!
//! `MN_CASES` sets how many are tried.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

mod invalidation;
mod mask;
mod world;
