use super::*;
use crate::{Layers, transport_checksum};

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn discover() -> DhcpHeader {
    DhcpHeader {
        from_client: true,
        xid: 0x1234_5678,
        secs: 3,
        broadcast: true,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: CLIENT,
    }
}

#[test]
fn a_message_round_trips_and_is_refused_cut_inside_its_fixed_part_or_an_option() {
    let options = [
        DhcpOption::message_type(MessageType::REQUEST),
        DhcpOption::addresses(OptionCode::REQUESTED_ADDRESS, &[Ipv4Addr::new(10, 0, 0, 5)]),
    ];
    let octets = discover().message(&options);
    assert_eq!(octets.len(), 300);
    let message = DhcpMessage::parse(&octets).unwrap();
    assert_eq!(message.header, discover());
    assert_eq!(message.message_type(), Some(MessageType::REQUEST));
    let requested = message.address(OptionCode::REQUESTED_ADDRESS);
    assert_eq!(requested, Some(Ipv4Addr::new(10, 0, 0, 5)));
    assert_eq!(message.options().count(), 2);
    for cut in 0..=300 {
        let complete = matches!(cut, 240 | 243 | 249..);
        assert_eq!(DhcpMessage::parse(&octets[..cut]).is_ok(), complete, "{cut}");
    }
}

#[test]
fn what_is_not_dhcp_over_ethernet_is_malformed() {
    let octets = discover().message(&[]);
    for at in [0, 1, 2, 236, 239] {
        let mut other = octets.clone();
        other[at] = 9;
        assert!(matches!(DhcpMessage::parse(&other), Err(WireError::Malformed { .. })), "{at}");
    }
}

#[test]
fn options_may_stand_in_the_fields_for_file_and_server_name() {
    let overload = DhcpOption::octet(OptionCode::OVERLOAD, 3);
    let mut octets = discover().message(&[overload]);
    octets[108..112].copy_from_slice(&[53, 1, 1, 255]);
    octets[44..51].copy_from_slice(&[54, 4, 10, 0, 0, 1, 255]);
    let message = DhcpMessage::parse(&octets).unwrap();
    assert_eq!(message.message_type(), Some(MessageType::DISCOVER));
    assert_eq!(message.address(OptionCode::SERVER_ID), Some(Ipv4Addr::new(10, 0, 0, 1)));
}

#[test]
fn options_have_the_octets_of_their_rfcs() {
    let gateway = Ipv4Addr::new(10, 0, 0, 1);
    let route = |text: &str| (text.parse().unwrap(), gateway);
    // The table of RFC 3442, "Classless Route Option Format".
    let routes = DhcpOption::classless_routes([
        route("0.0.0.0/0"),
        route("10.0.0.0/8"),
        route("10.17.0.0/16"),
        route("10.27.129.0/24"),
        route("10.229.0.128/25"),
        route("10.198.122.47/32"),
    ]);
    let mut want = Vec::new();
    for destination in [
        &[0][..],
        &[8, 10],
        &[16, 10, 17],
        &[24, 10, 27, 129],
        &[25, 10, 229, 0, 128],
        &[32, 10, 198, 122, 47],
    ] {
        want.extend_from_slice(destination);
        want.extend_from_slice(&[10, 0, 0, 1]);
    }
    assert_eq!(routes.data, want);
    let mask = |text: &str| DhcpOption::subnet_mask(text.parse().unwrap()).data;
    assert_eq!(mask("10.0.0.0/20"), [255, 255, 240, 0]);
    assert_eq!(mask("0.0.0.0/0"), [0; 4]);
    assert_eq!(DhcpOption::u16(OptionCode::MTU, 1450).data, [5, 0xaa]);
    assert_eq!(DhcpOption::u32(OptionCode::LEASE_TIME, 86400).data, [0, 1, 0x51, 0x80]);
}

#[test]
fn a_long_option_goes_out_in_pieces() {
    let long = DhcpOption { code: OptionCode::CLASSLESS_ROUTES, data: (0..=255).collect() };
    let octets = discover().message(std::slice::from_ref(&long));
    let message = DhcpMessage::parse(&octets).unwrap();
    let pieces: Vec<_> = message.options().collect();
    assert_eq!(pieces.iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [255, 1]);
    assert!(pieces.iter().all(|(code, _)| *code == OptionCode::CLASSLESS_ROUTES));
    assert_eq!(
        pieces.iter().flat_map(|(_, data)| data.iter().copied()).collect::<Vec<_>>(),
        long.data
    );
}

#[test]
fn a_reply_goes_from_the_servers_port_to_the_clients() {
    let server = Ipv4Addr::new(10, 0, 0, 1);
    let offered = Ipv4Addr::new(10, 0, 0, 5);
    let header = discover().reply(offered);
    let message = header.message(&[DhcpOption::message_type(MessageType::OFFER)]);
    let mac = Mac([2, 0xa8, 0x9c, 0xde, 0x39, 0x27]);
    let ethernet = EthernetHeader::untagged(mac, CLIENT, EtherType::IPV4);
    let frame = reply_frame(&ethernet, server, Ipv4Addr::BROADCAST, &message);
    let layers = Layers::of(&frame).unwrap();
    let ip = layers.ip().unwrap();
    assert_eq!(ip.ports(), Some((67, 68)));
    assert_eq!(transport_checksum(ip.src, ip.dst, ip.protocol, ip.payload), 0);
    let (_, payload) = UdpHeader::split(ip.payload).unwrap();
    let reply = DhcpMessage::parse(payload).unwrap();
    assert_eq!(reply.message_type(), Some(MessageType::OFFER));
    assert_eq!((reply.header.xid, reply.header.yiaddr), (0x1234_5678, offered));
    assert!(!reply.header.from_client && reply.header.broadcast);
}
