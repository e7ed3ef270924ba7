//! Rules of chains.

use core::net::IpAddr;

use mn_ids::{ChainId, OnDelete, PortId, RuleId};
use serde::{Deserialize, Serialize};

use super::{Condition, References};

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
    pub(crate) fn references(&self, references: References) -> References {
        let references = self.condition.references(references);
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
