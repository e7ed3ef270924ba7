//! Load balancers, and which router each is attached to.

use mn_api_types::{self as api, Media};
use mn_ids::{LoadBalancerId, RouterId};
use mn_topology::{LoadBalancer, Router};

use super::call::Call;
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::LOAD_BALANCER, &api::LoadBalancer::DESCRIPTION)
        .top("load_balancers", Some("loadBalancers"), Some("loadBalancerTemplate"))
        .list("/load_balancers", list::<LoadBalancer>)
        .create("/load_balancers", create::<LoadBalancer>)
        .read("/load_balancers/{id}", read::<LoadBalancer>)
        .update("/load_balancers/{id}", update::<LoadBalancer>)
        .delete("/load_balancers/{id}", delete_if_there::<LoadBalancer>)
}

impl Exposed for LoadBalancer {
    type Document = api::LoadBalancer;
    const COLLECTION: &'static str = "load_balancers";

    fn chosen_id(sent: &api::LoadBalancer) -> Option<LoadBalancerId> {
        sent.id
    }

    /// The router says which load balancer it has, not the other way round (api-facts §4.10).
    fn from_document(
        id: LoadBalancerId,
        sent: api::LoadBalancer,
        old: Option<Self>,
    ) -> Result<Self, Problem> {
        let router_id = old.and_then(|old| old.router_id);
        if sent.router_id != router_id {
            let value = sent.router_id.map(|id| id.to_string());
            let reason = "is not set here: a router's loadBalancerId attaches a load balancer";
            return Err(Problem::field("routerId", value, reason));
        }
        Ok(Self { id, admin_state_up: sent.admin_state_up, router_id })
    }

    fn to_document(&self, links: &Links) -> api::LoadBalancer {
        let uri = links.object("load_balancers", self.id);
        api::LoadBalancer {
            id: Some(self.id),
            router_id: self.router_id,
            admin_state_up: self.admin_state_up,
            router: links.maybe("routers", self.router_id),
            pools: Some(format!("{uri}/pools")),
            vips: Some(format!("{uri}/vips")),
            uri: Some(uri),
        }
    }
}

/// Adds to a transaction that writes a router what attaches its load balancer, and detaches the one
/// it had.
pub async fn attach(call: &Call, router: &Router, changes: Changes) -> Result<Changes, Problem> {
    let old = call.db.find::<Router>(router.id).await?;
    let had = old.and_then(|found| found.object.load_balancer_id);
    if had == router.load_balancer_id {
        return Ok(changes);
    }
    let mut changes = changes;
    if let Some(had) = had
        && let Some(found) = call.db.find::<LoadBalancer>(had).await?
    {
        changes = changes.update(&of_router(found, None));
    }
    let Some(id) = router.load_balancer_id else { return Ok(changes) };
    let found = call.db.find::<LoadBalancer>(id).await?;
    let found =
        found.ok_or_else(|| Problem::dangling("loadBalancerId", id.uuid(), "load balancer"))?;
    if let Some(other) = found.object.router_id {
        let reason = format!("is the load balancer of router {other} already");
        return Err(Problem::taken("loadBalancerId", id.to_string(), reason));
    }
    Ok(changes.update(&of_router(found, Some(router.id))))
}

fn of_router(found: Found<LoadBalancer>, router_id: Option<RouterId>) -> Found<LoadBalancer> {
    found.map(|balancer| LoadBalancer { router_id, ..balancer })
}
