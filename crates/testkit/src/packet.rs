//! A packet as a line of text: `FROM > TO WHAT OPTIONS`.
//!
//! FROM is a machine. TO is a machine, an address, or `all` (the broadcast address). The frame goes
//! to the machine's MAC where it is on the same device, else to the router's port there.
//!
//! ```text
//! tcp N  udp N  icmp (echo)  proto N     what it carries; N is the destination port
//! arp  arp-reply  garp                   about TO's address
//! ns  na  rs                             neighbour discovery about TO's address
//! discover  request A  renew A           DHCP
//! error                                  an ICMP error that quotes a packet from TO to FROM
//! v6                                     by the machines' IPv6 addresses
//! sport N  ttl N  tos N  id N  len N     fields; len is of the payload
//! syn ack fin rst                        flags of TCP
//! vlan N  mac-from M  mac-to M  addr-from A  addr-to A
//! first  later                           a fragment
//! returns  goes                          the datapath's word on the connection
//! gso N                                  yet to be cut into segments of N octets
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_flow::{Conn, FlowKey, PortNo, extract};
use mn_ids::PortId;
use mn_packet::dhcpv4::{
    CLIENT_PORT, DhcpHeader, DhcpOption, MessageType, OptionCode, SERVER_PORT,
};
use mn_packet::ndp::{self, NdMessage, NeighborAdvertisement};
use mn_packet::{
    Arp, ArpOp, EtherType, EthernetHeader, IcmpError, IcmpHeader, IpProtocol, Layers, Mac,
    TcpFlags, TcpHeader, UdpHeader, VlanTag, checksum, eth_type_of, icmp, ip_packet,
};
use mn_topology::PortKind;

use crate::{Lab, Station, mac};

/// A packet ready to be simulated.
#[derive(Clone, Debug)]
pub struct Built {
    /// The port it enters by.
    pub port: PortId,
    pub key: FlowKey,
    pub frame: Vec<u8>,
    pub gso_size: u16,
}

impl Built {
    /// A frame as the datapath would show it.
    ///
    /// # Panics
    ///
    /// For a frame that the datapath would not take.
    #[must_use]
    pub fn of(port: PortId, frame: Vec<u8>) -> Self {
        let key = extract(&frame, PortNo::FIRST_BOUND, None).expect("a frame that can be read");
        Self { port, key, frame, gso_size: 0 }
    }
}

/// What the words say.
struct Words<'a> {
    what: &'a str,
    number: Option<&'a str>,
    v6: bool,
    sport: u16,
    ttl: u8,
    tos: u8,
    id: u16,
    len: usize,
    flags: TcpFlags,
    vlan: VlanTag,
    macs: (Option<Mac>, Option<Mac>),
    addrs: (Option<IpAddr>, Option<IpAddr>),
    fragment: Option<&'a str>,
    conn: Conn,
    gso: u16,
}

/// Builds a packet.
///
/// # Panics
///
/// For a text that is no packet: the test is wrong.
#[must_use]
pub fn build(lab: &Lab, text: &str) -> Built {
    let (from, rest) = text.split_once('>').expect("FROM > TO");
    let from = lab.station(from.trim());
    let mut rest = rest.split_whitespace();
    let to = rest.next().expect("FROM > TO");
    let words = words(rest);
    let ends = ends(lab, from, to, &words);
    let mut frame = frame(&words, &ends);
    if let Some(kind) = words.fragment {
        cut(&mut frame, kind == "later");
    }
    let mut built = Built::of(from.port, frame);
    built.key.conn = words.conn;
    built.gso_size = words.gso;
    built
}

fn words<'a>(mut rest: impl Iterator<Item = &'a str>) -> Words<'a> {
    let mut words = Words {
        what: "udp",
        number: Some("9"),
        v6: false,
        sport: 40000,
        ttl: 64,
        tos: 0,
        id: 7,
        len: 4,
        flags: TcpFlags::default(),
        vlan: VlanTag::NONE,
        macs: (None, None),
        addrs: (None, None),
        fragment: None,
        conn: Conn::None,
        gso: 0,
    };
    while let Some(word) = rest.next() {
        let mut value = || rest.next().expect("a word that wants another is not the last");
        match word {
            "tcp" | "udp" | "proto" | "request" | "renew" => {
                (words.what, words.number) = (word, Some(value()));
            }
            "icmp" | "arp" | "arp-reply" | "garp" | "ns" | "na" | "rs" | "discover" | "error" => {
                (words.what, words.number) = (word, None);
            }
            "v6" => words.v6 = true,
            "sport" => words.sport = value().parse().unwrap(),
            "ttl" => words.ttl = value().parse().unwrap(),
            "tos" => words.tos = value().parse().unwrap(),
            "id" => words.id = value().parse().unwrap(),
            "len" => words.len = value().parse().unwrap(),
            "syn" => words.flags = words.flags | TcpFlags::SYN,
            "ack" => words.flags = words.flags | TcpFlags::ACK,
            "fin" => words.flags = words.flags | TcpFlags::FIN,
            "rst" => words.flags = words.flags | TcpFlags::RST,
            "vlan" => words.vlan = VlanTag::from_wire(value().parse().unwrap()),
            "mac-from" => words.macs.0 = Some(mac(value())),
            "mac-to" => words.macs.1 = Some(mac(value())),
            "addr-from" => words.addrs.0 = Some(value().parse().unwrap()),
            "addr-to" => words.addrs.1 = Some(value().parse().unwrap()),
            "first" | "later" => words.fragment = Some(word),
            "goes" => words.conn = Conn::Forward,
            "returns" => words.conn = Conn::Return,
            "gso" => words.gso = value().parse().unwrap(),
            other => panic!("{other:?} is nothing a packet has"),
        }
    }
    words.v6 |= matches!(words.what, "ns" | "na" | "rs");
    words
}

