//! Routes of routers.

use core::net::IpAddr;

use mn_ids::{Id, Object, OnDelete, PortId, Reference, RouteId, RouterId};
use mn_packet::IpPrefix;
use serde::{Deserialize, Serialize};

use super::{Invalid, References};

/// One route of a router (`RT-*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Route {
    pub id: RouteId,
    pub router_id: RouterId,
    /// The sources it is for; of the same version as `dst`.
    pub src: IpPrefix,
    pub dst: IpPrefix,
    #[serde(flatten)]
    pub target: RouteTarget,
    /// Of the routes with the longest matching `dst` and `src`, the lowest weight wins.
    #[serde(default)]
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<String>,
    /// Learned from a routing protocol, not drawn.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub learned: bool,
    /// Names what the route leads through, where equal routes of two routers lead to the two sides
    /// of the same machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RouteTarget {
    /// Sends it out of a port, to a gateway or to the destination itself.
    Normal {
        next_hop_port: PortId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<IpAddr>,
    },
    /// Drops it without a word.
    Blackhole,
    /// Drops it and answers with ICMP.
    Reject,
    /// It is for an address of this router's own port.
    Local { next_hop_port: PortId },
}

impl Route {
    /// The port it leaves by or is local to.
    #[must_use]
    pub const fn port(&self) -> Option<PortId> {
        match self.target {
            RouteTarget::Normal { next_hop_port, .. } | RouteTarget::Local { next_hop_port } => {
                Some(next_hop_port)
            }
            RouteTarget::Blackhole | RouteTarget::Reject => None,
        }
    }
}

impl Route {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        let is_v4 = self.dst.network().is_ipv4();
        let same = self.src.network().is_ipv4() == is_v4;
        Invalid::unless(same, "src", self.src, "is of another IP version than the destination")?;
        if let Some(path) = self.path.as_deref() {
            let fits = (1..=Invalid::NAME_MAX).contains(&path.chars().count());
            Invalid::unless(fits, "path", path, "must have 1 to 255 characters")?;
        }
        let RouteTarget::Normal { gateway: Some(gateway), .. } = self.target else {
            return Ok(());
        };
        let same = gateway.is_ipv4() == is_v4;
        Invalid::unless(same, "gateway", gateway, "is of another IP version than the destination")?;
        let usable = !(gateway.is_unspecified() || gateway.is_multicast());
        Invalid::unless(usable, "gateway", gateway, "is no address of a router")
    }
}

impl Object for Route {
    type Kind = mn_ids::Route;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("router_id", [self.router_id], OnDelete::Cascade)
            .to("next_hop_port", self.port(), OnDelete::Cascade)
            .done()
    }
}
