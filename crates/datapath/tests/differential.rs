//! Two engines, the same flows and packets, the same results.

use std::cell::Cell;
use std::time::Duration;

use mn_datapath::conformance::random::{Coverage, DEFECTS, Mismatch, Tamper, compare};
use mn_datapath::conformance::{Asked, Bench, SoftwareBench};
use mn_datapath::software::Sent;
use mn_datapath::{Datapath, Followed, Interface, Offload};
use mn_flow::{Action, PortNo, TunnelOrigin};
use mn_time::Instant;

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

/// An engine for which every packet takes a while, and what is between two rounds a minute, as on
/// an emulated machine that others use too.
struct Slow {
    bench: SoftwareBench,
    /// It was asked for the time: the round is about to end.
    ends: Cell<bool>,
}

/// A hundred packets and an agent would be taken for dead; all the beginnings of a frame, and no
/// connection would be over.
const PACKET_TAKES: Duration = Duration::from_millis(10);
/// Longer than datagrams are waited for.
const ROUND_TAKES: Duration = Duration::from_secs(61);

impl Bench for Slow {
    fn datapath(&self) -> &dyn Datapath {
        self.bench.datapath()
    }
    fn interface(&mut self, port: PortNo, mtu: u32) -> Interface {
        self.bench.interface(port, mtu)
    }
    fn receive(&mut self, port: PortNo, frame: &[u8], offload: Offload) -> Vec<Sent> {
        self.bench.pass(PACKET_TAKES);
        self.bench.receive(port, frame, offload)
    }
    fn receive_tunnelled(
        &mut self,
        origin: TunnelOrigin,
        frame: &[u8],
        offload: Offload,
    ) -> Vec<Sent> {
        self.bench.pass(PACKET_TAKES);
        self.bench.receive_tunnelled(origin, frame, offload)
    }
    fn execute(&mut self, frame: &[u8], actions: &[Action]) -> Vec<Sent> {
        self.bench.pass(PACKET_TAKES);
        self.bench.execute(frame, actions)
    }
    fn asked(&mut self) -> Vec<Asked> {
        self.bench.asked()
    }
    fn followed(&mut self) -> Vec<Followed> {
        self.bench.followed()
    }
    fn beat(&mut self) {
        if self.ends.take() {
            self.bench.pass(ROUND_TAKES);
        }
        self.bench.beat();
    }
    fn now(&self) -> Instant {
        self.ends.set(true);
        self.bench.now()
    }
    fn pass(&mut self, time: Duration) {
        self.bench.pass(time);
    }
    fn forget_fragments(&mut self) -> usize {
        self.bench.forget_fragments()
    }
    fn takes_gso(&self) -> bool {
        self.bench.takes_gso()
    }
    fn takes_partial_checksums(&self) -> bool {
        self.bench.takes_partial_checksums()
    }
}

#[test]
fn how_fast_an_engine_is_makes_no_difference() {
    let slow = SoftwareBench::new(1);
    let (mut quick, mut slow) =
        (SoftwareBench::new(1), Slow { bench: slow, ends: Cell::default() });
    compare(&mut quick, &mut slow, 1, 200_000, &Tamper::NONE).unwrap_or_else(|it| panic!("{it}"));
}

#[test]
fn the_comparison_notices_every_planted_defect() {
    for (name, tamper) in DEFECTS {
        let noticed = (0..20).any(|seed| compared(seed << 32, 20_000, tamper).is_err());
        assert!(noticed, "not noticed: {name}");
    }
}
