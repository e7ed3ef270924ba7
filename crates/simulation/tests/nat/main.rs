//! Address translation, as stories and as laws.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

mod closing;
mod defects;
mod errors;
mod law;
mod memory;
mod stories;
mod traffic;
