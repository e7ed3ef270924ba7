//! DHCPv6, as a client sees it.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

use std::net::Ipv6Addr;

use mn_flow::{DropCause, Expiry};
use mn_packet::dhcpv6::{
    CLIENT_PORT, DhcpV6Message, MessageType, MessageWriter, OptionCode, SERVER_PORT, SERVERS,
    duid_of, reply_frame,
};
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Layers, Mac, UdpHeader, ip_packet, ndp};
use mn_simulation::{DHCP_SERVER_MAC, Entry};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Sent, mac, named};
use mn_topology::AnyObject;

const SERVED: &str = "
    bridge blue
      vm1  02::01  fd00:1::5
      vm2  02::02  fd00:1::6  in closed
      dhcp fd00:1::/64 dns 2001:db8::53
    chain closed
      drop
";

const IAID: [u8; 4] = [0, 0, 0, 7];

/// A message as a client at `vm` begins it.
fn message(vm: &str, kind: MessageType) -> MessageWriter {
    let message = MessageWriter::new(kind, [1, 2, 3]);
    message.option(OptionCode::CLIENT_ID, &duid_of(client(vm)))
}

fn client(vm: &str) -> Mac {
    if vm == "vm1" { mac("02::01") } else { mac("02::02") }
}

/// An identity association without an address.
fn association(message: MessageWriter) -> MessageWriter {
    message.option(OptionCode::IA_NA, &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn ours(message: MessageWriter) -> MessageWriter {
    message.option(OptionCode::SERVER_ID, &duid_of(DHCP_SERVER_MAC))
}

fn frame(from: Mac, message: MessageWriter) -> Vec<u8> {
    let src = ndp::link_local(from);
    let ports = UdpHeader { src: CLIENT_PORT, dst: SERVER_PORT };
    let datagram = ports.datagram(src.into(), SERVERS.into(), &message.finish());
    let packet = ip_packet(src.into(), SERVERS.into(), 1, IpProtocol::UDP, &datagram);
    let group = mac("33:33:00:01:00:02");
    EthernetHeader::untagged(from, group, EtherType::IPV6).frame(&packet)
}

fn send<'a>(lab: &'a Lab, vm: &str, from: Mac, message: MessageWriter) -> Sent<'a> {
    let built = Built::of(named(vm), frame(from, message));
    lab.inject("DHCPv6", Entry::Ingress(named(vm)), &built)
}

/// The answer to a message, which must reach the client.
fn ask(lab: &Lab, vm: &str, message: MessageWriter) -> Vec<u8> {
    let sent = send(lab, vm, client(vm), message);
    sent.drops(DropCause::Consumed).lasts(Expiry::None);
    let answer = sent.answered_at(vm);
    lab.emit(named(vm), &answer).arrives(vm, 0);
    let layers = Layers::of(&answer).unwrap();
    assert_eq!((layers.ethernet.src, layers.ethernet.dst), (DHCP_SERVER_MAC, client(vm)));
    let ip = layers.ip().unwrap();
    assert_eq!(ip.dst, ndp::link_local(client(vm)));
    UdpHeader::split(ip.payload).unwrap().1.to_vec()
}

fn read(payload: &[u8]) -> DhcpV6Message<'_> {
    let message = DhcpV6Message::parse(payload).unwrap();
    assert_eq!(message.transaction, [1, 2, 3]);
    assert_eq!(message.option(OptionCode::SERVER_ID), Some(&duid_of(DHCP_SERVER_MAC)[..]));
    message
}

/// The addresses an answer gives.
fn given(message: &DhcpV6Message<'_>) -> Vec<String> {
    let associations = message.associations().inspect(|it| assert_eq!(it.iaid, IAID));
    associations.flat_map(|it| it.addresses()).map(|addr| addr.to_string()).collect()
}

#[test]
fn a_client_is_offered_its_address_and_gets_it() {
    let lab = Lab::read(SERVED);
    let offer = ask(&lab, "vm1", association(message("vm1", MessageType::SOLICIT)));
    let offer = read(&offer);
    assert_eq!(offer.message_type, MessageType::ADVERTISE);
    assert_eq!(given(&offer), ["fd00:1::5"]);
    assert_eq!(offer.option(OptionCode::CLIENT_ID), Some(&duid_of(mac("02::01"))[..]));
    let lease = ask(&lab, "vm1", ours(association(message("vm1", MessageType::REQUEST))));
    let lease = read(&lease);
    assert_eq!((lease.message_type, given(&lease)), (MessageType::REPLY, vec!["fd00:1::5".into()]));
    let dns: Ipv6Addr = "2001:db8::53".parse().unwrap();
    assert_eq!(lease.option(OptionCode::DNS), Some(&dns.octets()[..]));
}

#[test]
fn a_client_in_a_hurry_gets_its_address_at_once() {
    let lab = Lab::read(SERVED);
    let solicit = association(message("vm1", MessageType::SOLICIT));
    let reply = ask(&lab, "vm1", solicit.option(OptionCode::RAPID_COMMIT, &[]));
    let reply = read(&reply);
    assert_eq!((reply.message_type, given(&reply)), (MessageType::REPLY, vec!["fd00:1::5".into()]));
    assert!(reply.option(OptionCode::RAPID_COMMIT).is_some());
}

