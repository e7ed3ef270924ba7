//! What an agent answers.

use std::collections::BTreeMap;

use mn_api_types::walk::Walk;
use mn_ids::{HostId, PortId, RuleId};
use serde::{Deserialize, Serialize};

/// One line from the agent's socket.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    Status(Status),
    Flows {
        flows: Vec<FlowRow>,
        installed: usize,
    },
    Connections {
        connections: Vec<ConnectionRow>,
        tracked: usize,
    },
    Counters {
        ports: Vec<PortRow>,
        drops: Vec<DropCount>,
    },
    Activity(Box<Activity>),
    Walk(Box<Walk>),
    /// The request asks for something that cannot be: what is wrong with it.
    Invalid {
        /// The member of the request that is wrong.
        property: String,
        reason: String,
    },
    /// The request could not be answered; why.
    Error {
        reason: String,
    },
}

/// How an agent is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    pub host: HostId,
    pub name: String,
    pub version: String,
    pub epoch: u64,
    pub pid: u32,
    pub link: Link,
    /// The revision of the topology that packets are decided by.
    pub revision: u64,
    pub ports: BTreeMap<String, PortId>,
    pub peers: usize,
    pub tunnel_mtu: Option<u32>,
    pub flows: usize,
    /// Of those, adopted from an earlier agent and not yet decided anew.
    pub unverified: usize,
    /// Adopted flows that were as this agent would have them, and those it changed or removed.
    pub adopted: u64,
    pub replaced: u64,
    /// How long after its start the last of them was decided about.
    pub adoption_ms: u64,
    /// Packets that wait for an answer.
    pub waiting: usize,
    /// Address translations that are remembered.
    #[serde(default)]
    pub translations: usize,
}

/// How the agent stands to the state database.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Link {
    /// What it knows is up to date.
    Connected,
    /// What it knows is this old. It goes on with it.
    Stale { milliseconds: u64 },
}

/// An installed flow. Key and actions are for people.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FlowRow {
    pub cookie: u64,
    pub matches: String,
    pub actions: Vec<String>,
    #[serde(rename = "use")]
    pub used: FlowUse,
}

/// What a flow has carried.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct FlowUse {
    pub packets: u64,
    pub octets: u64,
    pub idle_milliseconds: u64,
}

/// A tracked connection, for people.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ConnectionRow {
    /// Of its device, on this host.
    pub zone: u32,
    pub protocol: String,
    /// Address, and where the protocol has ports or an echo its identifier, that.
    pub source: String,
    pub destination: String,
    pub state: String,
    /// The port whose share of connections it counts in; absent where that is gone.
    pub port: Option<PortId>,
    pub idle_milliseconds: u64,
}

/// What a port has carried, seen from the virtual network.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PortRow {
    pub port: PortId,
    pub interface: String,
    pub rx_packets: u64,
    pub rx_octets: u64,
    pub tx_packets: u64,
    pub tx_octets: u64,
    pub rx_dropped: u64,
}

/// What an agent has done, and its datapath carried.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Activity {
    pub work: Work,
    pub ports: Vec<PortRow>,
    pub drops: Vec<DropCount>,
    /// Of flows as of the last look at them, every five seconds.
    pub rules: Vec<RuleDrop>,
}

/// What the workers have done since the agent's start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Work {
    /// Packets the datapath asked about.
    pub upcalls: u64,
    pub simulations: u64,
    /// Flows installed.
    pub installed: u64,
    /// Flows removed: for a change, their age or want of room.
    pub left: u64,
}

/// How many packets a rule dropped.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct RuleDrop {
    pub rule: RuleId,
    pub packets: u64,
}

/// How many packets of a port were dropped for a cause.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DropCount {
    /// Absent for packets that came by no bound port.
    pub port: Option<PortId>,
    /// The cause's name.
    pub cause: String,
    pub packets: u64,
}
