//! Laws that hold for every topology and packet, tried on random ones.
//!
//! `MIDONET_LONG=1` tries twenty times as many.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

mod invalidation;
mod mask;
mod world;
