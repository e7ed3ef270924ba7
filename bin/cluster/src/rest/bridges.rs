//! Bridges.

use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::BridgeId;
use mn_topology::Bridge;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::BRIDGE, &api::Bridge::DESCRIPTION)
        .top("bridges", Some("bridges"), Some("bridgeTemplate"))
        .list("/bridges", list)
        .query(&["tenant_id"])
        .create("/bridges", create)
        .read("/bridges/{id}", read)
        .update("/bridges/{id}", update)
        .delete("/bridges/{id}", delete)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridges = call.db.list::<Bridge>().await?;
    let bridges = bridges.iter().map(|found| &found.object);
    let wanted = bridges.filter(|bridge| call.wants_tenant(bridge.tenant_id.as_deref()));
    Ok(Answer::many(wanted.map(|bridge| to_api(bridge, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = call.db.get::<Bridge>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&bridge.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::Bridge = call.input()?;
    let bridge = from_api(sent.id.unwrap_or_else(BridgeId::random), sent)?;
    call.db.commit(Changes::default().create(&bridge)).await?;
    Ok(Answer::Created(call.links.object("bridges", bridge.id)))
}

async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<Bridge>(call.id("id")?).await?;
    let object = from_api(found.object.id, call.input()?)?;
    call.db.commit(Changes::default().update(&Found { object, ..found })).await?;
    Ok(Answer::Done)
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: BridgeId = call.id("id")?;
    call.db.commit(Changes::default().delete(id)).await?;
    Ok(Answer::Done)
}

fn from_api(id: BridgeId, sent: api::Bridge) -> Result<Bridge, Problem> {
    let bridge = Bridge {
        id,
        tenant_id: sent.tenant_id,
        name: sent.name,
        admin_state_up: sent.admin_state_up,
        inbound_filter_id: sent.inbound_filter_id,
        outbound_filter_id: sent.outbound_filter_id,
    };
    bridge.validate()?;
    Ok(bridge)
}

fn to_api(bridge: &Bridge, links: &Links) -> api::Bridge {
    let uri = links.object("bridges", bridge.id);
    let below = |path: &str| Some(format!("{uri}/{path}"));
    api::Bridge {
        id: Some(bridge.id),
        tenant_id: bridge.tenant_id.clone(),
        name: bridge.name.clone(),
        admin_state_up: bridge.admin_state_up,
        inbound_filter_id: bridge.inbound_filter_id,
        outbound_filter_id: bridge.outbound_filter_id,
        vxlan_port_ids: Vec::new(),
        inbound_filter: links.maybe("chains", bridge.inbound_filter_id),
        outbound_filter: links.maybe("chains", bridge.outbound_filter_id),
        ports: below("ports"),
        peer_ports: below("peer_ports"),
        vxlan_ports: below("vxlan_ports"),
        mac_table: below("mac_table"),
        arp_table: below("arp_table"),
        dhcp_subnets: below("dhcp"),
        vlan_mac_table_template: below("vlans/{vlanId}/mac_table"),
        mac_port_template: below("mac_table/{macAddress}_{portId}"),
        vlan_mac_port_template: below("vlans/{vlanId}/mac_table/{macAddress}_{portId}"),
        uri: Some(uri),
    }
}
