//! Ports of bridges and routers.

use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{Object, PortId};
use mn_nsdb::{TableId, TableKind};
use mn_topology::{DeviceId, Port, PortKind};

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::port_conversion::{from_api, to_api};
use super::problem::Problem;
use super::{bindings, hosts, in_path, local_routes, peering, tables, vlans};

/// The sequence that ports' numbers are from.
const TUNNEL_KEYS: &str = "tunnel_key";

pub fn resource() -> Resource {
    Resource::new(Media::PORT, &api::Port::DESCRIPTION)
        .top("ports", Some("ports"), Some("portTemplate"))
        .list("/ports", list)
        .read("/ports/{id}", read)
        .update("/ports/{id}", update)
        .delete("/ports/{id}", delete)
        .list("/bridges/{id}/ports", list_of_bridge)
        .create("/bridges/{id}/ports", create_on_bridge)
        .list("/bridges/{id}/peer_ports", list_peers_of_bridge)
        .list("/bridges/{id}/vxlan_ports", list_vxlan_ports)
        .list("/routers/{id}/ports", list_of_router)
        .create("/routers/{id}/ports", create_on_router)
        .list("/routers/{id}/peer_ports", list_peers_of_router)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let ports = call.db.list::<Port>().await?;
    show(&call, ports).await
}

async fn list_of_bridge(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::bridge(&call).await?;
    show(&call, call.db.referrers::<Port>(id).await?).await
}

async fn list_of_router(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::router(&call).await?;
    show(&call, call.db.referrers::<Port>(id).await?).await
}

async fn list_peers_of_bridge(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::bridge(&call).await?;
    peers(&call, call.db.referrers::<Port>(id).await?).await
}

async fn list_peers_of_router(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::router(&call).await?;
    peers(&call, call.db.referrers::<Port>(id).await?).await
}

/// Ports to VTEPs come with VTEPs: until then no bridge has any.
async fn list_vxlan_ports(call: Arc<Call>) -> Result<Answer, Problem> {
    in_path::bridge(&call).await?;
    Ok(Answer::many::<api::Port>([]))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let port = call.db.get::<Port>(call.id("id")?).await?;
    let active = hosts::active_ports(&call.db, [&port.object]).await?;
    Ok(Answer::one(&to_api(&port.object, &active, &call.links)))
}

async fn create_on_bridge(call: Arc<Call>) -> Result<Answer, Problem> {
    let device = DeviceId::Bridge(in_path::bridge(&call).await?);
    create(&call, device).await
}

async fn create_on_router(call: Arc<Call>) -> Result<Answer, Problem> {
    let device = DeviceId::Router(in_path::router(&call).await?);
    create(&call, device).await
}

async fn create(call: &Call, device: DeviceId) -> Result<Answer, Problem> {
    let sent: api::Port = call.input()?;
    let id = sent.id.unwrap_or_else(PortId::random);
    let mut port = from_api(id, device, None, sent)?;
    port.validate()?;
    let (peer, binding) = (port.peer_id.take(), port.host_id);
    let mut changes = Changes::default();
    if let Some(host) = binding {
        changes = bindings::claim(&call.db, changes, &port, host).await?;
    }
    let peer = peering::free_peer(&call.db, &port, peer).await?;
    port.peer_id = peer.as_ref().map(|peer| peer.object.id);
    port.tunnel_key = call.db.next_number(TUNNEL_KEYS).await?;
    changes = changes.create(&port);
    if let Some(peer) = peer {
        let peer = peering::linked(peer, id);
        changes = vlans::claim(&call.db, changes, &port).await?;
        changes = vlans::claim(&call.db, changes.update(&peer), &peer.object).await?;
    }
    changes = local_routes::of_new_port(changes, &port);
    call.db.commit(changes).await?;
    Ok(Answer::Created(call.links.object("ports", id)))
}

/// A binding or a link can be made here, never undone (api-facts §4.3).
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<Port>(call.id("id")?).await?;
    let old = found.object;
    let mut port = from_api(old.id, old.device(), Some(&old), call.input()?)?;
    let mut changes = Changes::default();
    let peer = if old.peer_id.is_none() { port.peer_id.take() } else { None };
    port.validate()?;
    if let (None, Some(host)) = (old.host_id, port.host_id) {
        changes = bindings::claim(&call.db, changes, &port, host).await?;
    }
    if let Some(peer) = peering::free_peer(&call.db, &port, peer).await? {
        port.peer_id = Some(peer.object.id);
        let peer = peering::linked(peer, port.id);
        changes = vlans::claim(&call.db, changes.update(&peer), &peer.object).await?;
    }
    if (port.peer_id, port.vlan()) != (old.peer_id, old.vlan()) {
        changes = vlans::claim(&call.db, changes, &port).await?;
    }
    changes = local_routes::of_changed_port(&call.db, changes, &old, &port).await?;
    changes = changes.update(&Found { object: port, version: found.version });
    call.db.commit(changes).await?;
    Ok(Answer::Done)
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let port = call.db.get::<Port>(call.id("id")?).await?.object;
    let mut changes = Changes::default();
    if let PortKind::Bridge { bridge_id, .. } = port.kind {
        let table = TableId::of(TableKind::Mac, bridge_id);
        for key in tables::static_macs_of(&call.db, table, port.id).await? {
            changes = changes.remove_entry(table, key);
        }
    }
    call.db.commit(changes.delete(port.key())).await?;
    Ok(Answer::Done)
}

async fn show(call: &Call, ports: Vec<Found<Port>>) -> Result<Answer, Problem> {
    let active = hosts::active_ports(&call.db, ports.iter().map(|found| &found.object)).await?;
    let ports = ports.iter().map(|found| to_api(&found.object, &active, &call.links));
    Ok(Answer::many(ports))
}

async fn peers(call: &Call, ports: Vec<Found<Port>>) -> Result<Answer, Problem> {
    let mut peers = Vec::new();
    for id in ports.iter().filter_map(|found| found.object.peer_id) {
        peers.extend(call.db.find::<Port>(id).await?);
    }
    show(call, peers).await
}
