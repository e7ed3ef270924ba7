//! Random small worlds and packets.

use std::fmt::Write as _;
use std::net::IpAddr;

use mn_flow::{Conn, FlowKey, PortNo, extract};
use mn_ids::PortId;
use mn_packet::{
    Arp, EtherType, EthernetHeader, IcmpHeader, IpProtocol, Mac, TcpFlags, TcpHeader, UdpHeader,
    VlanTag, checksum, eth_type_of, icmp, ip_packet,
};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Random, mac};
use mn_topology::{AnyObject, DeviceId};

/// How many cases a law is tried on: by default a slice, with `MIDONET_LONG=1` twenty times that.
#[expect(clippy::disallowed_methods, reason = "how much is tried is said by who starts the test")]
pub fn cases(slice: u64) -> u64 {
    let long = std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1");
    if long { 20 * slice } else { slice }
}

pub const CHAINS: [&str; 4] = ["c0", "c1", "c2", "c3"];

const CONDITIONS: &[&str] = &[
    "tcp",
    "udp",
    "arp",
    "ipv6",
    "icmp",
    "tcp dport 80",
    "udp dport 1-1000",
    "udp sport 53",
    "not from 10.0.1.0/25",
    "from 10.0.0.0/8",
    "to 10.0.2.0/24",
    "to fd02::/64 tcp dport 22",
    "not to 10.0.1.6/32 udp",
    "tos 184",
    "mac-from 02::01",
    "not mac-to 02::02",
    "in-port vm1,vm4",
    "out-port vm2,edge.up",
    "in-ports inside",
    "not out-ports inside",
    "port-group inside",
    "from-group friends",
    "not to-group friends",
    "vlan 7",
    "no-vlan inverted",
    "forward tcp",
    "forward",
    "return-flow",
    "valid",
    "invalid tcp",
    "valid forward udp",
    "header",
    "nonheader",
    "unfragmented udp dport 9",
    "crossed router:edge",
    "not crossed port:vm1 udp",
    "tcp from 10.0.1.0/24 dport 80 inverted",
    "type 35020",
    "",
];

const TRANSLATIONS: &[&str] = &[
    "snat 203.0.113.5",
    "dnat 10.0.2.7",
    "dnat fd02::7",
    "snat 203.0.113.5@1024-1100,fd05::5@1000-1100",
    "dnat 10.0.1.5-10.0.1.6@80-81,fd01::5@22",
    "rev-snat",
    "rev-dnat",
];

/// The rules of a random chain, which jumps only to later ones.
pub fn rules(draw: &mut Random, chain: usize) -> String {
    let mut text = String::new();
    for _ in 0..draw.below(5) {
        let later = &CHAINS[(chain + 1).min(CHAINS.len())..];
        let action = match draw.below(16) {
            0..4 => "drop".to_owned(),
            4..6 => "reject".to_owned(),
            6..8 => "accept".to_owned(),
            8 => "return".to_owned(),
            9 => "continue".to_owned(),
            10 | 11 => format!("{} {}", draw.pick(TRANSLATIONS), draw.pick(&["", "then-continue"])),
            _ if later.is_empty() => "accept".to_owned(),
            _ => format!("jump {}", draw.pick(later)),
        };
        let _ = writeln!(text, "  {action} {}", draw.pick(CONDITIONS));
    }
    text
}

pub const MIRRORS: [&str; 3] = ["m0", "m1", "m2"];

/// `in` or `out` with a chain, a hook with mirrors, or nothing.
fn filter(draw: &mut Random) -> String {
    let mut text = String::new();
    for hook in ["in-mirrors", "post-in-mirrors", "pre-out-mirrors", "out-mirrors"] {
        if draw.one_in(20) {
            let _ = write!(text, " {hook} {}", draw.pick(&["m0", "m1", "m2", "m0,m2"]));
        }
    }
    if draw.one_in(8) {
        let _ = write!(text, " policy {}", draw.pick(&POLICIES));
    }
    for side in ["in", "out"] {
        if draw.one_in(4) {
            let _ = write!(text, " {side} {}", draw.pick(&CHAINS));
        }
    }
    text
}

pub const POLICIES: [&str; 2] = ["q0", "q1"];

/// A random policy of service quality.
pub fn policy(draw: &mut Random, name: &str) -> String {
    let mut text = format!("qos {name}\n");
    for _ in 0..draw.below(3) {
        text += draw.pick(&[
            "  mark 46\n",
            "  mark 0\n",
            "  mark 8\n",
            "  sends 9 9\n",
            "  gets 9 9\n",
        ]);
    }
    text
}

