//! Policies of service quality and their rules.

use mn_ids::QosPolicyId;
use uuid::Uuid;

words! {
    /// What a rule of a policy does.
    QosRuleType {
        BandwidthLimit = "bandwidth_limit",
        DscpMarking = "dscp_marking",
    }
}

words! {
    /// Which way a limit is for, seen from the machine behind the port.
    QosDirection {
        /// What the machine sends.
        Egress = "egress",
        /// What the machine gets.
        Ingress = "ingress",
    }
}

dto! {
    /// How much ports carry, and how what enters by them is marked.
    QosPolicy {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<QosPolicyId>,
        /// At most 255 characters.
        "name" name: Option<String>,
        "description" description: Option<String>,
        /// Whether other tenants may use it.
        "shared" shared: bool,
        /// Whose it is; free text.
        "tenant_id" tenant_id: Option<String>,
        /// All its rules, to replace those there are; null: they stay. Never shown: see
        /// `bwLimitRules` and `dscpRules`.
        "rules" rules: Option<Vec<QosRule>>,
        ro "uri" uri: Option<String>,
        ro "bwLimitRules" bw_limit_rules: Option<String>,
        ro "dscpRules" dscp_rules: Option<String>,
    }
}

dto! {
    /// A rule as a policy brings it.
    QosRule {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<Uuid>,
        /// Required.
        "type" kind: Option<QosRuleType>,
        /// Of a limit: kilobits a second, at least 1.
        "max_kbps" max_kbps: Option<u32>,
        /// Of a limit: kilobits at once; null or 0: what the rate carries in 0.8 s.
        "max_burst_kbps" max_burst_kbps: Option<u32>,
        /// Of a limit: null for what the machine sends.
        "direction" direction: Option<QosDirection>,
        /// Of a mark: 0 to 63.
        "dscp_mark" dscp_mark: Option<u8>,
    }
}

dto! {
    /// How much a port carries in one direction. Of several of a policy the first counts.
    QosBwLimitRule {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<Uuid>,
        /// Its policy, which stays.
        "policyId" policy_id: Option<QosPolicyId>,
        /// Kilobits a second, at least 1. Required.
        "maxKbps" max_kbps: Option<u32>,
        /// Kilobits at once; null or 0: what the rate carries in 0.8 s.
        "maxBurstKb" max_burst_kb: Option<u32>,
        /// Null: what the machine sends.
        "direction" direction: Option<QosDirection>,
        ro "uri" uri: Option<String>,
        ro "policy" policy: Option<String>,
    }
}

dto! {
    /// What IP packets are marked with that enter by a port. Of several of a policy the last counts.
    QosDscpRule {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<Uuid>,
        /// Its policy, which stays.
        "policyId" policy_id: Option<QosPolicyId>,
        /// The code point, 0 to 63 (RFC 2474). Required.
        "dscpMark" dscp_mark: Option<u8>,
        ro "uri" uri: Option<String>,
        ro "policy" policy: Option<String>,
    }
}
