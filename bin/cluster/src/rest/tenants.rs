//! The tenants the authentication service knows.

use std::sync::Arc;

use mn_api_types::{Media, Tenant};

use super::call::{Answer, Call};
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::TENANT, &Tenant::DESCRIPTION)
        .top("tenants", Some("tenants"), Some("tenantTemplate"))
        .list("/tenants", list)
        .query(&["marker", "limit"])
        .read("/tenants/{id}", read)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let tenants = call.settings.auth.tenants().await?;
    Ok(Answer::many(tenants.into_iter().map(|tenant| with_links(tenant, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = call.segment("id")?;
    let tenants = call.settings.auth.tenants().await?;
    let found = tenants.into_iter().find(|tenant| tenant.id.as_deref() == Some(id));
    let tenant = found.ok_or_else(|| Problem::missing(format_args!("tenant {id}")))?;
    Ok(Answer::one(&with_links(tenant, &call.links)))
}

fn with_links(tenant: Tenant, links: &Links) -> Tenant {
    let id = tenant.id.clone().unwrap_or_default();
    let filtered = |list: &str| Some(links.to(format_args!("/{list}?tenant_id={id}")));
    Tenant {
        uri: Some(links.to(format_args!("/tenants/{id}"))),
        routers: filtered("routers"),
        bridges: filtered("bridges"),
        chains: filtered("chains"),
        port_groups: filtered("port_groups"),
        ..tenant
    }
}
