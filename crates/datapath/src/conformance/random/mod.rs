//! Two engines compared on random flows and packets.
//!
//! [`compare()`] installs one random flow after the other in both engines, gives both the same
//! packets and wants the same frames out, the same packets up, the same counters and the same
//! drops. Everything follows from a seed. [`DEFECTS`] are changes of one side that it must notice.

mod compare;
mod conversation;
mod coverage;
mod defects;
mod flows;
mod message;
mod packets;
mod rng;
mod world;

pub use compare::{Mismatch, Tamper, compare};
pub use coverage::Coverage;
pub use defects::DEFECTS;
pub use flows::random_flow;
pub use packets::{mutate, random_frame};
pub use rng::Rng;
