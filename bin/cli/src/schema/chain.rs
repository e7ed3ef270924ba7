//! Chains and rules.

use mn_api_types::{self as api, Media};
use serde_json::Value;

use super::device::PORT;
use super::group::{IP_ADDRESS_GROUP, PORT_GROUP};
use super::{Change, Collection, Field, Identity, Kind, Object, Owner, Shown, Type};

pub static CHAIN: Type = Type {
    word: "chain",
    identity: Identity::Alias { prefix: "chain", template: "chainTemplate" },
    media: Media::CHAIN,
    description: &api::Chain::DESCRIPTION,
    fields: &[Field::id(), Field::tenant(), Field::new("name", "name", Kind::Text)],
    collections: &[Collection::link("rule", &RULE, "rules")],
    owner: Owner::Nobody,
    change: Change::Never,
};

pub static RULE: Type = Type {
    word: "rule",
    identity: Identity::Alias { prefix: "rule", template: "ruleTemplate" },
    media: Media::RULE,
    description: &api::Rule::DESCRIPTION,
    fields: RULE_FIELDS,
    collections: &[],
    owner: Owner::Object { key: "chainId", of: &CHAIN },
    change: Change::Never,
};

const fn test(
    word: &'static str,
    json: &'static str,
    kind: Kind,
    inverted_by: &'static str,
) -> Field {
    Field::new(word, json, kind).inverted_by(inverted_by)
}

/// Conditions first, then the place, then what is done: the order of the guides' listings.
#[rustfmt::skip]
static RULE_FIELDS: &[Field] = &[
    Field::id(),
    Field::new("chain", "chainId", Kind::Reference(&CHAIN)).shown(Shown::Asked).read_only(),
    Field::new("inverted", "condInvert", Kind::YesNo).shown(Shown::Unless("no")),
    test("hw-src", "dlSrc", Kind::Text, "invDlSrc"),
    Field::new("hw-src-mask", "dlSrcMask", Kind::Text).shown(Shown::Unless("ffff.ffff.ffff")),
    test("hw-dst", "dlDst", Kind::Text, "invDlDst"),
    Field::new("hw-dst-mask", "dlDstMask", Kind::Text).shown(Shown::Unless("ffff.ffff.ffff")),
    test("ethertype", "dlType", Kind::EtherType, "invDlType"),
    test("src", "nwSrcAddress", Kind::Prefix { length: "nwSrcLength" }, "invNwSrc"),
    test("dst", "nwDstAddress", Kind::Prefix { length: "nwDstLength" }, "invNwDst"),
    test("proto", "nwProto", Kind::Integer, "invNwProto").shown(Shown::Or("0")),
    test("tos", "nwTos", Kind::Integer, "invNwTos").shown(Shown::Or("0")),
    test("src-port", "tpSrc", Kind::Range, "invTpSrc"),
    test("dst-port", "tpDst", Kind::Range, "invTpDst"),
    Field::new("flow", "", Kind::Flow),
    Field::new("valid", "matchValidFlow", Kind::YesNo),
    test("port-group", "portGroup", Kind::Reference(&PORT_GROUP), "invPortGroup"),
    test("in-port-group", "inPortGroup", Kind::Reference(&PORT_GROUP), "invInPortGroup"),
    test("out-port-group", "outPortGroup", Kind::Reference(&PORT_GROUP), "invOutPortGroup"),
    test("ip-address-group-src", "ipAddrGroupSrc", Kind::Reference(&IP_ADDRESS_GROUP),
        "invIpAddrGroupSrc"),
    test("ip-address-group-dst", "ipAddrGroupDst", Kind::Reference(&IP_ADDRESS_GROUP),
        "invIpAddrGroupDst"),
    test("traversed-device", "traversedDevice", Kind::Text, "invTraversedDevice"),
    test("in-ports", "inPorts", Kind::References(&PORT), "invInPorts"),
    test("out-ports", "outPorts", Kind::References(&PORT), "invOutPorts"),
    Field::new("fragment-policy", "fragmentPolicy", Kind::Choice(FRAGMENT_POLICIES))
        .shown(Shown::When(has_own_fragment_policy)),
    Field::new("no-vlan", "noVlan", Kind::Bool).shown(Shown::Unless("false")),
    Field::new("vlan", "vlan", Kind::Integer),
    test("icmp-data-src", "icmpDataSrcIpAddress", Kind::Prefix { length: "icmpDataSrcIpLength" },
        "invIcmpDataSrcIp"),
    test("icmp-data-dst", "icmpDataDstIpAddress", Kind::Prefix { length: "icmpDataDstIpLength" },
        "invIcmpDataDstIp"),
    Field::new("match-nw-dst-rewritten", "matchNwDstRewritten", Kind::Bool)
        .shown(Shown::Unless("false")),
    Field::new("pos", "position", Kind::Integer),
    Field::new("type", "type", Kind::Choice(RULE_TYPES)),
    Field::new("action", "flowAction", Kind::Choice(FLOW_ACTIONS)),
    Field::new("jump-to", "jumpChainId", Kind::Reference(&CHAIN)),
    Field::new("target-port", "targetPortId", Kind::Reference(&PORT)),
    Field::new("ingress", "ingress", Kind::Bool).shown(Shown::Unless("false")),
    Field::new("fail-open", "failOpen", Kind::Bool).shown(Shown::Unless("false")),
    Field::new("pop-vlan", "popVlan", Kind::Bool).shown(Shown::Unless("false")),
    Field::new("push-vlan", "pushVlan", Kind::Integer).shown(Shown::Unless("0")),
    Field::new("target", "natTargets", Kind::NatTargets),
    Field::new("meter", "meterName", Kind::Text),
];

/// Whether the policy is another than what the rule would have by itself: the guides print only such.
fn has_own_fragment_policy(rule: &Object) -> bool {
    let set = |name: &str| rule.get(name).is_some_and(|value| !value.is_null());
    let nat = matches!(rule.get("type").and_then(Value::as_str), Some("dnat" | "snat"));
    let by_itself = match rule.get("fragmentPolicy").and_then(Value::as_str) {
        Some("unfragmented") => nat,
        Some("header") => set("tpSrc") || set("tpDst"),
        Some("any") => true,
        _ => false,
    };
    !by_itself
}

const FRAGMENT_POLICIES: &[(&str, &str)] = &[
    ("any", "any"),
    ("header", "header"),
    ("nonheader", "nonheader"),
    ("unfragmented", "unfragmented"),
];

const RULE_TYPES: &[(&str, &str)] = &[
    ("accept", "accept"),
    ("continue", "continue"),
    ("drop", "drop"),
    ("reject", "reject"),
    ("return", "return"),
    ("jump", "jump"),
    ("dnat", "dnat"),
    ("snat", "snat"),
    ("rev_dnat", "rev_dnat"),
    ("rev_snat", "rev_snat"),
    ("l2-transform", "l2_transform"),
];

const FLOW_ACTIONS: &[(&str, &str)] = &[
    ("accept", "accept"),
    ("continue", "continue"),
    ("return", "return"),
    ("redirect", "redirect"),
];
