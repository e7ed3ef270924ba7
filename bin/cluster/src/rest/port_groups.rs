//! Port groups and their members.

use std::sync::Arc;

use mn_api_types::{self as api, Media, PortGroupPort};
use mn_ids::{PortGroupId, PortId};
use mn_topology::{Port, PortGroup};

use super::call::{Answer, Call};
use super::db::Changes;
use super::endpoint::Resource;
use super::exposed::{Exposed, Filter, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::PORT_GROUP, &api::PortGroup::DESCRIPTION)
        .top("port_groups", Some("portGroups"), Some("portGroupTemplate"))
        .list("/port_groups", list::<PortGroup>)
        .query(&["tenant_id", "port_id"])
        .create("/port_groups", create::<PortGroup>)
        .read("/port_groups/{id}", read::<PortGroup>)
        .update("/port_groups/{id}", update::<PortGroup>)
        .delete("/port_groups/{id}", delete_if_there::<PortGroup>)
}

pub fn member_resource() -> Resource {
    Resource::new(Media::PORT_GROUP_PORT, &PortGroupPort::DESCRIPTION)
        .list("/port_groups/{id}/ports", list_members)
        .create("/port_groups/{id}/ports", add_member)
        .read("/port_groups/{id}/ports/{port}", read_member)
        .delete("/port_groups/{id}/ports/{port}", remove_member)
        .list("/ports/{id}/port_groups", list_groups_of_port)
}

async fn list_members(call: Arc<Call>) -> Result<Answer, Problem> {
    let group = call.db.get::<PortGroup>(call.id("id")?).await?.object;
    let members = group.port_ids.iter().map(|port| member(&call.links, group.id, *port));
    Ok(Answer::many(members))
}

async fn list_groups_of_port(call: Arc<Call>) -> Result<Answer, Problem> {
    let port = call.db.get::<Port>(call.id("id")?).await?.object.id;
    let groups = call.db.referrers::<PortGroup>(port).await?;
    Ok(Answer::many(groups.iter().map(|found| member(&call.links, found.object.id, port))))
}

async fn add_member(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut group = call.db.get::<PortGroup>(call.id("id")?).await?;
    let sent: PortGroupPort = call.input()?;
    let port = sent.port_id.ok_or_else(|| Problem::required("portId"))?;
    let Err(place) = group.object.port_ids.binary_search(&port) else {
        return Err(Problem::conflict("the port is a member already").bare());
    };
    group.object.port_ids.insert(place, port);
    call.db.commit(Changes::default().update(&group)).await?;
    let uri = format!("{}/ports/{port}", call.links.object("port_groups", group.object.id));
    Ok(Answer::Created(uri))
}

async fn read_member(call: Arc<Call>) -> Result<Answer, Problem> {
    let group = call.db.get::<PortGroup>(call.id("id")?).await?.object;
    let port: PortId = call.id("port")?;
    if !group.port_ids.contains(&port) {
        return Err(Problem::missing("the member").bare());
    }
    Ok(Answer::one(&member(&call.links, group.id, port)))
}

/// A member whose port is gone is gone already; a port that is no member is 404.
async fn remove_member(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut group = call.db.get::<PortGroup>(call.id("id")?).await?;
    let port: PortId = call.id("port")?;
    let Ok(place) = group.object.port_ids.binary_search(&port) else {
        return match call.db.find::<Port>(port).await? {
            Some(_) => Err(Problem::missing("the member").bare()),
            None => Ok(Answer::Done),
        };
    };
    group.object.port_ids.remove(place);
    call.db.commit(Changes::default().update(&group)).await?;
    Ok(Answer::Done)
}

impl Exposed for PortGroup {
    type Document = api::PortGroup;
    const COLLECTION: &'static str = "port_groups";

    fn chosen_id(sent: &api::PortGroup) -> Option<PortGroupId> {
        sent.id
    }

    /// Its members stay.
    fn from_document(
        id: PortGroupId,
        sent: api::PortGroup,
        old: Option<Self>,
    ) -> Result<Self, Problem> {
        let (tenant_id, name, stateful) = (sent.tenant_id, sent.name, sent.stateful);
        let port_ids = old.map(|old| old.port_ids).unwrap_or_default();
        let group = Self { id, tenant_id, name, stateful, port_ids };
        group.validate()?;
        Ok(group)
    }

    fn wanted(call: &Call) -> Result<Filter<'_, Self>, Problem> {
        let wrong =
            |text| Problem::bad_request(format!("port_id {text:?} is not the UUID of a port"));
        let port: Option<PortId> = match call.query("port_id") {
            Some(text) => Some(text.parse().map_err(|_| wrong(text))?),
            None => None,
        };
        Ok(Box::new(move |group| {
            call.wants_tenant(group.tenant_id.as_deref())
                && port.is_none_or(|port| group.port_ids.contains(&port))
        }))
    }

    fn to_document(&self, links: &Links) -> api::PortGroup {
        let uri = links.object("port_groups", self.id);
        api::PortGroup {
            id: Some(self.id),
            tenant_id: self.tenant_id.clone(),
            name: self.name.clone(),
            stateful: self.stateful,
            ports: Some(format!("{uri}/ports")),
            uri: Some(uri),
        }
    }
}

fn member(links: &Links, group: PortGroupId, port: PortId) -> PortGroupPort {
    let group_uri = links.object("port_groups", group);
    PortGroupPort {
        port_group_id: Some(group),
        port_id: Some(port),
        uri: Some(format!("{group_uri}/ports/{port}")),
        port: Some(links.object("ports", port)),
        port_group: Some(group_uri),
    }
}
