//! What follows the first packet of a connection: answers, errors, later fragments.

use mn_packet::icmp::{icmp_of, is_echo};
use mn_packet::{EthernetHeader, IcmpHeader, IpProtocol, Layers, TcpFlags, ip_packet};

use super::rng::Rng;

/// Flags as connections have them.
const FLAGS: [TcpFlags; 8] = [
    TcpFlags::SYN,
    TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0),
    TcpFlags::ACK,
    TcpFlags::ACK,
    TcpFlags::ACK,
    TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
    TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
    TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0),
];

/// A connection from its second segment to its last: whether the segment is an answer, and its flags.
pub const WHOLE: [(bool, TcpFlags); 5] =
    [(true, FLAGS[1]), (false, FLAGS[2]), (true, FLAGS[2]), (true, FLAGS[5]), (false, FLAGS[5])];

/// The frame with these TCP flags.
pub fn with_flags(frame: &[u8], flags: TcpFlags) -> Vec<u8> {
    let mut out = frame.to_vec();
    let layers = Layers::of(frame).ok();
    let Some(ip) = layers.as_ref().and_then(Layers::ip) else { return out };
    if ip.protocol == IpProtocol::TCP && !ip.is_later_fragment() {
        out[ip.transport_at + 13] = flags.0;
    }
    out
}

/// The frame with other TCP flags. Checksums are not looked at on the way.
pub fn other_flags(rng: &mut Rng, frame: &[u8]) -> Vec<u8> {
    with_flags(frame, rng.pick(&FLAGS))
}

/// What the receiver of a frame would send back; `None` where it is no IP packet.
pub fn answer(rng: &mut Rng, frame: &[u8]) -> Option<Vec<u8>> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    let mut out = frame.to_vec();
    out[..6].copy_from_slice(&frame[6..12]);
    out[6..12].copy_from_slice(&frame[..6]);
    let at = layers.network_at;
    let (src, dst, len) = if ip.src.is_ipv4() { (12, 16, 4) } else { (8, 24, 16) };
    out[at + src..at + src + len].copy_from_slice(&frame[at + dst..at + dst + len]);
    out[at + dst..at + dst + len].copy_from_slice(&frame[at + src..at + src + len]);
    if ip.is_later_fragment() {
        return Some(out);
    }
    let at = ip.transport_at;
    if ip.protocol.has_ports() {
        out[at..at + 2].copy_from_slice(&frame[at + 2..at + 4]);
        out[at + 2..at + 4].copy_from_slice(&frame[at..at + 2]);
    } else if ip.protocol == icmp_of(ip.src) && is_echo(ip.protocol, frame[at]) {
        out[at] = match frame[at] {
            8 => 0,
            0 => 8,
            128 => 129,
            _ => 128,
        };
    }
    Some(other_flags(rng, &out))
}

/// An error about a frame from somewhere on its way; `None` where it is no IP packet.
pub fn error_about(rng: &mut Rng, frame: &[u8]) -> Option<Vec<u8>> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    let ty = if ip.src.is_ipv4() { rng.pick(&[3, 5, 11, 12]) } else { rng.pick(&[1, 2, 3, 4, 5]) };
    let len = match rng.below(4) {
        0 => rng.below(ip.packet.len() + 1),
        _ => ip.packet.len().min(128),
    };
    let header = IcmpHeader { ty, code: rng.u8() % 16, rest: [0; 4] };
    let message = header.message(ip.dst, ip.src, &ip.packet[..len]);
    let packet = ip_packet(ip.dst, ip.src, 64, icmp_of(ip.src), &message);
    let ethernet =
        EthernetHeader { dst: layers.ethernet.src, src: layers.ethernet.dst, ..layers.ethernet };
    Some(ethernet.frame(&packet))
}

/// A later fragment of the datagram whose first fragment this is.
pub fn later_fragment(frame: &[u8]) -> Option<Vec<u8>> {
    const FRAGMENT: u8 = IpProtocol::FRAGMENT.0;
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    ip.fragment.filter(|fragment| fragment.offset == 0)?;
    let mut out = frame.to_vec();
    let at = layers.network_at;
    if ip.src.is_ipv4() {
        out[at + 6..at + 8].copy_from_slice(&[0, 5]);
    } else if frame[at + 6] == FRAGMENT {
        out[at + 42..at + 44].copy_from_slice(&[0, 5 << 3]);
    } else {
        return None;
    }
    Some(out)
}
