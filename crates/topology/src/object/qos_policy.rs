//! Policies of service quality: how much a port carries, and how what enters by it is marked.

use core::num::NonZeroU32;

use mn_ids::{Id, Object, QosPolicyId, Reference};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Invalid;

/// What ports and bridges that name it are held to (`QO-*`). A port's own policy stands before that
/// of its bridge.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct QosPolicy {
    pub id: QosPolicyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether other tenants may use it. Nothing here reads it.
    #[serde(default)]
    pub shared: bool,
    /// In the order in which they were made.
    #[serde(default)]
    pub rules: Vec<QosRule>,
}

/// A rule of a policy. Rules are stored inside their policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct QosRule {
    pub id: Uuid,
    #[serde(flatten)]
    pub kind: QosRuleKind,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum QosRuleKind {
    BandwidthLimit {
        /// Kilobits a second, 1,000 bits each, of whole frames as they are on the wire.
        max_kbps: NonZeroU32,
        /// Kilobits that may go at once; `None`: what the rate carries in 0.8 s.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_burst_kb: Option<NonZeroU32>,
        #[serde(default)]
        direction: QosDirection,
    },
    DscpMarking {
        /// 0 to 63 (RFC 2474).
        dscp_mark: u8,
    },
}

/// Which way a limit is for, seen from the machine behind the port.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QosDirection {
    /// What the machine sends.
    #[default]
    Egress,
    /// What the machine gets.
    Ingress,
}

/// How much a port carries in one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BandwidthLimit {
    /// Kilobits a second.
    pub kbps: NonZeroU32,
    /// Kilobits at once.
    pub burst_kb: NonZeroU32,
}

impl QosPolicy {
    /// The largest code point.
    pub const DSCP_MAX: u8 = 63;
    /// The most rules of one policy.
    pub const RULES_MAX: usize = 64;

    /// What enters the network by a port is marked with this. Of several rules the last wins.
    #[must_use]
    pub fn mark(&self) -> Option<u8> {
        self.rules.iter().rev().find_map(|rule| match rule.kind {
            QosRuleKind::DscpMarking { dscp_mark } => Some(dscp_mark),
            QosRuleKind::BandwidthLimit { .. } => None,
        })
    }

    /// How much may go one way. Of several rules for a direction the first counts.
    #[must_use]
    pub fn limit(&self, wanted: QosDirection) -> Option<BandwidthLimit> {
        self.rules.iter().find_map(|rule| match rule.kind {
            QosRuleKind::BandwidthLimit { max_kbps, max_burst_kb, direction }
                if direction == wanted =>
            {
                let usual = u64::from(max_kbps.get()) * 4 / 5;
                let usual = u32::try_from(usual).ok().and_then(NonZeroU32::new);
                let burst_kb = max_burst_kb.or(usual).unwrap_or(NonZeroU32::MIN);
                Some(BandwidthLimit { kbps: max_kbps, burst_kb })
            }
            _ => None,
        })
    }

    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_name(self.name.as_deref())?;
        let count = self.rules.len();
        Invalid::unless(count <= Self::RULES_MAX, "rules", count, "are more than 64 rules")?;
        for (index, rule) in self.rules.iter().enumerate() {
            let taken = self.rules[..index].iter().any(|other| other.id == rule.id);
            Invalid::unless(!taken, "rules.id", rule.id, "is the id of another rule")?;
            if let QosRuleKind::DscpMarking { dscp_mark } = rule.kind {
                let possible = dscp_mark <= Self::DSCP_MAX;
                Invalid::unless(possible, "dscp_mark", dscp_mark, "is not within 0 to 63")?;
            }
        }
        Ok(())
    }
}

impl Object for QosPolicy {
    type Kind = mn_ids::QosPolicy;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(kinds: &[QosRuleKind]) -> QosPolicy {
        let rule = |(index, kind): (usize, &QosRuleKind)| QosRule {
            id: Uuid::from_u128(index as u128),
            kind: *kind,
        };
        QosPolicy {
            id: QosPolicyId::random(),
            tenant_id: None,
            name: None,
            description: None,
            shared: false,
            rules: kinds.iter().enumerate().map(rule).collect(),
        }
    }

    fn limit(kbps: u32, burst: u32, direction: QosDirection) -> QosRuleKind {
        QosRuleKind::BandwidthLimit {
            max_kbps: NonZeroU32::new(kbps).unwrap(),
            max_burst_kb: NonZeroU32::new(burst),
            direction,
        }
    }

    fn told(limit: Option<BandwidthLimit>) -> Option<(u32, u32)> {
        limit.map(|limit| (limit.kbps.get(), limit.burst_kb.get()))
    }

    #[test]
    fn the_last_mark_wins_and_the_first_limit_of_each_direction() {
        use QosDirection::{Egress, Ingress};
        let policy = policy(&[
            QosRuleKind::DscpMarking { dscp_mark: 10 },
            limit(1000, 50, Egress),
            limit(9, 9, Egress),
            limit(2000, 0, Ingress),
            QosRuleKind::DscpMarking { dscp_mark: 46 },
        ]);
        assert_eq!(policy.mark(), Some(46));
        assert_eq!(told(policy.limit(Egress)), Some((1000, 50)));
        assert_eq!(told(policy.limit(Ingress)), Some((2000, 1600)), "four fifths of a second");
        assert!(policy.validate().is_ok());
    }

    #[test]
    fn a_policy_without_rules_says_nothing() {
        let none = policy(&[]);
        assert_eq!((none.mark(), none.limit(QosDirection::Egress)), (None, None));
        let least = policy(&[limit(1, 0, QosDirection::Egress)]);
        assert_eq!(told(least.limit(QosDirection::Egress)), Some((1, 1)), "never an empty bucket");
    }

    #[test]
    fn a_mark_has_six_bits_and_a_rule_an_id_of_its_own() {
        let marks = |mark| policy(&[QosRuleKind::DscpMarking { dscp_mark: mark }]);
        assert!(marks(63).validate().is_ok());
        assert_eq!(marks(64).validate().unwrap_err().field, "dscp_mark");
        let mut twice = policy(&[limit(1, 1, QosDirection::Egress); 2]);
        assert!(twice.validate().is_ok());
        twice.rules[1].id = twice.rules[0].id;
        assert_eq!(twice.validate().unwrap_err().field, "rules.id");
    }

    #[test]
    fn a_rule_is_stored_with_its_kind() {
        let json = serde_json::to_value(policy(&[limit(8, 0, QosDirection::Ingress)])).unwrap();
        let rule = serde_json::json!({
            "id": Uuid::nil(), "type": "bandwidth_limit", "max_kbps": 8, "direction": "ingress"
        });
        assert_eq!(json["rules"][0], rule);
    }
}
