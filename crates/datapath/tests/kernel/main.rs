//! The datapath on this machine's kernel: namespaces as hosts and VMs, real packets. Needs root.

mod bench;
mod conformance;
mod l2;
mod lab;
mod recorder;
