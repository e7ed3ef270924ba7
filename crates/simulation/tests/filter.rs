//! What chains and their conditions do, as stories.

use mn_flow::{DropCause, Expiry, Field, FlowMask, Tag, VirtualAction};
use mn_packet::{IcmpHeader, Layers, TcpFlags, TcpHeader};
use mn_simulation::Outcome;
use mn_simulation::walk::{RuleResult, Step};
use mn_testkit::{Lab, mac, named};

/// A bridge whose machine vm2 is behind a filter of these rules.
fn behind(rules: &str) -> Lab {
    Lab::read(&format!(
        "
        bridge blue
          vm1  02::01  10.0.1.5  fd01::5
          vm2  02::02  10.0.1.6  fd01::6  out web
          vm3  02::03  10.0.1.7
        addresses friends 10.0.1.5 fd01::5
        ports inside vm1 vm3
        chain other
          drop udp dport 53
        chain web
        {rules}
        "
    ))
}

#[test]
fn rules_are_asked_in_order_until_one_decides() {
    let lab = behind("accept tcp dport 80 \n drop tcp dport 1-1023 \n continue tcp \n drop udp");
    lab.send("vm1 > vm2 tcp 80").arrives("vm2", 0);
    lab.send("vm1 > vm2 tcp 443").drops_by("web", 1).silently();
    lab.send("vm1 > vm2 tcp 8080").arrives("vm2", 0);
    lab.send("vm1 > vm2 udp 8080").drops_by("web", 3);
}

#[test]
fn a_jump_comes_back_unless_the_chain_decides_and_may_be_made_twice() {
    let lab = behind("jump other \n jump other \n return udp dport 54 \n drop udp dport 54-55");
    lab.send("vm1 > vm2 udp 53").drops_by("other", 0);
    lab.send("vm1 > vm2 udp 54").arrives("vm2", 0);
    lab.send("vm1 > vm2 udp 55").drops_by("web", 3);
    for chain in ["web", "other"] {
        lab.send("vm1 > vm2 udp 55").tagged(Tag::Chain(named(chain)));
    }
}

#[test]
fn the_second_visit_of_a_chain_sees_what_became_of_the_packet_since_the_first() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
          vm2  02::02  10.0.1.6  out web
        chain other
          drop to 10.0.1.9/32
        chain web
          jump other
          dnat 10.0.1.9 then-continue to 10.0.1.6/32
          jump other
        ",
    );
    lab.send("vm1 > vm2 udp 53").drops_by("other", 0);
    lab.send("vm1 > vm2 udp 53 addr-to 10.0.1.7").arrives("vm2", 0);
}

#[test]
fn a_filter_may_be_entered_again_by_the_next_port() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5  in web
          vm2  02::02  10.0.1.6  out web
          in web
        chain web
          drop udp dport 53 in-port vm1 out-port vm2
        ",
    );
    // Only where both ports are known does it match: at the last of the three.
    lab.send("vm1 > vm2 udp 53").drops_by("web", 0);
    lab.send("vm1 > vm2 udp 54").arrives("vm2", 0);
}

