//! Translation of addresses and ports, checksums included.

use std::net::IpAddr;

use mn_flow::{Action, Rewrite};
use mn_packet::icmp::{IcmpHeader, icmp_of};
use mn_packet::{IpProtocol, Layers, TcpFlags, TcpHeader, UdpHeader, checksum, transport_checksum};

use super::bench::{A, B, Bench, Case};
use super::frames::{ENDS, addr, assert_checksums, frame, ip_of, tcp, udp};

pub const CASES: &[Case] = &[
    ("addresses and ports change with right checksums, however long the packet is", translates),
    ("a UDP checksum that is not computed stays so", uncomputed_stays),
    ("a checksum that is wrong stays wrong", wrong_stays_wrong),
    ("a later fragment changes its address and nothing behind it", later_fragments),
    ("the identifier of an echo changes", echo_identifiers),
    ("the packet an ICMP error quotes is translated too, however much is quoted", quoted_packets),
];

/// What addresses become, by version.
const NEW: [(&str, &str); 2] = [("203.0.113.5", "198.51.100.77"), ("fd00::5", "fd00:1::77")];

fn set(rewrite: Rewrite) -> Action {
    Action::Rewrite(rewrite)
}

/// Sends a frame through a list of rewrites; the frame that comes out.
fn through(bench: &mut dyn Bench, frame: &[u8], rewrites: &[Rewrite]) -> Vec<u8> {
    let mut actions: Vec<_> = rewrites.iter().copied().map(set).collect();
    actions.push(Action::Output(B));
    bench.exact(A, frame, &actions);
    let mut sent = bench.give(A, frame);
    assert_eq!(sent.len(), 1, "{rewrites:?} of {frame:02x?}");
    sent.remove(0).frame
}

fn translates(bench: &mut dyn Bench) {
    bench.three_ports();
    for (ends, (src, dst)) in ENDS.into_iter().zip(NEW) {
        let rewrites = [
            Rewrite::NwSrc(addr(src)),
            Rewrite::NwDst(addr(dst)),
            Rewrite::TpSrc(50000),
            Rewrite::TpDst(8080),
            Rewrite::DecTtl,
        ];
        for len in [0, 1, 2, 99, 1000] {
            for frame in [udp(ends, (1, 2), len), tcp(ends, (1, 2), TcpFlags::ACK, len)] {
                let out = through(bench, &frame, &rewrites);
                let ip = ip_of(&out);
                assert_eq!((ip.src, ip.dst, ip.ttl), (addr(src), addr(dst), 63));
                assert_eq!(ip.ports(), Some((50000, 8080)));
                assert_checksums(&out);
                assert_eq!(out.len(), frame.len());
            }
        }
    }
}

fn uncomputed_stays(bench: &mut dyn Bench) {
    bench.three_ports();
    let mut frame = udp(ENDS[0], (1, 2), 10);
    frame[40..42].copy_from_slice(&[0, 0]);
    let rewrites = [Rewrite::NwSrc(addr(NEW[0].0)), Rewrite::TpDst(9)];
    let out = through(bench, &frame, &rewrites);
    assert_eq!(out[40..42], [0, 0]);
    assert_checksums(&out);
}

fn wrong_stays_wrong(bench: &mut dyn Bench) {
    bench.three_ports();
    let mut frame = tcp(ENDS[0], (1, 2), TcpFlags::ACK, 10);
    frame[50] ^= 0x40;
    let out = through(bench, &frame, &[Rewrite::NwDst(addr(NEW[0].1)), Rewrite::TpSrc(9)]);
    let ip = ip_of(&out);
    assert_ne!(transport_checksum(ip.src, ip.dst, ip.protocol, ip.payload), 0);
}

fn later_fragments(bench: &mut dyn Bench) {
    bench.three_ports();
    let mut frame = udp(ENDS[0], (1, 2), 64);
    frame[20..22].copy_from_slice(&[0, 9]);
    let frame = super::frames::with_hops(frame, 64);
    let out = through(bench, &frame, &[Rewrite::NwSrc(addr(NEW[0].0))]);
    assert_eq!(out[34..], frame[34..]);
    assert_eq!(checksum(&out[14..34]), 0);
}

