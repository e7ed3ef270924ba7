//! VLANs on real frames, over two hosts: trunks to switches outside, a bridge for each VLAN, access
//! ports; switches that find their loop, and a machine outside that moves to the other trunk.

use std::cell::RefCell;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use mn_packet::{
    Arp, EtherType, EthernetHeader, IpProtocol, Mac, UdpHeader, VlanId, VlanTag, ip_packet,
};
use mn_testbed::{Lab, Outcome, Plan, Wire, wait_for};
use serde_json::json;

const INSIDE: [Mac; 2] = [Mac([2, 0xbb, 0, 0, 0, 1]), Mac([2, 0xbb, 0, 0, 0, 2])];
const OUTSIDE: Mac = Mac([2, 0xaa, 0, 0, 0, 9]);
/// A protocol that nobody answers.
const SPOKEN: EtherType = EtherType(0x88b5);
const PATIENCE: Duration = Duration::from_millis(300);

/// A trunk on each host; the networks of VLANs 7 and 8, with a machine of each on either host.
struct Switched {
    lab: Lab,
    switch: String,
    networks: [String; 2],
    trunks: Vec<Wire>,
    red: Vec<Wire>,
    green: Vec<Wire>,
}

impl Switched {
    fn start(name: &str) -> Outcome<Self> {
        let lab = Lab::start(&Plan::new(name))?;
        let control = &lab.control;
        let switch = control.bridge("switch")?;
        let mut ports = Vec::new();
        let mut wires = |what: &str, bridge: &str| -> Outcome<Vec<Wire>> {
            let add = |host: usize| lab.add_wire(&format!("{what}{host}"), host, bridge);
            let (wires, made): (Vec<_>, Vec<_>) = [add(0)?, add(1)?].into_iter().unzip();
            ports.extend(made);
            Ok(wires)
        };
        let trunks = wires("trunk", &switch)?;
        let networks = [control.bridge("red")?, control.bridge("green")?];
        let mut machines = Vec::new();
        for (name, vlan, bridge) in [("red", 7, &networks[0]), ("green", 8, &networks[1])] {
            let carries = json!({ "type": "Bridge", "vlanId": vlan });
            let port = control.rest().create(&format!("/bridges/{switch}/ports"), &carries)?;
            control.link(&port, &control.bridge_port(bridge)?)?;
            machines.push(wires(name, bridge)?);
        }
        control.wait_active(&ports.iter().map(String::as_str).collect::<Vec<_>>())?;
        let (green, red) = (machines.pop().unwrap_or_default(), machines.pop().unwrap_or_default());
        // Every host knows where every port is before stories begin.
        sleep(PATIENCE);
        Ok(Self { lab, switch, networks, trunks, red, green })
    }
}

fn tag(vlan: u16) -> VlanTag {
    VlanId::try_from(vlan).map_or(VlanTag::NONE, VlanTag::of)
}

/// A frame in a VLAN, or in none with 0.
fn frame(from: Mac, to: Mac, vlan: u16, number: u64) -> Vec<u8> {
    let header = EthernetHeader { vlan: tag(vlan), ..EthernetHeader::untagged(from, to, SPOKEN) };
    header.frame(&[&number.to_be_bytes()[..], &[0x5a; 40]].concat())
}

/// What a machine says so that the network knows where it is.
fn announcement(of: Mac, vlan: u16) -> Vec<u8> {
    let address = [10, 7, 0, 9].into();
    let header = EthernetHeader::untagged(of, Mac::BROADCAST, EtherType::ARP);
    Arp::gratuitous(of, address).frame_in(&EthernetHeader { vlan: tag(vlan), ..header })
}

/// Says a frame, and asserts who hears it and as which octets.
#[track_caller]
fn assert_heard(from: &Wire, said: &[u8], by: &[(&Wire, &[u8])], not_by: &[&Wire]) -> Outcome {
    from.send(said)?;
    for (number, (wire, as_octets)) in by.iter().enumerate() {
        assert!(wire.hears(PATIENCE, |heard| heard == *as_octets), "hearer {number}");
    }
    // Whoever hears it wrongly hears its payload.
    let payload = &said[said.len() - 48..];
    for (number, wire) in not_by.iter().enumerate() {
        let hears = wire.hears(PATIENCE / 3, |heard| heard.ends_with(payload));
        assert!(!hears, "who should not, {number}");
    }
    Ok(())
}

