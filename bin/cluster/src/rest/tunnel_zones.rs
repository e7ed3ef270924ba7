//! Tunnel zones and the hosts in them.

use std::sync::Arc;

use mn_api_types::{self as api, Media, TunnelZoneHost, TunnelZoneType};
use mn_ids::{HostId, TunnelZoneId};
use mn_topology::{TunnelZone, TunnelZoneKind, TunnelZoneMember};

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::TUNNEL_ZONE, &api::TunnelZone::DESCRIPTION)
        .top("tunnel_zones", Some("tunnelZones"), Some("tunnelZoneTemplate"))
        .list("/tunnel_zones", list)
        .create("/tunnel_zones", create)
        .read("/tunnel_zones/{id}", read)
        .update("/tunnel_zones/{id}", update)
        .delete("/tunnel_zones/{id}", delete)
}

pub fn host_resource() -> Resource {
    Resource::new(Media::TUNNEL_ZONE_HOST, &TunnelZoneHost::DESCRIPTION)
        .list("/tunnel_zones/{id}/hosts", list_hosts)
        .create("/tunnel_zones/{id}/hosts", add_host)
        .read("/tunnel_zones/{id}/hosts/{host}", read_host)
        .delete("/tunnel_zones/{id}/hosts/{host}", remove_host)
        .explicit()
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let zones = call.db.list::<TunnelZone>().await?;
    Ok(Answer::many(zones.iter().map(|found| to_api(&found.object, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let zone = call.db.get::<TunnelZone>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&zone.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::TunnelZone = call.input()?;
    let zone = from_api(sent.id.unwrap_or_else(TunnelZoneId::random), sent, Vec::new())?;
    refuse_name(&call.db, &zone).await?;
    call.db.commit(Changes::default().create(&zone)).await?;
    Ok(Answer::Created(call.links.object("tunnel_zones", zone.id)))
}

/// Its members stay.
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<TunnelZone>(call.id("id")?).await?;
    let object = from_api(found.object.id, call.input()?, found.object.members)?;
    refuse_name(&call.db, &object).await?;
    let found = Found { object, version: found.version };
    call.db.commit(Changes::default().update(&found)).await?;
    Ok(Answer::Done)
}

/// A zone that is not there is deleted already (api-facts §1.5).
async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: TunnelZoneId = call.id("id")?;
    if call.db.find::<TunnelZone>(id).await?.is_some() {
        call.db.commit(Changes::default().delete(id)).await?;
    }
    Ok(Answer::Done)
}

/// No two zones have one name.
async fn refuse_name(db: &Db, zone: &TunnelZone) -> Result<(), Problem> {
    let zones = db.list::<TunnelZone>().await?;
    let taken = zones.iter().map(|found| &found.object);
    match taken.into_iter().find(|other| other.id != zone.id && other.name == zone.name) {
        Some(other) => {
            let reason = format!("is the name of tunnel zone {} already", other.id);
            Err(Problem::taken("name", zone.name.as_str(), reason))
        }
        None => Ok(()),
    }
}

async fn list_hosts(call: Arc<Call>) -> Result<Answer, Problem> {
    let zone = call.db.get::<TunnelZone>(call.id("id")?).await?.object;
    Ok(Answer::many(zone.members.iter().map(|member| member_to_api(&call.links, zone.id, *member))))
}

async fn add_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut zone = call.db.get::<TunnelZone>(call.id("id")?).await?;
    let sent: TunnelZoneHost = call.input()?;
    let host_id = sent.host_id.ok_or_else(|| Problem::required("hostId"))?;
    let addr = sent.ip_address.ok_or_else(|| Problem::required("ipAddress"))?;
    if zone.object.members.iter().any(|member| member.host_id == host_id) {
        return Err(Problem::conflict("the host is a member already").bare());
    }
    zone.object.members.push(TunnelZoneMember { host_id, addr });
    zone.object.validate()?;
    call.db.commit(Changes::default().update(&zone)).await?;
    Ok(Answer::Created(member_uri(&call.links, zone.object.id, host_id)))
}

async fn read_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let zone = call.db.get::<TunnelZone>(call.id("id")?).await?.object;
    let host: HostId = call.id("host")?;
    let member = zone.members.iter().find(|member| member.host_id == host);
    let member = member.ok_or_else(|| Problem::missing("the member").bare())?;
    Ok(Answer::one(&member_to_api(&call.links, zone.id, *member)))
}

async fn remove_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut zone = call.db.get::<TunnelZone>(call.id("id")?).await?;
    let host: HostId = call.id("host")?;
    let members = &mut zone.object.members;
    let Some(place) = members.iter().position(|member| member.host_id == host) else {
        return Err(Problem::missing("the member").bare());
    };
    members.remove(place);
    call.db.commit(Changes::default().update(&zone)).await?;
    Ok(Answer::Done)
}

fn from_api(
    id: TunnelZoneId,
    sent: api::TunnelZone,
    members: Vec<TunnelZoneMember>,
) -> Result<TunnelZone, Problem> {
    let kind = match sent.kind.ok_or_else(|| Problem::required("type"))? {
        TunnelZoneType::Gre => TunnelZoneKind::Gre,
        TunnelZoneType::Vxlan => TunnelZoneKind::Vxlan,
        TunnelZoneType::Vtep => TunnelZoneKind::Vtep,
    };
    let name = sent.name.ok_or_else(|| Problem::required("name"))?;
    let zone = TunnelZone { id, name, kind, members };
    zone.validate()?;
    Ok(zone)
}

fn to_api(zone: &TunnelZone, links: &Links) -> api::TunnelZone {
    let uri = links.object("tunnel_zones", zone.id);
    let kind = match zone.kind {
        TunnelZoneKind::Gre => TunnelZoneType::Gre,
        TunnelZoneKind::Vxlan => TunnelZoneType::Vxlan,
        TunnelZoneKind::Vtep => TunnelZoneType::Vtep,
    };
    api::TunnelZone {
        id: Some(zone.id),
        name: Some(zone.name.clone()),
        kind: Some(kind),
        hosts: Some(format!("{uri}/hosts")),
        uri: Some(uri),
    }
}

fn member_uri(links: &Links, zone: TunnelZoneId, host: HostId) -> String {
    format!("{}/hosts/{host}", links.object("tunnel_zones", zone))
}

fn member_to_api(links: &Links, zone: TunnelZoneId, member: TunnelZoneMember) -> TunnelZoneHost {
    TunnelZoneHost {
        tunnel_zone_id: Some(zone),
        host_id: Some(member.host_id),
        ip_address: Some(member.addr),
        uri: Some(member_uri(links, zone, member.host_id)),
        host: Some(links.object("hosts", member.host_id)),
        tunnel_zone: Some(links.object("tunnel_zones", zone)),
    }
}
