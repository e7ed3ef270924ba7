//! Policies of service quality as text.

use std::num::NonZeroU32;

use mn_topology::{QosDirection, QosPolicy, QosRule, QosRuleKind};

use crate::named;

/// `qos NAME`, and a rule a line: `mark 46`, `sends KBPS BURST`, `gets KBPS BURST`.
pub(crate) fn policy(name: &str, lines: &[Vec<&str>]) -> QosPolicy {
    let limit = |kbps: &str, burst: &str, direction| QosRuleKind::BandwidthLimit {
        max_kbps: kbps.parse().unwrap(),
        max_burst_kb: NonZeroU32::new(burst.parse().unwrap()),
        direction,
    };
    let rule = |(index, words): (usize, &Vec<&str>)| QosRule {
        id: uuid::Uuid::from_u128(index as u128),
        kind: match words[..] {
            ["mark", mark] => QosRuleKind::DscpMarking { dscp_mark: mark.parse().unwrap() },
            ["sends", kbps, burst] => limit(kbps, burst, QosDirection::Egress),
            ["gets", kbps, burst] => limit(kbps, burst, QosDirection::Ingress),
            ref other => panic!("{other:?} is nothing a policy has"),
        },
    };
    QosPolicy {
        id: named(name),
        tenant_id: None,
        name: Some(name.to_owned()),
        description: None,
        shared: false,
        rules: lines.iter().enumerate().map(rule).collect(),
    }
}
