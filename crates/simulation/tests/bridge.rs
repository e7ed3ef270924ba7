//! What bridges do, as stories.

use mn_flow::{DropCause, Expiry, Field, FlowMask, Tag};
use mn_packet::{Arp, ArpOp, EthernetHeader, Layers, Network};
use mn_simulation::{Effect, Outcome};
use mn_testkit::{Lab, mac, named};

const ONE_BRIDGE: &str = "
    bridge blue
      vm1  02::01  10.0.1.5  fd01::5
      vm2  02::02  10.0.1.6  fd01::6
      vm3  02::03  10.0.1.7
";

fn mask(fields: &[Field]) -> FlowMask {
    fields.iter().fold(FlowMask::NONE, |mask, field| mask | (*field).into())
}

#[test]
fn a_known_mac_is_reached_alone_and_an_unknown_one_by_all() {
    let lab = Lab::read(ONE_BRIDGE);
    lab.send("vm1 > vm2 tcp 80").arrives("vm2", 0);
    let forgotten = lab.forget();
    forgotten.send("vm1 > vm2 tcp 80").floods(&["vm2", "vm3"]);
}

#[test]
fn a_flow_between_two_machines_reads_macs_and_nothing_else() {
    let lab = Lab::read(ONE_BRIDGE);
    lab.send("vm1 > vm2 tcp 80")
        .reads(mask(&[Field::EthSrc, Field::EthDst, Field::EthType]))
        .lasts(Expiry::Idle);
    let blue = named("blue");
    for mac in [mac("02::01"), mac("02::02")] {
        lab.send("vm1 > vm2 tcp 80").tagged(Tag::Mac { bridge: blue, vlan: None, mac });
    }
    let forgotten = lab.forget();
    forgotten.send("vm1 > vm2 tcp 80").tagged(Tag::Flood { bridge: blue, vlan: None });
}

#[test]
fn a_broadcast_reaches_every_other_port_that_is_attached() {
    let lab = Lab::read(&format!("{ONE_BRIDGE}\n vm4 02::04 loose"));
    lab.send("vm1 > all udp 9").floods(&["vm2", "vm3"]).lasts(Expiry::Idle);
}

#[test]
fn a_source_is_learned_where_its_frame_passed_the_inbound_filter() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5  in no-telnet
          vm2  02::02  10.0.1.6
        chain no-telnet
          drop tcp dport 23
        ",
    );
    let learned = Effect::LearnMac {
        bridge: named("blue"),
        vlan: None,
        mac: mac("02::01"),
        port: named("vm1"),
    };
    lab.send("vm1 > vm2 tcp 80").teaches(&learned);
    lab.send("vm1 > vm2 tcp 23").drops_by("no-telnet", 0).teaches_nothing();
}

#[test]
fn a_moved_machine_is_followed() {
    let mut lab = Lab::read(ONE_BRIDGE);
    let moved = lab.send("vm3 > vm2 tcp 80 mac-from 02::01").buffers.effects;
    lab.tables.learn(&moved);
    lab.send("vm2 > vm1 tcp 80").arrives("vm3", 0);
}

#[test]
fn a_group_source_and_a_way_back_are_refused() {
    let lab = Lab::read(ONE_BRIDGE);
    lab.send("vm1 > vm2 tcp 80 mac-from 03::01").drops(DropCause::MulticastSource).silently();
    lab.send("vm1 > vm1 tcp 80").drops(DropCause::SamePort);
}

#[test]
fn a_bridge_or_port_that_is_down_carries_nothing() {
    let down = Lab::read(&format!("{ONE_BRIDGE}\n down"));
    down.send("vm1 > vm2 tcp 80").drops(DropCause::AdminDown).silently();
    let mut lab = Lab::read(ONE_BRIDGE);
    lab.port("vm2", |port| port.admin_state_up = false);
    lab.send("vm1 > vm2 tcp 80").drops(DropCause::AdminDown).silently();
    lab.send("vm2 > vm1 tcp 80").drops(DropCause::AdminDown).silently();
    lab.send("vm1 > all udp 9").floods(&["vm3"]);
}

#[test]
fn a_flood_asks_the_filter_of_each_member_and_its_flow_reads_what_any_of_them_read() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.6
          vm3  02::03  10.0.1.7  out no-nine
        chain no-nine
          drop udp dport 9
        ",
    );
    let sent = lab.send("vm1 > all udp 9");
    sent.floods(&["vm2"]);
    let mask = sent.decision().unwrap().mask;
    assert!(mask.contains(Field::TpDst) && mask.contains(Field::NwProto), "{mask:?}");
    lab.send("vm1 > all udp 10").floods(&["vm2", "vm3"]);
}

