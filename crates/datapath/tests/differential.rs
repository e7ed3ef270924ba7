//! Two engines, the same flows and packets, the same results.

use mn_datapath::conformance::SoftwareBench;
use mn_datapath::conformance::random::{Coverage, DEFECTS, Mismatch, Tamper, compare};

/// Compares two software engines, the right one tampered with.
fn compared(seed: u64, packets: u64, tamper: &Tamper) -> Result<Coverage, Box<Mismatch>> {
    let (mut left, mut right) = (SoftwareBench::new(1), SoftwareBench::new(1));
    compare(&mut left, &mut right, seed, packets, tamper)
}

#[test]
fn the_random_packets_meet_every_action_often() {
    let coverage = compared(1, 50_000, &Tamper::NONE).unwrap_or_else(|found| panic!("{found}"));
    println!("{coverage:?}");
    assert_eq!(coverage.rare(100), [""; 0], "{coverage:?}");
    assert!(coverage.hits > 15_000 && coverage.asked > 5_000 && coverage.sent > 15_000);
}

#[test]
fn the_comparison_notices_every_planted_defect() {
    for (name, tamper) in DEFECTS {
        let noticed = (0..20).any(|seed| compared(seed << 32, 20_000, tamper).is_err());
        assert!(noticed, "not noticed: {name}");
    }
}
