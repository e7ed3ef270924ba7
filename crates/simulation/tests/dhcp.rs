//! DHCP, as a client sees it.

#![expect(clippy::unwrap_used, reason = "what a test has built can be read")]

use std::net::Ipv4Addr;

use mn_flow::{DropCause, Expiry};
use mn_packet::dhcpv4::{DhcpMessage, MessageType, OptionCode};
use mn_packet::{Layers, Mac, UdpHeader};
use mn_simulation::DHCP_SERVER_MAC;
use mn_testkit::{Lab, mac, named};
use mn_topology::{AnyObject, DhcpOption};

const SERVED: &str = "
    bridge blue
      vm1  02::01  10.0.1.5
      vm2  02::02  10.0.1.6  in closed
      dhcp 10.0.1.0/24 gateway 10.0.1.1 dns 9.9.9.9 dns 8.8.8.8 route 10.9.0.0/16 10.0.1.9
    router edge
      blue  02::a1  10.0.1.1/24
    chain closed
      drop
";

struct Answer {
    frame: Vec<u8>,
}

impl Answer {
    fn message(&self) -> DhcpMessage<'_> {
        let layers = Layers::of(&self.frame).unwrap();
        let start = layers.ip().unwrap().transport_at;
        let (ports, payload) = UdpHeader::split(&self.frame[start..]).unwrap();
        assert_eq!((ports.src, ports.dst), (67, 68));
        DhcpMessage::parse(payload).unwrap()
    }

    fn option(&self, code: OptionCode) -> Option<&[u8]> {
        self.message().option(code)
    }
}

fn ask(lab: &Lab, text: &str) -> Answer {
    let sent = lab.send(text);
    sent.drops(DropCause::Consumed).lasts(Expiry::None);
    let port = text.split(' ').next().unwrap();
    let frame = sent.answered_at(port);
    lab.emit(named(port), &frame).arrives(port, 0);
    Answer { frame }
}

#[test]
fn a_client_is_offered_its_address_and_gets_it() {
    let lab = Lab::read(SERVED);
    let offer = ask(&lab, "vm1 > all discover");
    assert_eq!(offer.message().message_type(), Some(MessageType::OFFER));
    let lease = ask(&lab, "vm1 > all request 10.0.1.5");
    let message = lease.message();
    assert_eq!(message.message_type(), Some(MessageType::ACK));
    assert_eq!(message.header.yiaddr, Ipv4Addr::new(10, 0, 1, 5));
    assert_eq!((message.header.xid, message.header.chaddr), (0x1234_5678, mac("02::01")));
    assert_eq!(message.address(OptionCode::SERVER_ID), Some(Ipv4Addr::new(10, 0, 1, 1)));
    assert_eq!(message.address(OptionCode::SUBNET_MASK), Some(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!(message.address(OptionCode::ROUTER), Some(Ipv4Addr::new(10, 0, 1, 1)));
    assert_eq!(message.address(OptionCode::BROADCAST), Some(Ipv4Addr::new(10, 0, 1, 255)));
    assert_eq!(message.option(OptionCode::DNS), Some(&[9, 9, 9, 9, 8, 8, 8, 8][..]));
    assert_eq!(message.option(OptionCode::LEASE_TIME), Some(&86_400_u32.to_be_bytes()[..]));
    let layers = Layers::of(&lease.frame).unwrap();
    let ethernet = layers.ethernet;
    assert_eq!((ethernet.src, ethernet.dst), (DHCP_SERVER_MAC, mac("02::01")));
    assert_eq!(layers.ip().unwrap().dst.to_string(), "255.255.255.255");
}

#[test]
fn the_mtu_is_the_smaller_of_the_network_s_and_the_tunnels() {
    let mtu = |lab: &Lab| {
        let octets = ask(lab, "vm1 > all discover").option(OptionCode::MTU).map(<[u8]>::to_vec);
        octets.map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    };
    let mut lab = Lab::read(SERVED);
    assert_eq!(mtu(&lab), Some(1450));
    lab.mtu = 0;
    assert_eq!(mtu(&lab), Some(1500), "no tunnel limits it");
    assert_eq!(mtu(&Lab::read(&SERVED.replace("dns 9", "mtu 1400 dns 9"))), Some(1400));
}

#[test]
fn classless_routes_come_with_the_default_route() {
    let lab = Lab::read(SERVED);
    let routes =
        ask(&lab, "vm1 > all discover").option(OptionCode::CLASSLESS_ROUTES).unwrap().to_vec();
    assert_eq!(routes, [16, 10, 9, 10, 0, 1, 9, 0, 10, 0, 1, 1]);
}

#[test]
fn a_wrong_address_is_refused() {
    let lab = Lab::read(SERVED);
    let refusal = ask(&lab, "vm1 > all request 10.0.1.77");
    assert_eq!(refusal.message().message_type(), Some(MessageType::NAK));
    assert_eq!(refusal.message().header.yiaddr, Ipv4Addr::UNSPECIFIED);
}

#[test]
fn a_lease_is_renewed_by_asking_the_gateway_itself() {
    let lab = Lab::read(SERVED);
    let renewed = ask(&lab, "vm1 > 10.0.1.1 renew 10.0.1.5");
    assert_eq!(renewed.message().message_type(), Some(MessageType::ACK));
    assert_eq!(renewed.message().header.yiaddr, Ipv4Addr::new(10, 0, 1, 5));
}

#[test]
fn a_server_without_a_router_answers_arp_and_renewals() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          dhcp 10.0.1.0/24 server 10.0.1.2
        ",
    );
    let sent = lab.send("vm1 > 10.0.1.2 arp");
    let answer = sent.answered_back("vm1");
    let Mac(server) = DHCP_SERVER_MAC;
    assert_eq!(answer[6..12], server);
    let renewed = ask(&lab, "vm1 > 10.0.1.2 renew 10.0.1.5 mac-to 02:a8:9c:de:39:27");
    assert_eq!(renewed.message().message_type(), Some(MessageType::ACK));
}

