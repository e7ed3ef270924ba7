//! Bindings of ports to interfaces of hosts.

use std::sync::Arc;

use mn_api_types::{HostInterfacePort, Media};
use mn_ids::{HostId, PortId};
use mn_nsdb::{TableId, TableKind};
use mn_topology::{Host, Port};

use super::call::{Answer, Call};
use super::db::{Changes, Db};
use super::endpoint::Resource;
use super::in_path;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::HOST_INTERFACE_PORT, &HostInterfacePort::DESCRIPTION)
        .list("/hosts/{id}/ports", list)
        .create("/hosts/{id}/ports", bind)
        .read("/hosts/{id}/ports/{port}", read)
        .delete("/hosts/{id}/ports/{port}", unbind)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let host = in_path::host(&call).await?;
    let ports = call.db.referrers::<Port>(host).await?;
    let here = ports.iter().map(|found| &found.object).filter(|port| port.host_id == Some(host));
    Ok(Answer::many(here.map(|port| to_api(port, host, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let host = in_path::host(&call).await?;
    let port = call.db.get::<Port>(call.id("port")?).await?.object;
    if port.host_id != Some(host) {
        return Err(not_bound(port.id, host));
    }
    Ok(Answer::one(&to_api(&port, host, &call.links)))
}

/// A host in no tunnel zone may have ports too: it carries local traffic (contracts §5).
async fn bind(call: Arc<Call>) -> Result<Answer, Problem> {
    let host = in_path::host(&call).await?;
    let sent: HostInterfacePort = call.input()?;
    let id = sent.port_id.ok_or_else(|| Problem::required("portId"))?;
    let name = sent.interface_name.ok_or_else(|| Problem::required("interfaceName"))?;
    let mut port = call.db.get::<Port>(id).await?;
    if let Some(bound) = port.object.host_id {
        let reason = format!("is bound to host {bound} already");
        return Err(Problem::taken("portId", id.to_string(), reason));
    }
    if let Some(peer) = port.object.peer_id {
        let reason = format!("is linked with port {peer}");
        return Err(Problem::taken("portId", id.to_string(), reason));
    }
    (port.object.host_id, port.object.interface_name) = (Some(host), Some(name));
    port.object.validate()?;
    let changes = claim(&call.db, Changes::default(), &port.object, host).await?;
    call.db.commit(changes.update(&port)).await?;
    Ok(Answer::Created(uri(&call.links, host, id)))
}

/// The port remembers where it was.
async fn unbind(call: Arc<Call>) -> Result<Answer, Problem> {
    let host = in_path::host(&call).await?;
    let mut port = call.db.get::<Port>(call.id("port")?).await?;
    if port.object.host_id != Some(host) {
        return Err(not_bound(port.object.id, host));
    }
    (port.object.host_id, port.object.interface_name) = (None, None);
    port.object.previous_host_id = Some(host);
    let changes = Changes::default().update(&port);
    let changes = take_back_place(&call.db, changes, port.object.id, host).await?;
    call.db.commit(changes).await?;
    Ok(Answer::Done)
}

/// Takes back what a dead agent said of where a port is: no other host sends there any more (contracts
/// §1). An agent that is alive does that itself; if it were done for it and the port bound again at
/// once, it might never notice and not say it again.
async fn take_back_place(
    db: &Db,
    mut changes: Changes,
    port: PortId,
    host: HostId,
) -> Result<Changes, Problem> {
    if db.sessions().await?.iter().any(|session| session.host == host) {
        return Ok(changes);
    }
    let (table, key) = (TableId::global(TableKind::Location), port.to_string());
    for entry in db.entries_at(table, &key).await? {
        changes = changes.remove_entry_of(table, entry.key, entry.owner);
    }
    Ok(changes)
}

/// Takes an interface of a host for a port, if no other port has it.
///
/// The host is written unchanged: of two requests for one interface, one must see the other.
pub async fn claim(
    db: &Db,
    changes: Changes,
    port: &Port,
    host: HostId,
) -> Result<Changes, Problem> {
    let host = db.get::<Host>(host).await?;
    let name = port.interface_name.as_deref().unwrap_or_default();
    let others = db.referrers::<Port>(host.object.id).await?;
    let taken = others.iter().map(|found| &found.object).find(|other| {
        other.id != port.id
            && other.host_id == Some(host.object.id)
            && other.interface_name.as_deref() == Some(name)
    });
    match taken {
        Some(other) => {
            let reason = format!("is bound to port {} already", other.id);
            Err(Problem::taken("interfaceName", name, reason))
        }
        None => Ok(changes.update(&host)),
    }
}

fn not_bound(port: PortId, host: HostId) -> Problem {
    Problem::missing(format_args!("a binding of port {port} on host {host}"))
}

fn uri(links: &Links, host: HostId, port: PortId) -> String {
    format!("{}/ports/{port}", links.object("hosts", host))
}

fn to_api(port: &Port, host: HostId, links: &Links) -> HostInterfacePort {
    HostInterfacePort {
        host_id: Some(host),
        port_id: Some(port.id),
        interface_name: port.interface_name.clone(),
        uri: Some(uri(links, host, port.id)),
        host: Some(links.object("hosts", host)),
        port: Some(links.object("ports", port.id)),
    }
}
