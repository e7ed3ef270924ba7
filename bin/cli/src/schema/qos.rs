//! Policies of service quality.

use mn_api_types::{self as api, Media};

use super::{Change, Collection, Field, Identity, Kind, Owner, Shown, Type};

pub static QOS_POLICY: Type = Type {
    word: "qos-policy",
    identity: Identity::Alias { prefix: "qos-policy", template: "qosPolicyTemplate" },
    media: Media::QOS_POLICY,
    description: &api::QosPolicy::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("tenant", "tenant_id", Kind::Text).shown(Shown::Asked),
        Field::new("name", "name", Kind::Text).clearable(),
        Field::new("description", "description", Kind::Text).clearable(),
        Field::new("shared", "shared", Kind::Bool),
    ],
    collections: &[
        Collection::link("bw-limit-rule", &BW_LIMIT_RULE, "bwLimitRules"),
        Collection::link("dscp-rule", &DSCP_RULE, "dscpRules"),
    ],
    owner: Owner::Nobody,
    change: Change::Replace,
};

const DIRECTIONS: &[(&str, &str)] = &[("egress", "egress"), ("ingress", "ingress")];

static BW_LIMIT_RULE: Type = Type {
    word: "bw-limit-rule",
    identity: Identity::Alias { prefix: "bw-limit-rule", template: "qosBwLimitRuleTemplate" },
    media: Media::QOS_BW_LIMIT_RULE,
    description: &api::QosBwLimitRule::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("policy", "policyId", Kind::Reference(&QOS_POLICY))
            .shown(Shown::Asked)
            .read_only(),
        Field::new("max-kbps", "maxKbps", Kind::Integer),
        Field::new("max-burst-kb", "maxBurstKb", Kind::Integer).clearable(),
        // What the guide calls it; both are accepted, the other is printed.
        Field::new("max-burst-kbps", "maxBurstKb", Kind::Integer).shown(Shown::Asked).clearable(),
        Field::new("direction", "direction", Kind::Choice(DIRECTIONS)).clearable(),
    ],
    collections: &[],
    owner: Owner::Object { key: "policyId", of: &QOS_POLICY },
    change: Change::Replace,
};

static DSCP_RULE: Type = Type {
    word: "dscp-rule",
    identity: Identity::Alias { prefix: "dscp-rule", template: "qosDscpRuleTemplate" },
    media: Media::QOS_DSCP_RULE,
    description: &api::QosDscpRule::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("policy", "policyId", Kind::Reference(&QOS_POLICY))
            .shown(Shown::Asked)
            .read_only(),
        Field::new("dscp-mark", "dscpMark", Kind::Integer),
    ],
    collections: &[],
    owner: Owner::Object { key: "policyId", of: &QOS_POLICY },
    change: Change::Replace,
};
