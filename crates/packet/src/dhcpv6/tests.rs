use super::*;
use crate::{Layers, transport_checksum};

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ADDR: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 5);

fn reply() -> Vec<u8> {
    MessageWriter::new(MessageType::REPLY, [1, 2, 3])
        .option(OptionCode::CLIENT_ID, &duid_of(CLIENT))
        .association([0, 0, 0, 7], ADDR, [1, 2, 3, 4])
        .refused_association([0, 0, 0, 8], Status::NO_ADDRESS, "none")
        .finish()
}

#[test]
fn a_message_round_trips_and_is_refused_cut_inside_an_option() {
    let octets = reply();
    let message = DhcpV6Message::parse(&octets).unwrap();
    assert_eq!((message.message_type, message.transaction), (MessageType::REPLY, [1, 2, 3]));
    assert_eq!(message.option(OptionCode::CLIENT_ID), Some(&duid_of(CLIENT)[..]));
    let associations: Vec<_> = message.associations().collect();
    assert_eq!(associations.len(), 2);
    assert_eq!(associations[0].iaid, [0, 0, 0, 7]);
    assert_eq!(associations[0].addresses().collect::<Vec<_>>(), [ADDR]);
    assert_eq!(associations[1].addresses().count(), 0);
    // Between options it may end: header, client identifier (14), association (44), refusal.
    for cut in 0..octets.len() {
        let complete = matches!(cut, 4 | 18 | 62);
        assert_eq!(DhcpV6Message::parse(&octets[..cut]).is_ok(), complete, "{cut}");
    }
}

#[test]
fn an_association_that_is_cut_short_inside_is_left_out() {
    let mut octets = reply();
    // The length of the address option, now longer than the association.
    octets[18 + 4 + 12 + 3] = 200;
    let message = DhcpV6Message::parse(&octets).unwrap();
    assert_eq!(message.associations().count(), 1);
}

#[test]
fn the_mac_is_found_in_identifiers_that_were_made_from_one() {
    assert_eq!(mac_of(&duid_of(CLIENT)), Some(CLIENT));
    assert_eq!(mac_of(&[0, 1, 0, 1, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1]), Some(CLIENT));
    for other in [&[0, 2, 0, 0, 0, 9, 1][..], &[0, 4, 1], &[0, 3, 0, 1, 2, 0], &[]] {
        assert_eq!(mac_of(other), None);
    }
}

#[test]
fn a_reply_goes_from_the_server_s_link_local_address_with_a_right_checksum() {
    let server = Mac([2, 0, 0, 0, 0, 9]);
    let client = ndp::link_local(CLIENT);
    let ethernet = EthernetHeader::untagged(server, CLIENT, EtherType::IPV4);
    let frame = reply_frame(&ethernet, client, &reply());
    let layers = Layers::of(&frame).unwrap();
    assert_eq!(layers.ethernet.eth_type, EtherType::IPV6);
    let ip = layers.ip().unwrap();
    assert_eq!((ip.src, ip.dst), (ndp::link_local(server).into(), client.into()));
    assert_eq!(transport_checksum(ip.src, ip.dst, IpProtocol::UDP, ip.payload), 0);
    let (ports, payload) = UdpHeader::split(ip.payload).unwrap();
    assert_eq!((ports.src, ports.dst), (SERVER_PORT, CLIENT_PORT));
    assert_eq!(DhcpV6Message::parse(payload).unwrap().message_type, MessageType::REPLY);
}