fn echo_identifiers(bench: &mut dyn Bench) {
    bench.three_ports();
    for (ends, types) in ENDS.into_iter().zip([[8, 0], [128, 129]]) {
        for ty in types {
            let (src, dst) = (addr(ends.0), addr(ends.1));
            let echo = IcmpHeader { ty, code: 0, rest: [1, 2, 3, 4] };
            let frame = frame(ends, 64, icmp_of(src), &echo.message(src, dst, b"data"));
            let out = through(bench, &frame, &[Rewrite::IcmpId(0xbeef)]);
            assert_eq!(ip_of(&out).payload[4..8], [0xbe, 0xef, 3, 4]);
            assert_checksums(&out);
        }
    }
}

/// The error that quotes the first `len` octets of a packet, from one address to another.
fn error(ends: (&str, &str), quoted: &[u8], len: usize) -> Vec<u8> {
    let (src, dst) = (addr(ends.0), addr(ends.1));
    let ty = if src.is_ipv4() { 3 } else { 1 };
    let header = IcmpHeader { ty, code: 1, rest: [0; 4] };
    frame(ends, 64, icmp_of(src), &header.message(src, dst, &quoted[..len]))
}

fn quoted_packets(bench: &mut dyn Bench) {
    bench.three_ports();
    for (ends, (src, _)) in ENDS.into_iter().zip(NEW) {
        let [udp, tcp] = [udp(ends, (1111, 53), 40), tcp(ends, (1111, 53), TcpFlags::ACK, 40)];
        let [asks, answers] = [true, false].map(|asks| echo(ends, asks));
        for original in [&udp[14..], &tcp[14..], &asks[14..], &answers[14..]] {
            let header = if addr(src).is_ipv4() { 20 } else { 40 };
            for len in header..original.len() {
                quoted_packet(bench, ends, addr(src), original, len);
            }
        }
    }
}

/// An echo request or its reply, with the identifier 1111.
fn echo(ends: (&str, &str), asks: bool) -> Vec<u8> {
    let (src, dst) = (addr(ends.0), addr(ends.1));
    let ty = match (src.is_ipv4(), asks) {
        (true, true) => IcmpHeader::ECHO_REQUEST,
        (true, false) => IcmpHeader::ECHO_REPLY,
        (false, true) => IcmpHeader::V6_ECHO_REQUEST,
        (false, false) => IcmpHeader::V6_ECHO_REPLY,
    };
    let [a, b] = 1111_u16.to_be_bytes();
    let header = IcmpHeader { ty, code: 0, rest: [a, b, 0, 1] };
    frame(ends, 64, icmp_of(src), &header.message(src, dst, &[7; 40]))
}

/// An error about a packet whose source was translated comes back: the quoted source is set.
fn quoted_packet(
    bench: &mut dyn Bench,
    ends: (&str, &str),
    inside: IpAddr,
    original: &[u8],
    len: usize,
) {
    let frame = error((ends.1, ends.0), original, len);
    let out = through(bench, &frame, &[Rewrite::InnerSrc(inside, Some(2222))]);
    assert_checksums(&out);
    let quote = &ip_of(&out).payload[IcmpHeader::LEN..];
    // Completed with what was not quoted it is the packet as it was sent.
    let whole = [quote, &original[len..]].concat();
    let whole = mn_packet::EthernetHeader::untagged(
        super::frames::MAC_A,
        super::frames::MAC_B,
        mn_packet::eth_type_of(inside),
    )
    .frame(&whole);
    let layers = Layers::of(&whole).expect("the quotation is a packet");
    let ip = layers.ip().expect("the quotation is an IP packet");
    assert_eq!(ip.src, inside);
    let header = if inside.is_ipv4() { 20 } else { 40 };
    let is_echo = ip.protocol == icmp_of(inside);
    if is_echo && len >= header + 6 {
        assert_eq!(ip.payload[4..6], 2222_u16.to_be_bytes(), "{len} octets quoted");
    } else if !is_echo && len >= header + 2 {
        assert_eq!(ip.ports(), Some((2222, 53)), "{len} octets quoted");
    }
    let in_header = match ip.protocol {
        IpProtocol::UDP => UdpHeader::CHECKSUM_AT,
        IpProtocol::TCP => TcpHeader::CHECKSUM_AT,
        // So much is quoted that the identifier is too.
        _ => 4,
    };
    let checksum_at = header + in_header;
    if len >= checksum_at + 2 {
        assert_checksums(&whole);
    } else if inside.is_ipv4() {
        assert_eq!(checksum(&whole[14..34]), 0);
    }
}
