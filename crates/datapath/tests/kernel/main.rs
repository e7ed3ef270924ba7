//! The datapath on this machine's kernel: namespaces as hosts and VMs, real packets. Needs root.

mod l2;
mod lab;
