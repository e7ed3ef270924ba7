use super::*;
use crate::{EtherType, UdpHeader};

const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const V4: [&str; 3] = ["10.0.0.1", "10.0.1.1", "10.0.0.254"];
const V6: [&str; 3] = ["2001:db8::1", "2001:db8:1::1", "2001:db8::fe"];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn udp_frame(src: &str, dst: &str, len: usize) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    let datagram = UdpHeader { src: 1000, dst: 53 }.datagram(src, dst, &vec![7; len]);
    let packet = ip_packet(src, dst, 1, IpProtocol::UDP, &datagram);
    EthernetHeader::untagged(HOST, ROUTER, eth_type_of(src)).frame(&packet)
}

fn icmp_sum(ip: &IpPacket<'_>) -> u16 {
    match ip.protocol {
        IpProtocol::ICMP => checksum(ip.payload),
        icmpv6 => transport_checksum(ip.src, ip.dst, icmpv6, ip.payload),
    }
}

fn answer(error: IcmpError, original: &[u8], from: &str) -> Vec<u8> {
    let layers = Layers::of(original).unwrap();
    error.frame(&layers.ethernet.reply_from(ROUTER), addr(from), layers.ip().unwrap())
}

#[test]
fn an_error_quotes_what_fits_and_goes_to_the_source() {
    for ([src, dst, router], max) in [(V4, 576), (V6, 1280)] {
        for len in [0, 1, 100, 500, 1200, 1400] {
            let original = udp_frame(src, dst, len);
            let frame = answer(IcmpError::TtlExceeded, &original, router);
            let layers = Layers::of(&frame).unwrap();
            let ip = layers.ip().unwrap();
            assert_eq!((layers.ethernet.src, layers.ethernet.dst), (ROUTER, HOST));
            assert_eq!((ip.src, ip.dst), (addr(router), addr(src)));
            assert_eq!(icmp_sum(ip), 0);
            let (header, quote) = IcmpHeader::split(ip.payload).unwrap();
            assert_eq!((header.ty, header.code), (if max == 576 { 11 } else { 3 }, 0));
            assert!(original[14..].starts_with(quote));
            assert!(ip.packet.len() == max || quote == &original[14..], "{len}");
            assert!(ip.packet.len() <= max, "{len}");
        }
    }
}

#[test]
fn errors_have_the_numbers_of_their_version() {
    let (v4, v6) = (addr(V4[0]), addr(V6[0]));
    #[rustfmt::skip]
    let cases = [
        (IcmpError::NetUnreachable,        (3, 0, 0),     (1, 0, 0)),
        (IcmpError::HostUnreachable,       (3, 1, 0),     (1, 3, 0)),
        (IcmpError::ProtocolUnreachable,   (3, 2, 0),     (4, 1, 6)),
        (IcmpError::PortUnreachable,       (3, 3, 0),     (1, 4, 0)),
        (IcmpError::Prohibited,            (3, 13, 0),    (1, 1, 0)),
        (IcmpError::TtlExceeded,           (11, 0, 0),    (3, 0, 0)),
        (IcmpError::TooBig { mtu: 1400 },  (3, 4, 1400),  (2, 0, 1400)),
    ];
    for (error, want_v4, want_v6) in cases {
        for (at, want) in [(v4, want_v4), (v6, want_v6)] {
            let IcmpHeader { ty, code, rest } = error.header(at);
            assert_eq!((ty, code, u32::from_be_bytes(rest)), want, "{error:?} {at}");
            assert!(is_error(icmp_of(at), ty), "{error:?}");
        }
    }
}

