//! Fragments.

use mn_flow::{Action, Field, FlowMask, Fragment, Rewrite};
use mn_packet::{IpProtocol, Ipv4Header, Ipv6Header, UdpHeader, checksum};

use super::bench::{A, B, Bench, C, Case};
use super::frames::{ENDS, MAC_A, MAC_B, addr, ip_of};

pub const CASES: &[Case] = &[
    ("a later fragment goes where its first went", following),
    ("a later fragment whose first was not seen has no ports", alone),
    ("a later fragment passes a flow that sets ports", passing),
];

/// Fragments of a UDP datagram: the first or a later one.
fn fragment(ends: (&str, &str), id: u16, dst_port: u16, first: bool) -> Vec<u8> {
    let (src, dst) = (addr(ends.0), addr(ends.1));
    let datagram = UdpHeader { src: 1111, dst: dst_port }.datagram(src, dst, &[0x5a; 40]);
    let (offset, part) = if first { (0, &datagram[..24]) } else { (3, &datagram[24..]) };
    let packet = match (src, dst) {
        (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            let header = Ipv4Header {
                id,
                dont_fragment: false,
                more_fragments: first,
                fragment_offset: offset,
                ..Ipv4Header::new(src, dst, IpProtocol::UDP)
            };
            [&header.emit(part.len())[..], part].concat()
        }
        (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            let [a, b] = (offset << 3 | u16::from(first)).to_be_bytes();
            let [c, d] = id.to_be_bytes();
            let header = [17, 0, a, b, 0, 0, c, d];
            let fixed = Ipv6Header::new(src, dst, IpProtocol::FRAGMENT);
            [&fixed.emit(8 + part.len())[..], &header, part].concat()
        }
        _ => unreachable!("the ends have one version"),
    };
    mn_packet::EthernetHeader::untagged(MAC_A, MAC_B, mn_packet::eth_type_of(src)).frame(&packet)
}

/// A flow by ports, as rules make it.
fn by_ports() -> FlowMask {
    [Field::InPort, Field::EthType, Field::NwProto, Field::Fragment, Field::TpDst]
        .into_iter()
        .fold(FlowMask::NONE, |mask, field| mask | field.into())
}

fn following(bench: &mut dyn Bench) {
    bench.three_ports();
    for ends in ENDS {
        let (first, later) =
            (|id, port| fragment(ends, id, port, true), |id| fragment(ends, id, 0, false));
        bench.flow(A, &first(1, 53), by_ports(), &[Action::Output(B)]);
        bench.flow(A, &first(1, 80), by_ports(), &[Action::Output(C)]);
        for (id, port, out) in [(1, 53, B), (2, 80, C)] {
            for frame in [first(id, port), later(id), later(id)] {
                let sent = bench.give(A, &frame);
                assert_eq!(sent.len(), 1, "{ends:?} {id}");
                assert_eq!((sent[0].to, &sent[0].frame), (crate::Output::Port(out), &frame));
            }
        }
        let sent = bench.give(A, &later(1));
        assert_eq!(sent[0].to, crate::Output::Port(B), "datagrams may be mixed");
        assert_eq!(bench.give(B, &later(1)), [], "another port's datagrams are others");
        assert_eq!(bench.asked().len(), 1);
    }
}

fn alone(bench: &mut dyn Bench) {
    bench.three_ports();
    for ends in ENDS {
        assert_eq!(bench.give(A, &fragment(ends, 9, 0, false)), []);
        let asked = bench.asked().remove(0).key;
        assert_eq!((asked.class.fragment, asked.tp_dst), (Fragment::Later, 0));
        bench.give(A, &fragment(ends, 9, 53, true));
        bench.asked();
        assert_eq!(bench.give(A, &fragment(ends, 9, 0, false)), []);
        let asked = bench.asked().remove(0).key;
        assert_eq!((asked.class.fragment, asked.tp_dst), (Fragment::First, 53));
    }
}

fn passing(bench: &mut dyn Bench) {
    bench.three_ports();
    for (ends, to) in ENDS.into_iter().zip(["172.30.0.1", "2001:db8:30::1"]) {
        let (first, later) = (fragment(ends, 3, 53, true), fragment(ends, 3, 0, false));
        let actions = [
            Action::Rewrite(Rewrite::NwDst(addr(to))),
            Action::Rewrite(Rewrite::TpDst(5353)),
            Action::Output(B),
        ];
        bench.flow(A, &first, by_ports(), &actions);
        let sent = bench.give(A, &first);
        assert_eq!(ip_of(&sent[0].frame).ports(), Some((1111, 5353)));
        let sent = bench.give(A, &later);
        let out = ip_of(&sent[0].frame);
        assert_eq!((out.dst, out.payload), (addr(to), ip_of(&later).payload));
        assert!(addr(to).is_ipv6() || checksum(&sent[0].frame[14..34]) == 0);
    }
}
