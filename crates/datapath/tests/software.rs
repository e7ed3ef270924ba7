//! The software engine does what every engine must.

use mn_datapath::conformance::{self, SoftwareBench};

#[test]
fn the_software_engine_does_what_every_engine_must_do() {
    conformance::run(|| Box::new(SoftwareBench::new(1)));
}

#[test]
fn it_does_so_with_several_workers_too() {
    conformance::run(|| Box::new(SoftwareBench::new(4)));
}
