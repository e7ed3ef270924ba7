//! Tunnel zones and the hosts in them.

use std::sync::Arc;

use mn_api_types::{self as api, Media, TunnelZoneHost, TunnelZoneType};
use mn_ids::{HostId, TunnelZoneId};
use mn_topology::{TunnelZone, TunnelZoneKind, TunnelZoneMember};

use super::call::{Answer, Call};
use super::db::{Changes, Db};
use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::TUNNEL_ZONE, &api::TunnelZone::DESCRIPTION)
        .top("tunnel_zones", Some("tunnelZones"), Some("tunnelZoneTemplate"))
        .list("/tunnel_zones", list::<TunnelZone>)
        .create("/tunnel_zones", create::<TunnelZone>)
        .read("/tunnel_zones/{id}", read::<TunnelZone>)
        .update("/tunnel_zones/{id}", update::<TunnelZone>)
        .delete("/tunnel_zones/{id}", delete_if_there::<TunnelZone>)
}

pub fn host_resource() -> Resource {
    Resource::new(Media::TUNNEL_ZONE_HOST, &TunnelZoneHost::DESCRIPTION)
        .list("/tunnel_zones/{id}/hosts", list_hosts)
        .create("/tunnel_zones/{id}/hosts", add_host)
        .read("/tunnel_zones/{id}/hosts/{host}", read_host)
        .delete("/tunnel_zones/{id}/hosts/{host}", remove_host)
        .explicit()
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

impl Exposed for TunnelZone {
    type Document = api::TunnelZone;
    const COLLECTION: &'static str = "tunnel_zones";

    fn chosen_id(sent: &api::TunnelZone) -> Option<TunnelZoneId> {
        sent.id
    }

    /// Its members stay.
    fn from_document(
        id: TunnelZoneId,
        sent: api::TunnelZone,
        old: Option<Self>,
    ) -> Result<Self, Problem> {
        let kind = match sent.kind.ok_or_else(|| Problem::required("type"))? {
            TunnelZoneType::Gre => TunnelZoneKind::Gre,
            TunnelZoneType::Vxlan => TunnelZoneKind::Vxlan,
            TunnelZoneType::Vtep => TunnelZoneKind::Vtep,
        };
        let name = sent.name.ok_or_else(|| Problem::required("name"))?;
        let members = old.map(|old| old.members).unwrap_or_default();
        let zone = Self { id, name, kind, members };
        zone.validate()?;
        Ok(zone)
    }

    async fn fit(&self, call: &Call, changes: Changes) -> Result<Changes, Problem> {
        refuse_name(&call.db, self).await?;
        Ok(changes)
    }

    fn to_document(&self, links: &Links) -> api::TunnelZone {
        let uri = links.object("tunnel_zones", self.id);
        let kind = match self.kind {
            TunnelZoneKind::Gre => TunnelZoneType::Gre,
            TunnelZoneKind::Vxlan => TunnelZoneType::Vxlan,
            TunnelZoneKind::Vtep => TunnelZoneType::Vtep,
        };
        api::TunnelZone {
            id: Some(self.id),
            name: Some(self.name.clone()),
            kind: Some(kind),
            hosts: Some(format!("{uri}/hosts")),
            uri: Some(uri),
        }
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
