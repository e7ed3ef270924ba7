//! Random messages above IP.

use std::net::{IpAddr, Ipv6Addr};

use mn_packet::icmp::{IcmpHeader, icmp_of};
use mn_packet::ndp::{NdMessage, NeighborAdvertisement};
use mn_packet::{IpProtocol, Mac, TcpFlags, TcpHeader, UdpHeader, ip_packet};

use super::rng::Rng;

/// Hop limits, edges first.
const HOPS: [u8; 7] = [0, 1, 2, 3, 64, 128, 255];

/// The hop limit of a packet.
pub fn hops(rng: &mut Rng) -> u8 {
    if rng.one_in(3) { rng.u8() } else { rng.pick(&HOPS) }
}

/// The length of a payload, with edges around sizes that ports take.
pub fn payload(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(10) {
        0 => 0,
        1 => 1,
        2..7 => rng.below(64),
        7 => rng.below(600),
        8 => rng.below(1400),
        _ => {
            // Around 576, 1000, 1450 and 1500 with headers of 28 to 60 octets.
            let edge = rng.pick(&[576, 1000, 1450, 1500]);
            edge - 66 + rng.below(44)
        }
    };
    rng.octets(len)
}

/// A random message between two addresses of one version, and its protocol.
pub fn random(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> (IpProtocol, Vec<u8>) {
    match rng.below(13) {
        0..3 => (IpProtocol::TCP, tcp(rng, src, dst)),
        3..6 => (IpProtocol::UDP, udp(rng, src, dst)),
        6..8 => (icmp_of(src), echo(rng, src, dst)),
        8..10 => (icmp_of(src), error(rng, src, dst)),
        10 | 12 => other(rng, src, dst),
        _ => (IpProtocol(rng.pick(&[2, 47, 50, 51, 59, 132, 255])), payload(rng)),
    }
}

fn tcp(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let header = TcpHeader {
        src: rng.u16(),
        dst: rng.u16(),
        seq: rng.draw() as u32,
        ack: rng.draw() as u32,
        flags: if rng.one_in(2) { TcpFlags::SYN } else { TcpFlags(rng.u8()) },
        window: rng.u16(),
    };
    let data = payload(rng);
    header.segment(src, dst, &data)
}

fn udp(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let header = UdpHeader { src: rng.u16(), dst: rng.u16() };
    let mut data = payload(rng);
    let mut datagram = header.datagram(src, dst, &data);
    match (rng.below(8), &mut data[..]) {
        (0 | 1, _) => datagram[6..8].copy_from_slice(&[0, 0]),
        // A word that takes the sum up makes the checksum 0, which is sent as all ones.
        (2 | 3, [a, b, ..]) => {
            [*a, *b] = [0, 0];
            let rest = header.datagram(src, dst, &data);
            data[..2].copy_from_slice(&rest[6..8]);
            datagram = header.datagram(src, dst, &data);
        }
        _ => {}
    }
    datagram
}

fn echo(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let ty = if src.is_ipv4() { rng.pick(&[0, 8]) } else { rng.pick(&[128, 129]) };
    let data = payload(rng);
    IcmpHeader { ty, code: 0, rest: (rng.draw() as u32).to_be_bytes() }.message(src, dst, &data)
}

/// An error about a packet that went the other way, quoted whole or in part, now and then not
/// right.
fn error(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let ty =
        if src.is_ipv4() { rng.pick(&[3, 4, 5, 11, 12, 13]) } else { rng.pick(&[1, 2, 3, 4, 127]) };
    let (protocol, message) = match rng.below(4) {
        0 => (icmp_of(src), echo(rng, dst, src)),
        1 => (IpProtocol::TCP, tcp(rng, dst, src)),
        _ => (IpProtocol::UDP, udp(rng, dst, src)),
    };
    let mut quote = ip_packet(dst, src, hops(rng), protocol, &message);
    if rng.one_in(6) {
        let at = rng.below(quote.len().min(28));
        quote[at] = rng.u8();
    }
    let len = match rng.below(4) {
        0 => rng.below(quote.len() + 1),
        1 => quote.len().min(if src.is_ipv4() { 28 } else { 48 }),
        _ => quote.len().min(600),
    };
    let header = IcmpHeader { ty, code: rng.u8() % 16, rest: (rng.draw() as u32).to_be_bytes() };
    header.message(src, dst, &quote[..len])
}

/// Neighbour discovery, or of IPv4 an ICMP message of a random type.
fn other(rng: &mut Rng, src: IpAddr, dst: IpAddr) -> (IpProtocol, Vec<u8>) {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (src, dst) else {
        let header = IcmpHeader { ty: rng.u8(), code: rng.u8(), rest: [0; 4] };
        let data = payload(rng);
        return (IpProtocol::ICMP, header.message(src, dst, &data));
    };
    let mac = Mac([2, 0, 0, 0, 0, rng.u8()]);
    if !rng.one_in(3) {
        return (IpProtocol::ICMPV6, solicitation(rng, from, to, mac));
    }
    let message = NdMessage::NeighborAdvertisement(NeighborAdvertisement {
        target: from,
        router: rng.one_in(2),
        solicited: rng.one_in(2),
        overrides: rng.one_in(2),
        target_mac: Some(mac),
    });
    (IpProtocol::ICMPV6, message.message(from, to))
}

/// A question for a neighbour: most with the source's MAC and nothing else, as hosts ask.
fn solicitation(rng: &mut Rng, from: Ipv6Addr, to: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let source_mac = (!rng.one_in(8)).then_some(mac);
    let target = if rng.one_in(2) { to } else { Ipv6Addr::from_bits(rng.draw().into()) };
    let mut message = NdMessage::NeighborSolicitation { target, source_mac }.message(from, to);
    match rng.below(16) {
        // Two options.
        0 => message.extend([14, 1, 1, 2, 3, 4, 5, 6]),
        // Another option alone.
        1 if source_mac.is_some() => message[24] = 2,
        // Flags that a solicitation has not.
        2 => message[4] = rng.u8(),
        _ => {}
    }
    message
}
