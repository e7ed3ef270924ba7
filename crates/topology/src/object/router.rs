//! Routers.

use mn_ids::{ChainId, Id, Object, OnDelete, Reference, RouterId};
use serde::{Deserialize, Serialize};

use super::{References, yes};

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
    /// The autonomous system number; 0 for none.
    #[serde(default)]
    pub as_number: u32,
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
            .done()
    }
}
