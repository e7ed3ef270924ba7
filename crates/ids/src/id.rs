//! One identifier type per kind of object.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Class;

/// The identifier of one object of kind `K`.
///
/// Printed and stored as a plain UUID; only the compiler and `Debug` know the kind:
///
/// ```compile_fail
/// # use mn_ids::{PortId, RouterId};
/// fn detach(port: PortId) {}
/// fn wrong(router: RouterId) { detach(router) }
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id<K>(Uuid, PhantomData<K>);

/// A kind of object that has identifiers.
pub trait Kind: Copy + Eq {
    /// The class its objects are stored under.
    const CLASS: Class;
    /// For example `"port"`: singular, lower case, as in paths, logs and error messages.
    const NAME: &'static str;
}

impl<K: Kind> Id<K> {
    /// Wraps a UUID that is known to identify a `K`: one just made, or one just read from a `K`.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The UUID without its kind.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// A fresh random identifier (UUID version 4). Only programs and tests make identifiers.
    #[must_use]
    pub fn random() -> Self {
        Self::from_uuid(Uuid::new_v4())
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self::from_uuid)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", K::NAME, self.0)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(|uuid| Self(uuid, PhantomData))
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $id:ident, $name:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $kind {}
        impl Kind for $kind {
            const CLASS: Class = Class::$kind;
            const NAME: &'static str = $name;
        }
        #[doc = concat!("Identifies a ", $name, ".")]
        pub type $id = Id<$kind>;
    )*};
}

// One line per kind, in alphabetical order; each has its line in `Class` too.
kinds! {
    /// A layer 2 virtual switch.
    Bridge, BridgeId, "bridge";
    /// An ordered list of rules.
    Chain, ChainId, "chain";
    /// A run of consecutive rules of a long chain.
    ChainSegment, ChainSegmentId, "chain segment";
    /// A subnet of a bridge whose hosts get their addresses by DHCP.
    DhcpSubnet, DhcpSubnetId, "DHCP subnet";
    /// A subnet of a bridge whose hosts get their addresses by DHCPv6.
    DhcpV6Subnet, DhcpV6SubnetId, "DHCPv6 subnet";
    /// How the members of pools are checked.
    HealthMonitor, HealthMonitorId, "health monitor";
    /// A machine that runs an agent.
    Host, HostId, "host";
    /// A set of addresses that rules refer to.
    IpAddrGroup, IpAddrGroupId, "IP address group";
    /// What has the frames of a machine inspected by another.
    L2Insertion, L2InsertionId, "L2 insertion";
    /// The virtual addresses of a router and the pools behind them.
    LoadBalancer, LoadBalancerId, "load balancer";
    /// What copies packets to a port.
    Mirror, MirrorId, "mirror";
    /// Servers that stand behind virtual addresses.
    Pool, PoolId, "pool";
    /// A server of a pool.
    PoolMember, PoolMemberId, "pool member";
    /// The attachment of a device to a peer device or to a host interface.
    Port, PortId, "port";
    /// A set of ports that rules refer to.
    PortGroup, PortGroupId, "port group";
    /// How much ports carry and how what enters by them is marked.
    QosPolicy, QosPolicyId, "QoS policy";
    /// One route of a router.
    Route, RouteId, "route";
    /// A layer 3 virtual router.
    Router, RouterId, "router";
    /// One rule of a chain. Rules are stored inside their chain.
    Rule, RuleId, "rule";
    /// What the whole cloud is in. There is one.
    SystemState, SystemStateId, "system state";
    /// A set of hosts that tunnel to one another.
    TunnelZone, TunnelZoneId, "tunnel zone";
    /// A virtual address whose connections a pool takes.
    Vip, VipId, "VIP";
}
