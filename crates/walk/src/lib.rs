//! Packet walks in the API's words: a described packet becomes a frame, the steps of its simulation
//! become a document.
//!
//! An agent and a cluster node call the same code, so they tell the same story.

mod balanced;
mod describe;
mod document;
mod flow_text;
mod headers;
mod names;
mod way;

pub use describe::{DescribeError, Described, Hints, describe};
pub use document::{Installed, Place, Story, Tunnel, document};
pub use flow_text::{action_text, field_name};
pub use headers::headers;
pub use names::Names;
pub use way::{After, Answering, NoAnswer, Setting, Way};

#[cfg(test)]
mod tests;
