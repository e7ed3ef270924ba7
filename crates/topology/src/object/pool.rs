//! Pools of servers.

use core::fmt;
use core::net::IpAddr;

use mn_ids::{HealthMonitorId, Id, LoadBalancerId, Object, OnDelete, PoolId, Reference};
use mn_packet::IpProtocol;
use serde::{Deserialize, Serialize};

use super::{References, yes};

/// Servers that take the connections to virtual addresses (`LB-02`). Members and virtual addresses
/// are objects of their own that refer to it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pool {
    pub id: PoolId,
    /// Without one it is drawn and does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_id: Option<LoadBalancerId>,
    /// What checks its members; without one they count as alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_monitor_id: Option<HealthMonitorId>,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    /// Of its virtual addresses too. Never changes.
    #[serde(default)]
    pub protocol: LbProtocol,
    #[serde(default)]
    pub lb_method: LbMethod,
    /// The version of all its members and virtual addresses; none while it never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<IpVersion>,
}

/// What is balanced.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum LbProtocol {
    #[default]
    Tcp,
    Udp,
}

impl LbProtocol {
    /// Its number in packets.
    #[must_use]
    pub const fn number(self) -> IpProtocol {
        match self {
            Self::Tcp => IpProtocol::TCP,
            Self::Udp => IpProtocol::UDP,
        }
    }

    /// The one with this number in packets; no other protocol is balanced.
    #[must_use]
    pub const fn from_number(number: IpProtocol) -> Option<Self> {
        match number {
            IpProtocol::TCP => Some(Self::Tcp),
            IpProtocol::UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

/// How the member of a new connection is chosen. All honour weights.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LbMethod {
    /// In turns (`LB-04`).
    #[default]
    RoundRobin,
    /// Who has the fewest connections for its weight.
    LeastConnections,
    /// By a hash of the client's address and port that moves as few clients as can be when members
    /// come and go (Maglev).
    ConsistentHash,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    /// The version of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl Object for Pool {
    type Kind = mn_ids::Pool;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("load_balancer_id", self.load_balancer_id, OnDelete::Cascade)
            .to("health_monitor_id", self.health_monitor_id, OnDelete::Clear)
            .done()
    }
}
