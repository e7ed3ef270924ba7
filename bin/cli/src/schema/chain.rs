//! Chains and rules.

use mn_api_types::{self as api, Media};
use serde_json::Value;

use super::condition::condition_fields;
use super::device::PORT;
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

/// Conditions first, then the place, then what is done: the order of the guides' listings.
static RULE_FIELDS: &[Field] = condition_fields! {
    before: [
        Field::id(),
        Field::new("chain", "chainId", Kind::Reference(&CHAIN)).shown(Shown::Asked).read_only(),
    ],
    protocol: Shown::Or("0"),
    fragments: Shown::When(has_own_fragment_policy),
    no_vlan: Shown::Unless("false"),
    after: [
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
    ],
};

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
