//! Bridges whose ports carry VLANs (`L2-*`): trunks, access ports, links to a bridge for each VLAN.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use mn_flow::{DropCause, Field};
use mn_packet::{EtherType, EthernetHeader, Mac, VlanId, VlanTag};
use mn_simulation::{Effect, Entry};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Sent, mac, named};

const TRUNK: &str = "
    bridge trunk
      up    02::0f
      link red vlan 7
      link green vlan 8
    bridge red
      r1    02::71  10.7.0.1
    bridge green
      g1    02::81  10.8.0.1
";

#[test]
fn a_vlan_of_a_trunk_reaches_its_bridge_without_the_tag_and_comes_back_with_it() {
    let mut lab = Lab::read(TRUNK);
    let sent = lab.send("up > all udp 9 vlan 7 addr-from 10.7.0.9");
    sent.floods(&["r1"]);
    assert!(!sent.arrivals()[0].headers.vlan.is_present());
    lab.send("up > all udp 9 vlan 9 addr-from 10.7.0.9").drops(DropCause::SamePort);

    let learned = sent.buffers.effects.clone();
    drop(sent);
    lab.tables.learn(&learned);
    let back = lab.send("r1 > 10.7.0.9 udp 9 mac-to 02::0f");
    back.arrives("up", 0);
    let tag = back.arrivals()[0].headers.vlan;
    assert_eq!(tag.vlan(), VlanId::try_from(7).ok());
    assert!(back.decision().unwrap().mask.contains(Field::Vlan));
}

/// Two trunks, and machines at access ports of two VLANs.
const SWITCH: &str = "
    bridge switch
      up1   02::0e
      up2   02::0f
      a1    02::a1  10.7.0.1  vlan 7
      a2    02::a2  10.7.0.2  vlan 7
      b1    02::b1  10.7.0.1  vlan 8
      link red vlan 9
    bridge red
      r1    02::91  10.9.0.1
";

fn tag(sent: &Sent<'_>, port: &str) -> VlanTag {
    sent.arrivals().into_iter().find(|at| at.port == named(port)).unwrap().headers.vlan
}

/// A frame of a machine with these tags.
fn frame(lab: &Lab, [from, to]: [&str; 2], vlan: VlanTag, inner_vlan: VlanTag) -> Built {
    let header = EthernetHeader {
        vlan,
        inner_vlan,
        ..EthernetHeader::untagged(mac(from), mac(to), EtherType(0x88b5))
    };
    let from = ["up1", "up2", "a1", "r1"].map(|name| lab.station(name));
    let from = from.into_iter().find(|station| station.mac == header.src).unwrap();
    Built::of(from.port, header.frame(&[0x5a; 46]))
}

fn priority(of: u16) -> VlanTag {
    VlanTag::from_wire(of << 13)
}

fn vlan(number: u16) -> VlanTag {
    VlanTag::of(VlanId::try_from(number).unwrap())
}

#[test]
fn machines_at_access_ports_of_a_vlan_have_a_network_without_tags_and_trunks_see_the_tag() {
    let lab = Lab::read(SWITCH);
    let known = lab.send("a1 > a2 udp 9");
    known.arrives("a2", 0);
    assert!(!tag(&known, "a2").is_present());
    let all = lab.send("a1 > all udp 9");
    all.floods(&["a2", "up1", "up2"]);
    assert!(!tag(&all, "a2").is_present());
    assert_eq!(tag(&all, "up1"), vlan(7));
    // Who is known in one VLAN is unknown in another.
    lab.send("b1 > all udp 9 mac-to 02::a2").floods(&["up1", "up2"]);
    lab.send("up1 > all udp 9 vlan 7 addr-from 10.7.0.9 mac-to 02::a2").arrives("a2", 0);
    lab.send("up1 > all udp 9 vlan 8 addr-from 10.7.0.9 mac-to 02::a2").floods(&["b1", "up2"]);
}

#[test]
fn a_machine_at_an_access_port_cannot_speak_in_another_vlan() {
    let lab = Lab::read(SWITCH);
    let send = |outer, inner| {
        let built = frame(&lab, ["02::a1", "02::b1"], outer, inner);
        lab.inject("a frame with tags", Entry::Ingress(built.port), &built)
    };
    for outer in [vlan(7), vlan(8)] {
        send(outer, VlanTag::NONE).drops(DropCause::VlanMismatch);
        // Nor by a tag within a tag, of which a switch behind the trunk would take off the outer.
        send(outer, vlan(8)).drops(DropCause::VlanMismatch);
    }
    send(priority(3), vlan(8)).drops(DropCause::VlanMismatch);
    // A tag of priority alone is none of a VLAN: what it says is kept.
    let urgent = send(priority(5), VlanTag::NONE);
    urgent.floods(&["a2", "up1", "up2"]);
    assert_eq!(tag(&urgent, "up1").wire(), 5 << 13 | 7);
    assert!(!tag(&urgent, "a2").is_present());
}