#[test]
fn nobody_is_told_about_errors_groups_later_fragments_and_sources_that_are_no_host() {
    let may = |frame: &[u8], error: IcmpError| {
        let layers = Layers::of(frame).unwrap();
        error.may_answer(layers.ip().unwrap(), layers.ethernet.dst)
    };
    let ttl = IcmpError::TtlExceeded;
    for [src, dst, router] in [V4, V6] {
        let plain = udp_frame(src, dst, 10);
        assert!(may(&plain, ttl));
        assert!(!may(&answer(ttl, &plain, router), ttl), "an error about an error");
        let mut broadcast = plain.clone();
        broadcast[..6].copy_from_slice(&Mac::BROADCAST.0);
        assert!(!may(&broadcast, ttl));
    }
    for (src, dst) in [
        ("0.0.0.0", V4[1]),
        ("127.0.0.1", V4[1]),
        ("224.0.0.1", V4[1]),
        ("255.255.255.255", V4[1]),
        ("240.0.0.1", V4[1]),
        (V4[0], "224.0.0.1"),
        (V4[0], "255.255.255.255"),
        ("::", V6[1]),
        ("ff02::1", V6[1]),
        (V6[0], "ff02::1"),
    ] {
        assert!(!may(&udp_frame(src, dst, 10), ttl), "{src} to {dst}");
    }
    let too_big = IcmpError::TooBig { mtu: 1280 };
    assert!(may(&udp_frame(V6[0], "ff02::1", 10), too_big));
    assert!(!may(&udp_frame(V4[0], "224.0.0.1", 10), too_big));
    let mut later = udp_frame(V4[0], V4[1], 10);
    later[21] = 1;
    assert!(!may(&later, ttl));
}

#[test]
fn an_echo_reply_brings_back_what_was_sent() {
    for ([src, dst, _], ty, reply_ty) in [(V4, 8, 0), (V6, 128, 129)] {
        let (src, dst) = (addr(src), addr(dst));
        let request = IcmpHeader { ty, code: 0, rest: [1, 2, 3, 4] };
        let message = request.message(src, dst, b"odd");
        let mut packet = ip_packet(src, dst, 9, icmp_of(src), &message);
        set_tos(&mut packet, 0xb8);
        let frame = EthernetHeader {
            vlan: crate::VlanTag::from_wire(5),
            ..EthernetHeader::untagged(HOST, ROUTER, eth_type_of(src))
        }
        .frame(&packet);
        let reply = echo_reply(&frame, ROUTER).unwrap();
        let layers = Layers::of(&reply).unwrap();
        let ip = layers.ip().unwrap();
        assert_eq!((layers.ethernet.src, layers.ethernet.dst), (ROUTER, HOST));
        assert_eq!(layers.ethernet.vlan, crate::VlanTag::from_wire(5));
        assert_eq!((ip.src, ip.dst, ip.tos, ip.ttl), (dst, src, 0xb8, 64));
        assert_eq!(icmp_sum(ip), 0);
        if src.is_ipv4() {
            assert_eq!(checksum(&ip.packet[..20]), 0);
        }
        let (header, data) = IcmpHeader::split(ip.payload).unwrap();
        assert_eq!((header.ty, header.rest, data), (reply_ty, [1, 2, 3, 4], &b"odd"[..]));
        assert_eq!(header.echo_id(ip.protocol), Some(0x0102));
        assert_eq!(echo_reply(&reply, HOST), None, "a reply is not answered");
    }
}

#[test]
fn only_a_whole_echo_request_to_one_host_is_answered_however_it_is_cut() {
    let (src, dst) = (addr(V4[0]), addr(V4[1]));
    let request = IcmpHeader { ty: 8, code: 0, rest: [0; 4] };
    let packet = ip_packet(src, dst, 9, IpProtocol::ICMP, &request.message(src, dst, &[]));
    let frame = EthernetHeader::untagged(HOST, ROUTER, EtherType::IPV4).frame(&packet);
    assert!(echo_reply(&frame, ROUTER).is_some());
    for cut in 0..frame.len() {
        assert_eq!(echo_reply(&frame[..cut], ROUTER), None);
    }
    let mut fragment = frame.clone();
    fragment[20] = 0x20;
    assert_eq!(echo_reply(&fragment, ROUTER), None);
    assert_eq!(echo_reply(&udp_frame(V4[0], V4[1], 9), ROUTER), None);
}
