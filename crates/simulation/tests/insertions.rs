//! Inspecting machines in the way of a protected one (`SI-*`).

use mn_flow::{DropCause, Expiry, Tag};
use mn_simulation::{Effect, Entry, heartbeat};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Sent, named};
use mn_topology::snapshot::Lookup;

const NETWORK: &str = "
    bridge blue
      vm1  02::01  10.0.1.5
      vm2  02::02  10.0.1.6
      vm3  02::03  10.0.1.7
    bridge services
      s1   02::51  10.0.9.1
      s2   02::52  10.0.9.2
";

const CHAIN: &str = "
    insertion i2 of vm1 02::01 by s2 vlan 20 at 2
    insertion i1 of vm1 02::01 by s1 vlan 10 at 1
";

fn lab(more: &str) -> Lab {
    Lab::read(&format!("{NETWORK}{more}"))
}

/// Tags with the priority that says the direction.
const OUT: [u16; 2] = [1 << 13 | 10, 1 << 13 | 20];
const BACK: [u16; 2] = [2 << 13 | 10, 2 << 13 | 20];

fn tag(sent: &Sent<'_>) -> u16 {
    sent.arrivals()[0].headers.vlan.wire()
}

/// What a service sends on its way from vm1 to vm2, or back.
fn from(service: &str, vlan: u16, back: bool) -> String {
    let (from, to) = if back { ("2", "1") } else { ("1", "2") };
    let addr = |number| if number == "1" { "10.0.1.5" } else { "10.0.1.6" };
    let (src, dst) = (addr(from), addr(to));
    let ends = format!("mac-from 02::0{from} mac-to 02::0{to} addr-from {src} addr-to {dst}");
    let vlan = if vlan == 0 { String::new() } else { format!("vlan {vlan}") };
    format!("{service} > vm{to} udp 9 {ends} {vlan}")
}

#[test]
fn what_a_machine_sends_and_gets_passes_its_inspectors_in_the_order_of_their_positions() {
    let lab = lab(CHAIN);
    let ways = [("vm1 > vm2 udp 9", OUT, false, "vm2"), ("vm2 > vm1 udp 9", BACK, true, "vm1")];
    for (sent, tags, back, end) in ways {
        let first = lab.send(sent);
        first.arrives("s1", 0).lasts(Expiry::Idle).tagged(Tag::L2Insertion(named("i1")));
        assert_eq!(tag(&first), tags[0]);
        let second = lab.send(&from("s1", tags[0], back));
        second.arrives("s2", 0);
        assert_eq!(tag(&second), tags[1]);
        let last = lab.send(&from("s2", tags[1], back));
        last.arrives(end, 0).lasts(Expiry::Idle);
        assert!(!last.arrivals()[0].headers.vlan.is_present());
        // In the network it comes from the protected port.
        let learned = |effect: &Effect| matches!(effect, Effect::LearnMac { port, .. } if *port == named("vm1"));
        assert_eq!(last.buffers.effects.iter().any(learned), !back);
    }
    // Who is not protected is not inspected, and what is for all is not for the machine.
    lab.send("vm2 > vm3 udp 9").arrives("vm3", 0);
    lab.send("vm2 > all udp 9").floods(&["vm1", "vm3"]);
    lab.send("vm1 > all udp 9").arrives("s1", 0);
}

#[test]
fn without_a_vlan_the_direction_is_told_by_the_macs() {
    let lab = lab("insertion i1 of vm1 02::01 by s1\n");
    for (sent, back, end) in [("vm1 > vm2 udp 9", false, "vm2"), ("vm2 > vm1 udp 9", true, "vm1")] {
        let first = lab.send(sent);
        first.arrives("s1", 0);
        assert_eq!(first.arrivals()[0].headers, first.built.key, "as it came");
        lab.send(&from("s1", 0, back)).arrives(end, 0);
    }
}

