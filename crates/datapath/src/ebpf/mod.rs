//! The datapath on the kernel: tc programs, their maps, and the devices they need.
//!
//! Everything the programs use is pinned under a bpffs of the agent's own, so that packets go on
//! while no agent lives and the next one takes over what the last one left.

mod action;
mod chunks;
mod connections;
mod drops;
mod engine;
mod flow_table;
mod follower;
mod handover;
mod inject;
mod keeper;
mod key;
mod links;
mod masks;
mod meters;
mod netlink;
mod open;
mod outputs;
mod pins;
mod ports;
mod ring;
mod sleep;
mod sys;
mod underlay;

pub use engine::Ebpf;
pub use open::{Options, remove_datapath};
#[doc(hidden)]
pub use sys::Tap;
