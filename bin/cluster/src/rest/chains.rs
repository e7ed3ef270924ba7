//! Chains. With a chain go its rules and the jumps to it; devices that pass it pass nothing instead.

use mn_api_types::{self as api, Media};
use mn_ids::ChainId;
use mn_topology::Chain;

use super::call::Call;
use super::endpoint::Resource;
use super::exposed::{Exposed, Filter, create, delete, list, read};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::CHAIN, &api::Chain::DESCRIPTION)
        .top("chains", Some("chains"), Some("chainTemplate"))
        .list("/chains", list::<Chain>)
        .query(&["tenant_id"])
        .create("/chains", create::<Chain>)
        .read("/chains/{id}", read::<Chain>)
        .delete("/chains/{id}", delete::<Chain>)
}

impl Exposed for Chain {
    type Document = api::Chain;
    const COLLECTION: &'static str = "chains";

    fn chosen_id(sent: &api::Chain) -> Option<ChainId> {
        sent.id
    }

    fn from_document(id: ChainId, sent: api::Chain, _old: Option<Self>) -> Result<Self, Problem> {
        let (tenant_id, name) = (sent.tenant_id, sent.name);
        let chain = Self { id, tenant_id, name, rules: Vec::new(), segments: Vec::new() };
        chain.validate()?;
        Ok(chain)
    }

    fn wanted(call: &Call) -> Result<Filter<'_, Self>, Problem> {
        Ok(Box::new(|object| call.wants_tenant(object.tenant_id.as_deref())))
    }

    fn to_document(&self, links: &Links) -> api::Chain {
        let uri = links.object("chains", self.id);
        api::Chain {
            id: Some(self.id),
            tenant_id: self.tenant_id.clone(),
            name: self.name.clone(),
            rules: Some(format!("{uri}/rules")),
            uri: Some(uri),
        }
    }
}
