//! The stories every engine must be true to, told to the kernel's.

use mn_datapath::conformance;

use crate::bench::KernelBench;
use crate::lab::{enter_host, is_root};

#[test]
fn the_kernel_does_what_every_engine_must_do() {
    if !is_root() {
        return;
    }
    enter_host();
    conformance::run(|| Box::new(KernelBench::new()));
}
