//! Frames to groups: how hosts say which groups they hear, and what is sent to those.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::net::{IpAddr, Ipv6Addr};

use mn_flow::{Expiry, Field};
use mn_packet::{
    EtherType, EthernetHeader, IcmpHeader, IpProtocol, Mac, checksum, eth_type_of, ip_packet,
};
use mn_simulation::Entry;
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};

const NETWORK: &str = "
    bridge blue
      vm1  02::01  10.0.1.5  fd01::5
      vm2  02::02  10.0.1.6  fd01::6
      vm3  02::03  10.0.1.7
    bridge green
      vm4  02::04  10.0.2.7  fd02::7
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
      route 224.0.0.0/4 via green 10.0.2.7
      route ff00::/8 via green fd02::7
";

/// IGMP by its number.
const IGMP: IpProtocol = IpProtocol(2);

/// The MAC of an IPv4 group (RFC 1112 §6.4).
fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            Mac([1, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) => mn_packet::ndp::multicast_mac(v6),
    }
}

fn frame(from: &str, group: IpAddr, packet: &[u8]) -> Vec<u8> {
    EthernetHeader::untagged(mac(from), group_mac(group), eth_type_of(group)).frame(packet)
}

/// An IGMPv2 message (RFC 2236 §2): a report, a query, a leave.
fn igmp(ty: u8, to: &str, about: [u8; 4]) -> Vec<u8> {
    let mut message = [&[ty, 0, 0, 0][..], &about].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let (src, dst) = ("10.0.1.5".parse().unwrap(), to.parse().unwrap());
    frame("02::01", dst, &ip_packet(src, dst, 1, IGMP, &message))
}

/// An MLD message (RFC 2710 §3, RFC 3810 §5): behind a hop-by-hop header with a router alert, from
/// a link-local address, with one hop.
fn mld(ty: u8, to: &str, about: &str) -> Vec<u8> {
    let (src, dst): (IpAddr, IpAddr) = ("fe80::ff:fe00:1".parse().unwrap(), to.parse().unwrap());
    let about: Ipv6Addr = about.parse().unwrap();
    let message = IcmpHeader { ty, code: 0, rest: [0; 4] }.message(src, dst, &about.octets());
    let alert = [IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0];
    let packet = ip_packet(src, dst, 1, IpProtocol(0), &[&alert[..], &message].concat());
    frame("02::01", dst, &packet)
}

/// Asserts that a frame of vm1 reaches the other machines of its bridge and no router, by a flow,
/// and that nobody answers it.
#[track_caller]
fn floods(lab: &Lab, what: &str, frame: Vec<u8>) {
    let built = Built::of(named("vm1"), frame);
    let sent = lab.inject(what, Entry::Ingress(named("vm1")), &built);
    sent.floods(&["vm2", "vm3"]).lasts(Expiry::Idle).silently();
    // The copies are as they came: nothing of a group's is rewritten.
    assert!(sent.arrivals().iter().all(|at| at.headers == built.key && at.hops == 0), "{what}");
    assert!(sent.decision().unwrap().mask.contains(Field::EthDst));
}

#[test]
fn what_hosts_say_of_their_groups_reaches_every_port_of_their_bridge() {
    let lab = Lab::read(NETWORK);
    let group = [239, 1, 1, 9];
    floods(&lab, "a report", igmp(0x16, "239.1.1.9", group));
    floods(&lab, "a leave", igmp(0x17, "224.0.0.2", group));
    floods(&lab, "a query for all", igmp(0x11, "224.0.0.1", [0; 4]));
    floods(&lab, "an MLDv2 report", mld(143, "ff02::16", "::"));
    floods(&lab, "an MLD report", mld(131, "ff0e::99", "ff0e::99"));
    floods(&lab, "a query for all, IPv6", mld(130, "ff02::1", "::"));
}

#[test]
fn what_is_sent_to_a_group_reaches_every_port_and_is_not_routed() {
    let lab = Lab::read(NETWORK);
    for (from, to) in [("10.0.1.5", "239.1.1.9"), ("fd01::5", "ff0e::99"), ("fd01::5", "ff02::99")]
    {
        let (src, dst): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let message = mn_packet::UdpHeader { src: 9, dst: 9 }.datagram(src, dst, b"to the group");
        floods(&lab, to, frame("02::01", dst, &ip_packet(src, dst, 8, IpProtocol::UDP, &message)));
    }
}

#[test]
fn a_filter_of_one_member_keeps_a_group_s_frames_from_that_member_alone() {
    let lab = Lab::read(&format!(
        "{}\n chain no-groups\n  drop mac-to 01:00:5e:01:01:09\n",
        NETWORK.replace("02::03  10.0.1.7", "02::03  10.0.1.7  out no-groups"),
    ));
    let built = Built::of(named("vm1"), igmp(0x16, "239.1.1.9", [239, 1, 1, 9]));
    let sent = lab.inject("a report", Entry::Ingress(named("vm1")), &built);
    sent.floods(&["vm2"]);
    assert_eq!(built.key.eth_type, EtherType::IPV4);
}
