//! Links of ports: both ends name each other, always in one transaction.

use std::sync::Arc;

use mn_api_types::{Media, PortLink};
use mn_ids::PortId;
use mn_topology::Port;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::port_conversion::shown;
use super::problem::Problem;
use super::vlans;

pub fn resource() -> Resource {
    Resource::new(Media::PORT_LINK, &PortLink::DESCRIPTION)
        .read("/ports/{id}/link", read)
        .create("/ports/{id}/link", link)
        .delete("/ports/{id}/link", unlink)
        .explicit()
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let port = call.db.get::<Port>(call.id("id")?).await?.object;
    Ok(Answer::one(&PortLink {
        port_id: Some(port.id),
        peer_id: port.peer_id,
        uri: Some(format!("{}/link", call.links.object("ports", port.id))),
        port: Some(call.links.object("ports", port.id)),
        peer: call.links.maybe("ports", port.peer_id),
    }))
}

/// The body's `portId` says which port; old clients send a whole port with `peerId` added.
async fn link(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: PortLink = call.input()?;
    let here: PortId = call.id("id")?;
    let id = sent.port_id.unwrap_or(here);
    let mut port = call.db.get::<Port>(id).await?;
    let peer = sent.peer_id.ok_or_else(|| Problem::required("peerId"))?;
    if let Some(peer) = free_peer(&call.db, &port.object, Some(peer)).await? {
        port.object.peer_id = Some(peer.object.id);
        let peer = linked(peer, id);
        let mut changes = Changes::default().update(&port).update(&peer);
        for end in [&port.object, &peer.object] {
            changes = vlans::claim(&call.db, changes, end).await?;
        }
        call.db.commit(changes).await?;
    }
    Ok(Answer::Created(format!("{}/link", call.links.object("ports", id))))
}

async fn unlink(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut port = call.db.get::<Port>(call.id("id")?).await?;
    let Some(peer) = port.object.peer_id.take() else { return Ok(Answer::Done) };
    let mut changes = Changes::default().update(&port);
    if let Some(mut peer) = call.db.find::<Port>(peer).await? {
        peer.object.peer_id = None;
        changes = changes.update(&peer);
    }
    call.db.commit(changes).await?;
    Ok(Answer::Done)
}

/// The port that is to be linked with this one, if both may be.
pub async fn free_peer(
    db: &Db,
    port: &Port,
    peer: Option<PortId>,
) -> Result<Option<Found<Port>>, Problem> {
    let Some(id) = peer else { return Ok(None) };
    if id == port.id {
        return Err(Problem::taken("peerId", shown(peer), "a port cannot be linked with itself"));
    }
    let peer = db.get::<Port>(id).await?;
    port.check_link(&peer.object)?;
    Ok(Some(peer))
}

/// The other end of a link with this port.
pub fn linked(peer: Found<Port>, with: PortId) -> Found<Port> {
    peer.map(|peer| Port { peer_id: Some(with), ..peer })
}