#[test]
fn every_condition_holds_for_what_it_names_and_its_opposite_for_the_rest() {
    #[rustfmt::skip]
    let cases = [
        // condition             a packet it is about          one it is not
        ("tcp",                  "vm1 > vm2 tcp 80",           "vm1 > vm2 udp 80"),
        ("ipv6",                 "vm1 > vm2 udp 9 v6",         "vm1 > vm2 udp 9"),
        ("tos 184",              "vm1 > vm2 udp 9 tos 184",    "vm1 > vm2 udp 9 tos 185"),
        ("proto 47",             "vm1 > vm2 proto 47",         "vm1 > vm2 proto 48"),
        ("from 10.0.1.4/31",     "vm1 > vm2 udp 9",            "vm3 > vm2 udp 9"),
        ("from 0.0.0.0/0",       "vm1 > vm2 udp 9",            "vm1 > vm2 udp 9 v6"),
        ("from fd01::/64",       "vm1 > vm2 udp 9 v6",         "vm1 > vm2 udp 9"),
        ("to fd01::6/128",       "vm1 > vm2 udp 9 v6",         "vm1 > vm2 udp 9 v6 addr-to fd01::9"),
        ("sport 7-9",            "vm1 > vm2 tcp 80 sport 9",   "vm1 > vm2 tcp 80 sport 10"),
        ("dport 80",             "vm1 > vm2 tcp 80",           "vm1 > vm2 proto 47"),
        ("icmp sport 8",         "vm1 > vm2 icmp",             "vm1 > vm2 error"),
        ("icmpv6 sport 128",     "vm1 > vm2 icmp v6",          "vm1 > vm2 error v6"),
        ("icmp dport 3",         "vm1 > vm2 error",            "vm1 > vm2 icmp"),
        ("mac-from 02::01",      "vm1 > vm2 udp 9",            "vm3 > vm2 udp 9"),
        ("mac-to 02::02",        "vm1 > vm2 udp 9",            "vm1 > all udp 9"),
        ("in-port vm1",          "vm1 > vm2 udp 9",            "vm3 > vm2 udp 9"),
        ("out-port vm2",         "vm1 > vm2 udp 9",            ""),
        ("from-group friends",   "vm1 > vm2 udp 9 v6",         "vm3 > vm2 udp 9"),
        ("to-group friends",     "vm1 > vm2 udp 9 addr-to 10.0.1.5", "vm1 > vm2 udp 9"),
        ("in-ports inside",      "vm3 > vm2 udp 9",            ""),
        ("port-group inside",    "vm3 > vm2 udp 9",            ""),
        ("out-ports inside",     "",                           "vm3 > vm2 udp 9"),
        ("quoted-from 10.0.1.6/32", "vm1 > vm2 error",         "vm1 > vm2 udp 9"),
        ("quoted-to 10.0.1.5/32", "vm1 > vm2 error",           "vm3 > vm2 error"),
        ("crossed bridge:blue",  "vm1 > vm2 udp 9",            ""),
        ("crossed port:vm1",     "vm1 > vm2 udp 9",            "vm3 > vm2 udp 9"),
    ];
    for (condition, about, not_about) in cases {
        let lab = behind(&format!("drop {condition}"));
        if !about.is_empty() {
            assert_eq!(verdict(&lab, about), Some(DropCause::Rule), "{condition}: {about}");
        }
        if !not_about.is_empty() {
            assert_eq!(verdict(&lab, not_about), None, "{condition}: {not_about}");
        }
        let inverted = behind(&format!("drop {condition} inverted"));
        if !about.is_empty() {
            assert_eq!(verdict(&inverted, about), None, "inverted {condition}: {about}");
        }
        if !not_about.is_empty() {
            let got = verdict(&inverted, not_about);
            assert_eq!(got, Some(DropCause::Rule), "inverted {condition}: {not_about}");
        }
        let (head, tail) = condition.rsplit_once(' ').unwrap_or((condition, ""));
        if !tail.is_empty() && !head.contains(' ') && !about.is_empty() {
            let negated = behind(&format!("drop not {head} {tail}"));
            assert_eq!(verdict(&negated, about), None, "not {condition}: {about}");
        }
    }
}

/// What vm2's filter says.
fn verdict(lab: &Lab, text: &str) -> Option<DropCause> {
    let sent = lab.send(text);
    let reached = sent.arrivals().iter().any(|at| at.port == named("vm2"));
    if reached { None } else { Some(DropCause::Rule) }
}

#[test]
fn vlans_are_matched_by_the_outer_tag() {
    let lab = behind("drop vlan 5 \n drop no-vlan");
    lab.send("vm1 > vm2 udp 9 vlan 5").drops_by("web", 0);
    lab.send("vm1 > vm2 udp 9").drops_by("web", 1);
    lab.send("vm1 > vm2 udp 9 vlan 6").arrives("vm2", 0);
}

#[test]
fn a_fragment_policy_says_which_packets_a_rule_looks_at_and_is_not_inverted() {
    #[rustfmt::skip]
    let cases = [
        // policy          whole   first   later
        ("",               true,   true,   true),
        ("header",         true,   true,   false),
        ("nonheader",      false,  false,  true),
        ("unfragmented",   true,   false,  false),
    ];
    for (policy, whole, first, later) in cases {
        let lab = behind(&format!("drop udp {policy}"));
        let inverted = behind(&format!("drop tcp {policy} inverted"));
        for (fragment, dropped) in [("", whole), ("first", first), ("later", later)] {
            let text = format!("vm1 > vm2 udp 9 {fragment}");
            assert_eq!(verdict(&lab, &text).is_some(), dropped, "{policy}: {fragment}");
            assert_eq!(verdict(&inverted, &text).is_some(), dropped, "inverted {policy}");
        }
    }
    let ports = behind("drop udp dport 9");
    ports.send("vm1 > vm2 udp 9 later").arrives("vm2", 0);
    ports.send("vm1 > vm2 udp 9 first").drops_by("web", 0);
}

