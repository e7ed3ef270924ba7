//! What the virtual topology does with a packet. Pure: no I/O, no clock, no randomness.
//!
//! [`simulate()`] is one function for forwarding, the packet walk, tests and fuzzing. One file has one
//! device or one protocol; the order of what happens at a port, a bridge and a router stands in one
//! function each: `Sim::ingress` and `Sim::egress` in `port`, `Sim::bridge`, `Sim::router`.

mod answer;
mod asked;
mod balance;
mod branch;
mod bridge;
mod chain;
mod check;
mod condition;
mod delivery;
mod dhcp;
mod dhcp_v6;
mod ecmp;
mod entered;
mod flood;
mod icmp;
mod input;
mod insertion;
mod mirror;
pub mod nat;
mod neighbor;
mod next_hop;
mod outcome;
mod port;
mod qos;
mod quote;
mod route;
mod router;
mod router_advertisement;
mod simulate;
mod state;
mod translation;
pub mod walk;

pub use answer::{Answer, answer, answer_to};
pub use check::{CHECK_PORT_FIRST, CheckKey, address_toward};
pub use dhcp::SERVER_MAC as DHCP_SERVER_MAC;
pub use input::{Entry, Inputs, Packet};
pub use insertion::{HEARTBEAT, HEARTBEAT_TO, Toward, heartbeat};
pub use next_hop::{neighbor_query, own_address};
pub use outcome::{Buffers, Decision, Effect, Limit, Outcome};
pub use port::{CROSSINGS_MAX, DEVICES_MAX};
pub use router_advertisement::router_advertisement;
pub use simulate::simulate;
pub use state::{Known, NeighborState, StateView};
