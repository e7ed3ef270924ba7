//! Load balancing, as stories.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

mod choice;
mod members;
mod order;
mod stories;
mod told;
#[path = "../nat/traffic.rs"]
#[expect(dead_code, reason = "translations look at more of their packets")]
mod traffic;
mod world;
