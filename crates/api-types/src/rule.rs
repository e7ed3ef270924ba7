//! Rules of chains.

use core::net::IpAddr;

use mn_ids::{ChainId, PortId, RuleId};

use crate::Condition;

words! {
    /// What a rule does.
    RuleType {
        Accept = "accept",
        Continue = "continue",
        Drop = "drop",
        Reject = "reject",
        Return = "return",
        Jump = "jump",
        Dnat = "dnat",
        Snat = "snat",
        RevDnat = "rev_dnat",
        RevSnat = "rev_snat",
        L2Transform = "l2_transform",
    }
}

words! {
    /// Where the traversal goes on after a rule that did something.
    FlowAction {
        Accept = "accept",
        Continue = "continue",
        Return = "return",
        /// Only after an L2 transformation.
        Redirect = "redirect",
    }
}

dto! {
    /// Addresses and ports that NAT may choose from.
    NatTarget {
        "addressFrom" address_from: Option<IpAddr>,
        /// The same as `addressFrom` where it is left out.
        "addressTo" address_to: Option<IpAddr>,
        /// 0 with `portTo` 0: ports are left alone.
        "portFrom" port_from: u16,
        "portTo" port_to: u16,
    }
}

dto! {
    /// A rule of a chain: what it does with the packets it matches.
    Rule includes condition: Condition {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<RuleId>,
        ro "chainId" chain_id: Option<ChainId>,
        /// Required.
        "type" kind: Option<RuleType>,
        /// Its place in the chain, 1 for the first, which it is where this is left out.
        "position" position: u32 = 1,
        /// Packets it matches are counted under this name.
        "meterName" meter_name: Option<String>,
        /// `jump`: the chain to go through. Required there.
        "jumpChainId" jump_chain_id: Option<ChainId>,
        ro "jumpChainName" jump_chain_name: Option<String>,
        /// After NAT or an L2 transformation. Required there.
        "flowAction" flow_action: Option<FlowAction>,
        /// `dnat`, `snat`: at least one.
        "natTargets" nat_targets: Option<Vec<NatTarget>>,
        /// `l2_transform`: takes the outer tag off.
        "popVlan" pop_vlan: bool,
        /// `l2_transform`: puts this tag on; 0 for none.
        "pushVlan" push_vlan: u16,
        /// `l2_transform`: where the frame is redirected to.
        "targetPortId" target_port_id: Option<PortId>,
        /// `l2_transform`: it enters by that port, it does not leave by it.
        "ingress" ingress: bool,
        /// `l2_transform`: frames go on as if there were no rule while that port is down.
        "failOpen" fail_open: bool,
        ro "uri" uri: Option<String>,
    }
}
