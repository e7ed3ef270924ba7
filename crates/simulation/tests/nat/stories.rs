//! What each kind of translation does.

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry, Field, FlowMask};
use mn_simulation::Effect;
use mn_testkit::Lab;

use crate::traffic::{Ends, back, only};

/// Two machines inside, one outside, a router between. `pre` and `post` are the router's filters.
pub fn world(pre: &str, post: &str) -> Lab {
    Lab::read(&format!(
        "
        bridge blue
          vm1  02::01  10.0.1.5  fd01::5
          vm2  02::02  10.0.1.6  fd01::6
        bridge street
          out  02::e1  198.51.100.9  2001:db8::9
        router edge
          blue    02::a1  10.0.1.1/24  fd01::1/64
          street  02::b1  198.51.100.1/24  2001:db8::1/64
          in pre
          out post
        chain pre
          {pre}
        chain post
          {post}
        "
    ))
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Sends a packet, remembers what it teaches, and sends the answer; both arrive.
#[track_caller]
fn converse(lab: &mut Lab, packet: &str) -> (Ends, Ends) {
    let sent = lab.send(packet);
    let (asked, arrived, effects) =
        (Ends::of(&sent.built.key), only(&sent), sent.buffers.effects.clone());
    lab.tables.learn(&effects);
    let seen = Ends::of(&arrived.headers);
    let answer = back(lab, &arrived, &seen.answer().packet(64));
    assert_eq!(Ends::of(&only(&answer).headers), asked.answer(), "{:#?}", answer.walk);
    (asked, seen)
}

pub const FLOATING: (&str, &str) =
    ("dnat 10.0.1.5 to 203.0.113.5/32", "snat 203.0.113.5 from 10.0.1.5/32 out-port edge.street");

#[test]
fn a_floating_address_stands_for_its_machine_both_ways_whatever_the_protocol() {
    let mut lab = world(FLOATING.0, FLOATING.1);
    for what in ["tcp 80", "udp 53", "icmp", "proto 47"] {
        let (_, seen) = converse(&mut lab, &format!("vm1 > out {what}"));
        assert_eq!(seen.src, addr("203.0.113.5"));
        let inward = lab.send(&format!("out > 203.0.113.5 {what}"));
        inward.arrives("vm1", 1).lasts(Expiry::Idle);
        assert_eq!(Ends::of(&only(&inward).headers).dst, addr("10.0.1.5"));
        // Nothing is remembered of either.
        assert!(!inward.buffers.effects.iter().any(|it| matches!(it, Effect::Translate(_))));
    }
    assert!(lab.tables.translations.all.is_empty());
}

#[test]
fn a_floating_address_goes_for_every_fragment_too() {
    let lab = world(FLOATING.0, FLOATING.1);
    for part in ["first", "later"] {
        let sent = lab.send(&format!("vm1 > out udp 9 {part}"));
        assert_eq!(Ends::of(&only(&sent).headers).src, addr("203.0.113.5"));
        let sent = lab.send(&format!("out > 203.0.113.5 udp 9 {part}"));
        sent.arrives("vm1", 1);
    }
}

#[test]
fn a_floating_address_of_one_version_leaves_the_other_alone() {
    let lab =
        world("dnat 10.0.1.5 ipv6 out-port edge.blue", "snat 203.0.113.5 out-port edge.street");
    let sent = lab.send("vm1 > out tcp 80 v6");
    sent.arrives("out", 1);
    assert_eq!(Ends::of(&only(&sent).headers).src, addr("fd01::5"));
}

pub const MASQUERADE: (&str, &str) = (
    "rev-snat to 203.0.113.2/32\n rev-snat to 2001:db8:1::2/128",
    "snat 203.0.113.2@1024-65535,2001:db8:1::2@1024-65535 out-port edge.street",
);

#[test]
fn many_machines_share_one_address_over_tcp_udp_and_echo_of_both_versions() {
    let mut lab = world(MASQUERADE.0, MASQUERADE.1);
    for version in ["", " v6"] {
        for what in ["tcp 80", "udp 53", "icmp"] {
            let packets =
                ["vm1", "vm2"].map(|vm| format!("{vm} > out {what} sport 5555 id 5555{version}"));
            let [(_, one), (_, two)] = packets.map(|packet| converse(&mut lab, &packet));
            let public = if version.is_empty() { "203.0.113.2" } else { "2001:db8:1::2" };
            assert_eq!([one.src, two.src], [addr(public); 2]);
            // The same identifier from two machines would be one (agent-facts §34, 18).
            assert_ne!(one.src_port, two.src_port, "{what}");
        }
    }
}

#[test]
fn a_connection_keeps_its_translation_and_its_flow_reads_the_whole_tuple() {
    let mut lab = world(MASQUERADE.0, MASQUERADE.1);
    let (_, first) = converse(&mut lab, "vm1 > out tcp 80 syn");
    let (_, again) = converse(&mut lab, "vm1 > out tcp 80 ack");
    assert_eq!(first, again);
    assert_eq!(lab.tables.translations.all.len(), 1);
    let whole = [Field::EthType, Field::NwProto, Field::Fragment, Field::TpSrc, Field::TpDst];
    let whole = whole
        .into_iter()
        .fold(FlowMask::nw_src(128) | FlowMask::nw_dst(128), |mask, field| mask | field.into());
    let sent = lab.send("vm1 > out tcp 80");
    assert!(sent.decision().unwrap().mask.covers(whole));
    sent.lasts(Expiry::Idle);
    // Echoes have flows too: the original decided about every ping anew (agent-facts §34, 18).
    lab.send("vm1 > out icmp").lasts(Expiry::Idle);
}

#[test]
fn one_address_serves_the_same_port_to_many_destinations() {
    let mut lab = world("rev-snat", "snat 203.0.113.2@7000 out-port edge.street");
    for port in 1..200 {
        let (_, seen) = converse(&mut lab, &format!("vm1 > out udp {port}"));
        assert_eq!(seen.src_port, 7000);
    }
    // The one port is taken for this destination.
    lab.send("vm2 > out udp 7").awaits_lease("post", 0);
    lab.tables.translations.exhausted = true;
    lab.send("vm2 > out udp 7")
        .drops(DropCause::NatExhausted)
        .drops_by("post", 0)
        .lasts(Expiry::Brief);
}

#[test]
fn without_a_lease_the_packet_waits_and_nothing_is_promised() {
    let mut lab = world(MASQUERADE.0, MASQUERADE.1);
    lab.tables.translations.leased = Some(Default::default());
    let sent = lab.send("vm1 > out tcp 80 syn");
    sent.awaits_lease("post", 0);
    // With a block it goes, from that block.
    let block = (mn_packet::to_v6(addr("203.0.113.2")).to_bits(), 100);
    lab.tables.translations.leased = Some([block].into());
    let (_, seen) = converse(&mut lab, "vm1 > out tcp 80 syn");
    assert!((6400..6464).contains(&seen.src_port));
}

#[test]
fn a_port_is_forwarded_to_a_range_of_machines_and_ports() {
    let pre = "dnat 10.0.1.5-10.0.1.6@8080-8089 to 203.0.113.7/32 tcp dport 80 unfragmented";
    let mut lab = world(pre, "rev-dnat");
    let mut targets = std::collections::BTreeSet::new();
    for sport in 1000..1040 {
        let (_, seen) = converse(&mut lab, &format!("out > 203.0.113.7 tcp 80 sport {sport}"));
        assert!((8080..=8089).contains(&seen.dst_port));
        targets.insert((seen.dst, seen.dst_port));
    }
    assert!(targets.len() > 10, "{targets:?}");
    // What the rule does not match goes nowhere.
    lab.send("out > 203.0.113.7 tcp 81").drops(DropCause::NoRoute);
}

#[test]
fn a_range_of_addresses_without_ports_keeps_the_port() {
    let mut lab = world("dnat 10.0.1.5-10.0.1.6 to 203.0.113.7/32", "rev-dnat");
    for what in ["tcp 443", "udp 53", "icmp"] {
        let (asked, seen) = converse(&mut lab, &format!("out > 203.0.113.7 {what}"));
        assert_eq!((seen.src_port, seen.dst_port), (asked.src_port, asked.dst_port));
    }
}

#[test]
fn two_public_ports_that_lead_to_one_machine_do_not_mix_up_their_answers() {
    let pre = "dnat 10.0.1.5@80 to 203.0.113.7/32 tcp dport 80-81 unfragmented";
    let mut lab = world(pre, "rev-dnat");
    converse(&mut lab, "out > 203.0.113.7 tcp 80");
    // The answers to both would be the same packet.
    lab.send("out > 203.0.113.7 tcp 81").drops(DropCause::NatExhausted);
    converse(&mut lab, "out > 203.0.113.7 tcp 81 sport 40001");
}

#[test]
fn machines_inside_reach_one_another_by_the_public_address() {
    // RFC 4787 §6: the source is translated too, so that the answer comes back here.
    let pre = "rev-snat to 203.0.113.2/32\n dnat 10.0.1.6@80 to 203.0.113.7/32 tcp unfragmented";
    let post = "rev-dnat from 10.0.1.6/32\n snat 203.0.113.2@1024-65535 rewritten unfragmented";
    let mut lab = world(pre, post);
    let (_, seen) = converse(&mut lab, "vm1 > 203.0.113.7 tcp 80");
    assert_eq!((seen.src, seen.dst), (addr("203.0.113.2"), addr("10.0.1.6")));
    // And floating addresses of two machines.
    let pre = "dnat 10.0.1.6 to 203.0.113.6/32\n dnat 10.0.1.5 to 203.0.113.5/32";
    let post = "snat 203.0.113.6 from 10.0.1.6/32\n snat 203.0.113.5 from 10.0.1.5/32";
    let mut lab = world(pre, post);
    let (_, seen) = converse(&mut lab, "vm1 > 203.0.113.6 tcp 80");
    assert_eq!((seen.src, seen.dst), (addr("203.0.113.5"), addr("10.0.1.6")));
}

#[test]
fn a_bridge_translates_too() {
    let mut lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.6
          in pre
          out post
        chain pre
          rev-snat to 10.0.1.50/32
        chain post
          snat 10.0.1.50@1000-1999 from 10.0.1.5/32 tcp unfragmented
        ",
    );
    let sent = lab.send("vm1 > vm2 tcp 80");
    let arrived = only(&sent);
    let seen = Ends::of(&arrived.headers);
    assert_eq!(seen.src, addr("10.0.1.50"));
    let effects = sent.buffers.effects.clone();
    lab.tables.learn(&effects);
    let answer = back(&lab, &arrived, &seen.answer().packet(64));
    answer.arrives("vm1", 0);
}

