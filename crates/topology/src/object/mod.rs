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
mod l2_insertion;
mod load_balancer;
mod mirror;
mod pool;
mod pool_member;
mod port;
mod qos_policy;
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
pub use l2_insertion::L2Insertion;
pub use load_balancer::LoadBalancer;
pub use mirror::Mirror;
pub use pool::{IpVersion, LbMethod, LbProtocol, Pool};
pub use pool_member::{Health, PoolMember};
pub use port::{Binding, DeviceId, IfAddr, NotLinkable, Port, PortKind, RaMode, RouterPort};
pub use qos_policy::{BandwidthLimit, QosDirection, QosPolicy, QosRule, QosRuleKind};
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
        self,
        field: &str,
        ids: impl IntoIterator<Item = Id<K>>,
        on_delete: OnDelete,
    ) -> Self {
        self.named(|| field.to_owned(), ids, on_delete)
    }

    /// References by a field of a part of the object.
    pub(crate) fn at<K: Kind>(
        self,
        part: &str,
        field: &str,
        ids: impl IntoIterator<Item = Id<K>>,
        on_delete: OnDelete,
    ) -> Self {
        self.named(|| format!("{part}.{field}"), ids, on_delete)
    }

    /// The field is named only where there is something to refer to: most fields of most rules are
    /// empty.
    fn named<K: Kind>(
        mut self,
        field: impl Fn() -> String,
        ids: impl IntoIterator<Item = Id<K>>,
        on_delete: OnDelete,
    ) -> Self {
        let reference = |id: Id<K>| Reference { field: field(), to: id.into(), on_delete };
        self.0.extend(ids.into_iter().map(reference));
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
