//! How much a port carries.

use std::time::Duration;

use mn_flow::{Action, DropCause, PortNo};

use super::bench::{A, B, Bench, C, Case};
use super::frames::{ENDS, udp};
use super::random::Rng;
use crate::{Bandwidth, PortBandwidth};

pub const CASES: &[Case] = &[
    ("what a port sends beyond its bandwidth is dropped for it alone", sent_is_limited),
    ("what a port gets beyond its bandwidth is dropped and counted there", received_is_limited),
    ("a limit that is said again fills no bucket, another one does", limits_change),
    ("a packet larger than the bucket passes when that is full", larger_than_the_bucket),
    ("octets come back with time", octets_come_back),
    ("each packet takes its octets, whatever comes in which order", each_takes_its_octets),
];

/// So slow that no octet comes back while a case runs.
const SLOW: u32 = 1;

const fn limit(kbps: u32, burst: u64) -> Bandwidth {
    Bandwidth { kbps, burst }
}

fn sends(bench: &dyn Bench, port: PortNo, sent: Bandwidth) {
    let both = PortBandwidth { sent, received: Bandwidth::default() };
    bench.datapath().set_bandwidth(port, both).expect("the port is attached");
}

fn gets(bench: &dyn Bench, port: PortNo, received: Bandwidth) {
    let both = PortBandwidth { sent: Bandwidth::default(), received };
    bench.datapath().set_bandwidth(port, both).expect("the port is attached");
}

/// How many of so many copies of a frame come out.
fn passed(bench: &mut dyn Bench, port: PortNo, frame: &[u8], count: usize) -> usize {
    (0..count).map(|_| bench.give(port, frame).len()).sum()
}

fn sent_is_limited(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 100);
    let len = frame.len() as u64;
    for port in [A, C] {
        bench.port_flow(port, &frame, &[Action::Output(B)]);
    }
    sends(bench, A, limit(SLOW, 3 * len));
    assert_eq!(passed(bench, A, &frame, 5), 3);
    assert_eq!(bench.dropped(A, DropCause::BandwidthSent), 2);
    assert_eq!(passed(bench, C, &frame, 5), 5, "another port has no limit");
    let counters = bench.datapath().port_counters(A).expect("the port is attached");
    assert_eq!((counters.rx.packets, counters.rx_dropped), (5, 2), "they came in all the same");
    // What has no flow is not asked about either.
    bench.give(A, &udp(ENDS[0], (9, 9), 100));
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.dropped(A, DropCause::BandwidthSent), 3);
    let missing = bench.datapath().set_bandwidth(PortNo(99), PortBandwidth::default());
    assert!(missing.is_err(), "a port that is not attached has no limit");
}

fn received_is_limited(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[1], (1, 2), 100);
    let len = frame.len() as u64;
    bench.port_flow(A, &frame, &[Action::Output(B), Action::Output(C)]);
    gets(bench, B, limit(SLOW, 2 * len));
    assert_eq!(passed(bench, A, &frame, 5), 2 + 5, "the other receiver gets all");
    assert_eq!(bench.dropped(B, DropCause::BandwidthReceived), 3);
    let [a, b] = [A, B].map(|port| bench.datapath().port_counters(port).expect("attached"));
    assert_eq!((a.rx.packets, a.rx_dropped), (5, 3), "packets of A were dropped");
    assert_eq!((b.tx.packets, b.rx_dropped), (2, 0));
    bench.execute(&frame, &[Action::Output(B)]);
    assert_eq!(bench.dropped(B, DropCause::BandwidthReceived), 4, "the agent's count too");
}

fn limits_change(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 100);
    let len = frame.len() as u64;
    bench.port_flow(A, &frame, &[Action::Output(B)]);
    sends(bench, A, limit(SLOW, 2 * len));
    assert_eq!(passed(bench, A, &frame, 3), 2);
    sends(bench, A, limit(SLOW, 2 * len));
    assert_eq!(passed(bench, A, &frame, 3), 0, "as an agent that starts again says it");
    sends(bench, A, limit(SLOW, 4 * len));
    assert_eq!(passed(bench, A, &frame, 6), 4);
    sends(bench, A, Bandwidth::default());
    assert_eq!(passed(bench, A, &frame, 9), 9);
    // A port that is attached anew has the limit of no other.
    sends(bench, A, limit(SLOW, len));
    bench.datapath().detach(A).expect("it was attached");
    bench.three_ports();
    assert_eq!(passed(bench, A, &frame, 9), 9);
}

fn larger_than_the_bucket(bench: &mut dyn Bench) {
    bench.three_ports();
    let (large, small) = (udp(ENDS[0], (1, 2), 1000), udp(ENDS[0], (1, 3), 10));
    for frame in [&large, &small] {
        bench.port_flow(A, frame, &[Action::Output(B)]);
    }
    sends(bench, A, limit(SLOW, 100));
    assert_eq!(passed(bench, A, &large, 3), 1);
    assert_eq!(passed(bench, A, &small, 3), 0, "what it took beyond is owed");
}

fn octets_come_back(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[0], (1, 2), 958);
    bench.port_flow(A, &frame, &[Action::Output(B)]);
    // 8,000 octets a second: a second fills the bucket of four packets.
    sends(bench, A, limit(64, 4 * frame.len() as u64));
    let first = passed(bench, A, &frame, 100);
    assert!((4..20).contains(&first), "{first}");
    bench.pass(Duration::from_secs(1));
    bench.beat();
    let then = passed(bench, A, &frame, 100);
    assert!((4..20).contains(&then), "{then}");
}

fn each_takes_its_octets(bench: &mut dyn Bench) {
    bench.three_ports();
    let rng = &mut Rng::new(46);
    let frames: Vec<Vec<u8>> =
        (0..8).map(|n| udp(ENDS[n % 2], (1, n as u16), 64 * (1 + rng.below(20)))).collect();
    for frame in &frames {
        bench.port_flow(A, frame, &[Action::Output(B)]);
    }
    for _ in 0..20 {
        let mut left = 300 + rng.below(8000);
        sends(bench, A, Bandwidth::default());
        sends(bench, A, limit(SLOW, left as u64));
        let mut used = 0;
        for _ in 0..40 {
            let frame = rng.pick(&frames.iter().collect::<Vec<_>>());
            // Neither engine's clock is to decide.
            if left.abs_diff(frame.len()) < 32 {
                continue;
            }
            let fits = used == 0 || frame.len() < left;
            assert_eq!(bench.give(A, frame).len(), usize::from(fits), "{left} {}", frame.len());
            if fits {
                left = left.saturating_sub(frame.len());
                used += 1;
            }
            if left == 0 {
                break;
            }
        }
    }
}
