//! Frames made from known headers give these headers back; mutated ones never make `extract` panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_flow::{Class, DropCause, FlowKey, Fragment, PortNo, TcpClass, extract};
use mn_packet::icmp::{IcmpHeader, icmp_of};
use mn_packet::{
    EthernetHeader, IpProtocol, Ipv4Header, Ipv6Header, Mac, TcpFlags, TcpHeader, UdpHeader,
    VlanTag, eth_type_of, to_v6,
};

const ROUNDS: u64 = 100_000;
const PORT: PortNo = PortNo(16);

/// SplitMix64: numbers that follow from a seed.
struct Rng(u64);

impl Rng {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    fn mac(&mut self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.draw().to_be_bytes();
        Mac([a, b, c, d, e, f])
    }

    fn addr(&mut self, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::from_bits(self.draw() as u32).into()
        } else {
            // Not IPv4-mapped.
            let [high, low] = [self.draw() | 1, self.draw()];
            Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into()
        }
    }

    fn tag(&mut self) -> VlanTag {
        VlanTag::from_wire(self.draw() as u16)
    }
}

/// Writes a random transport message and what the key says of it.
fn transport(rng: &mut Rng, key: &mut FlowKey, ends: (IpAddr, IpAddr)) -> Vec<u8> {
    let (src, dst) = ends;
    let ports = (rng.draw() as u16, rng.draw() as u16);
    match rng.below(4) {
        0 => {
            let (flags, class) = [
                (TcpFlags::SYN, TcpClass::Syn),
                (TcpFlags::SYN | TcpFlags::ACK, TcpClass::Other),
                (TcpFlags::ACK, TcpClass::Other),
                (TcpFlags::FIN | TcpFlags::ACK, TcpClass::Fin),
                (TcpFlags::RST | TcpFlags::FIN, TcpClass::Rst),
            ][rng.below(5)];
            (key.nw_proto, key.class.tcp) = (IpProtocol::TCP, class);
            (key.tp_src, key.tp_dst) = ports;
            TcpHeader { src: ports.0, dst: ports.1, flags, ..TcpHeader::default() }
                .segment(src, dst, b"data")
        }
        1 => {
            key.nw_proto = IpProtocol::UDP;
            (key.tp_src, key.tp_dst) = ports;
            UdpHeader { src: ports.0, dst: ports.1 }.datagram(src, dst, b"data")
        }
        2 => {
            key.nw_proto = icmp_of(src);
            let ty = if src.is_ipv4() { 8 } else { 128 };
            key.tp_src = u16::from_be_bytes([ty, 7]);
            key.tp_dst = ports.0;
            let [a, b] = ports.0.to_be_bytes();
            IcmpHeader { ty, code: 7, rest: [a, b, 0, 1] }.message(src, dst, b"data")
        }
        _ => {
            key.nw_proto = IpProtocol(47);
            b"anything".to_vec()
        }
    }
}

/// A random frame and its key.
fn frame(rng: &mut Rng) -> (Vec<u8>, FlowKey) {
    let is_v4 = rng.below(2) == 0;
    let ends = (rng.addr(is_v4), rng.addr(is_v4));
    let (tos, hops) = (rng.draw() as u8, [0, 1, 2, 64, 254][rng.below(5)]);
    let tags = [rng.tag(), rng.tag()];
    let depth = rng.below(3);
    let vlan = if depth > 0 { tags[0] } else { VlanTag::NONE };
    let inner_vlan = if depth > 1 { tags[1] } else { VlanTag::NONE };
    let mut key = FlowKey {
        in_port: PORT,
        eth_src: rng.mac(),
        eth_dst: rng.mac(),
        eth_type: eth_type_of(ends.0),
        vlan,
        inner_vlan,
        nw_src: to_v6(ends.0),
        nw_dst: to_v6(ends.1),
        nw_tos: tos,
        class: Class { ttl_spent: hops <= 1, ..Class::default() },
        ..FlowKey::default()
    };
    let message = transport(rng, &mut key, ends);
    let later = rng.below(5) == 0;
    if later {
        key.class = Class { fragment: Fragment::Later, tcp: TcpClass::Other, ..key.class };
        (key.tp_src, key.tp_dst) = (0, 0);
    }
    let packet = match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let fragment_offset = if later { 8 } else { 0 };
            let header = Ipv4Header {
                tos,
                ttl: hops,
                fragment_offset,
                ..Ipv4Header::new(src, dst, key.nw_proto)
            };
            [&header.emit(message.len())[..], &message].concat()
        }
        _ => {
            let fragment = [key.nw_proto.0, 0, 0, 8 * u8::from(later), 0, 0, 0, 1];
            // A fragment header with offset 0 and no more to come changes nothing.
            let extension = if later || rng.below(4) == 0 { &fragment[..] } else { &[] };
            let first = if extension.is_empty() { key.nw_proto } else { IpProtocol::FRAGMENT };
            let header = Ipv6Header {
                traffic_class: tos,
                hop_limit: hops,
                ..Ipv6Header::new(key.nw_src, key.nw_dst, first)
            };
            [&header.emit(extension.len() + message.len())[..], extension, &message].concat()
        }
    };
    let ethernet = EthernetHeader {
        dst: key.eth_dst,
        src: key.eth_src,
        vlan,
        inner_vlan,
        eth_type: key.eth_type,
    };
    (ethernet.frame(&packet), key)
}

#[test]
fn a_frame_gives_back_the_headers_it_was_made_from() {
    let mut rng = Rng(1);
    for round in 0..ROUNDS {
        let (frame, key) = frame(&mut rng);
        assert_eq!(extract(&frame, PORT, None), Ok(key), "round {round}: {frame:02x?}");
    }
}

#[test]
fn a_mutated_frame_has_a_key_or_one_of_two_causes() {
    let mut rng = Rng(2);
    let mut counts = [0_u32; 3];
    for _ in 0..ROUNDS {
        let (mut frame, _) = frame(&mut rng);
        for _ in 0..=rng.below(3) {
            let at = rng.below(frame.len().min(80));
            frame[at] = rng.draw() as u8;
        }
        if rng.below(3) == 0 {
            frame.truncate(rng.below(frame.len() + 1));
        }
        match extract(&frame, PORT, None) {
            Ok(key) => {
                counts[0] += 1;
                // Padding is never part of a key.
                frame.extend([0xff; 7]);
                assert_eq!(extract(&frame, PORT, None), Ok(key));
            }
            Err(DropCause::Truncated) => counts[1] += 1,
            Err(DropCause::Malformed) => counts[2] += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(counts.iter().all(|count| *count > 1000), "{counts:?}");
}
