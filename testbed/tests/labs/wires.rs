//! Frames that no kernel of a guest would send: with VLAN tags, out of no connection, quoting what
//! was never sent. On one host and between two, in both IP versions.

use std::net::IpAddr;
use std::time::Duration;

use mn_packet::{
    Arp, EthernetHeader, IcmpError, IpPacket, IpProtocol, Layers, Mac, TcpFlags, TcpHeader,
    UdpHeader, VlanTag, eth_type_of, ip_packet,
};
use mn_testbed::{Lab, Outcome, Plan, Wire};
use serde_json::json;

use crate::connections::guard_port;

const MACS: [Mac; 2] = [Mac([2, 0xaa, 0, 0, 0, 1]), Mac([2, 0xaa, 0, 0, 0, 2])];
/// From who asks to who is behind filters, and back.
pub const THERE: [usize; 2] = [0, 1];
pub const BACK: [usize; 2] = [1, 0];
pub const UNTAGGED: VlanTag = VlanTag::NONE;

/// Who asks, and who is behind filters.
pub struct Pair {
    pub wires: [Wire; 2],
    /// Of the one behind filters.
    pub port: String,
    pub bridge: String,
}

/// A pair on one host, and one on two.
pub fn pairs(lab: &Lab) -> Outcome<Vec<Pair>> {
    let mut pairs = Vec::new();
    for host in 0..2 {
        let bridge = lab.control.bridge("wires")?;
        let (asker, near) = lab.add_wire(&format!("a{host}"), 0, &bridge)?;
        let (guarded, port) = lab.add_wire(&format!("b{host}"), host, &bridge)?;
        lab.control.wait_active(&[&near, &port])?;
        pairs.push(Pair { wires: [asker, guarded], port, bridge });
    }
    Ok(pairs)
}

