//! Random frames, heavy on the edges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_packet::{
    Arp, ArpOp, EtherType, EthernetHeader, IpProtocol, Ipv4Header, Ipv6Header, Mac, VlanTag,
    checksum,
};

use super::message;
use super::rng::Rng;

const MACS: [Mac; 5] = [
    Mac([2, 0, 0, 0, 0, 1]),
    Mac([2, 0, 0, 0, 0, 2]),
    Mac([1, 0, 0x5e, 0, 0, 1]),
    Mac::BROADCAST,
    Mac::ZERO,
];

/// A MAC of few.
pub fn random_mac(rng: &mut Rng) -> Mac {
    rng.pick(&MACS)
}

/// An address of few, so that packets share flows; any version.
pub fn random_v4(rng: &mut Rng) -> Ipv4Addr {
    if rng.one_in(4) {
        return Ipv4Addr::from_bits(rng.draw() as u32);
    }
    rng.pick(&[
        Ipv4Addr::new(10, 0, 0, 1),
        Ipv4Addr::new(10, 0, 0, 2),
        Ipv4Addr::new(192, 168, 255, 254),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
    ])
}

/// Likewise. One in 64 is IPv4-mapped, which no packet may have.
pub fn random_v6(rng: &mut Rng) -> Ipv6Addr {
    if rng.one_in(64) {
        return random_v4(rng).to_ipv6_mapped();
    }
    if rng.one_in(4) {
        return Ipv6Addr::from_bits(u128::from(rng.draw()) << 64 | u128::from(rng.draw()));
    }
    rng.pick(&[
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3),
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::from_bits(u128::MAX),
    ])
}

/// A random frame, most of them whole and right.
#[must_use]
pub fn random_frame(rng: &mut Rng) -> Vec<u8> {
    let (eth_type, payload) = match rng.below(21) {
        0 | 20 => (EtherType::ARP, arp(rng)),
        1 => (EtherType(rng.u16() % 0x600), rng.octets(30)),
        2 => {
            (EtherType(rng.pick(&[0x0600, 0x0842, 0x88cc, 0x8847, 0xffff])), message::payload(rng))
        }
        3..12 => (EtherType::IPV4, v4(rng)),
        _ => (EtherType::IPV6, v6(rng)),
    };
    let header = EthernetHeader::untagged(random_mac(rng), random_mac(rng), eth_type);
    let mut frame = header.frame(&payload);
    if rng.one_in(8) {
        let padding = rng.below(20);
        frame.extend(rng.octets(padding));
    }
    for _ in 0..rng.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 2, 3]) {
        let [a, b] = rng.pick(&[EtherType::VLAN, EtherType::VLAN, EtherType::QINQ]).0.to_be_bytes();
        let [c, d] = random_tag(rng).wire().to_be_bytes();
        frame.splice(12..12, [a, b, c, d]);
    }
    frame
}

/// A random tag, priority and edges of the number included.
pub fn random_tag(rng: &mut Rng) -> VlanTag {
    let vlan = rng.pick(&[0, 1, 5, 5, 7, 4094, 4095]);
    VlanTag::from_wire(vlan | rng.pick(&[0, 0, 3, 7]) << 13)
}

fn arp(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    Arp {
        op: ArpOp(rng.pick(&[1, 1, 1, 2, 3, 255, 256, 0x0101])),
        sender_mac: random_mac(rng),
        sender: random_v4(rng),
        target_mac: random_mac(rng),
        target: random_v4(rng),
    }
    .emit(&mut out);
    out
}

fn v4(rng: &mut Rng) -> Vec<u8> {
    let (src, dst) = (random_v4(rng), random_v4(rng));
    let (protocol, message) = message::random(rng, IpAddr::V4(src), IpAddr::V4(dst));
    let fragment = rng.one_in(6);
    let header = Ipv4Header {
        tos: rng.u8(),
        id: rng.u16(),
        dont_fragment: rng.one_in(2),
        more_fragments: fragment && rng.one_in(2),
        fragment_offset: if fragment { rng.pick(&[0, 1, 2, 0x1fff]) } else { 0 },
        ttl: message::hops(rng),
        ..Ipv4Header::new(src, dst, protocol)
    };
    let mut packet = header.emit(message.len()).to_vec();
    if rng.one_in(8) {
        let options = 4 * (1 + rng.below(10));
        packet = header.emit(options + message.len()).to_vec();
        packet[0] += (options / 4) as u8;
        packet.extend(vec![1; options]);
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(message);
    packet
}

fn v6(rng: &mut Rng) -> Vec<u8> {
    let (src, dst) = (random_v6(rng), random_v6(rng));
    let (protocol, message) = message::random(rng, IpAddr::V6(src), IpAddr::V6(dst));
    let (first, extensions) = extensions(rng, protocol);
    let hops = message::hops(rng);
    let header = Ipv6Header {
        traffic_class: rng.u8(),
        flow_label: rng.draw() as u32 & 0xf_ffff,
        // Most neighbour discovery is to be right.
        hop_limit: if protocol == IpProtocol::ICMPV6 && rng.one_in(2) { 255 } else { hops },
        ..Ipv6Header::new(src, dst, first)
    };
    let fixed = header.emit(extensions.len() + message.len());
    [&fixed[..], &extensions, &message].concat()
}

/// Extension headers in front of a protocol: the first one's number and all their octets.
fn extensions(rng: &mut Rng, protocol: IpProtocol) -> (IpProtocol, Vec<u8>) {
    let count = match rng.below(16) {
        0..11 => 0,
        11..15 => 1 + rng.below(3),
        _ => 7 + rng.below(4),
    };
    let kinds = [
        IpProtocol::HOP_BY_HOP,
        IpProtocol::ROUTING,
        IpProtocol::DESTINATION_OPTIONS,
        IpProtocol::AH,
        IpProtocol::FRAGMENT,
    ];
    let (mut next, mut all) = (protocol, Vec::new());
    for _ in 0..count {
        // From the last to the first; many fragment headers would be refused always.
        let kind = if count > 3 { rng.pick(&kinds[..3]) } else { rng.pick(&kinds) };
        let mut header = vec![0; 8];
        header[0] = next.0;
        if kind == IpProtocol::FRAGMENT {
            let part = rng.pick(&[0, 0, 1, 8, 9, 0xfff8, 0x0006]);
            header[2..4].copy_from_slice(&u16::to_be_bytes(part));
        } else {
            let units = rng.pick(&[0, 0, 1, 2, 20]);
            header[1] = units;
            header.resize(8 + usize::from(units) * if kind == IpProtocol::AH { 4 } else { 8 }, 0);
        }
        all.splice(0..0, header);
        next = kind;
    }
    (next, all)
}

/// The frame with something changed: an octet near the beginning, its end, or its hops.
#[must_use]
pub fn mutate(rng: &mut Rng, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    match rng.below(6) {
        0 => frame.truncate(EthernetHeader::LEN + rng.below(frame.len() - EthernetHeader::LEN + 1)),
        1 => frame.extend(rng.octets(4)),
        2 => {
            // The hops of an untagged packet.
            let at = if frame[12] == 8 { 22 } else { 21 };
            if let Some(octet) = frame.get_mut(at) {
                *octet = rng.pick(&[0, 1, 2, 3, 255]);
            }
        }
        3 => {
            let at = rng.below(frame.len().min(80));
            frame[at] ^= 1 << rng.below(8);
        }
        _ => {
            let at = rng.below(frame.len().min(80));
            frame[at] = rng.u8();
        }
    }
    frame
}
