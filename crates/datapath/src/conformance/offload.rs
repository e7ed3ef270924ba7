//! Packets that are to be segmented yet, and checksums left to the last device.

use mn_flow::{Action, DropCause, Rewrite};
use mn_packet::{IpProtocol, TcpFlags, TcpHeader, pseudo_header};

use super::bench::{A, B, Bench, Case, MTU, WIDE};
use super::frames::{ENDS, addr, ip_of, tcp};
use crate::{Counters, Offload, UpcallReason};

pub const CASES: &[Case] = &[
    ("a packet to be segmented counts as its segments", segments_count),
    ("a packet to be segmented is judged by its segments", segments_are_judged),
    ("a partial checksum stays the pseudo-header's sum", partial_checksums),
];

/// The frame with the sum of its pseudo-header in its checksum's place.
fn partial(mut frame: Vec<u8>) -> Vec<u8> {
    let ip = ip_of(&frame);
    let sum = pseudo_header(ip.src, ip.dst, IpProtocol::TCP, ip.payload.len());
    let at = ip.transport_at + TcpHeader::CHECKSUM_AT;
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A TCP frame that is to be segmented yet. Then its checksum is partial always.
fn big(ends: (&str, &str), len: usize) -> Vec<u8> {
    partial(tcp(ends, (1, 2), TcpFlags::ACK, len))
}

fn segmented(gso_size: u16) -> Offload {
    Offload { gso_size, checksum_partial: true }
}

fn segments_count(bench: &mut dyn Bench) {
    if !bench.takes_gso() {
        return;
    }
    bench.three_ports();
    for (ends, headers) in [(ENDS[0], 54), (ENDS[1], 74)] {
        for (len, segments) in [(1001, 2), (3000, 3), (3001, 4)] {
            let frame = big(ends, len);
            let spec = bench.exact(A, &frame, &[Action::Output(B)]);
            let sent = bench.receive(A, &frame, segmented(1000));
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].offload.gso_size, 1000, "it goes out in one piece");
            let flow = bench.datapath().remove(&spec).expect("no error").expect("it was there");
            let octets = frame.len() as u64 + (segments - 1) * headers;
            assert_eq!(flow.counters, Counters { packets: segments, octets }, "{len}");
        }
    }
}

fn segments_are_judged(bench: &mut dyn Bench) {
    if !bench.takes_gso() {
        return;
    }
    bench.three_ports();
    bench.attach(B, MTU, WIDE);
    let frame = big(ENDS[0], 9000);
    bench.exact(A, &frame, &[Action::Output(B)]);
    assert_eq!(bench.receive(A, &frame, segmented(1460)).len(), 1);
    assert_eq!(bench.receive(A, &frame, segmented(1461)), []);
    let segments = 9000_u64.div_ceil(1461);
    assert_eq!(bench.dropped(A, DropCause::TooBig), segments);
    bench.exact(A, &frame, &[Action::Rewrite(Rewrite::DecTtl), Action::Output(B)]);
    assert_eq!(bench.receive(A, &frame, segmented(1460)).len(), 1);
    assert_eq!(bench.receive(A, &frame, segmented(1461)), []);
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].reason, asked[0].offload), (UpcallReason::TooBig, segmented(1461)));
}

fn partial_checksums(bench: &mut dyn Bench) {
    if !bench.takes_partial_checksums() {
        return;
    }
    bench.three_ports();
    for (ends, new) in ENDS.into_iter().zip(["203.0.113.5", "fd00::5"]) {
        let frame = partial(tcp(ends, (1, 2), TcpFlags::ACK, 100));
        let rewrites = [
            Action::Rewrite(Rewrite::NwSrc(addr(new))),
            Action::Rewrite(Rewrite::TpDst(99)),
            Action::Output(B),
        ];
        bench.exact(A, &frame, &rewrites);
        let offload = Offload { gso_size: 0, checksum_partial: true };
        let sent = bench.receive(A, &frame, offload);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].frame, partial(sent[0].frame.clone()));
        assert!(sent[0].offload.checksum_partial);
    }
}