#[test]
fn a_rule_reads_no_header_after_the_test_that_fails() {
    let bridged = [Field::EthSrc, Field::EthDst, Field::EthType]
        .into_iter()
        .fold(FlowMask::NONE, |mask, field| mask | field.into());
    let proto = bridged | Field::NwProto.into();
    let lab = behind("drop tcp from 10.0.0.0/8 dport 22");
    lab.send("vm1 > vm2 udp 22").reads(proto);
    lab.send("vm1 > vm2 tcp 22 addr-from 11.0.0.1").reads(proto | FlowMask::nw_src(104));
    lab.send("vm1 > vm2 tcp 80")
        .reads(proto | FlowMask::nw_src(104) | Field::TpDst.into() | Field::Fragment.into());
}

#[test]
fn a_rule_of_a_type_that_is_not_there_yet_does_not_apply() {
    let mut lab = behind("drop tcp dport 80");
    let mut chain = lab
        .objects
        .values()
        .find_map(|object| match object {
            mn_topology::AnyObject::Chain(chain) if chain.name.as_deref() == Some("web") => {
                Some(chain.clone())
            }
            _ => None,
        })
        .unwrap();
    let then = mn_topology::Then::Accept;
    chain.rules[0].action = mn_topology::RuleAction::L2Transform {
        pop_vlan: false,
        push_vlan: 0,
        target_port_id: None,
        ingress: true,
        fail_open: false,
        then,
    };
    lab.put(chain);
    lab.send("vm1 > vm2 tcp 80").arrives("vm2", 0);
}

#[test]
fn return_flows_pass_and_forward_flows_are_tracked() {
    let lab = behind("accept return-flow \n accept forward tcp dport 80 \n drop");
    let sent = lab.send("vm1 > vm2 tcp 80");
    sent.arrives("vm2", 0);
    assert!(sent.arrivals()[0].tracked);
    assert!(sent.decision().unwrap().mask.contains(Field::Conn));
    let answer = lab.send("vm1 > vm2 tcp 81 returns");
    answer.arrives("vm2", 0);
    assert!(!answer.arrivals()[0].tracked);
    lab.send("vm1 > vm2 tcp 81").drops_by("web", 2);
    lab.send("vm1 > vm2 tcp 81 goes").drops_by("web", 2);

    let plain = behind("accept tcp").send("vm1 > vm2 tcp 80").buffers.actions;
    assert!(!plain.contains(&VirtualAction::Track), "nobody asked");
}

#[test]
fn what_belongs_to_no_connection_and_opens_none_is_invalid() {
    let lab = behind("drop invalid \n accept");
    for version in ["", "v6"] {
        let send = |text: &str| lab.send(&format!("vm1 > vm2 {text} {version}"));
        for opens in ["tcp 80 syn", "udp 53"] {
            let sent = send(opens);
            sent.arrives("vm2", 0);
            assert!(sent.arrivals()[0].tracked, "{opens}");
        }
        for segment in ["tcp 80 ack", "tcp 80 rst", "tcp 80 fin"] {
            send(segment).drops_by("web", 0);
            send(&format!("{segment} goes")).arrives("vm2", 0);
            send(&format!("{segment} returns")).arrives("vm2", 0);
        }
        assert!(!send("udp 53").decision().unwrap().mask.contains(Field::Tcp));
        assert!(!send("tcp 80 ack goes").decision().unwrap().mask.contains(Field::TpDst));
    }
    behind("accept valid \n drop").send("vm1 > vm2 tcp 80 ack").drops_by("web", 1);
    let lab = behind("accept valid \n drop");
    let frame = lab.send("vm1 > vm2 tcp 80 ack").built.frame;
    lab.emit(named("vm2"), &frame).arrives("vm2", 0);
}

#[test]
fn packets_of_our_own_count_as_answers() {
    let lab = behind("accept return-flow \n drop");
    let frame = lab.send("vm1 > vm2 udp 9").built.frame;
    lab.emit(named("vm2"), &frame).arrives("vm2", 0).lasts(Expiry::None);
}