/// A random mirror, to a machine or out by a link.
pub fn mirror(draw: &mut Random, name: &str) -> String {
    let mut text = format!("mirror {name} to {}\n", draw.pick(&["vm3", "vm6", "edge.green"]));
    for _ in 0..draw.below(3) {
        let condition = draw.pick(CONDITIONS);
        let _ = writeln!(text, "  {}", if condition.is_empty() { "all" } else { condition });
    }
    text
}

/// Those who watch: mirrors, and perhaps a machine that inspects another.
fn watchers(draw: &mut Random) -> String {
    let mut text = maybe(draw, 4, "insertion i0 of vm1 02::01 by vm6 vlan 5\n").to_owned();
    for name in MIRRORS {
        text += &mirror(draw, name);
    }
    text
}

pub fn maybe<'a>(draw: &mut Random, one_in: usize, text: &'a str) -> &'a str {
    if draw.one_in(one_in) { text } else { "" }
}

/// A random lab: three bridges, two routers, filters, routes of every kind.
pub fn lab(draw: &mut Random) -> Lab {
    let mut text = String::new();
    let port = |draw: &mut Random, line: &str| {
        format!("  {line}{} {}\n", filter(draw), maybe(draw, 12, "down"))
    };
    text += "bridge blue\n";
    for line in
        ["vm1 02::01 10.0.1.5 fd01::5", "vm2 02::02 10.0.1.6 fd01::6", "vm3 02::03 10.0.1.130"]
    {
        text += &port(draw, line);
    }
    for side in ["in", "out"] {
        if draw.one_in(4) {
            let _ = writeln!(text, "  {side} {}", draw.pick(&CHAINS));
        }
    }
    text += maybe(draw, 3, "  policy q0\n");
    text += maybe(draw, 6, "  in-mirrors m1\n");
    text += maybe(draw, 6, "  out-mirrors m2,m0\n");
    text += maybe(draw, 3, "  link trunk vlan 7\n");
    text += maybe(draw, 3, "  dhcp 10.0.1.0/24 gateway 10.0.1.1\n");
    text += "bridge trunk\n";
    text += &port(draw, "vm6 02::06 10.0.1.9");
    text += "bridge green\n";
    for line in ["vm4 02::04 10.0.2.7 fd02::7", "vm5 02::05 10.0.2.8 fd02::8"] {
        text += &port(draw, line);
    }
    text += "router edge\n";
    for line in [
        "blue 02::a1 10.0.1.1/24 fd01::1/64",
        "green 02::a2 10.0.2.1/24 fd02::1/64",
        "core 02::a3 10.9.0.1/30",
        "up 02::b1 192.0.2.1/24 peer 02::99 192.0.2.254",
    ] {
        text += &port(draw, line);
    }
    for line in [
        "  route 0.0.0.0/0 via up 192.0.2.254 weight 5\n",
        "  route 0.0.0.0/0 via core 10.9.0.2 weight 5\n",
        "  route 0.0.0.0/0 from 10.0.1.128/25 via core 10.9.0.2\n",
        "  route 10.66.0.0/16 blackhole\n",
        "  route 10.67.0.0/16 reject\n",
        "  route ::/0 reject\n",
        "  route 10.0.2.128/25 blackhole weight 3\n",
    ] {
        text += maybe(draw, 2, line);
    }
    text += maybe(draw, 6, "  in-mirrors m0\n");
    text += maybe(draw, 6, "  out-mirrors m1\n");
    text += "router core\n";
    for line in ["edge 02::c1 10.9.0.2/30", "far 02::c2 198.51.100.1/24 peer 02::98 198.51.100.9"] {
        text += &port(draw, line);
    }
    text += "  route 10.0.0.0/8 via edge 10.9.0.1\n";
    text += maybe(draw, 2, "  symmetric\n");
    text += maybe(draw, 2, "  route 0.0.0.0/0 via far 198.51.100.9\n");
    text += "addresses friends 10.0.1.5 10.0.2.7 fd01::5\nports inside vm1 vm4\n";
    for policy in POLICIES {
        text += &self::policy(draw, policy);
    }
    text += &watchers(draw);
    for (index, chain) in CHAINS.iter().enumerate() {
        let _ = write!(text, "chain {chain}\n{}", rules(draw, index));
    }
    let mut lab = Lab::read(&text);
    know_stations(&mut lab, draw);
    lab
}

/// Bridges know addresses of most stations.
fn know_stations(lab: &mut Lab, draw: &mut Random) {
    for station in lab.stations.values() {
        let Some(AnyObject::Port(port)) = lab.objects.get(&station.port.into()) else { continue };
        let DeviceId::Bridge(bridge) = port.device() else { continue };
        for addr in &station.addrs {
            if !draw.one_in(4) {
                lab.tables.bridge_neighbors.insert((bridge, *addr), station.mac);
            }
        }
    }
}