#[test]
fn filters_do_not_keep_a_client_from_its_address() {
    let lab = Lab::read(SERVED);
    ask(&lab, "vm2 > all discover");
    lab.send("vm2 > vm1 udp 9").drops_by("closed", 0);
}

#[test]
fn an_unknown_client_and_a_disabled_subnet_are_not_served() {
    let mut lab = Lab::read(SERVED);
    lab.send("vm1 > all discover mac-from 02::77").floods(&["vm2"]).silently();
    let subnet = lab.objects.values().find_map(|object| match object {
        AnyObject::DhcpSubnet(subnet) => Some(subnet.clone()),
        _ => None,
    });
    let mut subnet = subnet.unwrap();
    subnet.enabled = false;
    let tags = lab.put(subnet);
    assert_eq!(tags, [mn_flow::Tag::Dhcp(named("blue"))]);
    lab.send("vm1 > all discover").floods(&["vm2"]).silently();
}

#[test]
fn a_host_s_extra_options_replace_the_subnet_s_and_wrong_ones_are_left_out() {
    let mut lab = Lab::read(SERVED);
    let subnet = lab.objects.values().find_map(|object| match object {
        AnyObject::DhcpSubnet(subnet) => Some(subnet.clone()),
        _ => None,
    });
    let mut subnet = subnet.unwrap();
    let option =
        |name: &str, value: &str| DhcpOption { name: name.to_owned(), value: value.to_owned() };
    subnet.hosts[0].extra_options = vec![
        option("dns-server", "1.1.1.1"),
        option("15", "example.org"),
        option("no-such-option", "1"),
        option("mtu", "many"),
        option("53", "6"),
    ];
    lab.put(subnet);
    let offer = ask(&lab, "vm1 > all discover");
    assert_eq!(offer.option(OptionCode::DNS), Some(&[1, 1, 1, 1][..]));
    assert_eq!(offer.option(OptionCode(15)), Some(&b"example.org"[..]));
    assert_eq!(offer.option(OptionCode::MTU), Some(&1450_u16.to_be_bytes()[..]));
    assert_eq!(offer.message().message_type(), Some(MessageType::OFFER));
}
