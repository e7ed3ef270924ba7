//! What an agent can be asked.

use std::net::IpAddr;

use mn_ids::PortId;
use serde::{Deserialize, Serialize};

/// One line to the agent's socket. The answer is one line too.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How the agent is.
    Status,
    /// The flows that are installed, with their use; at most `limit`.
    Flows { limit: usize },
    /// What ports have carried and what was dropped.
    Counters,
    /// Walks a described packet through the topology, without side effects.
    Walk(PacketQuery),
}

/// A packet in words. What is not given is chosen so that the packet is an ordinary one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct PacketQuery {
    /// The port it enters the virtual network by.
    pub from: Option<PortId>,
    /// The MAC it has as its source; else that of the port's learned MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eth_src: Option<String>,
    /// The MAC it is sent to; else that which the destination's address or its gateway has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eth_dst: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// `icmp`, `tcp`, `udp`, `arp` or an IANA number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}
