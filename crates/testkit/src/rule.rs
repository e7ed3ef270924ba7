//! A rule as a line of text.
//!
//! First what it does: `accept` `drop` `reject` `return` `continue` `jump CHAIN`; `snat TARGETS`
//! `dnat TARGETS` `rev-snat` `rev-dnat`, with `then-continue` or `then-return` where they do not
//! accept. Targets are `A[-B][@P[-Q]]`, with commas between. Then any of these, each of those with a
//! value negated by a `not` before it:
//!
//! ```text
//! arp ipv4 ipv6 tcp udp icmp icmpv6      type and protocol (tcp, udp: the protocol alone)
//! type N  proto N  tos N                 Ethernet type, protocol, TOS
//! from PREFIX  to PREFIX                 addresses
//! sport A-B  dport A-B                   ports; of ICMP type and code
//! mac-from MAC  mac-to MAC
//! in-port P,…  out-port P,…              by name
//! in-ports G  out-ports G  port-group G  port groups
//! from-group G  to-group G               groups of addresses
//! quoted-from PREFIX  quoted-to PREFIX   the packet that an ICMP error quotes
//! crossed bridge:B | router:R | port:P
//! vlan N  no-vlan  forward  return-flow  header  nonheader  unfragmented  inverted  rewritten
//! ```

use mn_ids::PortId;
use mn_packet::{EtherType, IpProtocol};
use mn_topology::{
    Condition, FragmentPolicy, MaskedMac, NatTarget, PortRange, Rule, RuleAction, Test, Then,
};

use crate::{mac, named};

/// Reads a rule.
///
/// # Panics
///
/// For a text that is no rule: the test is wrong.
#[must_use]
pub fn rule(id: mn_ids::RuleId, text: &str) -> Rule {
    let mut words = text.split_whitespace().peekable();
    let action = match words.next() {
        Some("accept") => RuleAction::Accept,
        Some("drop") => RuleAction::Drop,
        Some("reject") => RuleAction::Reject,
        Some("return") => RuleAction::Return,
        Some("continue") => RuleAction::Continue,
        Some("jump") => RuleAction::Jump { chain_id: named(next(&mut words)) },
        Some("snat") => {
            let targets = targets(next(&mut words));
            RuleAction::Snat { targets, then: then(&mut words) }
        }
        Some("dnat") => {
            let targets = targets(next(&mut words));
            RuleAction::Dnat { targets, then: then(&mut words) }
        }
        Some("rev-snat") => RuleAction::RevSnat { then: then(&mut words) },
        Some("rev-dnat") => RuleAction::RevDnat { then: then(&mut words) },
        other => panic!("{other:?} is nothing a rule does, in {text:?}"),
    };
    let mut condition = Condition {
        fragment_policy: Rule::default_fragment_policy(&action, false),
        ..Condition::default()
    };
    while let Some(word) = words.next() {
        let (negated, word) = match word {
            "not" => (true, next(&mut words)),
            word => (false, word),
        };
        if !flag(&mut condition, word) {
            test(&mut condition, word, negated, &mut words);
        }
    }
    Rule { id, condition, action, meter_name: None }
}

fn then<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Then {
    let then = match words.peek() {
        Some(&"then-continue") => Then::Continue,
        Some(&"then-return") => Then::Return,
        _ => return Then::Accept,
    };
    words.next();
    then
}

fn targets(text: &str) -> Vec<NatTarget> {
    let range = |text: &str| -> (u16, u16) {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        (from.parse().unwrap(), to.parse().unwrap())
    };
    let read = |text: &str| {
        let (addrs, ports) = text.split_once('@').unwrap_or((text, "0"));
        let (from, to) = addrs.split_once('-').unwrap_or((addrs, addrs));
        let (port_from, port_to) = range(ports);
        let (addr_from, addr_to) = (from.parse().unwrap(), to.parse().unwrap());
        NatTarget { addr_from, addr_to, port_from, port_to }
    };
    text.split(',').map(read).collect()
}

fn next<'a>(words: &mut impl Iterator<Item = &'a str>) -> &'a str {
    words.next().expect("a word that wants another is not the last")
}