#[test]
fn several_routers_on_a_path_each_translate() {
    let mut lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
        router tenant
          blue  02::a1  10.0.1.1/24
          edge  02::a2  10.9.0.1/30
          route 0.0.0.0/0 via edge 10.9.0.2
          in pre1
          out post1
        router edge
          tenant  02::b1  10.9.0.2/30
          up      02::b2  192.0.2.1/24  peer 02::99 192.0.2.254
          route 100.64.0.0/24 via tenant 10.9.0.1
          in pre2
          out post2
        chain pre1
          rev-snat
        chain post1
          snat 100.64.0.7@2000-2999 out-port tenant.edge
        chain pre2
          rev-snat
        chain post2
          snat 203.0.113.2@3000-3999 out-port edge.up
        ",
    );
    for what in ["tcp 80", "udp 9", "icmp"] {
        let (_, seen) = converse(&mut lab, &format!("vm1 > 192.0.2.254 {what}"));
        assert_eq!(seen.src, addr("203.0.113.2"));
        assert!((3000..4000).contains(&seen.src_port));
    }
    let kept: Vec<_> = lab.tables.translations.all.iter().map(|it| it.to.port / 1000).collect();
    assert_eq!(kept, [2, 3, 2, 3, 2, 3]);
}

#[test]
fn a_rule_that_translates_says_how_it_goes_on() {
    let sent = |then: &str| {
        let post =
            format!("snat 203.0.113.2@1000-1999 {then} tcp unfragmented\n drop tcp\n accept");
        let lab = world("", &post);
        let sent = lab.send("vm1 > out tcp 80");
        sent.decision().unwrap().drop
    };
    assert_eq!(sent(""), None);
    assert_eq!(sent("then-return"), None);
    assert_eq!(sent("then-continue").map(|drop| drop.0), Some(DropCause::Rule));
}