#[test]
fn a_vlan_reaches_its_network_on_both_hosts_without_the_tag_and_no_other() -> Outcome {
    let at = Switched::start("vlan")?;
    let (trunks, red, green) = (&at.trunks, &at.red, &at.green);
    let said = |vlan, number| frame(OUTSIDE, Mac::BROADCAST, vlan, number);
    for (number, [here, there]) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let number = 10 * number as u64;
        let (seven, bare) = (said(7, number), said(0, number));
        let by = [(&red[here], &bare[..]), (&red[there], &bare), (&trunks[there], &seven)];
        assert_heard(&trunks[here], &seven, &by, &[&green[0], &green[1], &trunks[here]])?;
        let (eight, bare) = (said(8, number + 1), said(0, number + 1));
        let by = [(&green[here], &bare[..]), (&green[there], &bare), (&trunks[there], &eight)];
        assert_heard(&trunks[here], &eight, &by, &[&red[0], &red[1]])?;
        // In a VLAN that no network has, and in none: for the other switch alone.
        for vlan in [9, 0] {
            let other = said(vlan, number + 2 + u64::from(vlan));
            let not_by = [&red[0], &red[1], &green[0], &green[1]];
            assert_heard(&trunks[here], &other, &[(&trunks[there], &other)], &not_by)?;
        }
    }
    // The way back has the tag, and leads to the trunk where the machine was heard, which is the
    // second; frames of the other network with that destination are for all of theirs.
    for (number, machine) in red.iter().enumerate() {
        let number = 100 + number as u64;
        let mac = INSIDE[0];
        let tagged = frame(mac, OUTSIDE, 7, number);
        let back = frame(mac, OUTSIDE, 0, number);
        let not_by = [&trunks[0], &green[0], &green[1]];
        assert_heard(machine, &back, &[(&trunks[1], &tagged)], &not_by)?;
    }
    Ok(())
}

#[test]
fn switches_outside_hear_each_others_messages_and_machines_inside_do_not() -> Outcome {
    let at = Switched::start("bpdu")?;
    let group = Mac([0x01, 0x80, 0xc2, 0, 0, 0]);
    for (here, there) in [(0, 1), (1, 0)] {
        // A configuration message of the spanning tree: a length, LLC, 35 octets (IEEE 802.1D §9).
        let header = EthernetHeader::untagged(INSIDE[here], group, EtherType(38));
        let llc = [0x42, 0x42, 0x03];
        let mut octets = header.frame(&[&llc[..], &[0, 0, 2, 2, 0x3c], &[0x11; 38]].concat());
        octets.truncate(60);
        let not_by = [&at.red[0], &at.red[1], &at.green[0], &at.green[1], &at.trunks[here]];
        assert_heard(&at.trunks[here], &octets, &[(&at.trunks[there], &octets)], &not_by)?;
    }
    Ok(())
}

#[test]
fn a_machine_at_an_access_port_has_its_vlan_and_no_other() -> Outcome {
    let at = Switched::start("access")?;
    let mut access = Vec::new();
    for host in 0..2 {
        let (wire, port) = at.lab.add_wire(&format!("acc{host}"), host, &at.switch)?;
        at.lab.control.change(&format!("/ports/{port}"), &json!({ "vlanId": 8 }))?;
        at.lab.control.wait_active(&[&port])?;
        access.push(wire);
    }
    sleep(PATIENCE);
    let all = |vlan, number| frame(INSIDE[0], Mac::BROADCAST, vlan, number);
    let (bare, tagged) = (all(0, 1), all(8, 1));
    let by = [
        (&access[1], &bare[..]),
        (&at.green[0], &bare),
        (&at.green[1], &bare),
        (&at.trunks[0], &tagged),
        (&at.trunks[1], &tagged),
    ];
    assert_heard(&access[0], &bare, &by, &[&at.red[0], &at.red[1]])?;
    let everyone: Vec<_> = [&at.trunks, &at.red, &at.green].into_iter().flatten().collect();
    for vlan in [7, 8, 9] {
        assert_heard(&access[0], &all(vlan, 10 + u64::from(vlan)), &[], &everyone)?;
    }
    Ok(())
}

/// A datagram of one machine to another, by its network's router or by its neighbour.
fn datagram([from, to]: [&str; 2], [src, dst]: [Mac; 2], vlan: u16) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) =
        (from.parse().expect("an address"), to.parse().expect("too"));
    let payload = UdpHeader { src: 4000, dst: 9 }.datagram(from, to, b"to and fro");
    let packet = ip_packet(from, to, 64, IpProtocol::UDP, &payload);
    let header = EthernetHeader::untagged(src, dst, EtherType::IPV4);
    EthernetHeader { vlan: tag(vlan), ..header }.frame(&packet)
}