/// Who speaks to whom.
struct Ends {
    src: IpAddr,
    dst: IpAddr,
    src_mac: Mac,
    dst_mac: Mac,
    /// The MAC of the machine with the destination's address.
    target_mac: Mac,
}

fn ends(lab: &Lab, from: &Station, to: &str, words: &Words<'_>) -> Ends {
    let of =
        |station: &Station| station.addrs.iter().copied().find(|addr| addr.is_ipv6() == words.v6);
    let src = words.addrs.0.or_else(|| of(from)).expect("FROM has an address of this version");
    let target = lab.stations.get(to);
    let all: IpAddr = if words.v6 { ndp::ALL_NODES.into() } else { Ipv4Addr::BROADCAST.into() };
    let dst = match (words.addrs.1, to) {
        (Some(addr), _) => addr,
        (None, "all") => all,
        (None, _) => target.map_or_else(
            || to.parse().unwrap_or_else(|_| panic!("{to:?} is no machine and no address")),
            |station| of(station).expect("TO has an address of this version"),
        ),
    };
    let neighbor = target.filter(|station| station.device == from.device).map(|it| it.mac);
    let dst_mac = match to {
        "all" if words.v6 => ndp::multicast_mac(ndp::ALL_NODES),
        "all" => Mac::BROADCAST,
        _ => neighbor.or_else(|| gateway(lab, from, src)).unwrap_or(Mac([2, 0, 0, 0, 0, 0xee])),
    };
    Ends {
        src,
        dst,
        src_mac: words.macs.0.unwrap_or(from.mac),
        dst_mac: words.macs.1.unwrap_or(dst_mac),
        target_mac: target.map_or(Mac::ZERO, |station| station.mac),
    }
}

/// The MAC of the router's port that is nearest to a machine.
fn gateway(lab: &Lab, from: &Station, src: IpAddr) -> Option<Mac> {
    let mut near = lab.router_ports().filter_map(|port| {
        let PortKind::Router(kind) = &port.kind else { return None };
        let linked = port.peer_id.is_some_and(|peer| {
            matches!(lab.objects.get(&peer.into()), Some(mn_topology::AnyObject::Port(far))
                if far.device() == mn_topology::DeviceId::Bridge(crate::named(&from.device)))
        });
        let same_net =
            |own: &mn_topology::IfAddr| own.subnet().is_some_and(|subnet| subnet.contains(src));
        (linked || port.id == from.port).then(|| (!kind.addresses.iter().any(same_net), kind.mac))
    });
    let first = near.next();
    near.chain(first).min().map(|(_, mac)| mac)
}

fn frame(words: &Words<'_>, ends: &Ends) -> Vec<u8> {
    let ethernet = EthernetHeader {
        vlan: words.vlan,
        ..EthernetHeader::untagged(ends.src_mac, ends.dst_mac, eth_type_of(ends.dst))
    };
    match words.what {
        "arp" | "arp-reply" | "garp" => arp(words, ends, ethernet),
        "ns" | "na" | "rs" => discovery(words, ends, ethernet),
        "discover" | "request" | "renew" => dhcp(words, ends, ethernet),
        _ => ip(words, ends, ethernet),
    }
}

fn arp(words: &Words<'_>, ends: &Ends, ethernet: EthernetHeader) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (ends.src, ends.dst) else {
        panic!("ARP is for IPv4")
    };
    let (packet, to) = match words.what {
        "arp" => (Arp::request(ends.src_mac, src, dst), Mac::BROADCAST),
        "garp" => (Arp::gratuitous(ends.src_mac, src), Mac::BROADCAST),
        _ => {
            let target_mac =
                if ends.target_mac == Mac::ZERO { ethernet.dst } else { ends.target_mac };
            let reply = Arp {
                op: ArpOp::REPLY,
                sender_mac: ends.src_mac,
                sender: src,
                target_mac,
                target: dst,
            };
            (reply, ethernet.dst)
        }
    };
    let dst = words.macs.1.unwrap_or(to);
    packet.frame_in(&EthernetHeader { dst, eth_type: EtherType::ARP, ..ethernet })
}