#[test]
fn a_rejected_segment_gets_a_reset_that_its_sender_believes() {
    for version in ["", "v6"] {
        let lab = behind("reject");
        let sent = lab.send(&format!("vm1 > vm2 tcp 22 syn len 0 {version}"));
        let answer = sent.drops(DropCause::Rejected).lasts(Expiry::None).answered_at("vm1");
        let layers = Layers::of(&answer).unwrap();
        let ip = layers.ip().unwrap();
        let (reset, _) = TcpHeader::split(ip.payload).unwrap();
        assert_eq!((reset.src, reset.dst), (22, 40000));
        assert_eq!((reset.seq, reset.ack), (0, 1001));
        assert!(reset.flags.has(TcpFlags::RST) && reset.flags.has(TcpFlags::ACK));
        assert_eq!((layers.ethernet.src, layers.ethernet.dst), (mac("02::02"), mac("02::01")));
        lab.emit(named("vm1"), &answer).arrives("vm1", 0);

        let established = lab.send(&format!("vm1 > vm2 tcp 22 ack len 5 {version}"));
        let answer = established.answered_at("vm1");
        let layers = Layers::of(&answer).unwrap();
        let (reset, _) = TcpHeader::split(layers.ip().unwrap().payload).unwrap();
        assert_eq!((reset.seq, reset.flags), (2000, TcpFlags::RST));
    }
}

#[test]
fn other_rejected_packets_get_an_icmp_error_from_the_address_they_were_for() {
    let lab = behind("reject");
    for (version, ty, code, from) in [("", 3, 13, "10.0.1.6"), ("v6", 1, 1, "fd01::6")] {
        let sent = lab.send(&format!("vm1 > vm2 udp 9 {version}"));
        let answer = sent.drops(DropCause::Rejected).answered_at("vm1");
        let layers = Layers::of(&answer).unwrap();
        let ip = layers.ip().unwrap();
        let (header, _) = IcmpHeader::split(ip.payload).unwrap();
        assert_eq!((header.ty, header.code, ip.src.to_string()), (ty, code, from.to_owned()));
    }
}

#[test]
fn resets_errors_groups_and_later_fragments_are_rejected_without_a_word() {
    let lab = behind("reject");
    for text in [
        "vm1 > vm2 tcp 22 rst",
        "vm1 > vm2 error",
        "vm1 > vm2 udp 9 later",
        "vm1 > vm2 tcp 9 later",
        "vm1 > vm2 arp-reply",
    ] {
        lab.send(text).drops(DropCause::Rejected).silently();
    }
    lab.send("vm1 > all udp 9").silently();
}

#[test]
fn a_rule_at_a_router_rejects_from_the_port_the_packet_entered_by() {
    let lab = Lab::read(
        "
        bridge blue
          vm1  02::01  10.0.1.5
        bridge green
          vm3  02::03  10.0.2.7
        router edge
          blue   02::a1  10.0.1.1/24
          green  02::a2  10.0.2.1/24  out none
        chain none
          reject
        ",
    );
    let sent = lab.send("vm1 > vm3 udp 9");
    let answer = sent.drops(DropCause::Rejected).answered_at("edge.blue");
    let layers = Layers::of(&answer).unwrap();
    assert_eq!(layers.ip().unwrap().src.to_string(), "10.0.1.1");
    assert_eq!((layers.ethernet.src, layers.ethernet.dst), (mac("02::a1"), mac("02::01")));
    lab.emit(named("edge.blue"), &answer).arrives("vm1", 0);
    let tcp = lab.send("vm1 > vm3 tcp 22 syn").answered_at("edge.blue");
    assert_eq!(Layers::of(&tcp).unwrap().ip().unwrap().src.to_string(), "10.0.2.7");
}

#[test]
fn a_walk_tells_which_rule_decided() {
    let lab = behind("continue udp \n jump other \n accept udp dport 54");
    let decided = |text: &str| -> Vec<(Option<usize>, RuleResult)> {
        let sent = lab.send(text);
        let chains = sent.walk.steps.iter().filter_map(|step| match step {
            Step::Chain { position, result, .. } => Some((*position, *result)),
            _ => None,
        });
        chains.collect()
    };
    let passed = (None, RuleResult::Accept);
    assert_eq!(decided("vm1 > vm2 udp 53"), [(Some(0), RuleResult::Drop)]);
    assert_eq!(decided("vm1 > vm2 udp 54"), [passed, (Some(2), RuleResult::Accept)]);
    assert_eq!(decided("vm1 > vm2 udp 55"), [passed, passed]);
}

#[test]
fn a_chain_or_group_that_is_not_loaded_is_asked_for() {
    let lab = behind("drop from-group friends");
    let gone = |key: mn_ids::ObjectKey| {
        let mut lab = lab.clone();
        let selectors = mn_topology::snapshot::Loaded::of(key);
        lab.snapshot = lab.snapshot.forget(&selectors).0;
        lab.send("vm1 > vm2 udp 9").outcome.clone()
    };
    for key in
        [named::<mn_ids::Chain>("web").into(), named::<mn_ids::IpAddrGroup>("friends").into()]
    {
        assert_eq!(gone(key), Outcome::Load(vec![key]));
    }
}
