//! The datapath on this machine's kernel: namespaces as hosts and VMs, real packets. Needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod attacks;
mod bench;
mod conformance;
mod connections;
mod differential;
mod early;
mod handover;
mod l2;
mod lab;
mod many;
mod recorder;
mod sample;
mod speed;
mod tunnel;
mod underlay;
mod version1;
mod wire;
mod workers;