#[test]
fn a_lease_is_renewed_rebound_and_released() {
    let lab = Lab::read(SERVED);
    let renewed = ask(&lab, "vm1", ours(association(message("vm1", MessageType::RENEW))));
    assert_eq!(given(&read(&renewed)), ["fd00:1::5"]);
    let rebound = ask(&lab, "vm1", association(message("vm1", MessageType::REBIND)));
    assert_eq!(given(&read(&rebound)), ["fd00:1::5"]);
    let released = ask(&lab, "vm1", ours(association(message("vm1", MessageType::RELEASE))));
    assert_eq!(read(&released).option(OptionCode::STATUS), Some(&[0, 0][..]));
}

#[test]
fn a_client_that_moved_is_told_whether_its_address_still_fits() {
    let lab = Lab::read(SERVED);
    let confirm = |addr: &str| {
        let message = message("vm1", MessageType::CONFIRM);
        let reply = ask(&lab, "vm1", message.association(IAID, addr.parse().unwrap(), [0; 4]));
        read(&reply).option(OptionCode::STATUS).unwrap().to_vec()
    };
    assert_eq!(confirm("fd00:1::5"), [0, 0]);
    assert_eq!(confirm("fd00:2::5"), [0, 4], "not on this link");
}

#[test]
fn a_second_association_of_a_client_with_one_address_gets_none() {
    let lab = Lab::read(SERVED);
    let solicit = association(association(message("vm1", MessageType::SOLICIT)));
    let offer = ask(&lab, "vm1", solicit);
    assert_eq!(given(&read(&offer)), ["fd00:1::5"]);
    assert_eq!(read(&offer).associations().count(), 2);
}

#[test]
fn anybody_is_told_of_name_servers() {
    let lab = Lab::read(SERVED);
    let ask_at = |message| {
        let sent = send(&lab, "vm1", mac("02::77"), message);
        sent.drops(DropCause::Consumed);
        sent.answered_at("vm1")
    };
    let bare = MessageWriter::new(MessageType::INFORMATION_REQUEST, [1, 2, 3]);
    let answer = ask_at(bare);
    let layers = Layers::of(&answer).unwrap();
    let (_, payload) = UdpHeader::split(layers.ip().unwrap().payload).unwrap();
    let reply = read(payload);
    assert_eq!(reply.option(OptionCode::DNS).map(<[u8]>::len), Some(16));
    assert!(reply.option(OptionCode::REFRESH_TIME).is_some());
}

#[test]
fn filters_do_not_keep_a_client_from_its_address() {
    let lab = Lab::read(SERVED);
    ask(&lab, "vm2", association(message("vm2", MessageType::SOLICIT)));
    lab.send("vm2 > vm1 udp 9 v6").drops_by("closed", 0);
}

#[test]
fn what_is_not_ours_to_answer_goes_on() {
    let mut lab = Lab::read(SERVED);
    let goes_on = |lab: &Lab, from: Mac, message: MessageWriter| {
        send(lab, "vm1", from, message).floods(&["vm2"]).silently();
    };
    let own = mac("02::01");
    // A stranger, another server's client, a request without a server, one of a relay.
    let stranger = MessageWriter::new(MessageType::SOLICIT, [1, 2, 3]);
    let stranger = stranger.option(OptionCode::CLIENT_ID, &duid_of(mac("02::77")));
    goes_on(&lab, mac("02::77"), association(stranger));
    let other = message("vm1", MessageType::REQUEST);
    let other = other.option(OptionCode::SERVER_ID, &duid_of(mac("02::99")));
    goes_on(&lab, own, association(other));
    goes_on(&lab, own, association(message("vm1", MessageType::REQUEST)));
    goes_on(&lab, own, message("vm1", MessageType(12)));
    goes_on(&lab, own, MessageWriter::new(MessageType::SOLICIT, [1, 2, 3]));
    // A subnet that is gone.
    let subnet = lab.objects.values().find_map(|object| match object {
        AnyObject::DhcpV6Subnet(subnet) => Some(subnet.id),
        _ => None,
    });
    assert_eq!(lab.delete(subnet.unwrap()), [mn_flow::Tag::Dhcp(named("blue"))]);
    goes_on(&lab, own, association(message("vm1", MessageType::SOLICIT)));
}

#[test]
fn no_octets_of_a_message_make_the_walk_fail() {
    let lab = Lab::read(SERVED);
    let whole = frame(client("vm1"), association(message("vm1", MessageType::SOLICIT)));
    for at in 62..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut frame = whole.clone();
            frame[at] = value;
            let built = Built::of(named("vm1"), frame);
            assert!(
                lab.inject("DHCPv6", Entry::Ingress(named("vm1")), &built).decision().is_some()
            );
        }
    }
    // A server's own message that comes in from outside is a packet like any other.
    let ethernet = EthernetHeader::untagged(mac("02::01"), mac("02::02"), EtherType::IPV6);
    let reply = MessageWriter::new(MessageType::REPLY, [1, 2, 3]).finish();
    let reply = reply_frame(&ethernet, ndp::link_local(mac("02::02")), &reply);
    let built = Built::of(named("vm1"), reply);
    lab.inject("reply", Entry::Ingress(named("vm1")), &built).arrives("vm2", 0);
}
