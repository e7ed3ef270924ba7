//! Marks: what enters by a bound port carries the code point of the port's policy (`QO-*`).
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use mn_flow::{DropCause, Expiry, Field, Rewrite, Tag, VirtualAction};
use mn_simulation::walk::Step;
use mn_testkit::{Lab, Sent, named};
use mn_topology::AnyObject;

const NETWORK: &str = "
    bridge blue
      policy silver
      vm1  02::01  10.0.1.5  fd01::5
      vm2  02::02  10.0.1.6  policy gold
      vm3  02::03  10.0.1.7
    bridge green
      vm4  02::04  10.0.2.7  fd02::7
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
      up     02::b1  192.0.2.1/24  peer 02::99 192.0.2.254  policy gold
    qos gold
      mark 10
      mark 46
      sends 1000 800
    qos silver
      mark 8
      gets 2000 100
";

/// What the packet's TOS octet, or traffic class, is where it arrives.
#[track_caller]
fn tos(sent: &Sent<'_>, port: &str) -> u8 {
    let arrivals = sent.arrivals();
    arrivals.iter().find(|at| at.port == named(port)).unwrap().headers.nw_tos
}

/// With this TOS octet in the packet that is sent.
fn marked(lab: &Lab, text: &str, tos: u8) -> u8 {
    let sent = lab.send(&format!("{text} tos {tos}"));
    let to = text.split_whitespace().nth(2).unwrap();
    self::tos(&sent, to)
}

#[test]
fn a_port_s_own_policy_stands_before_that_of_its_bridge() {
    let lab = Lab::read(NETWORK);
    assert_eq!(marked(&lab, "vm1 > vm3 tcp 80", 0), 8 << 2, "the bridge's");
    assert_eq!(
        marked(&lab, "vm2 > vm3 tcp 80", 0),
        46 << 2,
        "its own, of which the last rule wins"
    );
    assert_eq!(marked(&lab, "vm4 > vm1 tcp 80", 0), 0, "none: what leaves by a port is not marked");
    // Of both versions, over a router, at a router's own bound port too.
    assert_eq!(marked(&lab, "vm1 > vm4 udp 53", 0), 8 << 2);
    assert_eq!(marked(&lab, "vm1 > vm4 v6 udp 53", 0), 8 << 2);
    assert_eq!(marked(&lab, "up > vm4 udp 53", 0), 46 << 2);
}

#[test]
fn a_mark_leaves_the_congestion_bits_and_the_flow_is_for_that_octet_alone() {
    let lab = Lab::read(NETWORK);
    for before in [0, 1, 2, 3, 0xb8, 0xff] {
        assert_eq!(marked(&lab, "vm2 > vm3 tcp 80", before), 46 << 2 | before & 3, "{before}");
    }
    let sent = lab.send("vm2 > vm3 tcp 80");
    sent.lasts(Expiry::Idle).tagged(Tag::QosPolicy(named("gold")));
    assert!(sent.decision().unwrap().mask.contains(Field::NwTos));
    let set = VirtualAction::Rewrite(Rewrite::NwTos(46 << 2));
    assert_eq!(sent.buffers.actions.iter().filter(|it| **it == set).count(), 1);
    // Where nobody marks, nobody asks for the octet.
    let plain = lab.send("vm4 > vm1 tcp 80");
    assert!(!plain.decision().unwrap().mask.contains(Field::NwTos));
}

#[test]
fn what_is_no_ip_is_not_marked() {
    let lab = Lab::read(NETWORK);
    let sent = lab.send("vm1 > vm3 arp");
    assert!(sent.decision().unwrap().drop.is_none());
    let rewrites = |it: &VirtualAction| matches!(it, VirtualAction::Rewrite(Rewrite::NwTos(_)));
    assert!(!sent.buffers.actions.iter().any(rewrites));
}

#[test]
fn a_mark_that_changes_touches_flows_and_a_limit_does_not() {
    let mut lab = Lab::read(NETWORK);
    let key = mn_ids::ObjectKey::from(named::<mn_ids::QosPolicy>("gold"));
    let Some(AnyObject::QosPolicy(gold)) = lab.objects.get(&key).cloned() else { panic!() };
    let mut without_limit = gold.clone();
    without_limit.rules.pop();
    assert_eq!(lab.put(without_limit.clone()), [], "limits are the datapath's");
    let mut other = without_limit;
    other.rules.pop();
    assert_eq!(lab.put(other), [Tag::QosPolicy(gold.id)]);
    assert_eq!(marked(&lab, "vm2 > vm3 tcp 80", 0), 10 << 2);
    // Without its policy a port is held to its bridge's; without that to none.
    let port = mn_ids::ObjectKey::from(named::<mn_ids::Port>("vm2"));
    let Some(AnyObject::Port(mut vm2)) = lab.objects.get(&port).cloned() else { panic!() };
    vm2.qos_policy_id = None;
    assert!(lab.put(vm2).contains(&Tag::Port(named("vm2"))));
    assert_eq!(marked(&lab, "vm2 > vm3 tcp 80", 0), 8 << 2);
    let blue = mn_ids::ObjectKey::from(named::<mn_ids::Bridge>("blue"));
    let Some(AnyObject::Bridge(mut blue)) = lab.objects.get(&blue).cloned() else { panic!() };
    blue.qos_policy_id = None;
    assert!(lab.put(blue).contains(&Tag::Bridge(named("blue"))));
    assert_eq!(marked(&lab, "vm2 > vm3 tcp 80", 0), 0);
}

#[test]
fn a_packet_waits_for_its_policy_and_one_that_is_gone_marks_nothing() {
    let mut lab = Lab::read(NETWORK);
    let key = mn_ids::ObjectKey::from(named::<mn_ids::QosPolicy>("gold"));
    assert_eq!(lab.delete(key), [Tag::QosPolicy(named("gold"))]);
    assert_eq!(marked(&lab, "vm2 > vm3 tcp 80", 0), 0);
}

#[test]
fn the_walk_tells_marks_and_limits() {
    let lab = Lab::read(NETWORK);
    let sent = lab.send("vm2 > vm3 tcp 80");
    let held = |step: &Step| match step {
        Step::Held { port, policy, dscp, limit } => {
            Some((*port, *policy, *dscp, limit.map(|it| (it.kbps.get(), it.burst_kb.get()))))
        }
        _ => None,
    };
    let told: Vec<_> = sent.walk.steps.iter().filter_map(held).collect();
    let want = [
        (named("vm2"), named("gold"), Some(46), Some((1000, 800))),
        (named("vm3"), named("silver"), None, Some((2000, 100))),
    ];
    assert_eq!(told, want);
}

#[test]
fn a_packet_that_is_dropped_is_dropped_as_ever() {
    let lab = Lab::read(&NETWORK.replace("vm2  02::02  10.0.1.6", "vm2  02::02  10.0.1.6 down"));
    lab.send("vm2 > vm3 tcp 80").drops(DropCause::AdminDown);
}
