//! A datapath that takes and returns packets as values.
//!
//! It is the definition that the BPF programs are compared with: what a flow does to a packet is
//! what [`Software`] says. It has no interfaces; [`Software::receive`] is a frame that came in by a
//! port and [`Software::take_sent`] what went out. Its clock moves only when it is told the time.

mod answer;
mod bandwidth;
mod connections;
mod door;
mod engine;
mod flow_table;
mod fragments;
mod inner;
mod packet;
mod rewrite;
mod send;
mod upcall;

pub use engine::Software;
pub use send::Sent;
