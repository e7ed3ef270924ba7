//! Rules of chains.

use core::net::IpAddr;

use mn_ids::{ChainId, OnDelete, PortId, RuleId};
use serde::{Deserialize, Serialize};

use super::{Condition, FragmentPolicy, Invalid, References};

/// One rule: what it does with the packets it matches (`RC-*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rule {
    pub id: RuleId,
    #[serde(default)]
    pub condition: Condition,
    pub action: RuleAction,
    /// Packets it matches are counted under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_name: Option<String>,
}

/// What a rule does.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RuleAction {
    /// Ends the traversal: the packet passes.
    Accept,
    /// Ends the traversal: the packet vanishes.
    Drop,
    /// Ends the traversal: the packet is dropped and its sender is told.
    Reject,
    /// Ends this chain: the one that jumped here goes on; at the top the packet passes.
    Return,
    /// Goes on with the next rule.
    Continue,
    /// Goes through another chain and, unless that decides, on with the next rule.
    Jump {
        chain_id: ChainId,
    },
    Snat {
        targets: Vec<NatTarget>,
        then: Then,
    },
    Dnat {
        targets: Vec<NatTarget>,
        then: Then,
    },
    RevSnat {
        then: Then,
    },
    RevDnat {
        then: Then,
    },
    /// Redirects a frame, with a change to its tags (service insertion).
    L2Transform {
        pop_vlan: bool,
        /// 0 for none.
        push_vlan: u16,
        target_port_id: Option<PortId>,
        ingress: bool,
        fail_open: bool,
        then: Then,
    },
}

/// Where the traversal goes on after a rule that did something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    Accept,
    Continue,
    Return,
    /// Only after an L2 transformation.
    Redirect,
}

/// Addresses and ports that NAT may choose from, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NatTarget {
    pub addr_from: IpAddr,
    pub addr_to: IpAddr,
    /// 0 with `port_to` 0: ports are left alone.
    #[serde(default)]
    pub port_from: u16,
    #[serde(default)]
    pub port_to: u16,
}

impl Rule {
    /// The fragment policy of a rule that says nothing of it (`RC-22`, `FR-*`).
    #[must_use]
    pub fn default_fragment_policy(action: &RuleAction, reads_ports: bool) -> FragmentPolicy {
        if action.needs_ports() || (action.translates() && reads_ports) {
            FragmentPolicy::Unfragmented
        } else if reads_ports {
            FragmentPolicy::Header
        } else {
            FragmentPolicy::Any
        }
    }

    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.condition.validate()?;
        self.action.validate()?;
        let ports =
            self.action.needs_ports() || (self.action.translates() && self.condition.reads_ports());
        let policy = self.condition.fragment_policy;
        let fits = !ports || policy == FragmentPolicy::Unfragmented;
        let reason = "a translation that reads or changes ports needs unfragmented";
        Invalid::unless(fits, "fragment_policy", format!("{policy:?}").to_lowercase(), reason)
    }
}

impl RuleAction {
    /// Whether it is SNAT or DNAT.
    const fn translates(&self) -> bool {
        matches!(self, Self::Snat { .. } | Self::Dnat { .. })
    }

    /// Whether it is a translation that may change ports: anything but one address for another.
    fn needs_ports(&self) -> bool {
        let (Self::Snat { targets, .. } | Self::Dnat { targets, .. }) = self else {
            return false;
        };
        !matches!(targets.as_slice(), [one] if one.addr_from == one.addr_to && one.port_to == 0)
    }

    fn validate(&self) -> Result<(), Invalid> {
        let (then, l2) = match self {
            Self::Snat { targets, then } | Self::Dnat { targets, then } => {
                Invalid::unless(!targets.is_empty(), "nat_targets", "[]", "there must be one")?;
                targets.iter().try_for_each(NatTarget::validate)?;
                (*then, false)
            }
            Self::RevSnat { then } | Self::RevDnat { then } => (*then, false),
            Self::L2Transform { target_port_id, then, .. } => {
                let aimed = *then != Then::Redirect || target_port_id.is_some();
                Invalid::unless(aimed, "target_port_id", "", "a redirection needs one")?;
                (*then, true)
            }
            _ => return Ok(()),
        };
        let fits = match then {
            Then::Accept => true,
            Then::Redirect => l2,
            Then::Continue | Then::Return => !l2,
        };
        let word = format!("{then:?}").to_lowercase();
        Invalid::unless(fits, "flow_action", word, "cannot follow this type of rule")
    }
}

impl NatTarget {
    fn validate(&self) -> Result<(), Invalid> {
        let same = self.addr_from.is_ipv4() == self.addr_to.is_ipv4();
        let ordered = same && self.addr_from <= self.addr_to;
        let text = format!("{}-{}", self.addr_from, self.addr_to);
        Invalid::unless(ordered, "nat_targets", text, "ends before it starts")?;
        let ordered = self.port_from <= self.port_to;
        let text = format!("{}-{}", self.port_from, self.port_to);
        Invalid::unless(ordered, "nat_targets", text, "ends before it starts")
    }
}

impl Rule {
    pub(crate) fn references(&self, references: References) -> References {
        let references = self.condition.references("rules.condition", references);
        match &self.action {
            // The element of `rules` whose `action.chain_id` it is goes.
            RuleAction::Jump { chain_id } => {
                references.to("rules.action.chain_id", [*chain_id], OnDelete::Clear)
            }
            RuleAction::L2Transform { target_port_id, .. } => {
                references.to("rules.action.target_port_id", *target_port_id, OnDelete::Refuse)
            }
            _ => references,
        }
    }
}