#[test]
fn without_a_vlan_a_frame_that_may_be_on_its_way_from_several_ports_goes_nowhere() {
    let two = "
        insertion i1 of vm1 02::01 by s1
        insertion i2 of vm2 02::02 by s1
    ";
    let between = lab(two);
    between.send("vm1 > vm2 udp 9").arrives("s1", 0);
    for back in [false, true] {
        between.send(&from("s1", 0, back)).drops(DropCause::NotInserted);
    }
    // To and from all others there is but one way.
    let more = "mac-from 02::01 mac-to 02::03 addr-from 10.0.1.5 addr-to 10.0.1.7";
    between.send(&format!("s1 > vm3 udp 9 {more}")).arrives("vm3", 0);
    // Nor does it pass one of two inspectors of a port by, or the same for ever.
    let twice = lab("
        insertion i1 of vm1 02::01 by s1 at 1
        insertion i2 of vm1 02::01 by s1 at 2
    ");
    for back in [false, true] {
        twice.send(&from("s1", 0, back)).drops(DropCause::NotInserted);
    }
    // Where one has a VLAN, its tag tells.
    let mixed = lab("
        insertion i2 of vm1 02::01 by s1 at 2
        insertion i1 of vm1 02::01 by s1 vlan 10 at 1
    ");
    let first = mixed.send("vm1 > vm2 udp 9");
    assert_eq!(tag(&first), OUT[0]);
    let second = mixed.send(&from("s1", OUT[0], false));
    second.arrives("s1", 0);
    assert_eq!(tag(&second), 0);
    mixed.send(&from("s1", 0, false)).arrives("vm2", 0);
}

#[test]
fn what_an_inspector_sends_back_keeps_the_mark_of_where_it_entered() {
    let network = NETWORK
        .replace("bridge services", "bridge services\n      policy gold")
        .replace("bridge blue", "bridge blue\n      policy silver");
    let marks = "qos gold\n      mark 46\n    qos silver\n      mark 8\n";
    let lab = Lab::read(&format!("{network}    {marks}{CHAIN}"));
    let tos = |sent: &Sent<'_>| sent.arrivals()[0].headers.nw_tos;
    let first = lab.send("vm1 > vm2 udp 9");
    assert_eq!(tos(first.arrives("s1", 0)), 8 << 2);
    let back = lab.send(&format!("{} tos {}", from("s2", OUT[1], false), 8 << 2));
    assert_eq!(tos(back.arrives("vm2", 0)), 8 << 2);
}

#[test]
fn a_filter_sees_what_was_inspected_on_the_way_in_and_decides_first_on_the_way_out() {
    let drop = "chain c\n  drop udp\n";
    let guarded = |side: &str| {
        let network = NETWORK.replace("10.0.1.5", &format!("10.0.1.5 {side} c"));
        Lab::read(&format!("{network}{CHAIN}{drop}"))
    };
    let inbound = guarded("in");
    inbound.send("vm1 > vm2 udp 9").arrives("s1", 0);
    inbound.send(&from("s1", OUT[0], false)).arrives("s2", 0);
    inbound.send(&from("s2", OUT[1], false)).drops_by("c", 0);
    let outbound = guarded("out");
    outbound.send("vm2 > vm1 udp 9").drops_by("c", 0);
    // What was let through before the filter changed is not asked again.
    outbound.send(&from("s2", BACK[1], true)).arrives("vm1", 0);
}

#[test]
fn nothing_else_comes_from_an_inspector_or_gets_to_it() {
    let lab = lab(CHAIN);
    let wrong = [
        from("s1", OUT[1], false),       // another's VLAN
        from("s1", 3 << 13 | 10, false), // no direction
        from("s1", 10, false),           // nor this
        from("s1", BACK[0], false),      // the wrong direction
        from("s1", 0, false),            // no tag
        "s1 > s2 udp 9".to_owned(),      // itself
    ];
    for sent in &wrong {
        lab.send(sent).drops(DropCause::NotInserted);
    }
    lab.send("s1 > vm2 udp 9 mac-from 02::03 mac-to 02::02 addr-to 10.0.1.6 vlan 8202")
        .drops(DropCause::NotInserted);
    // By its MAC, and for all on its own bridge.
    let mut other = self::lab(CHAIN);
    other.port("vm3", |port| {
        port.kind = mn_topology::PortKind::Bridge { bridge_id: named("services"), vlan_id: 0 };
    });
    other.send("vm3 > s1 udp 9 mac-to 02::51").drops(DropCause::NotInserted);
    other.send("vm3 > all udp 9").drops(DropCause::SamePort);
}

#[test]
fn an_inspector_that_is_away_is_passed_by_or_stops_everything() {
    for (open, end) in [(false, None), (true, Some("s2"))] {
        let chain = if open { CHAIN.replace("at 1", "at 1 open") } else { CHAIN.to_owned() };
        let mut lab = lab(&chain);
        lab.tables.away.insert(named("i1"));
        for sent in ["vm1 > vm2 udp 9", "vm2 > vm1 udp 9"] {
            match end {
                Some(end) => {
                    lab.send(sent).arrives(end, 0);
                }
                None => {
                    lab.send(sent).drops(DropCause::ServiceDown);
                }
            }
        }
        // The second is not open, whatever the first is.
        lab.tables.away.insert(named("i2"));
        lab.send("vm1 > vm2 udp 9").drops(DropCause::ServiceDown);
        // What the first had is stopped at the second.
        lab.send(&from("s1", OUT[0], false)).drops(DropCause::ServiceDown);
    }
    let mut all_open = lab(&CHAIN.replace("at 1", "at 1 open").replace("at 2", "at 2 open"));
    all_open.tables.away.extend([named("i1"), named("i2")]);
    all_open.send("vm1 > vm2 udp 9").arrives("vm2", 0);
    all_open.send("vm2 > vm1 udp 9").arrives("vm1", 0);
    // A port that is down or bound to nothing has nobody behind it.
    let mut down = lab(&CHAIN.replace("at 1", "at 1 open"));
    down.port("s1", |port| port.admin_state_up = false);
    down.send("vm1 > vm2 udp 9").arrives("s2", 0);
}

#[test]
fn a_heartbeat_that_comes_back_is_heard_and_nothing_else_is_one() {
    let lab = lab(&CHAIN.replace("at 1", "at 1 heartbeat"));
    let frame = |name: &str| {
        let Lookup::Loaded(insertion) = lab.snapshot.l2_insertion(named(name)) else { panic!() };
        heartbeat(insertion)
    };
    let out = lab.emit(named("s1"), &frame("i1"));
    out.arrives("s1", 0);
    assert_eq!(tag(&out), OUT[0]);
    let come = |port: &str, frame: Vec<u8>| {
        let built = Built::of(named(port), frame);
        let sent = lab.inject("a heartbeat", Entry::Ingress(built.port), &built);
        let heard = |effect: &Effect| matches!(effect, Effect::Heartbeat { insertion } if *insertion == named("i1"));
        (sent.buffers.effects.iter().any(heard), sent.decision().unwrap())
    };
    let (heard, decision) = come("s1", frame("i1"));
    assert!(heard);
    assert_eq!((decision.drop.unwrap().0, decision.expiry), (DropCause::Consumed, Expiry::None));
    assert!(!come("s2", frame("i1")).0, "from another machine");
    assert!(!come("s2", frame("i2")).0, "of one that is not asked");
}
