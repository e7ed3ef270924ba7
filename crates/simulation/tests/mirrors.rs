//! Mirrors: what each hook sees, and that a copy changes nothing for the packet (`MR-*`).
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use mn_flow::{DropCause, Expiry, Tag};
use mn_simulation::Effect;
use mn_testkit::{Lab, Sent, mac, named};

const NETWORK: &str = "
    bridge blue
      vm1  02::01  10.0.1.5  fd01::5
      vm2  02::02  10.0.1.6
    bridge green
      vm4  02::04  10.0.2.7  fd02::7
    bridge monitoring
      probe  02::50  10.0.9.9
      probe2 02::51  10.0.9.8
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
";

/// The network, where a line that begins with the name of a machine or port has `more` behind it,
/// and with these blocks besides.
fn lab(changes: &[(&str, &str)], more: &str) -> Lab {
    let mut text = String::new();
    for line in NETWORK.lines() {
        text += line;
        for (begin, words) in changes {
            if line.trim_start().starts_with(begin) {
                text += words;
            }
        }
        text += "\n";
    }
    Lab::read(&(text + more))
}

const EVERYTHING: &str = "mirror m to probe\n  all\n";

/// The headers of the copy that arrived at a port, and how many hops older it is.
fn copy(sent: &Sent<'_>, port: &str) -> (mn_flow::FlowKey, u8) {
    let at = sent.arrivals().into_iter().find(|at| at.port == named(port)).unwrap();
    (at.headers, at.hops)
}

#[test]
fn each_hook_of_a_port_sees_the_packet_as_it_is_there() {
    // On its way in: as the machine sent it.
    for hook in ["in-mirrors", "post-in-mirrors"] {
        let lab = lab(&[("vm1", &format!(" {hook} m"))], EVERYTHING);
        let sent = lab.send("vm1 > vm4 tcp 80");
        sent.floods(&["vm4", "probe"]).lasts(Expiry::Idle).tagged(Tag::Mirror(named("m")));
        assert_eq!(copy(&sent, "probe"), (sent.built.key, 0), "{hook}");
        assert_eq!(copy(&sent, "vm4").1, 1, "the packet itself goes its way");
    }
    // On its way out: as the other machine gets it.
    for hook in ["pre-out-mirrors", "out-mirrors"] {
        let lab = lab(&[("vm4", &format!(" {hook} m"))], EVERYTHING);
        let sent = lab.send("vm1 > vm4 tcp 80");
        sent.floods(&["vm4", "probe"]);
        assert_eq!(copy(&sent, "probe"), copy(&sent, "vm4"), "{hook}");
        // What goes the other way passes other hooks.
        lab.send("vm4 > vm1 tcp 80").arrives("vm1", 1);
    }
}

#[test]
fn hooks_before_a_filter_see_what_it_drops_and_those_behind_it_do_not() {
    let drop_all = "chain c\n  drop tcp\n";
    for (hook, seen) in [("in-mirrors", true), ("post-in-mirrors", false)] {
        let lab = lab(&[("vm1", &format!(" in c {hook} m"))], &format!("{EVERYTHING}{drop_all}"));
        let ports: &[&str] = if seen { &["probe"] } else { &[] };
        let sent = lab.send("vm1 > vm4 tcp 80");
        sent.drops_but_copies(DropCause::Rule, ports).drops_by("c", 0).lasts(Expiry::Idle);
    }
    for (hook, seen) in [("pre-out-mirrors", true), ("out-mirrors", false)] {
        let lab = lab(&[("vm4", &format!(" out c {hook} m"))], &format!("{EVERYTHING}{drop_all}"));
        let ports: &[&str] = if seen { &["probe"] } else { &[] };
        lab.send("vm1 > vm4 tcp 80").drops_but_copies(DropCause::Rule, ports);
    }
}

