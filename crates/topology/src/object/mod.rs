//! The stored model. One file per object.
//!
//! Names of fields are those of the stored JSON. Optional fields that are unset are not stored.

mod bridge;
mod chain;
mod chain_segment;
mod condition;
mod dhcp;
mod dhcp_v6;
mod group;
mod health_monitor;
mod host;
mod invalid;
mod load_balancer;
mod mirror;
mod pool;
mod pool_member;
mod port;
mod route;
mod router;
mod rule;
mod system_state;
mod tunnel_zone;
mod vip;

pub use bridge::Bridge;
pub use chain::Chain;
pub use chain_segment::ChainSegment;
pub use condition::{Condition, FragmentPolicy, MaskedMac, PortRange, Test};
pub use dhcp::{DhcpHost, DhcpOption, DhcpSubnet, StaticRoute};
pub use dhcp_v6::{ClientId, ClientIdError, DhcpV6Host, DhcpV6Subnet};
pub use group::{IpAddrGroup, PortGroup};
pub use health_monitor::{
    Check, ExpectedCodes, ExpectedCodesError, HealthMonitor, UrlPath, UrlPathError,
};
pub use host::Host;
pub use invalid::Invalid;
pub use load_balancer::LoadBalancer;
pub use mirror::Mirror;
pub use pool::{IpVersion, LbMethod, LbProtocol, Pool};
pub use pool_member::{Health, PoolMember};
pub use port::{Binding, DeviceId, IfAddr, NotLinkable, Port, PortKind, RaMode, RouterPort};
pub use route::{Route, RouteTarget};
pub use router::{Ecmp, Router};
pub use rule::{NatTarget, Rule, RuleAction, Then};
pub use system_state::{Activity, Availability, SystemState};
pub use tunnel_zone::{TunnelZone, TunnelZoneKind, TunnelZoneMember};
pub use vip::{SessionPersistence, Vip};

use mn_ids::{Id, Kind, OnDelete, Reference};

/// `true`, for fields whose absence means that.
const fn yes() -> bool {
    true
}

/// Collects an object's references.
#[derive(Default)]
pub(crate) struct References(Vec<Reference>);

impl References {
    pub(crate) fn to<K: Kind>(
        mut self,
        field: &str,
        id: impl IntoIterator<Item = Id<K>>,
        on_delete: OnDelete,
    ) -> Self {
        self.0.extend(id.into_iter().map(|id| Reference {
            field: field.to_owned(),
            to: id.into(),
            on_delete,
        }));
        self
    }

    pub(crate) fn done(self) -> Vec<Reference> {
        self.0
    }
}

#[cfg(test)]
mod balancing_tests;
#[cfg(test)]
mod tests;