fn discovery(words: &Words<'_>, ends: &Ends, ethernet: EthernetHeader) -> Vec<u8> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (ends.src, ends.dst) else {
        panic!("neighbour discovery is for IPv6")
    };
    let source_mac = (!src.is_unspecified()).then_some(ends.src_mac);
    let (message, to): (NdMessage, Ipv6Addr) = match words.what {
        "ns" => {
            (NdMessage::NeighborSolicitation { target: dst, source_mac }, ndp::solicited_node(dst))
        }
        "rs" => (NdMessage::RouterSolicitation { source_mac }, ndp::ALL_ROUTERS),
        _ => {
            let told = NeighborAdvertisement {
                target: src,
                router: false,
                solicited: true,
                overrides: true,
                target_mac: Some(ends.src_mac),
            };
            (NdMessage::NeighborAdvertisement(told), dst)
        }
    };
    let group = if to.is_multicast() { ndp::multicast_mac(to) } else { ethernet.dst };
    let dst = words.macs.1.unwrap_or(group);
    message.frame(&EthernetHeader { dst, ..ethernet }, src, to)
}

fn dhcp(words: &Words<'_>, ends: &Ends, ethernet: EthernetHeader) -> Vec<u8> {
    let wanted = words.number.map(|addr| -> Ipv4Addr { addr.parse().unwrap() });
    let renews = words.what == "renew";
    let header = DhcpHeader {
        from_client: true,
        xid: 0x1234_5678,
        secs: 0,
        broadcast: false,
        ciaddr: wanted.filter(|_| renews).unwrap_or(Ipv4Addr::UNSPECIFIED),
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: ends.src_mac,
    };
    let ty = if words.what == "discover" { MessageType::DISCOVER } else { MessageType::REQUEST };
    let mut options = vec![DhcpOption::message_type(ty)];
    if let Some(addr) = wanted.filter(|_| !renews) {
        options.push(DhcpOption::addresses(OptionCode::REQUESTED_ADDRESS, &[addr]));
    }
    let (src, dst, to): (IpAddr, IpAddr, Mac) = if renews {
        (ends.src, ends.dst, ethernet.dst)
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into(), Mac::BROADCAST)
    };
    let ports = UdpHeader { src: CLIENT_PORT, dst: SERVER_PORT };
    let datagram = ports.datagram(src, dst, &header.message(&options));
    let packet = ip_packet(src, dst, 64, IpProtocol::UDP, &datagram);
    EthernetHeader { dst: to, eth_type: EtherType::IPV4, ..ethernet }.frame(&packet)
}

fn ip(words: &Words<'_>, ends: &Ends, ethernet: EthernetHeader) -> Vec<u8> {
    let number = |default: u16| words.number.map_or(default, |number| number.parse().unwrap());
    let data = vec![0x5a; words.len];
    let Ends { src, dst, .. } = *ends;
    let (protocol, message) = match words.what {
        "tcp" => {
            let header = TcpHeader {
                src: words.sport,
                dst: number(80),
                seq: 1000,
                ack: 2000,
                flags: words.flags,
                window: 64,
            };
            (IpProtocol::TCP, header.segment(src, dst, &data))
        }
        "udp" => {
            let ports = UdpHeader { src: words.sport, dst: number(9) };
            (IpProtocol::UDP, ports.datagram(src, dst, &data))
        }
        "icmp" => {
            let ty =
                if src.is_ipv4() { IcmpHeader::ECHO_REQUEST } else { IcmpHeader::V6_ECHO_REQUEST };
            let [i0, i1] = words.id.to_be_bytes();
            let header = IcmpHeader { ty, code: 0, rest: [i0, i1, 0, 1] };
            (icmp::icmp_of(src), header.message(src, dst, &data))
        }
        "error" => {
            let ports = UdpHeader { src: 53, dst: words.sport };
            let quoted = ip_packet(dst, src, 3, IpProtocol::UDP, &ports.datagram(dst, src, &data));
            let header = IcmpError::PortUnreachable.header(src);
            (icmp::icmp_of(src), header.message(src, dst, &quoted))
        }
        _ => (IpProtocol(number(47) as u8), data),
    };
    let mut packet = ip_packet(src, dst, words.ttl, protocol, &message);
    set_tos(&mut packet, words.tos);
    ethernet.frame(&packet)
}

fn set_tos(packet: &mut [u8], tos: u8) {
    if packet[0] >> 4 == 4 {
        packet[1] = tos;
        mend(packet);
    } else {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = tos << 4 | packet[1] & 0xf;
    }
}

/// Makes an untagged IPv4 frame's packet a fragment.
fn cut(frame: &mut [u8], later: bool) {
    let at = Layers::of(frame).expect("built here").network_at;
    let packet = &mut frame[at..];
    assert_eq!(packet[0] >> 4, 4, "fragments are built for IPv4 alone");
    // More fragments follow the first; a later one begins at octet 800.
    packet[6..8].copy_from_slice(if later { &[0, 100] } else { &[0x20, 0] });
    mend(packet);
}

/// Sets the checksum of an IPv4 header.
fn mend(packet: &mut [u8]) {
    packet[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}