#[test]
fn bridges_and_routers_have_hooks_too_and_each_may_have_several_mirrors() {
    let two = "mirror m to probe\n  all\nmirror n to probe2\n  tcp\n";
    let hooked = |device: &str, hook: &str| lab(&[(device, &format!("\n      {hook} m,n"))], two);
    for (device, hook, hops) in [
        ("bridge blue", "in-mirrors", 0),
        ("bridge blue", "out-mirrors", 0),
        ("router edge", "in-mirrors", 0),
        ("router edge", "out-mirrors", 1),
        ("bridge green", "in-mirrors", 1),
        ("bridge green", "out-mirrors", 1),
    ] {
        let lab = hooked(device, hook);
        let sent = lab.send("vm1 > vm4 tcp 80");
        sent.floods(&["vm4", "probe", "probe2"]);
        let of = if hops == 0 { sent.built.key } else { copy(&sent, "vm4").0 };
        assert_eq!(copy(&sent, "probe"), (of, hops), "{device} {hook}");
        assert_eq!(copy(&sent, "probe2"), (of, hops), "{device} {hook}");
        lab.send("vm1 > vm4 udp 80").floods(&["vm4", "probe"]);
    }
}

#[test]
fn one_condition_that_matches_is_enough_and_without_any_nothing_is_copied() {
    let hook: &[(&str, &str)] = &[("vm1", " in-mirrors m")];
    let some = lab(hook, "mirror m to probe\n  udp dport 53\n  to 10.0.2.0/24 tcp\n");
    some.send("vm1 > vm4 udp 53").floods(&["vm4", "probe"]);
    some.send("vm1 > vm4 tcp 80").floods(&["vm4", "probe"]);
    some.send("vm1 > vm2 tcp 80").arrives("vm2", 0);
    some.send("vm1 > vm4 udp 54").arrives("vm4", 1);
    lab(hook, "mirror m to probe\n").send("vm1 > vm4 tcp 80").arrives("vm4", 1);
}

#[test]
fn a_copy_teaches_nothing_is_not_answered_and_takes_nothing_from_the_packet() {
    // The probe's port refuses everything, with an answer: the sender hears nothing of that.
    let refused = lab(
        &[("vm1", " in-mirrors m"), ("probe ", " out no")],
        &format!("{EVERYTHING}chain no\n  reject\n"),
    );
    refused.send("vm1 > vm4 tcp 80").arrives("vm4", 1).silently().lasts(Expiry::Idle);
    // Copies that go through a router on their way to nowhere known do not make the packet wait.
    let far = lab(&[("vm1", " in-mirrors m")], "mirror m to blue.edge\n  tcp\n");
    let sent = far.send("vm1 > vm2 tcp 80");
    assert!(sent.arrivals().iter().any(|at| at.port == named("vm2")));
    let learned = |effect: &Effect| matches!(effect, Effect::LearnMac { mac: at, .. } if *at == mac("02::01"));
    assert_eq!(sent.buffers.effects.iter().filter(|it| learned(it)).count(), 1);
}

#[test]
fn mirrors_of_mirrors_end() {
    // The copy leaves by a port whose own mirror copies to the first one's, and back.
    let circle = lab(
        &[("vm1", " in-mirrors m"), ("probe ", " out-mirrors n"), ("probe2", " out-mirrors m")],
        "mirror m to probe\n  all\nmirror n to probe2\n  all\n",
    );
    circle.send("vm1 > vm4 tcp 80").floods(&["vm4", "probe", "probe2"]);
    let itself = lab(&[("probe ", " out-mirrors m"), ("vm1", " in-mirrors m")], EVERYTHING);
    itself.send("vm1 > vm4 tcp 80").floods(&["vm4", "probe"]);
}

#[test]
fn frames_of_every_kind_are_copied() {
    let all = lab(&[("vm1", " in-mirrors m")], EVERYTHING);
    all.send("vm1 > vm4 tcp 80 v6").floods(&["vm4", "probe"]);
    let tagged = all.send("vm1 > vm2 udp 9 vlan 7");
    tagged.floods(&["vm2", "probe"]);
    assert_eq!(copy(&tagged, "probe").0, tagged.built.key, "with its tag");
    // A flood is one packet, and so is its copy.
    all.send("vm1 > all udp 9").floods(&["vm2", "probe"]);
    // What a router answers itself is answered, and copied.
    let asked = all.send("vm1 > 10.0.1.1 icmp");
    asked.floods(&["probe"]);
    asked.answered_at("edge.blue");
}

#[test]
fn without_the_mirror_a_hook_that_names_it_does_nothing() {
    let mut lab = lab(&[("vm1", " in-mirrors m")], EVERYTHING);
    let touched = lab.delete(named::<mn_ids::Mirror>("m"));
    assert_eq!(touched, [Tag::Mirror(named("m"))]);
    lab.send("vm1 > vm4 tcp 80").arrives("vm4", 1).tagged(Tag::Mirror(named("m")));
}
