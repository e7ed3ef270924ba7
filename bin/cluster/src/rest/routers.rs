//! Routers.

use mn_api_types::{self as api, Media};
use mn_ids::RouterId;
use mn_topology::{Ecmp, Router};

use super::call::Call;
use super::db::Changes;
use super::endpoint::Resource;
use super::exposed::{Exposed, Filter, create, delete_if_there, list, read, update};
use super::links::Links;
use super::load_balancers;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::ROUTER, &api::Router::DESCRIPTION)
        .top("routers", Some("routers"), Some("routerTemplate"))
        .list("/routers", list::<Router>)
        .query(&["tenant_id"])
        .create("/routers", create::<Router>)
        .read("/routers/{id}", read::<Router>)
        .update("/routers/{id}", update::<Router>)
        .delete("/routers/{id}", delete_if_there::<Router>)
}

impl Exposed for Router {
    type Document = api::Router;
    const COLLECTION: &'static str = "routers";

    fn chosen_id(sent: &api::Router) -> Option<RouterId> {
        sent.id
    }

    fn from_document(id: RouterId, sent: api::Router, _old: Option<Self>) -> Result<Self, Problem> {
        let router = Self {
            id,
            tenant_id: sent.tenant_id,
            name: sent.name,
            admin_state_up: sent.admin_state_up,
            inbound_filter_id: sent.inbound_filter_id,
            outbound_filter_id: sent.outbound_filter_id,
            load_balancer_id: sent.load_balancer_id,
            inbound_mirror_ids: sent.inbound_mirror_ids,
            outbound_mirror_ids: sent.outbound_mirror_ids,
            as_number: sent.as_number,
            ecmp: match sent.ecmp_mode {
                None | Some(api::EcmpMode::Flow) => Ecmp::Flow,
                Some(api::EcmpMode::Symmetric) => Ecmp::Symmetric,
            },
        };
        router.validate()?;
        Ok(router)
    }

    fn wanted(call: &Call) -> Result<Filter<'_, Self>, Problem> {
        Ok(Box::new(|object| call.wants_tenant(object.tenant_id.as_deref())))
    }

    async fn fit(&self, call: &Call, changes: Changes) -> Result<Changes, Problem> {
        load_balancers::attach(call, self, changes).await
    }

    fn to_document(&self, links: &Links) -> api::Router {
        let uri = links.object("routers", self.id);
        let below = |path: &str| Some(format!("{uri}/{path}"));
        api::Router {
            id: Some(self.id),
            tenant_id: self.tenant_id.clone(),
            name: self.name.clone(),
            admin_state_up: self.admin_state_up,
            inbound_filter_id: self.inbound_filter_id,
            outbound_filter_id: self.outbound_filter_id,
            load_balancer_id: self.load_balancer_id,
            inbound_mirror_ids: self.inbound_mirror_ids.clone(),
            outbound_mirror_ids: self.outbound_mirror_ids.clone(),
            as_number: self.as_number,
            ecmp_mode: match self.ecmp {
                Ecmp::Flow => None,
                Ecmp::Symmetric => Some(api::EcmpMode::Symmetric),
            },
            inbound_filter: links.maybe("chains", self.inbound_filter_id),
            outbound_filter: links.maybe("chains", self.outbound_filter_id),
            load_balancer: links.maybe("load_balancers", self.load_balancer_id),
            ports: below("ports"),
            peer_ports: below("peer_ports"),
            routes: below("routes"),
            uri: Some(uri),
        }
    }
}
