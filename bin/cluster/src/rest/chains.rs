//! Chains.

use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::ChainId;
use mn_topology::Chain;

use super::call::{Answer, Call};
use super::db::Changes;
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::CHAIN, &api::Chain::DESCRIPTION)
        .top("chains", Some("chains"), Some("chainTemplate"))
        .list("/chains", list)
        .query(&["tenant_id"])
        .create("/chains", create)
        .read("/chains/{id}", read)
        .delete("/chains/{id}", delete)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let chains = call.db.list::<Chain>().await?;
    let chains = chains.iter().map(|found| &found.object);
    let wanted = chains.filter(|chain| call.wants_tenant(chain.tenant_id.as_deref()));
    Ok(Answer::many(wanted.map(|chain| to_api(chain, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let chain = call.db.get::<Chain>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&chain.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::Chain = call.input()?;
    let chain = Chain {
        id: sent.id.unwrap_or_else(ChainId::random),
        tenant_id: sent.tenant_id,
        name: sent.name,
        rules: Vec::new(),
    };
    chain.validate()?;
    call.db.commit(Changes::default().create(&chain)).await?;
    Ok(Answer::Created(call.links.object("chains", chain.id)))
}

/// Its rules go with it; so do jumps to it, and devices that pass it pass nothing instead.
async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: ChainId = call.id("id")?;
    call.db.commit(Changes::default().delete(id)).await?;
    Ok(Answer::Done)
}

fn to_api(chain: &Chain, links: &Links) -> api::Chain {
    let uri = links.object("chains", chain.id);
    api::Chain {
        id: Some(chain.id),
        tenant_id: chain.tenant_id.clone(),
        name: chain.name.clone(),
        rules: Some(format!("{uri}/rules")),
        uri: Some(uri),
    }
}