#[test]
fn what_is_untagged_or_of_a_vlan_without_ports_passes_between_trunks_alone() {
    let lab = Lab::read(SWITCH);
    lab.send("up1 > all udp 9 addr-from 10.7.0.9").floods(&["up2"]);
    lab.send("up1 > all udp 9 vlan 10 addr-from 10.7.0.9").floods(&["up2"]);
    // Even for a machine that is known, if it comes with another tag than the machine's.
    lab.send("up1 > all udp 9 addr-from 10.7.0.9 mac-to 02::a1").floods(&["up2"]);
    lab.send("up1 > all udp 9 vlan 4095 addr-from 10.7.0.9 mac-to 02::a1").floods(&["up2"]);
}

#[test]
fn the_messages_of_switches_pass_between_trunks_alone() {
    let lab = Lab::read(SWITCH);
    // IEEE 802.1D: to the bridge group address, with a length where others have a type.
    let hello =
        EthernetHeader::untagged(mac("02::0e"), Mac([0x01, 0x80, 0xc2, 0, 0, 0]), EtherType(38));
    let mut octets = vec![0x42, 0x42, 0x03];
    octets.extend([0; 35]);
    let built = Built::of(named("up1"), hello.frame(&octets));
    let sent = lab.inject("a hello", Entry::Ingress(built.port), &built);
    sent.arrives("up2", 0);
    assert_eq!(sent.arrivals()[0].headers, built.key, "as it came");
}

#[test]
fn tags_of_a_network_behind_a_link_stay_inside_the_tag_of_its_vlan() {
    let lab = Lab::read(SWITCH);
    let built = frame(&lab, ["02::91", "02::ee"], vlan(3), VlanTag::NONE);
    let sent = lab.inject("a tag of its own", Entry::Ingress(built.port), &built);
    sent.floods(&["up1", "up2"]);
    let out = sent.arrivals()[0].headers;
    assert_eq!((out.vlan, out.inner_vlan), (vlan(9), vlan(3)));
    let back = frame(&lab, ["02::0e", "02::91"], vlan(9), vlan(3));
    let sent = lab.inject("and back", Entry::Ingress(back.port), &back);
    let at = sent.arrivals().into_iter().find(|at| at.port == named("r1")).unwrap();
    assert_eq!((at.headers.vlan, at.headers.inner_vlan), (vlan(3), VlanTag::NONE));
    // A third tag has no room.
    let twice = frame(&lab, ["02::91", "02::ee"], vlan(3), vlan(4));
    let sent = lab.inject("two of its own", Entry::Ingress(twice.port), &twice);
    assert!(sent.arrivals().is_empty());
}

#[test]
fn a_switch_that_speaks_from_another_trunk_is_reached_there() {
    let mut lab = Lab::read(SWITCH);
    for trunk in ["up1", "up2", "up1"] {
        let said =
            lab.send(&format!("{trunk} > all udp 9 vlan 7 mac-from 02::99 addr-from 10.7.0.9"));
        let effects = said.buffers.effects.clone();
        drop(said);
        lab.tables.learn(&effects);
        let sent = lab.send("a1 > 10.7.0.9 udp 9 mac-to 02::99");
        sent.arrives(trunk, 0);
        assert_eq!(tag(&sent, trunk), vlan(7));
        assert!(sent.decision().unwrap().mask.contains(Field::Vlan));
    }
}

#[test]
fn what_is_said_of_addresses_in_one_vlan_answers_nothing_in_another() {
    let lab = Lab::read(SWITCH);
    // Both VLANs have a 10.7.0.1.
    for said in ["a1 > a2 arp-reply", "a1 > all garp", "b1 > all garp"] {
        let sent = lab.send(said);
        let believed = |effect: &Effect| matches!(effect, Effect::LearnBridgeNeighbor { .. });
        assert!(!sent.buffers.effects.iter().any(believed), "{said}");
    }
    lab.send("a2 > a1 arp").silently().floods(&["a1", "up1", "up2"]);
}
