//! The kernel's datapath and the software engine: the same flows and packets, the same results.

use mn_datapath::conformance::SoftwareBench;
use mn_datapath::conformance::random::{Tamper, compare};

use crate::bench::KernelBench;
use crate::lab::{enter_host, is_root};

/// 50,000 packets; with `MIDONET_LONG=1` a million, each action at least a thousand times.
/// `MIDONET_SEED` chooses others.
#[test]
fn the_kernel_agrees_with_the_software_engine_on_random_flows_and_packets() {
    if !is_root() {
        return;
    }
    enter_host();
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let long = variable("MIDONET_LONG") == Some(1);
    let seed = variable("MIDONET_SEED").unwrap_or(1);
    let (packets, each_action) = if long { (1_000_000, 1000) } else { (50_000, 100) };
    let (mut software, mut kernel) = (SoftwareBench::new(1), KernelBench::new());
    let coverage = compare(&mut software, &mut kernel, seed, packets, &Tamper::NONE)
        .unwrap_or_else(|found| panic!("{found}"));
    println!("{coverage:?}");
    assert_eq!(coverage.rare(each_action), [""; 0], "{coverage:?}");
}
