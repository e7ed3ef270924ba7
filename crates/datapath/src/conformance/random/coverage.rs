//! What a comparison has seen.

use std::collections::BTreeMap;

use mn_flow::{Action, Rewrite};

/// How often each thing happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    pub packets: u64,
    /// Packets that a flow took.
    pub hits: u64,
    /// Frames that went out.
    pub sent: u64,
    /// Packets that went up.
    pub asked: u64,
    /// By the name of the action: packets whose flow has it.
    pub actions: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Notes that a flow with these actions took so many packets.
    pub(super) fn took(&mut self, actions: &[Action], packets: u64) {
        self.hits += packets;
        for action in actions {
            *self.actions.entry(name(action)).or_default() += packets;
        }
    }

    /// The actions that fewer packets met than wanted.
    #[must_use]
    pub fn rare(&self, wanted: u64) -> Vec<&'static str> {
        let seen = |name: &&str| self.actions.get(name).copied().unwrap_or(0);
        NAMES.into_iter().filter(|name| seen(name) < wanted).collect()
    }
}

const NAMES: [&str; 21] = [
    "EthSrc", "EthDst", "NwSrc", "NwDst", "NwTos", "TpSrc", "TpDst", "IcmpId", "DecTtl",
    "PushVlan", "PopVlan", "InnerSrc", "InnerDst", "Output", "Tunnel", "Outputs", "Track", "Meter",
    "Copy", "Drop", "DropRule",
];

/// The name of an action, one of [`NAMES`].
const fn name(action: &Action) -> &'static str {
    match action {
        Action::Rewrite(rewrite) => match rewrite {
            Rewrite::EthSrc(_) => "EthSrc",
            Rewrite::EthDst(_) => "EthDst",
            Rewrite::NwSrc(_) => "NwSrc",
            Rewrite::NwDst(_) => "NwDst",
            Rewrite::NwTos(_) => "NwTos",
            Rewrite::TpSrc(_) => "TpSrc",
            Rewrite::TpDst(_) => "TpDst",
            Rewrite::IcmpId(_) => "IcmpId",
            Rewrite::DecTtl => "DecTtl",
            Rewrite::PushVlan(_) => "PushVlan",
            Rewrite::PopVlan => "PopVlan",
            Rewrite::InnerSrc(..) => "InnerSrc",
            Rewrite::InnerDst(..) => "InnerDst",
        },
        Action::Output(_) => "Output",
        Action::Tunnel { .. } => "Tunnel",
        Action::Outputs(_) => "Outputs",
        Action::Track(_) => "Track",
        Action::Meter(_) => "Meter",
        Action::Copy { .. } => "Copy",
        Action::Drop { rule: None, .. } => "Drop",
        Action::Drop { rule: Some(_), .. } => "DropRule",
    }
}
