//! Routers.

use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::RouterId;
use mn_topology::Router;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::ROUTER, &api::Router::DESCRIPTION)
        .top("routers", Some("routers"), Some("routerTemplate"))
        .list("/routers", list)
        .query(&["tenant_id"])
        .create("/routers", create)
        .read("/routers/{id}", read)
        .update("/routers/{id}", update)
        .delete("/routers/{id}", delete)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let routers = call.db.list::<Router>().await?;
    let routers = routers.iter().map(|found| &found.object);
    let wanted = routers.filter(|router| call.wants_tenant(router.tenant_id.as_deref()));
    Ok(Answer::many(wanted.map(|router| to_api(router, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let router = call.db.get::<Router>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&router.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::Router = call.input()?;
    let router = from_api(sent.id.unwrap_or_else(RouterId::random), sent)?;
    call.db.commit(Changes::default().create(&router)).await?;
    Ok(Answer::Created(call.links.object("routers", router.id)))
}

async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<Router>(call.id("id")?).await?;
    let object = from_api(found.object.id, call.input()?)?;
    call.db.commit(Changes::default().update(&Found { object, ..found })).await?;
    Ok(Answer::Done)
}

/// A router that is not there is deleted already (api-facts §1.5).
async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: RouterId = call.id("id")?;
    if call.db.find::<Router>(id).await?.is_some() {
        call.db.commit(Changes::default().delete(id)).await?;
    }
    Ok(Answer::Done)
}

fn from_api(id: RouterId, sent: api::Router) -> Result<Router, Problem> {
    let router = Router {
        id,
        tenant_id: sent.tenant_id,
        name: sent.name,
        admin_state_up: sent.admin_state_up,
        inbound_filter_id: sent.inbound_filter_id,
        outbound_filter_id: sent.outbound_filter_id,
        as_number: sent.as_number,
    };
    router.validate()?;
    Ok(router)
}

fn to_api(router: &Router, links: &Links) -> api::Router {
    let uri = links.object("routers", router.id);
    let below = |path: &str| Some(format!("{uri}/{path}"));
    api::Router {
        id: Some(router.id),
        tenant_id: router.tenant_id.clone(),
        name: router.name.clone(),
        admin_state_up: router.admin_state_up,
        inbound_filter_id: router.inbound_filter_id,
        outbound_filter_id: router.outbound_filter_id,
        as_number: router.as_number,
        inbound_filter: links.maybe("chains", router.inbound_filter_id),
        outbound_filter: links.maybe("chains", router.outbound_filter_id),
        ports: below("ports"),
        peer_ports: below("peer_ports"),
        routes: below("routes"),
        uri: Some(uri),
    }
}
