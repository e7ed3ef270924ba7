use mn_packet::icmp::IcmpHeader;
use mn_packet::{ArpOp, Ipv4Header, Ipv6Header, Mac, TcpHeader, VlanTag, ip_packet, ndp};

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PORT: PortNo = PortNo(16);
const V4: [&str; 2] = ["10.0.0.1", "192.168.1.2"];
const V6: [&str; 2] = ["2001:db8::1", "2001:db8:1::2"];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn frame(eth_type: EtherType, payload: &[u8]) -> Vec<u8> {
    EthernetHeader::untagged(A, B, eth_type).frame(payload)
}

/// A frame with one transport message.
fn ip_frame([src, dst]: [&str; 2], hops: u8, protocol: IpProtocol, message: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    frame(eth_type_of(src), &ip_packet(src, dst, hops, protocol, message))
}

fn tcp(flags: TcpFlags) -> Vec<u8> {
    let header = TcpHeader { src: 40000, dst: 80, flags, ..TcpHeader::default() };
    header.segment(addr(V4[0]), addr(V4[1]), &[])
}

fn key(frame: &[u8]) -> FlowKey {
    extract(frame, PORT, None).unwrap()
}

fn refused(frame: &[u8]) -> DropCause {
    extract(frame, PORT, None).unwrap_err()
}

#[test]
fn a_tcp_segment_of_either_version_has_addresses_ports_and_a_class() {
    for addrs @ [src, dst] in [V4, V6] {
        let key = key(&ip_frame(addrs, 64, IpProtocol::TCP, &tcp(TcpFlags::SYN)));
        let want = FlowKey {
            in_port: PORT,
            eth_src: A,
            eth_dst: B,
            eth_type: eth_type_of(addr(src)),
            nw_src: to_v6(addr(src)),
            nw_dst: to_v6(addr(dst)),
            nw_proto: IpProtocol::TCP,
            class: Class { tcp: TcpClass::Syn, ..Class::default() },
            tp_src: 40000,
            tp_dst: 80,
            ..FlowKey::default()
        };
        assert_eq!(key, want);
    }
}

#[test]
fn every_combination_of_tcp_flags_has_one_class() {
    for bits in 0..=u8::MAX {
        let flags = TcpFlags(bits);
        let want = match (bits & 4 != 0, bits & 1 != 0, bits & 0x12) {
            (true, _, _) => TcpClass::Rst,
            (false, true, _) => TcpClass::Fin,
            (false, false, 0x02) => TcpClass::Syn,
            _ => TcpClass::Other,
        };
        assert_eq!(tcp_class(flags), want, "{bits:#x}");
    }
}

#[test]
fn a_tunnelled_frame_says_how_it_came() {
    let origin = TunnelOrigin { vni: 0x20_0007, src: addr("172.16.0.9") };
    let key = extract(&frame(EtherType(0x88cc), &[]), PortNo::TUNNEL, Some(origin)).unwrap();
    assert_eq!((key.in_port, key.tun_key), (PortNo::TUNNEL, 0x20_0007));
    assert_eq!(key.tun_src, to_v6(addr("172.16.0.9")));
}

#[test]
fn two_tags_are_read_and_a_third_is_the_type() {
    let tagged = EthernetHeader {
        vlan: VlanTag::from_wire(0x2007),
        inner_vlan: VlanTag::from_wire(9),
        ..EthernetHeader::untagged(A, B, EtherType::IPV4)
    };
    let (src, dst) = (addr(V4[0]), addr(V4[1]));
    let packet = ip_packet(src, dst, 64, IpProtocol(47), &[]);
    let read = key(&tagged.frame(&packet));
    assert_eq!((read.vlan, read.inner_vlan), (tagged.vlan, tagged.inner_vlan));
    assert_eq!((read.eth_type, read.nw_proto), (EtherType::IPV4, IpProtocol(47)));
    let third = EthernetHeader { eth_type: EtherType::VLAN, ..tagged };
    let read = key(&third.frame(&[0, 5, 8, 0, 0x45]));
    assert_eq!((read.eth_type, read.nw_src), (EtherType::VLAN, Ipv6Addr::UNSPECIFIED));
}

#[test]
fn a_frame_with_a_length_is_llc() {
    for (number, want) in [(0, FlowKey::LLC), (0x05ff, FlowKey::LLC), (0x0600, EtherType(0x0600))] {
        assert_eq!(key(&frame(EtherType(number), &[])).eth_type, want, "{number:#x}");
    }
}

#[test]
fn arp_has_its_addresses_and_operation() {
    let (sender, target) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let request = Arp::request(A, sender, target);
    let read = key(&request.frame());
    assert_eq!((read.nw_src, read.nw_dst), (sender.to_ipv6_mapped(), target.to_ipv6_mapped()));
    assert_eq!((read.nw_proto, read.class), (IpProtocol(1), Class::default()));
    let strange = Arp { op: ArpOp(0x0101), ..request };
    assert_eq!(key(&strange.frame()).nw_proto, IpProtocol(0));
    let mut other = request.frame();
    other[18] = 8;
    assert_eq!(refused(&other), DropCause::Malformed);
}

#[test]
fn icmp_has_type_code_and_the_identifier_of_echo() {
    for (addrs, protocol, ty, want_id) in [
        (V4, IpProtocol::ICMP, 8, 0x0102),
        (V4, IpProtocol::ICMP, 0, 0x0102),
        (V4, IpProtocol::ICMP, 3, 0),
        (V6, IpProtocol::ICMPV6, 128, 0x0102),
        (V6, IpProtocol::ICMPV6, 129, 0x0102),
        (V6, IpProtocol::ICMPV6, 1, 0),
    ] {
        let message = IcmpHeader { ty, code: 3, rest: [1, 2, 3, 4] };
        let message = message.message(addr(addrs[0]), addr(addrs[1]), &[]);
        let read = key(&ip_frame(addrs, 64, protocol, &message));
        assert_eq!((read.icmp_type(), read.icmp_code(), read.tp_dst), (ty, 3, want_id));
    }
    // ICMP of the other version has no meaning.
    let read = key(&ip_frame(V6, 64, IpProtocol::ICMP, &[]));
    assert_eq!((read.tp_src, read.nw_proto), (0, IpProtocol::ICMP));
}