/// Everything about a packet that a key shows, each part to be changed by itself.
#[derive(Clone, Debug)]
pub struct Spec {
    src_mac: Mac,
    dst_mac: Mac,
    vlan: VlanTag,
    inner_vlan: VlanTag,
    kind: Kind,
    src: [IpAddr; 2],
    dst: [IpAddr; 2],
    protocol: u8,
    sport: u16,
    dport: u16,
    icmp: (u8, u8, u16),
    flags: u8,
    tos: u8,
    spent: bool,
    fragment: u8,
    conn: Conn,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    V4,
    V6,
    Arp,
    Other(u16),
}

/// How many parts [`Spec::change`] can change.
pub const PARTS: usize = 16;

const MACS: &[&str] = &[
    "02::01", "02::02", "02::03", "02::04", "02::05", "02::06", "02::a1", "02::a2", "02::a3",
    "02::b1", "02::c1", "02::c2", "02::99", "02::98", "02::77",
];

const V4: &[&str] = &[
    "10.0.1.5",
    "10.0.1.6",
    "10.0.1.130",
    "10.0.1.1",
    "10.0.2.7",
    "10.0.2.8",
    "10.0.2.200",
    "10.9.0.2",
    "10.66.1.1",
    "10.67.1.1",
    "192.0.2.254",
    "203.0.113.5",
    "198.51.100.9",
    "10.0.1.255",
    "224.0.0.5",
    "0.0.0.0",
];

const V6: &[&str] = &[
    "fd01::5",
    "fd01::6",
    "fd02::7",
    "fd02::8",
    "fd01::1",
    "2001:db8::1",
    "fe80::1",
    "ff02::1",
    "fe80::ff:fe00:a1",
];

impl Spec {
    pub fn random(draw: &mut Random) -> Self {
        let mut spec = Self {
            src_mac: mac("02::01"),
            dst_mac: mac("02::02"),
            vlan: VlanTag::NONE,
            inner_vlan: VlanTag::NONE,
            kind: Kind::V4,
            src: ["10.0.1.5".parse().unwrap(), "fd01::5".parse().unwrap()],
            dst: ["10.0.1.6".parse().unwrap(), "fd01::6".parse().unwrap()],
            protocol: 17,
            sport: 1,
            dport: 9,
            icmp: (8, 0, 1),
            flags: 0,
            tos: 0,
            spent: false,
            fragment: 0,
            conn: Conn::None,
        };
        for part in 0..PARTS {
            // Mostly what is common, so that packets get somewhere.
            let rare = matches!(part, 2 | 3 | 13 | 14);
            if !rare || draw.one_in(8) {
                spec.change(part, draw);
            }
        }
        if draw.one_in(12) {
            spec.src_mac = Mac([3, 0, 0, 0, 0, 1]);
        }
        if draw.one_in(8) {
            spec.speak_of_neighbors(draw);
        }
        spec
    }

    /// Makes it a machine's word about its own address.
    fn speak_of_neighbors(&mut self, draw: &mut Random) {
        let (mac_of, v4, v6) = draw.pick(&[
            ("02::01", "10.0.1.5", "fd01::5"),
            ("02::02", "10.0.1.6", "fd01::6"),
            ("02::04", "10.0.2.7", "fd02::7"),
        ]);
        self.src_mac = mac(mac_of);
        self.src = [v4.parse().unwrap(), v6.parse().unwrap()];
        self.kind = draw.pick(&[Kind::Arp, Kind::V6]);
        (self.protocol, self.fragment, self.spent) = (58, 0, false);
        self.icmp = (draw.pick(&[135, 136]), 0, 0);
        if self.icmp.0 == 136 {
            self.dst = self.src;
        }
    }

    /// Draws one part anew.
    pub fn change(&mut self, part: usize, draw: &mut Random) {
        let tag = |draw: &mut Random| match draw.below(4) {
            0 | 1 => VlanTag::NONE,
            2 => VlanTag::from_wire(7),
            _ => VlanTag::from_wire((draw.number() & 0xefff) as u16),
        };
        match part {
            0 => self.src_mac = mac(draw.pick(MACS)),
            1 => {
                self.dst_mac = match draw.below(6) {
                    0 => Mac::BROADCAST,
                    1 => Mac([0x33, 0x33, 0, 0, 0, 1]),
                    _ => mac(draw.pick(MACS)),
                }
            }
            2 => self.vlan = tag(draw),
            3 => self.inner_vlan = tag(draw),
            4 => {
                self.kind = match draw.below(13) {
                    0..7 => Kind::V4,
                    7..10 => Kind::V6,
                    10 | 11 => Kind::Arp,
                    _ => Kind::Other(draw.pick(&[0x88cc, 0x8847, 0x0100])),
                }
            }
            5 => self.src = addresses(draw),
            6 => self.dst = addresses(draw),
            7 => self.protocol = draw.pick(&[6, 6, 17, 17, 1, 58, 47]),
            8 => {
                let any = draw.below(1 << 16) as u16;
                self.sport = draw.pick(&[1, 53, 40000, any]);
            }
            9 => {
                let any = draw.below(1 << 16) as u16;
                self.dport = draw.pick(&[9, 22, 80, 999, any]);
            }
            10 => {
                let ty = draw.pick(&[0, 8, 3, 11, 1, 128, 129, 133, 135, 136, 13]);
                self.icmp = (ty, draw.below(3) as u8, draw.below(4) as u16);
            }
            11 => self.flags = draw.pick(&[0x02, 0x10, 0x11, 0x04, 0x12]),
            12 => self.tos = draw.pick(&[0, 184, 3]),
            13 => self.spent = draw.one_in(2),
            14 => self.fragment = draw.below(3) as u8,
            _ => self.conn = draw.pick(&[Conn::None, Conn::None, Conn::Forward, Conn::Return]),
        }
    }

