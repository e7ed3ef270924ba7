//! What a comparison has seen.

use std::collections::BTreeMap;

use mn_flow::{Action, Conn, Rewrite, TcpClass};
use mn_packet::icmp;

use crate::conformance::bench::Asked;
use crate::{ConnState, Connection, Followed};

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
    /// By state, and by what else is to be seen: connections.
    pub connections: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Notes that a flow with these actions took so many packets.
    pub(super) fn took(&mut self, actions: &[Action], packets: u64) {
        self.hits += packets;
        for action in actions {
            *self.actions.entry(name(action)).or_default() += packets;
        }
    }

    /// Notes a connection at the end of a round.
    pub(super) fn tracked(&mut self, connection: &Connection) {
        *self.connections.entry(connection.state.name()).or_default() += 1;
        if connection.tuple.vlan.is_some() {
            *self.connections.entry("in a VLAN").or_default() += 1;
        }
    }

    /// Notes a segment that a flow told of.
    pub(super) fn told(&mut self, followed: &Followed) {
        *self.connections.entry(told(followed.class)).or_default() += 1;
    }

    /// Notes what the engines know of a packet's connection.
    pub(super) fn went_up(&mut self, asked: &Asked) {
        let key = &asked.key;
        let is_error = key.nw_proto.is_icmp() && icmp::is_error(key.nw_proto, key.icmp_type());
        let name = match (key.conn, is_error) {
            (Conn::None, _) => return,
            (_, true) => "an error",
            (Conn::Forward, _) => "forward",
            (Conn::Return, _) => "return",
        };
        *self.connections.entry(name).or_default() += 1;
    }

    /// The actions that fewer packets met than wanted, and the kinds of connections of which
    /// there were fewer than a twentieth of that.
    #[must_use]
    pub fn rare(&self, wanted: u64) -> Vec<&'static str> {
        let seen = |name: &&str| self.actions.get(name).copied().unwrap_or(0);
        let known = |name: &&str| self.connections.get(name).copied().unwrap_or(0);
        let states = ConnState::ALL.into_iter().map(ConnState::name);
        let kinds = states.chain(["in a VLAN", "an error", "forward", "return"]).chain(TOLD);
        let actions = NAMES.into_iter().filter(|name| seen(name) < wanted);
        actions.chain(kinds.filter(|name| known(name) < wanted / 20)).collect()
    }
}

/// Segments that flows tell of.
const TOLD: [&str; 4] = ["told of SYN", "told of FIN", "told of RST", "told of another"];

const fn told(class: TcpClass) -> &'static str {
    let [syn, fin, rst, other] = TOLD;
    match class {
        TcpClass::Syn => syn,
        TcpClass::Fin => fin,
        TcpClass::Rst => rst,
        TcpClass::Other => other,
    }
}

const NAMES: [&str; 24] = [
    "EthSrc",
    "EthDst",
    "NwSrc",
    "NwDst",
    "NwTos",
    "TpSrc",
    "TpDst",
    "IcmpId",
    "DecTtl",
    "PushVlan",
    "PopVlan",
    "InnerSrc",
    "InnerDst",
    "Output",
    "Tunnel",
    "Outputs",
    "Track",
    "Follow",
    "Meter",
    "Copy",
    "Drop",
    "DropRule",
    "Answer",
    "AnswerAsRouter",
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
            Rewrite::Answer { router: false, .. } => "Answer",
            Rewrite::Answer { router: true, .. } => "AnswerAsRouter",
        },
        Action::Output(_) => "Output",
        Action::Tunnel { .. } => "Tunnel",
        Action::Outputs(_) => "Outputs",
        Action::Track { .. } => "Track",
        Action::Follow => "Follow",
        Action::Meter(_) => "Meter",
        Action::Copy { .. } => "Copy",
        Action::Drop { rule: None, .. } => "Drop",
        Action::Drop { rule: Some(_), .. } => "DropRule",
    }
}
