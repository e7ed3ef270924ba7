//! Load balancers.

use mn_ids::{Id, LoadBalancerId, Object, OnDelete, Reference, RouterId};
use serde::{Deserialize, Serialize};

use super::{References, yes};

/// Virtual addresses on the way through a router (`LB-01`). Its pools and virtual addresses are
/// objects of their own that refer to it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LoadBalancer {
    pub id: LoadBalancerId,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    /// The router it acts on, which names this load balancer too. The router cannot be deleted
    /// while it has a load balancer (api-facts §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<RouterId>,
}

impl Object for LoadBalancer {
    type Kind = mn_ids::LoadBalancer;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default().to("router_id", self.router_id, OnDelete::Refuse).done()
    }
}