/// Conditions without a value.
fn flag(condition: &mut Condition, word: &str) -> bool {
    let protocol = |protocol| Some(Test::Is(protocol));
    match word {
        "arp" => condition.dl_type = Some(Test::Is(EtherType::ARP)),
        "ipv4" => condition.dl_type = Some(Test::Is(EtherType::IPV4)),
        "ipv6" => condition.dl_type = Some(Test::Is(EtherType::IPV6)),
        "tcp" => condition.nw_proto = protocol(IpProtocol::TCP),
        "udp" => condition.nw_proto = protocol(IpProtocol::UDP),
        "icmp" => {
            condition.dl_type = Some(Test::Is(EtherType::IPV4));
            condition.nw_proto = protocol(IpProtocol::ICMP);
        }
        "icmpv6" => {
            condition.dl_type = Some(Test::Is(EtherType::IPV6));
            condition.nw_proto = protocol(IpProtocol::ICMPV6);
        }
        "no-vlan" => condition.no_vlan = true,
        "forward" => condition.match_forward_flow = true,
        "return-flow" => condition.match_return_flow = true,
        "valid" => condition.match_valid_flow = Some(true),
        "invalid" => condition.match_valid_flow = Some(false),
        "inverted" => condition.inverted = true,
        "rewritten" => condition.match_nw_dst_rewritten = true,
        "header" => condition.fragment_policy = FragmentPolicy::Header,
        "nonheader" => condition.fragment_policy = FragmentPolicy::Nonheader,
        "unfragmented" => condition.fragment_policy = FragmentPolicy::Unfragmented,
        _ => return false,
    }
    true
}

/// Conditions with a value.
fn test<'a>(c: &mut Condition, word: &str, not: bool, words: &mut impl Iterator<Item = &'a str>) {
    fn is<A>(not: bool, set: A) -> Option<Test<A>> {
        Some(if not { Test::IsNot(set) } else { Test::Is(set) })
    }
    let value = next(words);
    match word {
        "type" => c.dl_type = is(not, EtherType(value.parse().unwrap())),
        "proto" => c.nw_proto = is(not, IpProtocol(value.parse().unwrap())),
        "tos" => c.nw_tos = is(not, value.parse().unwrap()),
        "from" => c.nw_src = is(not, value.parse().unwrap()),
        "to" => c.nw_dst = is(not, value.parse().unwrap()),
        "sport" => c.tp_src = is(not, range(value)),
        "dport" => c.tp_dst = is(not, range(value)),
        "mac-from" => c.dl_src = is(not, MaskedMac::exactly(mac(value))),
        "mac-to" => c.dl_dst = is(not, MaskedMac::exactly(mac(value))),
        "in-port" => c.in_ports = is(not, ports(value)),
        "out-port" => c.out_ports = is(not, ports(value)),
        "in-ports" => c.in_port_group = is(not, named(value)),
        "out-ports" => c.out_port_group = is(not, named(value)),
        "port-group" => c.port_group = is(not, named(value)),
        "from-group" => c.ip_addr_group_src = is(not, named(value)),
        "to-group" => c.ip_addr_group_dst = is(not, named(value)),
        "quoted-from" => c.icmp_data_src = is(not, value.parse().unwrap()),
        "quoted-to" => c.icmp_data_dst = is(not, value.parse().unwrap()),
        "crossed" => c.traversed_device = is(not, device(value)),
        "vlan" => c.vlan = Some(value.parse().unwrap()),
        other => panic!("{other:?} is no condition"),
    }
}

fn range(text: &str) -> PortRange {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    PortRange { start: start.parse().unwrap(), end: end.parse().unwrap() }
}

fn ports(names: &str) -> Vec<PortId> {
    names.split(',').map(named).collect()
}

fn device(text: &str) -> uuid::Uuid {
    match text.split_once(':') {
        Some(("bridge", name)) => named::<mn_ids::Bridge>(name).uuid(),
        Some(("router", name)) => named::<mn_ids::Router>(name).uuid(),
        Some(("port", name)) => named::<mn_ids::Port>(name).uuid(),
        _ => panic!("{text:?} is no device"),
    }
}
