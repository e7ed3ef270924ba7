//! What goes over the wire, octet by octet: the same from our programs and from the kernel's device.

use mn_datapath::conformance::Bench;
use mn_datapath::conformance::frames::{ENDS, addr, tcp, udp, with_hops};
use mn_datapath::{FlowSpec, Offload, PeerAddresses};
use mn_flow::{Action, Field, FlowMask, KeyKind, PeerIndex, PortNo, TunnelKey, extract};
use mn_packet::{IpProtocol, Layers, TcpFlags, TcpHeader, checksum, pseudo_header};

use crate::bench::KernelBench;
use crate::lab::{LIMIT, cookie, enter_host, is_root};

const PORT: PortNo = PortNo(16);

/// Tunnels all that comes in by a port to one peer.
fn tunnel_all(bench: &mut KernelBench, remote: &str) {
    let interface = bench.interface(PORT, 8000);
    let (peer, key) = (PeerIndex(7), TunnelKey::new(KeyKind::Port, 0x1234).unwrap());
    let local = if addr(remote).is_ipv4() { "172.16.0.1" } else { "fd00::1" };
    let both = PeerAddresses { local: addr(local), remote: addr(remote), mtu: 8000 };
    bench.datapath().attach(PORT, interface, LIMIT).unwrap();
    bench.datapath().set_peer(peer, Some(both)).unwrap();
    let flow = FlowSpec {
        cookie: cookie(),
        key: extract(&udp(ENDS[0], (1, 2), 10), PORT, None).unwrap(),
        mask: FlowMask::from(Field::InPort),
        actions: vec![Action::Tunnel { peer, key }],
    };
    bench.datapath().install(&flow).unwrap();
}

/// The frame with these congestion bits.
fn with_ecn(mut frame: Vec<u8>, ecn: u8) -> Vec<u8> {
    if frame[14] >> 4 == 4 {
        frame[15] = 0x20 | ecn;
    } else {
        frame[15] = ecn << 4;
    }
    with_hops(frame, 64)
}

/// Frames of both versions, of every kind of congestion mark, and such as are to be cut yet.
fn frames() -> Vec<(Vec<u8>, Offload)> {
    let mut frames = Vec::new();
    for ends in ENDS {
        for ecn in 0..4 {
            frames.push((with_ecn(udp(ends, (5, 6), 100), ecn), Offload::default()));
        }
        frames.push((tcp(ends, (5, 80), TcpFlags::SYN, 0), Offload::default()));
        let mut large = tcp(ends, (5, 80), TcpFlags::ACK, 6000);
        let layers = Layers::of(&large).unwrap();
        let ip = layers.ip().unwrap();
        let sum = pseudo_header(ip.src, ip.dst, IpProtocol::TCP, ip.payload.len());
        let at = ip.transport_at + TcpHeader::CHECKSUM_AT;
        large[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frames.push((large, Offload { gso_size: 1000, checksum_partial: true }));
    }
    frames
}

/// Without what may differ: an identification says nothing about a packet that is never cut
/// (RFC 6864), and the checksum covers it. That the checksum is right is checked.
fn comparable(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[14] >> 4 == 4 {
        assert_eq!(checksum(&frame[14..34]), 0, "{frame:02x?}");
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    frame
}

#[test]
fn a_tunnelled_packet_looks_the_same_whoever_made_it() {
    if !is_root() {
        return;
    }
    enter_host();
    for remote in ["172.16.0.9", "fd00::9"] {
        let sent_by = |through_host: bool| -> Vec<Vec<Vec<u8>>> {
            let mut bench = KernelBench::with(|mut options| {
                options.tunnels_through_host = through_host;
                options
            });
            tunnel_all(&mut bench, remote);
            let wires = frames()
                .into_iter()
                .map(|(frame, offload)| bench.on_the_wire(PORT, &frame, offload));
            wires.map(|wire| wire.into_iter().map(comparable).collect()).collect()
        };
        let (ours, kernels) = (sent_by(false), sent_by(true));
        for ((ours, kernels), (frame, offload)) in ours.iter().zip(&kernels).zip(frames()) {
            let pieces = if offload.gso_size == 0 { 1 } else { 6 };
            assert_eq!(ours.len(), pieces, "{remote} {frame:02x?}");
            assert_eq!(ours, kernels, "{remote} {frame:02x?}");
        }
    }
}