#[test]
fn a_router_reaches_what_is_outside_on_a_providers_vlan() -> Outcome {
    let at = Switched::start("provider")?;
    let control = &at.lab.control;
    let router = control.router("edge")?;
    let mac_of = |port: &str| -> Outcome<Mac> {
        let port = control.rest().get(&format!("/ports/{port}"))?;
        Ok(port["portMac"].as_str().and_then(|mac| mac.parse().ok()).expect("a MAC"))
    };
    let outer = mac_of(&control.uplink(&at.networks[0], &router, &["10.7.0.1/24"])?)?;
    let tenants = control.bridge("tenants")?;
    let inner = mac_of(&control.uplink(&tenants, &router, &["10.1.0.1/24"])?)?;
    let (inside, port) = at.lab.add_wire("inside", 0, &tenants)?;
    control.wait_active(&[&port])?;
    sleep(PATIENCE);
    let announce = Arp::gratuitous(INSIDE[0], [10, 1, 0, 2].into());
    inside.send(&announce.frame())?;
    for trunk in [&at.trunks[1], &at.trunks[0]] {
        // What it heard before is past.
        trunk.hears(PATIENCE / 3, |_| false);
        // It is asked for in the VLAN, on every trunk, by the host where the packet waits.
        let ways = ["10.1.0.2", "10.7.0.9"];
        inside.send(&datagram(ways, [INSIDE[0], inner], 0))?;
        let request = Arp::request(outer, [10, 7, 0, 1].into(), [10, 7, 0, 9].into());
        let header = EthernetHeader::untagged(outer, Mac::BROADCAST, EtherType::ARP);
        let asked = request.frame_in(&EthernetHeader { vlan: tag(7), ..header });
        if trunk.hears(PATIENCE, |heard| heard == asked) {
            let header = EthernetHeader::untagged(OUTSIDE, outer, EtherType::ARP);
            let reply = EthernetHeader { vlan: tag(7), ..header };
            trunk.send(&request.reply(OUTSIDE).frame_in(&reply))?;
        } else {
            // Known by now: it speaks from another trunk, and is followed.
            trunk.send(&announcement(OUTSIDE, 7))?;
        }
        let tagged_udp = |heard: &[u8]| {
            heard[..6] == OUTSIDE.0
                && heard[12..18] == [0x81, 0, 0, 7, 8, 0]
                && heard.ends_with(b"to and fro")
        };
        wait_for("it goes out by the trunk where the machine is", Duration::from_secs(5), || {
            inside.send(&datagram(ways, [INSIDE[0], inner], 0))?;
            Ok(trunk.hears(PATIENCE, tagged_udp))
        })?;
        trunk.send(&datagram(["10.7.0.9", "10.1.0.2"], [OUTSIDE, outer], 7))?;
        let bare = |heard: &[u8]| {
            heard[..6] == INSIDE[0].0 && heard[12..14] == [8, 0] && heard.ends_with(b"to and fro")
        };
        assert!(inside.hears(PATIENCE, bare), "and back");
        // In another VLAN the router is not there.
        trunk.send(&datagram(["10.7.0.9", "10.1.0.2"], [OUTSIDE, outer], 8))?;
        assert!(!inside.hears(PATIENCE, bare), "not with another tag");
    }
    Ok(())
}

/// The numbers of the frames in VLAN 7 that came by a trunk.
fn numbers(trunk: &Wire) -> Vec<u64> {
    let came = RefCell::new(Vec::new());
    trunk.hears(2 * PATIENCE, |heard| {
        let number = heard.get(18..26).and_then(|octets| octets.try_into().ok());
        if let Some(number) = number.filter(|_| heard[16..18] == SPOKEN.0.to_be_bytes()) {
            came.borrow_mut().push(u64::from_be_bytes(number));
        }
        false
    });
    came.into_inner()
}

#[test]
fn a_machine_outside_that_moves_to_the_other_trunk_in_mid_traffic_is_followed_and_followed_back()
-> Outcome {
    /// Two milliseconds apart.
    const FRAMES: u64 = 1500;
    const MOVES: [(u64, usize); 2] = [(500, 1), (1000, 0)];
    /// Half a second.
    const SOON: u64 = 250;
    let at = Switched::start("trunk-moves")?;
    at.trunks[0].send(&announcement(OUTSIDE, 7))?;
    sleep(PATIENCE);
    for (host, machine) in at.red.iter().enumerate() {
        let (before, _) = (numbers(&at.trunks[0]), numbers(&at.trunks[1]));
        assert!(before.is_empty());
        for number in 0..FRAMES {
            if let Some((_, trunk)) = MOVES.iter().find(|(when, _)| *when == number) {
                at.trunks[*trunk].send(&announcement(OUTSIDE, 7))?;
            }
            machine.send(&frame(INSIDE[host], OUTSIDE, 0, number))?;
            sleep(Duration::from_millis(2));
        }
        let (first, second) = (numbers(&at.trunks[0]), numbers(&at.trunks[1]));
        let mut all = [&first[..], &second].concat();
        all.sort_unstable();
        assert_eq!(all, (0..FRAMES).collect::<Vec<_>>(), "each came once, by one trunk");
        let (from, to) = (second[0], second[second.len() - 1]);
        assert!((500..500 + SOON).contains(&from), "followed from {from} on");
        assert!((1000..1000 + SOON).contains(&to), "and back from {to} on");
        assert_eq!(second.len() as u64, to - from + 1, "without wavering");
    }
    Ok(())
}
