use super::*;
use crate::{Layers, transport_checksum};

const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn addr(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Takes the frame of a message apart: Ethernet header, source, destination, message.
fn open(frame: &[u8]) -> (EthernetHeader, IpAddr, IpAddr, NdMessage) {
    let layers = Layers::of(frame).unwrap();
    let ip = layers.ip().unwrap();
    assert_eq!(ip.ttl, HOP_LIMIT);
    assert_eq!(transport_checksum(ip.src, ip.dst, ip.protocol, ip.payload), 0);
    (layers.ethernet, ip.src, ip.dst, NdMessage::parse(ip.payload).unwrap().unwrap())
}

fn advertisement() -> RouterAdvertisement {
    let prefix = |text, autonomous| PrefixInformation {
        prefix: addr(text),
        len: 64,
        on_link: true,
        autonomous,
        valid: 86400,
        preferred: 14400,
    };
    RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other: true,
        lifetime: 1800,
        reachable_ms: 30_000,
        retrans_ms: 1000,
        source_mac: Some(ROUTER),
        mtu: Some(1430),
        prefixes: vec![prefix("2001:db8:1::", true), prefix("2001:db8:2::", false)],
    }
}

fn every_message() -> [NdMessage; 5] {
    [
        NdMessage::RouterSolicitation { source_mac: Some(HOST) },
        NdMessage::RouterSolicitation { source_mac: None },
        NdMessage::RouterAdvertisement(advertisement()),
        NdMessage::NeighborSolicitation { target: addr("fe80::1"), source_mac: Some(HOST) },
        NdMessage::NeighborAdvertisement(NeighborAdvertisement {
            target: addr("fe80::1"),
            router: true,
            solicited: false,
            overrides: true,
            target_mac: Some(HOST),
        }),
    ]
}

#[test]
fn every_message_round_trips_and_is_refused_cut_inside() {
    for message in every_message() {
        let octets = message.message(addr("fe80::1"), addr("fe80::2"));
        assert_eq!(NdMessage::parse(&octets), Ok(Some(message.clone())));
        for cut in 1..octets.len() {
            match NdMessage::parse(&octets[..cut]) {
                Err(WireError::Truncated { .. }) => {}
                // Cut right before an option it is another, shorter message.
                Ok(Some(other)) => assert!(other != message && cut.is_multiple_of(8), "{cut}"),
                other => panic!("{message:?} cut to {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_solicitation_goes_to_the_group_of_its_target() {
    let frame = solicit(HOST, addr("2001:db8::1"), addr("2001:db8::12:3456"));
    let (ethernet, src, dst, message) = open(&frame);
    assert_eq!(ethernet.dst, Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    assert_eq!((src, dst), (addr("2001:db8::1").into(), addr("ff02::1:ff12:3456").into()));
    let target = addr("2001:db8::12:3456");
    assert_eq!(message, NdMessage::NeighborSolicitation { target, source_mac: Some(HOST) });
}

#[test]
fn an_answer_goes_to_the_asker_and_one_about_duplicates_to_all() {
    let target = addr("fe80::99");
    let asked = EthernetHeader::untagged(HOST, multicast_mac(ALL_NODES), EtherType::IPV6);
    for (asker, dst_mac, dst, want_solicited) in [
        (addr("fe80::1"), HOST, addr("fe80::1"), true),
        (Ipv6Addr::UNSPECIFIED, multicast_mac(ALL_NODES), ALL_NODES, false),
    ] {
        let (ethernet, src, to, message) = open(&advertise(&asked, asker, target, ROUTER, true));
        assert_eq!((ethernet.src, ethernet.dst), (ROUTER, dst_mac));
        assert_eq!((src, to), (target.into(), dst.into()));
        let want = NeighborAdvertisement {
            target,
            router: true,
            solicited: want_solicited,
            overrides: true,
            target_mac: Some(ROUTER),
        };
        assert_eq!(message, NdMessage::NeighborAdvertisement(want));
    }
    let (ethernet, _, to, _) = open(&announce(HOST, target, false));
    assert_eq!((ethernet.dst, to), (Mac([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES.into()));
}

#[test]
fn a_router_advertisement_comes_from_the_link_local_address() {
    let (ethernet, src, to, message) = open(&advertisement().frame(ROUTER, None));
    assert_eq!((src, to), (addr("fe80::ff:fe00:2").into(), ALL_NODES.into()));
    assert_eq!(ethernet.dst, multicast_mac(ALL_NODES));
    assert_eq!(message, NdMessage::RouterAdvertisement(advertisement()));
    let one = (HOST, addr("fe80::1"));
    assert_eq!(open(&advertisement().frame(ROUTER, Some(one))).0.dst, HOST);
}

#[test]
fn what_the_rfc_forbids_is_malformed_and_what_it_leaves_open_is_passed_over() {
    let solicitation =
        NdMessage::NeighborSolicitation { target: addr("fe80::1"), source_mac: Some(HOST) };
    let octets = solicitation.message(addr("fe80::1"), addr("fe80::2"));
    for (at, octet) in [(1, 1), (8, 0xff), (25, 0)] {
        let mut wrong = octets.clone();
        wrong[at] = octet;
        let error = NdMessage::parse(&wrong).unwrap_err();
        assert!(matches!(error, WireError::Malformed { .. }), "{at}: {error}");
    }
    let mut unknown = octets.clone();
    unknown.extend([14, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(NdMessage::parse(&unknown), Ok(Some(solicitation)));
    assert_eq!(NdMessage::parse(&[128, 0, 0, 0]), Ok(None));
    assert_eq!(NdMessage::parse(&[]), Ok(None));
}
