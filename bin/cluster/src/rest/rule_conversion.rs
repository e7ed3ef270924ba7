//! A rule as the API writes it, and as it is stored.

use std::collections::HashMap;

use mn_api_types::{self as api, FlowAction, RuleType};
use mn_ids::{ChainId, RuleId};
use mn_topology::{NatTarget, Rule, RuleAction, Then};

use super::conditions;
use super::links::Links;
use super::problem::Problem;

/// Reads a rule.
pub fn from_api(sent: api::Rule) -> Result<Rule, Problem> {
    let action = action(&sent)?;
    let mut condition = conditions::from_api(&sent.condition)?;
    condition.fragment_policy = match sent.condition.fragment_policy {
        Some(policy) => conditions::stored_policy(policy),
        None => Rule::default_fragment_policy(&action, condition.reads_ports()),
    };
    let id = sent.id.unwrap_or_else(RuleId::random);
    let rule = Rule { id, condition, action, meter_name: sent.meter_name };
    rule.validate()?;
    Ok(rule)
}

fn action(sent: &api::Rule) -> Result<RuleAction, Problem> {
    let then = || match sent.flow_action.ok_or_else(|| Problem::required("flowAction"))? {
        FlowAction::Accept => Ok(Then::Accept),
        FlowAction::Continue => Ok(Then::Continue),
        FlowAction::Return => Ok(Then::Return),
        FlowAction::Redirect => Ok::<_, Problem>(Then::Redirect),
    };
    Ok(match sent.kind.ok_or_else(|| Problem::required("type"))? {
        RuleType::Accept => RuleAction::Accept,
        RuleType::Continue => RuleAction::Continue,
        RuleType::Drop => RuleAction::Drop,
        RuleType::Reject => RuleAction::Reject,
        RuleType::Return => RuleAction::Return,
        RuleType::Jump => {
            let chain_id = sent.jump_chain_id.ok_or_else(|| Problem::required("jumpChainId"))?;
            RuleAction::Jump { chain_id }
        }
        RuleType::Dnat => RuleAction::Dnat { targets: targets(sent)?, then: then()? },
        RuleType::Snat => RuleAction::Snat { targets: targets(sent)?, then: then()? },
        RuleType::RevDnat => RuleAction::RevDnat { then: then()? },
        RuleType::RevSnat => RuleAction::RevSnat { then: then()? },
        RuleType::L2Transform => RuleAction::L2Transform {
            pop_vlan: sent.pop_vlan,
            push_vlan: sent.push_vlan,
            target_port_id: sent.target_port_id,
            ingress: sent.ingress,
            fail_open: sent.fail_open,
            then: then()?,
        },
    })
}

fn targets(sent: &api::Rule) -> Result<Vec<NatTarget>, Problem> {
    let targets = sent.nat_targets.as_deref().filter(|targets| !targets.is_empty());
    let targets = targets.ok_or_else(|| Problem::required("natTargets"))?;
    let read = |(index, target): (usize, &api::NatTarget)| {
        let missing = || Problem::required(&format!("natTargets[{index}].addressFrom"));
        let addr_from = target.address_from.ok_or_else(missing)?;
        let addr_to = target.address_to.unwrap_or(addr_from);
        let (port_from, port_to) = (target.port_from, target.port_to);
        Ok(NatTarget { addr_from, addr_to, port_from, port_to })
    };
    targets.iter().enumerate().map(read).collect()
}

/// A rule at its place.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub chain: ChainId,
    pub rule: &'a Rule,
    /// From 0, in the whole chain.
    pub index: usize,
}

/// Writes a rule; `names` are those of the chains it may jump to.
pub fn to_api(place: Place<'_>, names: &HashMap<ChainId, String>, links: &Links) -> api::Rule {
    let rule = place.rule;
    let common = api::Rule {
        id: Some(rule.id),
        chain_id: Some(place.chain),
        position: u32::try_from(place.index + 1).unwrap_or(u32::MAX),
        meter_name: rule.meter_name.clone(),
        uri: Some(links.object("rules", rule.id)),
        condition: conditions::to_api(&rule.condition),
        ..api::Rule::default()
    };
    with_action(&rule.action, names, common)
}

fn with_action(
    action: &RuleAction,
    names: &HashMap<ChainId, String>,
    common: api::Rule,
) -> api::Rule {
    let simple = |kind| api::Rule { kind: Some(kind), ..common.clone() };
    let nat = |kind, targets: &[NatTarget], then: &Then| api::Rule {
        flow_action: Some(flow_action(*then)),
        nat_targets: Some(targets.iter().map(target).collect()),
        ..simple(kind)
    };
    let reverse =
        |kind, then: &Then| api::Rule { flow_action: Some(flow_action(*then)), ..simple(kind) };
    match action {
        RuleAction::Accept => simple(RuleType::Accept),
        RuleAction::Continue => simple(RuleType::Continue),
        RuleAction::Drop => simple(RuleType::Drop),
        RuleAction::Reject => simple(RuleType::Reject),
        RuleAction::Return => simple(RuleType::Return),
        RuleAction::Jump { chain_id } => api::Rule {
            jump_chain_id: Some(*chain_id),
            jump_chain_name: names.get(chain_id).cloned(),
            ..simple(RuleType::Jump)
        },
        RuleAction::Snat { targets, then } => nat(RuleType::Snat, targets, then),
        RuleAction::Dnat { targets, then } => nat(RuleType::Dnat, targets, then),
        RuleAction::RevSnat { then } => reverse(RuleType::RevSnat, then),
        RuleAction::RevDnat { then } => reverse(RuleType::RevDnat, then),
        RuleAction::L2Transform {
            pop_vlan,
            push_vlan,
            target_port_id,
            ingress,
            fail_open,
            then,
        } => api::Rule {
            pop_vlan: *pop_vlan,
            push_vlan: *push_vlan,
            target_port_id: *target_port_id,
            ingress: *ingress,
            fail_open: *fail_open,
            ..reverse(RuleType::L2Transform, then)
        },
    }
}

fn target(target: &NatTarget) -> api::NatTarget {
    api::NatTarget {
        address_from: Some(target.addr_from),
        address_to: Some(target.addr_to),
        port_from: target.port_from,
        port_to: target.port_to,
    }
}

const fn flow_action(then: Then) -> FlowAction {
    match then {
        Then::Accept => FlowAction::Accept,
        Then::Continue => FlowAction::Continue,
        Then::Return => FlowAction::Return,
        Then::Redirect => FlowAction::Redirect,
    }
}