    /// The frame and key; `None` where no such frame is taken.
    pub fn build(&self, port: PortId) -> Option<Built> {
        let frame = self.frame();
        let mut key: FlowKey = extract(&frame, PortNo::FIRST_BOUND, None).ok()?;
        key.conn = self.conn;
        Some(Built { port, key, frame, gso_size: 0 })
    }

    fn frame(&self) -> Vec<u8> {
        let v6 = usize::from(self.kind == Kind::V6);
        let (src, dst) = (self.src[v6], self.dst[v6]);
        let inner_vlan = if self.vlan.is_present() { self.inner_vlan } else { VlanTag::NONE };
        let header = |eth_type| EthernetHeader {
            dst: self.dst_mac,
            src: self.src_mac,
            vlan: self.vlan,
            inner_vlan,
            eth_type,
        };
        match self.kind {
            Kind::Other(eth_type) => header(EtherType(eth_type)).frame(&[0; 46]),
            Kind::Arp => {
                let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else { unreachable!() };
                let request = Arp::request(self.src_mac, src, dst);
                let arp = if self.flags & 1 == 1 { request.reply(self.src_mac) } else { request };
                arp.frame_in(&header(EtherType::ARP))
            }
            Kind::V4 | Kind::V6 => header(eth_type_of(src)).frame(&self.packet(src, dst)),
        }
    }

    fn packet(&self, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let protocol = IpProtocol(self.protocol);
        let data = [0x5a; 24];
        let message = match protocol {
            IpProtocol::TCP => TcpHeader {
                src: self.sport,
                dst: self.dport,
                flags: TcpFlags(self.flags),
                ..TcpHeader::default()
            }
            .segment(src, dst, &data),
            IpProtocol::UDP => {
                UdpHeader { src: self.sport, dst: self.dport }.datagram(src, dst, &data)
            }
            own if own == icmp::icmp_of(src) => {
                let (ty, code, id) = self.icmp;
                if let (IpAddr::V6(target), 135 | 136) = (dst, ty) {
                    let mut body = target.octets().to_vec();
                    // The MAC of who asks, or of the target.
                    body.extend_from_slice(&[ty - 134, 1]);
                    body.extend_from_slice(&self.src_mac.0);
                    let header = IcmpHeader { ty, code, rest: [0; 4] };
                    let hops = if self.spent { 1 } else { 255 };
                    return self.ip(src, dst, hops, &header.message(src, dst, &body));
                }
                let [a, b] = id.to_be_bytes();
                IcmpHeader { ty, code, rest: [a, b, 0, 1] }.message(src, dst, &data)
            }
            _ => data.to_vec(),
        };
        self.ip(src, dst, if self.spent { 1 } else { 64 }, &message)
    }

    fn ip(&self, src: IpAddr, dst: IpAddr, hops: u8, message: &[u8]) -> Vec<u8> {
        let mut packet = ip_packet(src, dst, hops, IpProtocol(self.protocol), message);
        if packet[0] >> 4 == 6 {
            packet[0] = 0x60 | self.tos >> 4;
            packet[1] = self.tos << 4;
            return packet;
        }
        packet[1] = self.tos;
        let fragment: [u8; 2] = [[0, 0], [0x20, 0], [0, 100]][usize::from(self.fragment)];
        packet[6..8].copy_from_slice(&fragment);
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// An address of each version; at times with low bits that are nobody's.
fn addresses(draw: &mut Random) -> [IpAddr; 2] {
    let v4: std::net::Ipv4Addr = draw.pick(V4).parse().unwrap();
    let v6: std::net::Ipv6Addr = draw.pick(V6).parse().unwrap();
    let noise = if draw.one_in(3) { draw.number() as u32 >> draw.below(32) } else { 0 };
    [
        IpAddr::V4((v4.to_bits() ^ noise).into()),
        IpAddr::V6((v6.to_bits() ^ u128::from(noise)).into()),
    ]
}
