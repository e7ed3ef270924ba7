//! IP address groups and their addresses.

use std::net::IpAddr;
use std::sync::Arc;

use mn_api_types::{self as api, IpAddrGroupAddr, IpAddrPorts, Media};
use mn_ids::IpAddrGroupId;
use mn_topology::IpAddrGroup;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::IP_ADDR_GROUP, &api::IpAddrGroup::DESCRIPTION)
        .top("ip_addr_groups", Some("ipAddrGroups"), Some("ipAddrGroupTemplate"))
        .list("/ip_addr_groups", list::<IpAddrGroup>)
        .create("/ip_addr_groups", create::<IpAddrGroup>)
        .read("/ip_addr_groups/{id}", read::<IpAddrGroup>)
        .delete("/ip_addr_groups/{id}", delete_if_there::<IpAddrGroup>)
}

pub fn addr_resource() -> Resource {
    Resource::new(Media::IP_ADDR_GROUP_ADDR, &IpAddrGroupAddr::DESCRIPTION)
        .list("/ip_addr_groups/{id}/ip_addrs", list_addrs)
        .create("/ip_addr_groups/{id}/ip_addrs", add_addr)
        .read("/ip_addr_groups/{id}/versions/{version}/ip_addrs/{addr}", read_addr)
        .delete("/ip_addr_groups/{id}/versions/{version}/ip_addrs/{addr}", remove_addr)
}

async fn list_addrs(call: Arc<Call>) -> Result<Answer, Problem> {
    let group = call.db.get::<IpAddrGroup>(call.id("id")?).await?.object;
    Ok(Answer::many(group.addrs.iter().map(|addr| addr_to_api(&call.links, group.id, *addr))))
}

async fn add_addr(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut group = call.db.get::<IpAddrGroup>(call.id("id")?).await?;
    let sent: IpAddrGroupAddr = call.input()?;
    let addr = sent.addr.ok_or_else(|| Problem::required("addr"))?;
    if let Some(told) = sent.version.filter(|told| *told != version(addr)) {
        return Err(Problem::field(
            "version",
            told,
            format!("{addr} is of version {}", version(addr)),
        ));
    }
    let Err(place) = group.object.addrs.binary_search(&addr) else {
        return Err(Problem::taken("addr", addr.to_string(), "is in the group already"));
    };
    group.object.addrs.insert(place, addr);
    call.db.commit(Changes::default().update(&group)).await?;
    Ok(Answer::Created(addr_uri(&call.links, group.object.id, addr)))
}

async fn read_addr(call: Arc<Call>) -> Result<Answer, Problem> {
    let (group, addr) = addr_in_path(&call).await?;
    match group.object.addrs.binary_search(&addr) {
        Ok(_) => Ok(Answer::one(&addr_to_api(&call.links, group.object.id, addr))),
        Err(_) => Err(Problem::missing(format_args!("address {addr} of the group"))),
    }
}

async fn remove_addr(call: Arc<Call>) -> Result<Answer, Problem> {
    let (mut group, addr) = addr_in_path(&call).await?;
    if let Ok(place) = group.object.addrs.binary_search(&addr) {
        group.object.addrs.remove(place);
        call.db.commit(Changes::default().update(&group)).await?;
    }
    Ok(Answer::Done)
}

async fn addr_in_path(call: &Call) -> Result<(Found<IpAddrGroup>, IpAddr), Problem> {
    let group = call.db.get::<IpAddrGroup>(call.id("id")?).await?;
    let told: u8 = call.parsed("version", "an IP version")?;
    let addr: IpAddr = call.parsed("addr", "an IP address")?;
    if told != version(addr) {
        return Err(Problem::bad_request(format!("{addr} is not of IP version {told}")));
    }
    Ok((group, addr))
}

const fn version(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 4 } else { 6 }
}

impl Exposed for IpAddrGroup {
    type Document = api::IpAddrGroup;
    const COLLECTION: &'static str = "ip_addr_groups";

    fn chosen_id(sent: &api::IpAddrGroup) -> Option<IpAddrGroupId> {
        sent.id
    }

    fn from_document(
        id: IpAddrGroupId,
        sent: api::IpAddrGroup,
        old: Option<Self>,
    ) -> Result<Self, Problem> {
        let name = sent.name.ok_or_else(|| Problem::required("name"))?;
        let group = Self { id, name, addrs: old.map(|old| old.addrs).unwrap_or_default() };
        group.validate()?;
        Ok(group)
    }

    fn to_document(&self, links: &Links) -> api::IpAddrGroup {
        let uri = links.object("ip_addr_groups", self.id);
        let ports = |addr: &IpAddr| IpAddrPorts { ip_address: Some(*addr), port_ids: Vec::new() };
        api::IpAddrGroup {
            id: Some(self.id),
            name: Some(self.name.clone()),
            ip_addr_ports: self.addrs.iter().map(ports).collect(),
            addrs: Some(format!("{uri}/ip_addrs")),
            uri: Some(uri),
        }
    }
}

fn addr_to_api(links: &Links, group: IpAddrGroupId, addr: IpAddr) -> IpAddrGroupAddr {
    IpAddrGroupAddr {
        addr: Some(addr),
        version: Some(version(addr)),
        ip_addr_group_id: Some(group),
        uri: Some(addr_uri(links, group, addr)),
        ip_addr_group: Some(links.object("ip_addr_groups", group)),
    }
}

/// Colons are written as `%3A`, as clients know it; plain ones are understood too.
fn addr_uri(links: &Links, group: IpAddrGroupId, addr: IpAddr) -> String {
    let group = links.object("ip_addr_groups", group);
    format!("{group}/versions/{}/ip_addrs/{}", version(addr), addr.to_string().replace(':', "%3A"))
}
