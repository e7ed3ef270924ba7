//! Insertions of inspecting machines (api-facts §4.15).
//!
//! Both ports of an insertion name it: so whoever knows a port knows what passes it.

use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{L2InsertionId, PortId};
use mn_nsdb::{TableId, TableKind, winner};
use mn_topology::{L2Insertion, Port};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::exposed::delete;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::L2_INSERTION, &api::L2Insertion::DESCRIPTION)
        .top("l2insertions", Some("l2insertions"), Some("l2InsertionTemplate"))
        .list("/l2insertions", list)
        .query(&["srv_port", "port"])
        .create("/l2insertions", create)
        .read("/l2insertions/{id}", read)
        .update("/l2insertions/{id}", update)
        .delete("/l2insertions/{id}", delete::<L2Insertion>)
}

/// Those of a service port, or else those of a protected port, or all.
async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let (service, protected) = (asked_port(&call, "srv_port")?, asked_port(&call, "port")?);
    let mut shown = Vec::new();
    for Found { object, .. } in call.db.list::<L2Insertion>().await? {
        let wanted = match (service, protected) {
            (Some(service), _) => object.srv_port_id == service,
            (None, Some(protected)) => object.port_id == protected,
            (None, None) => true,
        };
        if wanted {
            shown.push(to_api(&call, &object).await?);
        }
    }
    Ok(Answer::many(shown))
}

fn asked_port(call: &Call, name: &str) -> Result<Option<PortId>, Problem> {
    let wrong = |text| Problem::bad_request(format!("{name} {text:?} is not the UUID of a port"));
    call.query(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<L2Insertion>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&call, &found.object).await?))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::L2Insertion = call.input()?;
    let insertion = L2Insertion {
        id: sent.id.unwrap_or_else(L2InsertionId::random),
        port_id: sent.port_id.ok_or_else(|| Problem::required("portId"))?,
        srv_port_id: sent.srv_port_id.ok_or_else(|| Problem::required("srvPortId"))?,
        mac: sent.mac.ok_or_else(|| Problem::required("mac"))?,
        vlan: sent.vlan,
        position: sent.position,
        fail_open: sent.fail_open,
        heartbeat: sent.heartbeat,
    };
    insertion.validate()?;
    let protected = port(&call, "portId", insertion.port_id).await?;
    let service = port(&call, "srvPortId", insertion.srv_port_id).await?;
    fits(&call, &insertion, &protected.object, &service.object).await?;
    refuse_ambiguous(&call, &insertion, &service.object).await?;
    let protected = protected.map(|mut port| {
        port.insertion_ids.push(insertion.id);
        port
    });
    let service = service.map(|mut port| {
        port.srv_insertion_ids.push(insertion.id);
        port
    });
    let changes = Changes::default().create(&insertion).update(&protected).update(&service);
    call.db.commit(changes).await?;
    Ok(Answer::Created(call.links.object("l2insertions", insertion.id)))
}

/// Its ports stay.
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<L2Insertion>(call.id("id")?).await?;
    let sent: api::L2Insertion = call.input()?;
    let (old, stays) = (&found.object, "cannot be changed");
    if let Some(other) = sent.port_id.filter(|port| *port != old.port_id) {
        return Err(Problem::field("portId", other.to_string(), stays));
    }
    if let Some(other) = sent.srv_port_id.filter(|port| *port != old.srv_port_id) {
        return Err(Problem::field("srvPortId", other.to_string(), stays));
    }
    let insertion = L2Insertion {
        mac: sent.mac.ok_or_else(|| Problem::required("mac"))?,
        vlan: sent.vlan,
        position: sent.position,
        fail_open: sent.fail_open,
        heartbeat: sent.heartbeat,
        ..old.clone()
    };
    insertion.validate()?;
    let same = (old.vlan, old.mac) == (insertion.vlan, insertion.mac);
    let mut changes = Changes::default();
    if !same {
        let service = port(&call, "srvPortId", insertion.srv_port_id).await?;
        refuse_ambiguous(&call, &insertion, &service.object).await?;
        // Written as it is, so that of two such requests at a time one is overtaken.
        changes = changes.update(&service);
    }
    call.db.commit(changes.update(&found.map(|_| insertion))).await?;
    Ok(Answer::Done)
}

async fn port(call: &Call, property: &str, id: PortId) -> Result<Found<Port>, Problem> {
    let port = call.db.find::<Port>(id).await?;
    port.ok_or_else(|| Problem::dangling(property, id.uuid(), "port"))
}

/// A port is protected or inspects; and no machine inspects a port's frames twice.
async fn fits(
    call: &Call,
    insertion: &L2Insertion,
    protected: &Port,
    service: &Port,
) -> Result<(), Problem> {
    if protected.is_service() {
        let id = protected.id.to_string();
        return Err(Problem::taken("portId", id, "is the port of an inspecting machine"));
    }
    if !service.insertion_ids.is_empty() {
        let id = service.id.to_string();
        return Err(Problem::taken("srvPortId", id, "is a protected port"));
    }
    for id in &protected.insertion_ids {
        let other = call.db.find::<L2Insertion>(*id).await?;
        if other.is_some_and(|other| other.object.srv_port_id == insertion.srv_port_id) {
            let id = service.id.to_string();
            return Err(Problem::taken("srvPortId", id, "inspects that port already"));
        }
    }
    Ok(())
}

/// Each frame that comes back at a service port is one insertion's: the tag and the MAC say whose.
async fn refuse_ambiguous(
    call: &Call,
    insertion: &L2Insertion,
    service: &Port,
) -> Result<(), Problem> {
    for id in service.srv_insertion_ids.iter().filter(|id| **id != insertion.id) {
        let Some(other) = call.db.find::<L2Insertion>(*id).await? else { continue };
        let other = other.object;
        let reason = if insertion.vlan == 0 {
            format!("insertion {id} of the service port is there too, so both need a tag")
        } else if other.vlan == 0 {
            format!("insertion {id} of the service port has no tag, so it has to be the only one")
        } else if (insertion.vlan, insertion.mac) == (other.vlan, other.mac) {
            format!("insertion {id} of the service port has it for the same MAC")
        } else {
            continue;
        };
        return Err(Problem::taken("vlan", insertion.vlan, reason));
    }
    Ok(())
}

#[derive(Deserialize)]
struct HealthValue {
    status: String,
}

async fn to_api(call: &Call, insertion: &L2Insertion) -> Result<api::L2Insertion, Problem> {
    let table = TableId::of(TableKind::InsertionHealth, insertion.id);
    let entries = call.db.entries(table).await?;
    let verdict = winner(&entries).and_then(|entry| serde_json::from_str(&entry.value).ok());
    Ok(api::L2Insertion {
        id: Some(insertion.id),
        port_id: Some(insertion.port_id),
        srv_port_id: Some(insertion.srv_port_id),
        mac: Some(insertion.mac),
        vlan: insertion.vlan,
        position: insertion.position,
        fail_open: insertion.fail_open,
        heartbeat: insertion.heartbeat,
        status: verdict.map(|HealthValue { status }| status),
        uri: Some(call.links.object("l2insertions", insertion.id)),
        port: Some(call.links.object("ports", insertion.port_id)),
        srv_port: Some(call.links.object("ports", insertion.srv_port_id)),
    })
}