#[test]
fn neighbour_discovery_is_marked_only_where_no_router_passed_it_on() {
    let (src, target) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let group = IpAddr::V6(ndp::solicited_node(target));
    let asked = ndp::solicit(A, src, target);
    let read = key(&asked);
    assert!(read.class.neighbor_discovery);
    assert_eq!((read.nw_src, read.nw_dst), (src, target));
    assert!(key(&ndp::announce(A, src, true)).class.neighbor_discovery);
    for (at, octet) in [(21, 254), (55, 1), (54, 133)] {
        let mut other = asked.clone();
        other[at] = octet;
        let read = key(&other);
        assert!(!read.class.neighbor_discovery, "octet {at}");
        assert_eq!(read.nw_dst, to_v6(group));
    }
    let mut mapped = asked.clone();
    mapped[62..78].copy_from_slice(&to_v6(addr("10.0.0.1")).octets());
    assert_eq!(refused(&mapped), DropCause::Malformed);
}

/// The IPv4 frame of `message` as a fragment.
fn v4_fragment(offset: u16, more: bool, message: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        more_fragments: more,
        fragment_offset: offset,
        dont_fragment: false,
        ..Ipv4Header::new("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), IpProtocol::TCP)
    };
    frame(EtherType::IPV4, &[&header.emit(message.len())[..], message].concat())
}

/// The IPv6 frame of `message` as a fragment.
fn v6_fragment(offset: u16, more: bool, message: &[u8]) -> Vec<u8> {
    let [o0, o1] = (offset << 3 | u16::from(more)).to_be_bytes();
    let payload = [&[6, 0, o0, o1, 0, 0, 0, 9][..], message].concat();
    let (src, dst) = (V6[0].parse().unwrap(), V6[1].parse().unwrap());
    let header = Ipv6Header::new(src, dst, IpProtocol::FRAGMENT);
    frame(EtherType::IPV6, &[&header.emit(payload.len())[..], &payload].concat())
}

#[test]
fn a_first_fragment_has_ports_a_later_one_none_and_an_atomic_one_is_whole() {
    for fragment in [v4_fragment, v6_fragment] {
        for (offset, more, class, ports) in [
            (0, false, Fragment::None, (40000, 80)),
            (0, true, Fragment::First, (40000, 80)),
            (1, true, Fragment::Later, (0, 0)),
            (0x1fff, false, Fragment::Later, (0, 0)),
        ] {
            let read = key(&fragment(offset, more, &tcp(TcpFlags::SYN)));
            assert_eq!((read.class.fragment, read.tp_src, read.tp_dst), (class, ports.0, ports.1));
            assert_eq!(read.nw_proto, IpProtocol::TCP);
            assert_eq!(read.class.tcp == TcpClass::Syn, class != Fragment::Later);
        }
        assert_eq!(refused(&fragment(0, true, &[0; 16])), DropCause::Truncated, "a tiny fragment");
        assert_eq!(key(&fragment(1, false, &[])).class.fragment, Fragment::Later);
    }
}

#[test]
fn hops_that_are_used_up_show() {
    for addrs in [V4, V6] {
        for (hops, spent) in [(0, true), (1, true), (2, false), (255, false)] {
            let read = key(&ip_frame(addrs, hops, IpProtocol(47), &[]));
            assert_eq!(read.class.ttl_spent, spent);
        }
    }
}

#[test]
fn padding_is_never_read_as_a_header() {
    for (addrs, total) in [(V4, [16, 17]), (V6, [18, 19])] {
        let mut short = ip_frame(addrs, 64, IpProtocol::TCP, &tcp(TcpFlags::SYN));
        let len = u16::from_be_bytes([short[total[0]], short[total[1]]]) - 1;
        short[total[0]..=total[1]].copy_from_slice(&len.to_be_bytes());
        assert_eq!(refused(&short), DropCause::Truncated);
    }
}

#[test]
fn a_frame_cut_at_any_octet_is_truncated_and_says_so() {
    let echo = IcmpHeader { ty: 128, code: 0, rest: [0; 4] };
    let echo = echo.message(addr(V6[0]), addr(V6[1]), &[]);
    let tagged = EthernetHeader {
        vlan: VlanTag::from_wire(1),
        inner_vlan: VlanTag::from_wire(2),
        ..EthernetHeader::untagged(A, B, EtherType::ARP)
    };
    let (sender, target) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    for whole in [
        ip_frame(V4, 64, IpProtocol::TCP, &tcp(TcpFlags::SYN)),
        ip_frame(V6, 64, IpProtocol::UDP, &[0, 1, 0, 2, 0, 8, 0, 0]),
        ip_frame(V6, 64, IpProtocol::ICMPV6, &echo),
        ndp::solicit(A, V6[0].parse().unwrap(), V6[1].parse().unwrap()),
        v6_fragment(0, true, &tcp(TcpFlags::ACK)),
        Arp::request(A, sender, target).frame_in(&tagged),
    ] {
        assert!(extract(&whole, PORT, None).is_ok());
        for cut in 0..whole.len() {
            assert_eq!(refused(&whole[..cut]), DropCause::Truncated, "{cut} of {whole:02x?}");
        }
    }
}
