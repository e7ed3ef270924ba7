//! Routers.

use mn_ids::{ChainId, Id, LoadBalancerId, MirrorId, Object, OnDelete, Reference, RouterId};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, yes};

/// A layer 3 virtual router (`DV-*`). Its routes are objects of their own.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Router {
    pub id: RouterId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<ChainId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<ChainId>,
    /// Its load balancer, which names this router too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_id: Option<LoadBalancerId>,
    /// Mirrors of what comes in, before the inbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound_mirror_ids: Vec<MirrorId>,
    /// Mirrors of what goes out, after the outbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound_mirror_ids: Vec<MirrorId>,
    /// The autonomous system number; 0 for none.
    #[serde(default)]
    pub as_number: u32,
    #[serde(default, skip_serializing_if = "Ecmp::is_flow")]
    pub ecmp: Ecmp,
}

/// By what a router chooses among routes that are equally good (`EC-*`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ecmp {
    /// By the ends of a connection in the order that the packet has them.
    #[default]
    Flow,
    /// By the ends without their order: packets and their answers choose alike.
    Symmetric,
}

impl Ecmp {
    const fn is_flow(&self) -> bool {
        matches!(self, Self::Flow)
    }
}

impl Router {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_name(self.name.as_deref())
    }

    /// The filters of what comes in and of what goes out.
    #[must_use]
    pub const fn filters(&self) -> [Option<ChainId>; 2] {
        [self.inbound_filter_id, self.outbound_filter_id]
    }

    /// The mirrors of what comes in and of what goes out.
    #[must_use]
    pub fn mirrors(&self) -> [&[MirrorId]; 2] {
        [&self.inbound_mirror_ids, &self.outbound_mirror_ids]
    }
}

impl Object for Router {
    type Kind = mn_ids::Router;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default()
            .to("inbound_filter_id", self.inbound_filter_id, OnDelete::Clear)
            .to("outbound_filter_id", self.outbound_filter_id, OnDelete::Clear)
            .to("load_balancer_id", self.load_balancer_id, OnDelete::Clear)
            .to("inbound_mirror_ids", self.inbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .to("outbound_mirror_ids", self.outbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .done()
    }
}
