//! What a host's agent reports to everyone.

use std::net::IpAddr;

use mn_ids::{HostId, PortId};
use serde::{Deserialize, Serialize};

/// The value of a host's entry in the `HostReport` table. It is gone when the agent's session ends:
/// that it is there says that the agent is alive.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostReport {
    pub host: HostId,
    pub name: String,
    /// The version of the agent.
    pub version: String,
    /// Which life of the agent this is.
    pub epoch: u64,
    /// Every interface in the agent's network namespace, in the order of their names.
    pub interfaces: Vec<Interface>,
    /// Ports that are attached here and forward: the API shows them as active.
    pub active_ports: Vec<PortId>,
    /// The largest IP packet a tunnel carries from here, where the host is in a tunnel zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_mtu: Option<u32>,
}

/// One interface of a host, in the API's words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    /// Six octets in hexadecimal; absent for interfaces without one (tun).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// It has a carrier.
    pub link: bool,
    pub kind: InterfaceKind,
    pub endpoint: Endpoint,
    pub addresses: Vec<IpAddr>,
}

impl Interface {
    /// The API's `status`: bit 0 up, bit 1 link.
    #[must_use]
    pub const fn status(&self) -> u32 {
        self.up as u32 | (self.link as u32) << 1
    }
}

/// The API's `type` of an interface.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum InterfaceKind {
    Physical,
    Virtual,
    Tunnel,
    Unknown,
}

/// The API's `endpoint` of an interface: what is at its other end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Endpoint {
    Datapath,
    Physical,
    Vm,
    Gre,
    Capwap,
    Localhost,
    TunTap,
    Unknown,
}