impl Pair {
    /// Whether a frame arrives. What must arrive may be said again: a port's place takes a moment
    /// to be known.
    pub fn passes(&self, [from, to]: [usize; 2], frame: &[u8]) -> Outcome<bool> {
        for _ in 0..5 {
            self.wires[from].send(frame)?;
            if self.wires[to].hears(Duration::from_millis(300), |heard| heard == frame) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a frame that is said once does not arrive.
    pub fn stops(&self, [from, to]: [usize; 2], frame: &[u8]) -> Outcome<bool> {
        self.wires[from].send(frame)?;
        Ok(!self.wires[to].hears(Duration::from_millis(300), |heard| heard == frame))
    }
}

pub fn addr(of: usize, v6: bool) -> IpAddr {
    let number = of as u8 + 1;
    if v6 { [0xfd07, 0, 0, 0, 0, 0, 0, number.into()].into() } else { [10, 7, 0, number].into() }
}

/// A frame one way, in a VLAN or in none.
pub fn frame([from, to]: [usize; 2], vlan: VlanTag, packet: &[u8], v6: bool) -> Vec<u8> {
    let eth_type = eth_type_of(addr(from, v6));
    EthernetHeader { vlan, ..EthernetHeader::untagged(MACS[from], MACS[to], eth_type) }
        .frame(packet)
}

fn udp(way: [usize; 2], vlan: VlanTag, v6: bool, (src, dst): (u16, u16)) -> Vec<u8> {
    let [from, to] = way.map(|end| addr(end, v6));
    let datagram = UdpHeader { src, dst }.datagram(from, to, b"said");
    frame(way, vlan, &ip_packet(from, to, 64, IpProtocol::UDP, &datagram), v6)
}

fn tcp(way: [usize; 2], v6: bool, (src, dst): (u16, u16), flags: TcpFlags) -> Vec<u8> {
    let [from, to] = way.map(|end| addr(end, v6));
    let header = TcpHeader { src, dst, seq: 7, ack: 9, flags, window: 1000 };
    let packet = ip_packet(from, to, 64, IpProtocol::TCP, &header.segment(from, to, b""));
    frame(way, UNTAGGED, &packet, v6)
}

/// The error that nobody listens, about what another frame has; from an address beyond who asks.
fn error(quoted: &[u8], v6: bool) -> Vec<u8> {
    let layers = Layers::of(quoted).expect("a frame of ours");
    let quoted: &IpPacket<'_> = layers.ip().expect("a packet");
    let beyond: IpAddr =
        if v6 { [0xfd09, 0, 0, 0, 0, 0, 0, 9].into() } else { [10, 9, 0, 9].into() };
    let message =
        IcmpError::PortUnreachable.header(beyond).message(beyond, quoted.src, quoted.packet);
    let icmp = if v6 { IpProtocol::ICMPV6 } else { IpProtocol::ICMP };
    frame(THERE, UNTAGGED, &ip_packet(beyond, quoted.src, 64, icmp, &message), v6)
}

#[test]
fn a_tagged_frame_passes_the_same_chains_as_an_untagged_one_on_one_host_and_on_two() -> Outcome {
    let lab = Lab::start(&Plan::new("tagged"))?;
    let control = &lab.control;
    for pair in pairs(&lab)? {
        let drop = |port: u16| json!({ "type": "drop", "nwProto": 17, "tpDst": { "start": port, "end": port } });
        let (of_port, of_bridge) = (control.chain("port")?, control.chain("bridge")?);
        control.rule(&of_port, &drop(9))?;
        control.rule(&of_bridge, &drop(10))?;
        control
            .change(&format!("/ports/{}", pair.port), &json!({ "outboundFilterId": of_port }))?;
        let bridge = format!("/bridges/{}", pair.bridge);
        control.change(&bridge, &json!({ "inboundFilterId": of_bridge }))?;
        std::thread::sleep(Duration::from_millis(200));
        for vlan in [UNTAGGED, VlanTag::from_wire(5), VlanTag::from_wire(4094)] {
            for v6 in [false, true] {
                let datagram = |port| udp(THERE, vlan, v6, (4000, port));
                assert!(pair.passes(THERE, &datagram(11))?, "{vlan:?} v6 {v6}");
                assert!(pair.stops(THERE, &datagram(9))?, "the port's chain: {vlan:?} v6 {v6}");
                assert!(pair.stops(THERE, &datagram(10))?, "the bridge's chain: {vlan:?} v6 {v6}");
            }
        }
        // Connections are followed in each VLAN by itself.
        guard_port(control, &pair.port)?;
        std::thread::sleep(Duration::from_millis(200));
        for v6 in [false, true] {
            let (asked, other) = (VlanTag::from_wire(5), VlanTag::from_wire(6));
            let answer = |vlan| udp(THERE, vlan, v6, (53, 5300));
            assert!(pair.stops(THERE, &answer(asked))?, "nobody asked yet: v6 {v6}");
            assert!(pair.passes(BACK, &udp(BACK, asked, v6, (5300, 53)))?, "v6 {v6}");
            assert!(pair.passes(THERE, &answer(asked))?, "v6 {v6}");
            assert!(pair.stops(THERE, &answer(other))?, "in another VLAN: v6 {v6}");
            assert!(pair.stops(THERE, &answer(UNTAGGED))?, "in none: v6 {v6}");
        }
    }
    Ok(())
}

#[test]
fn a_bare_segment_and_an_error_about_nothing_are_of_no_connection() -> Outcome {
    let lab = Lab::start(&Plan::new("invalid"))?;
    for pair in pairs(&lab)? {
        guard_port(&lab.control, &pair.port)?;
        std::thread::sleep(Duration::from_millis(200));
        for v6 in [false, true] {
            segments(&pair, v6)?;
            errors(&pair, v6)?;
        }
    }
    Ok(())
}

/// To port 80 TCP may come in, if it is valid.
fn segments(pair: &Pair, v6: bool) -> Outcome {
    let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
    for flags in [ack, TcpFlags::PSH | ack, TcpFlags::FIN | ack, TcpFlags::RST, syn | ack] {
        let segment = tcp(THERE, v6, (4000, 80), flags);
        assert!(pair.stops(THERE, &segment)?, "{flags:?} from nowhere, v6 {v6}");
    }
    assert!(pair.stops(THERE, &tcp(THERE, v6, (4000, 81), syn))?, "v6 {v6}");
    assert!(pair.passes(THERE, &tcp(THERE, v6, (4000, 80), syn))?, "v6 {v6}");
    assert!(pair.passes(BACK, &tcp(BACK, v6, (80, 4000), syn | ack))?, "v6 {v6}");
    assert!(pair.passes(THERE, &tcp(THERE, v6, (4000, 80), ack))?, "v6 {v6}");
    assert!(pair.stops(THERE, &tcp(THERE, v6, (4001, 80), ack))?, "another port, v6 {v6}");
    Ok(())
}

/// An error passes with the connection of what it quotes, whoever says it.
fn errors(pair: &Pair, v6: bool) -> Outcome {
    let asked = udp(BACK, UNTAGGED, v6, (5300, 53));
    assert!(pair.stops(THERE, &error(&asked, v6))?, "nothing was sent yet: v6 {v6}");
    assert!(pair.passes(BACK, &asked)?, "v6 {v6}");
    assert!(pair.passes(THERE, &error(&asked, v6))?, "v6 {v6}");
    let never = udp(BACK, UNTAGGED, v6, (5301, 53));
    assert!(pair.stops(THERE, &error(&never, v6))?, "about what was not sent: v6 {v6}");
    let turned = udp(BACK, UNTAGGED, v6, (53, 5300));
    assert!(pair.stops(THERE, &error(&turned, v6))?, "about an answer nobody gave: v6 {v6}");
    Ok(())
}

/// A datagram of who is behind filters, as it says who it is.
fn claimed(mac: Mac, src: IpAddr, number: u16) -> Vec<u8> {
    let dst = addr(0, src.is_ipv6());
    let datagram = UdpHeader { src: number, dst: 7 }.datagram(src, dst, b"trust me");
    let packet = ip_packet(src, dst, 64, IpProtocol::UDP, &datagram);
    EthernetHeader::untagged(mac, MACS[0], eth_type_of(src)).frame(&packet)
}

#[test]
fn who_speaks_with_anothers_mac_or_address_is_not_heard() -> Outcome {
    let lab = Lab::start(&Plan::new("spoofing"))?;
    let (v4, v6) = (addr(1, false), addr(1, true));
    let own = |eth_type: u16, addr: IpAddr, len: u8| {
        json!({ "type": "drop", "dlType": eth_type, "nwSrcAddress": addr, "nwSrcLength": len,
            "invNwSrc": true })
    };
    let rules = [
        json!({ "type": "drop", "dlSrc": MACS[1].to_string(), "invDlSrc": true }),
        own(0x0800, v4, 32),
        own(0x0806, v4, 32),
        own(0x86dd, v6, 128),
    ];
    for pair in pairs(&lab)? {
        let chain = lab.control.chain("own addresses alone")?;
        for rule in &rules {
            lab.control.rule(&chain, rule)?;
        }
        let filter = json!({ "inboundFilterId": chain });
        lab.control.change(&format!("/ports/{}", pair.port), &filter)?;
        std::thread::sleep(Duration::from_millis(200));
        let (mac, another) = (MACS[1], Mac([2, 0xaa, 0, 0, 0, 9]));
        for (own, others) in [(v4, addr(8, false)), (v6, addr(8, true))] {
            assert!(pair.passes(BACK, &claimed(mac, own, 1))?, "{own}");
            assert!(pair.stops(BACK, &claimed(mac, others, 2))?, "{others} is another's");
            assert!(pair.stops(BACK, &claimed(another, own, 3))?, "{another} is another's");
        }
        let announces = |of: IpAddr| match of {
            IpAddr::V4(of) => Arp::gratuitous(mac, of).frame(),
            IpAddr::V6(of) => unreachable!("{of} is not announced by ARP"),
        };
        assert!(pair.passes(BACK, &announces(v4))?);
        assert!(pair.stops(BACK, &announces(addr(8, false)))?, "in ARP, too");
    }
    Ok(())
}
