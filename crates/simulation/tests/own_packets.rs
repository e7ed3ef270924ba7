//! Packets of the network's own: which filters they pass, and what they are.

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry};
use mn_packet::{EtherType, EthernetHeader, IcmpHeader, IpProtocol, Layers, UdpHeader, ip_packet};
use mn_simulation::{Entry, router_advertisement};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, mac, named};
use mn_topology::snapshot::Lookup;
use mn_topology::{Port, PortKind};

/// A router whose port, or which itself, has a filter named here: `{port}`, `{router}`.
fn network(port: &str, router: &str) -> Lab {
    Lab::read(&format!(
        "
        bridge blue
          vm1  02::01  10.0.1.5  fd01::5
          vm2  02::02  10.0.1.6  fd01::6
        bridge green
          vm3  02::03  10.0.2.7  fd02::7
        router edge
          {router}
          blue   02::a1  {port} 10.0.1.1/24  fd01::1/64  ra slaac
          green  02::a2  10.0.2.1/24  fd02::1/64
          route 10.67.0.0/16 reject
        chain silence
          drop icmp
          drop icmpv6
        chain narrow
          drop udp
        "
    ))
}

/// What of the router's own words for a machine gets to it.
fn heard(lab: &Lab) -> Vec<bool> {
    let words = [
        "vm1 > 10.0.1.1 icmp",
        "vm1 > fd01::1 icmp v6",
        "vm1 > vm3 udp 9 ttl 1",
        "vm1 > 10.67.0.1 udp 9",
    ];
    let heard = words.into_iter().map(|text| {
        let sent = lab.send(text);
        let answer = sent.answered_at("edge.blue");
        let own = lab.emit(named("edge.blue"), &answer);
        own.lasts(Expiry::None);
        !own.arrivals().is_empty()
    });
    heard.collect()
}

#[test]
fn a_router_s_own_packets_pass_the_outbound_filter_of_their_port_and_not_the_router_s() {
    assert_eq!(heard(&network("", "")), [true; 4]);
    assert_eq!(heard(&network("out silence", "")), [false; 4]);
    assert_eq!(heard(&network("", "out silence")), [true; 4]);
    // What it forwards passes both.
    network("", "out silence").send("vm1 > vm3 icmp").drops(DropCause::Rule);
}

#[test]
fn a_first_fragment_that_a_router_s_filter_drops_is_told_to_be_smaller() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
        bridge green
          vm3  02::03  10.0.2.7
        router edge
          in narrow
          blue   02::a1  10.0.1.1/24
          green  02::a2  10.0.2.1/24
        chain narrow
          drop udp
        ",
    );
    let sent = lab.send("vm1 > vm3 udp 9 first");
    let answer = sent.drops(DropCause::Rule).lasts(Expiry::None).answered_at("edge.blue");
    let layers = Layers::of(&answer).unwrap();
    let (header, _) = IcmpHeader::split(layers.ip().unwrap().payload).unwrap();
    assert_eq!((header.ty, header.code), (3, 4));
    // Whole datagrams are dropped in silence, and of later fragments nobody speaks.
    lab.send("vm1 > vm3 udp 9").drops(DropCause::Rule).silently().lasts(Expiry::Idle);
    lab.send("vm1 > vm3 udp 9 later").drops(DropCause::Rule).silently();
}

/// A fragment of a UDP datagram over IPv6: the first, which has the ports, or a later one.
fn fragment_v6(from: &str, to: &str, later: bool) -> Vec<u8> {
    let addr = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let (src, dst) = (addr(from), addr(to));
    let datagram = UdpHeader { src: 1, dst: 9 }.datagram(src, dst, &[0x5a; 1000]);
    // Offset 800 octets, or 0 and more follow (RFC 8200 §4.5).
    let [high, low] = if later { 800_u16 } else { 1 }.to_be_bytes();
    let header = [IpProtocol::UDP.0, 0, high, low, 0, 0, 0, 7];
    let payload = [&header[..], &datagram[..800]].concat();
    let packet = ip_packet(src, dst, 64, IpProtocol(44), &payload);
    EthernetHeader::untagged(mac("02::01"), mac("02::a1"), EtherType::IPV6).frame(&packet)
}

#[test]
fn a_first_fragment_over_ipv6_that_a_router_s_filter_drops_is_told_to_be_smaller() {
    let lab = network("", "in narrow");
    let send = |later| {
        let frame = fragment_v6("fd01::5", "fd02::7", later);
        let built = Built::of(named("vm1"), frame);
        lab.inject("a fragment", Entry::Ingress(named("vm1")), &built)
    };
    let sent = send(false);
    let answer = sent.drops(DropCause::Rule).lasts(Expiry::None).answered_at("edge.blue");
    let layers = Layers::of(&answer).unwrap();
    let ip = layers.ip().unwrap();
    assert_eq!((ip.src, ip.dst), ("fd01::1".parse().unwrap(), "fd01::5".parse().unwrap()));
    let (header, quoted) = IcmpHeader::split(ip.payload).unwrap();
    // Packet too big (RFC 4443 §3.2), with the size that fits and the packet it is about.
    assert_eq!((header.ty, header.code, u32::from_be_bytes(header.rest)), (2, 0, 1450));
    let about = &sent.built.frame[14..];
    assert!(about.starts_with(&quoted[..quoted.len().min(about.len())]), "it quotes the fragment");
    send(true).drops(DropCause::Rule).silently();
}

#[test]
fn what_a_port_advertises_follows_its_fields_and_reaches_every_machine_of_its_bridge() {
    let mut lab = network("", "");
    let told = |lab: &Lab, mtu| {
        let Lookup::Loaded(Port { kind: PortKind::Router(port), .. }) =
            lab.snapshot.port(named("edge.blue"))
        else {
            panic!("a router's port");
        };
        (port.mac, router_advertisement(port, mtu))
    };
    let (mac, advertisement) = told(&lab, 1450);
    let advertisement = advertisement.unwrap();
    assert_eq!((advertisement.lifetime, advertisement.mtu), (1800, Some(1450)));
    assert_eq!(advertisement.prefixes.len(), 1);
    let frame = advertisement.frame(mac, None);
    lab.emit(named("edge.blue"), &frame).floods(&["vm1", "vm2"]).lasts(Expiry::None);

    lab.port("edge.blue", |port| {
        let PortKind::Router(kind) = &mut port.kind else { panic!("a router's port") };
        kind.ra_interval = Some(30);
        kind.ra_prefixes = vec!["fd99::/64".parse().unwrap()];
    });
    let (_, advertisement) = told(&lab, 0);
    let advertisement = advertisement.unwrap();
    assert_eq!((advertisement.lifetime, advertisement.mtu), (90, None));
    assert_eq!(advertisement.prefixes[0].prefix.to_string(), "fd99::");
    lab.port("edge.blue", |port| {
        let PortKind::Router(kind) = &mut port.kind else { panic!("a router's port") };
        kind.ra_mode = mn_topology::RaMode::Off;
    });
    assert_eq!(told(&lab, 1450).1, None);
}