#[test]
fn a_question_for_a_known_address_is_answered_and_bothers_nobody() {
    let mut lab = Lab::read(ONE_BRIDGE);
    lab.send("vm1 > vm2 arp").floods(&["vm2", "vm3"]).lasts(Expiry::None);
    let heard = lab.send("vm2 > vm1 arp-reply");
    heard.arrives("vm1", 0).lasts(Expiry::None);
    let effects = heard.buffers.effects.clone();
    lab.tables.learn(&effects);

    let sent = lab.send("vm1 > vm2 arp");
    sent.lasts(Expiry::Idle).silently();
    let answer = sent.answered_back("vm1");
    let Network::Arp(arp) = Layers::of(&answer).unwrap().network else { panic!("not ARP") };
    assert_eq!((arp.op, arp.sender_mac), (ArpOp::REPLY, mac("02::02")));
    assert_eq!(arp.sender.to_string(), "10.0.1.6");
    lab.emit(named("vm1"), &answer).arrives("vm1", 0).lasts(Expiry::None);

    lab.send("vm2 > all garp").floods(&["vm1", "vm3"]);
}

#[test]
fn a_solicitation_for_a_known_address_is_answered_and_a_check_for_duplicates_is_heard_by_all() {
    let mut lab = Lab::read(ONE_BRIDGE);
    lab.send("vm1 > vm2 ns").floods(&["vm2", "vm3"]).lasts(Expiry::None);
    let told = lab.send("vm2 > vm1 na").buffers.effects;
    lab.tables.learn(&told);
    let sent = lab.send("vm1 > vm2 ns");
    lab.emit(named("vm1"), &sent.answered_back("vm1")).arrives("vm1", 0);
    lab.send("vm1 > vm2 ns addr-from ::").floods(&["vm2", "vm3"]);
}

#[test]
fn a_machine_that_speaks_for_another_mac_is_not_believed() {
    let lab = Lab::read(ONE_BRIDGE);
    let lie = Arp::gratuitous(mac("02::02"), "10.0.1.99".parse().unwrap());
    let ethernet = EthernetHeader { src: mac("02::01"), ..lie.ethernet() };
    let built = mn_testkit::packet::Built::of(named("vm1"), lie.frame_in(&ethernet));
    let sent = lab.inject("a lie", mn_simulation::Entry::Ingress(named("vm1")), &built);
    let believed = |effect: &Effect| matches!(effect, Effect::LearnBridgeNeighbor { .. });
    assert!(!sent.buffers.effects.iter().any(believed), "{:?}", sent.buffers.effects);
}

#[test]
fn tagged_frames_pass_the_same_chains_as_untagged_ones() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.6
          in no-nine
        chain no-nine
          drop udp dport 9
        ",
    );
    lab.send("vm1 > vm2 udp 9").drops_by("no-nine", 0);
    lab.send("vm1 > vm2 udp 9 vlan 5").drops_by("no-nine", 0);
    lab.send("vm1 > vm2 udp 10 vlan 5").arrives("vm2", 0);
}

#[test]
fn bridges_in_a_ring_flood_each_machine_and_stop() {
    let lab = Lab::read(
        "
        bridge a
          vm1  02::01  10.0.1.5
          link b
          link c
        bridge b
          vm2  02::02  10.0.1.6
          link c
        bridge c
          vm3  02::03  10.0.1.7
        ",
    );
    let sent = lab.send("vm1 > all udp 9");
    let reached: std::collections::BTreeSet<_> =
        sent.arrivals().iter().map(|arrival| arrival.port).collect();
    assert_eq!(reached, [named("vm2"), named("vm3")].into());
}

#[test]
fn what_is_not_loaded_is_asked_for_at_once() {
    let mut lab = Lab::read(ONE_BRIDGE);
    lab.tables.unloaded.insert(named::<mn_ids::Bridge>("blue").uuid());
    let blue = named::<mn_ids::Bridge>("blue").into();
    assert_eq!(lab.send("vm1 > vm2 tcp 80").outcome, Outcome::Load(vec![blue]));

    let mut empty = Lab::read(ONE_BRIDGE);
    empty.snapshot = mn_topology::snapshot::Snapshot::default();
    let vm1 = named::<mn_ids::Port>("vm1").into();
    assert_eq!(empty.send("vm1 > vm2 tcp 80").outcome, Outcome::Load(vec![vm1]));
}
