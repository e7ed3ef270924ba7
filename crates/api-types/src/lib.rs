//! What travels over the REST API: one structure a resource, and the names it has there.
//!
//! Field names, media types and words are spelled here and nowhere else. Each structure describes
//! itself ([`Described`]), so that the server's OpenAPI document, the reading of input and the
//! client's own checks follow from the same lines. On output every field is there, `null` where it
//! is unset, except the few that are marked as additions (they appear only when set).

#[macro_use]
mod describe;

mod bridge;
mod chain;
mod condition;
mod dhcp;
mod dhcp_v6;
mod fault;
mod group;
mod host;
pub mod input;
mod l2_insertion;
mod load_balancing;
mod mac_mask;
mod media;
mod mirror;
mod port;
mod qos;
mod route;
mod router;
mod rule;
mod session;
mod table;
mod tunnel_zone;
pub mod walk;

pub use bridge::Bridge;
pub use chain::Chain;
pub use condition::{Condition, FragmentPolicy, Range};
pub use describe::{Described, Description, Field, Shape};
pub use dhcp::{DhcpHost, DhcpOption, DhcpRoute, DhcpSubnet};
pub use dhcp_v6::{DhcpV6Host, DhcpV6Subnet};
pub use fault::{Fault, Violation};
pub use group::{IpAddrGroup, IpAddrGroupAddr, IpAddrPorts, PortGroup, PortGroupPort};
pub use host::{Host, HostInterfacePort, Interface};
pub use l2_insertion::L2Insertion;
pub use load_balancing::{
    HealthMonitor, HealthMonitorType, LbMethod, LbProtocol, LbStatus, LoadBalancer, Pool,
    PoolMember, SessionPersistence, Vip,
};
pub use mac_mask::MacMask;
pub use media::{JSON, Media, MediaError, MediaForm, MediaType};
pub use mirror::Mirror;
pub use port::{Port, PortLink, PortType, RaMode};
pub use qos::{QosBwLimitRule, QosDirection, QosDscpRule, QosPolicy, QosRule, QosRuleType};
pub use route::{Route, RouteType};
pub use router::{EcmpMode, Router};
pub use rule::{FlowAction, NatTarget, Rule, RuleType};
pub use session::{Availability, SystemActivity, SystemState, Tenant, Token};
pub use table::{ArpEntry, MacPort};
pub use tunnel_zone::{TunnelZone, TunnelZoneHost, TunnelZoneType};