#[test]
fn a_condition_knows_whether_the_destination_was_translated() {
    let lab = world("dnat 10.0.1.5 to 203.0.113.5/32", "drop rewritten");
    lab.send("out > 203.0.113.5 tcp 80").drops_by("post", 0);
    lab.send("vm1 > out tcp 80").arrives("out", 1);
    // Undoing a source translation is one of the destination (agent-facts §14).
    let mut lab = world("rev-snat", "drop rewritten\n snat 203.0.113.2@1000-1999");
    let sent = lab.send("vm1 > out tcp 80");
    let (arrived, effects) = (only(&sent), sent.buffers.effects.clone());
    lab.tables.learn(&effects);
    let seen = Ends::of(&arrived.headers);
    back(&lab, &arrived, &seen.answer().packet(64)).drops_by("post", 0);
}

#[test]
fn what_is_no_connection_is_not_translated_and_goes_by_the_next_rule() {
    let lab = world("", "snat 203.0.113.2@1000-1999 then-continue\n drop");
    for what in ["proto 47", "udp 9 first", "udp 9 later"] {
        lab.send(&format!("vm1 > out {what}")).drops_by("post", 1);
    }
}

#[test]
fn a_packet_that_goes_nowhere_takes_no_port() {
    let lab = world("", "snat 203.0.113.2@1000-1999 then-continue\n drop tcp");
    let sent = lab.send("vm1 > out tcp 80");
    sent.drops_by("post", 1);
    assert!(!sent.buffers.effects.iter().any(|it| matches!(it, Effect::Translate(_))));
}
