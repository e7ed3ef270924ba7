//! Tenants are isolated: what reaches whom is what was drawn, and nothing else.
//!
//! Random clouds of two tenants with the same addresses, MACs and subnets, filters everywhere, and
//! perhaps a provider's router between them, by which floating addresses are reached. Every probe's
//! way, and the addresses it arrives with, is worked out twice: by the walk, and by [`oracle`],
//! which shares no code with it and knows only what was drawn. Defects planted in what the walk
//! sees, and not in what the oracle knows, must be noticed.
//!
//! `MIDONET_LONG=1` tries twenty times as many.

mod cloud;
mod defects;
mod oracle;
mod probes;

use cloud::Cloud;
use mn_testkit::Random;
use probes::{Probe, mismatch};

const CLOUDS: u64 = 150;
const PROBES: usize = 60;

#[expect(clippy::disallowed_methods, reason = "how much a test tries is a setting of its runner")]
fn clouds() -> u64 {
    let long = std::env::var("MIDONET_LONG").is_ok_and(|value| value == "1");
    if long { CLOUDS * 20 } else { CLOUDS }
}

/// Clouds of seeds that follow one another have little in common.
fn choices(seed: u64) -> Random {
    Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
}

#[test]
fn what_reaches_whom_is_what_was_drawn() {
    let (mut reached, mut across, mut stopped, mut translated) = (0, 0, 0, 0);
    for seed in 0..clouds() {
        let random = &mut choices(seed);
        let cloud = Cloud::draw(random);
        let lab = cloud.lab();
        for _ in 0..PROBES {
            let probe = Probe::draw(&cloud, random);
            let wanted = oracle::destination(&cloud, &probe);
            if let Some(told) = mismatch(&cloud, &lab, &probe, wanted) {
                panic!("cloud {seed}: {told}\n{}", cloud.text());
            }
            let changed = |to: &oracle::Arrival| (to.src, to.dst) != (probe.src, probe.dst);
            translated += usize::from(wanted.as_ref().is_some_and(changed));
            match wanted {
                Some(to) if to.at.tenant != probe.from.tenant => across += 1,
                Some(_) => reached += 1,
                None => stopped += 1,
            }
        }
    }
    // A test in which everything is dropped would prove nothing.
    let enough = usize::try_from(clouds()).unwrap_or(0) * PROBES / 50;
    assert!(reached > 10 * enough, "only {reached} probes arrived");
    assert!(across > enough / 2, "only {across} probes arrived at the other tenant");
    assert!(translated > 2 * enough, "only {translated} probes arrived with other addresses");
    assert!(stopped > 10 * enough, "only {stopped} probes were stopped");
}

#[test]
fn a_planted_defect_is_noticed() {
    for defect in defects::ALL {
        let noticed = (0..400).any(|seed| {
            let random = &mut choices(seed);
            let cloud = Cloud::draw(random);
            let mut lab = cloud.lab();
            if !(defect.plant)(&cloud, &mut lab, random) {
                return false;
            }
            (0..PROBES).any(|_| {
                let probe = Probe::draw(&cloud, random);
                mismatch(&cloud, &lab, &probe, oracle::destination(&cloud, &probe)).is_some()
            })
        });
        assert!(noticed, "nobody noticed: {}", defect.name);
    }
}
