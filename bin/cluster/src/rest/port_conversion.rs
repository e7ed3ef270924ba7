//! A port as the API writes it, and as it is stored.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mn_api_types::{self as api, PortType};
use mn_ids::PortId;
use mn_packet::Mac;
use mn_topology::{DeviceId, IfAddr, Port, PortKind, RaMode, RouterPort};
use serde_json::Value;

use super::links::Links;
use super::problem::Problem;

/// Reads a port of a device. `old` is what it replaces: what cannot be changed is kept.
///
/// Not validated: the caller may take the link out first.
pub fn from_api(
    id: PortId,
    device: DeviceId,
    old: Option<&Port>,
    sent: api::Port,
) -> Result<Port, Problem> {
    let kind = sent.kind.ok_or_else(|| Problem::required("type"))?;
    let kind = match (device, kind.current()) {
        (DeviceId::Bridge(bridge_id), PortType::Bridge) => {
            PortKind::Bridge { bridge_id, vlan_id: sent.vlan_id.unwrap_or(0) }
        }
        (DeviceId::Router(router_id), PortType::Router) => {
            let mac = sent.port_mac.or_else(|| old.and_then(mac)).unwrap_or_else(random_mac);
            PortKind::Router(RouterPort {
                router_id,
                mac,
                addresses: addresses(&sent)?,
                ra_mode: ra_mode(sent.ra_mode),
                ra_prefixes: sent.ra_prefixes,
                ra_interval: sent.ra_interval,
            })
        }
        (DeviceId::Bridge(_), wrong) => {
            return Err(Problem::field("type", wrong.word(), "Not a bridge port."));
        }
        (DeviceId::Router(_), wrong) => {
            return Err(Problem::field("type", wrong.word(), "Not a router port."));
        }
    };
    // A stored binding and a stored link always win, see `ports::update`.
    let bound = old.filter(|old| old.host_id.is_some());
    let (host_id, interface_name) = match bound {
        Some(old) => (old.host_id, old.interface_name.clone()),
        None => (sent.host_id, sent.interface_name),
    };
    Ok(Port {
        id,
        tenant_id: sent.tenant_id,
        kind,
        admin_state_up: sent.admin_state_up,
        inbound_filter_id: sent.inbound_filter_id,
        outbound_filter_id: sent.outbound_filter_id,
        inbound_mirror_ids: sent.inbound_mirror_ids,
        post_in_filter_mirror_ids: sent.post_in_filter_mirror_ids,
        pre_out_filter_mirror_ids: sent.pre_out_filter_mirror_ids,
        outbound_mirror_ids: sent.outbound_mirror_ids,
        qos_policy_id: sent.qos_policy_id,
        insertion_ids: old.map(|old| old.insertion_ids.clone()).unwrap_or_default(),
        srv_insertion_ids: old.map(|old| old.srv_insertion_ids.clone()).unwrap_or_default(),
        peer_id: old.and_then(|old| old.peer_id).or(sent.peer_id),
        host_id,
        interface_name,
        previous_host_id: old.and_then(|old| old.previous_host_id),
        vif_id: sent.vif_id,
        tunnel_key: old.map_or(0, |old| old.tunnel_key),
    })
}

fn mac(port: &Port) -> Option<Mac> {
    match &port.kind {
        PortKind::Router(router) => Some(router.mac),
        PortKind::Bridge { .. } => None,
    }
}

/// A locally administered address (`DV-05`).
fn random_mac() -> Mac {
    let [a, b, c, d, e, ..] = uuid::Uuid::new_v4().into_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// `portSubnet` wins; `portAddress` with `networkLength` stands in for it.
fn addresses(sent: &api::Port) -> Result<Vec<IfAddr>, Problem> {
    if sent.port_subnet.is_empty() {
        let Some(addr) = sent.port_address else { return Ok(Vec::new()) };
        let len = sent.network_length.ok_or_else(|| Problem::required("networkLength"))?;
        return Ok(vec![IfAddr { addr, len }]);
    }
    let read = |(index, text): (usize, &String)| {
        let property = format!("portSubnet[{index}]");
        let wrong = || Problem::field(&property, text.as_str(), "is not ADDRESS/LENGTH");
        let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        Ok(IfAddr { addr, len: len.parse().map_err(|_| wrong())? })
    };
    sent.port_subnet.iter().enumerate().map(read).collect()
}

const fn ra_mode(mode: Option<api::RaMode>) -> RaMode {
    match mode {
        None => RaMode::Off,
        Some(api::RaMode::Slaac) => RaMode::Slaac,
        Some(api::RaMode::DhcpStateless) => RaMode::DhcpStateless,
        Some(api::RaMode::DhcpStateful) => RaMode::DhcpStateful,
    }
}

/// Writes a port; `active` are the ports that live agents have.
pub fn to_api(port: &Port, active: &BTreeSet<PortId>, links: &Links) -> api::Port {
    let uri = links.object("ports", port.id);
    let device = match port.device() {
        DeviceId::Bridge(id) => (links.object("bridges", id), id.uuid()),
        DeviceId::Router(id) => (links.object("routers", id), id.uuid()),
    };
    let binding = port.host_id.map(|host| links.object("hosts", host));
    let common = api::Port {
        id: Some(port.id),
        tenant_id: port.tenant_id.clone(),
        admin_state_up: port.admin_state_up,
        inbound_filter_id: port.inbound_filter_id,
        outbound_filter_id: port.outbound_filter_id,
        inbound_mirror_ids: port.inbound_mirror_ids.clone(),
        post_in_filter_mirror_ids: port.post_in_filter_mirror_ids.clone(),
        pre_out_filter_mirror_ids: port.pre_out_filter_mirror_ids.clone(),
        outbound_mirror_ids: port.outbound_mirror_ids.clone(),
        insertion_ids: port.insertion_ids.clone(),
        qos_policy_id: port.qos_policy_id,
        tunnel_key: port.tunnel_key,
        vif_id: port.vif_id.clone(),
        host_id: port.host_id,
        interface_name: port.interface_name.clone(),
        peer_id: port.peer_id,
        active: active.contains(&port.id),
        device_id: Some(device.1),
        device: Some(device.0),
        host_interface_port: binding.as_ref().map(|host| format!("{host}/ports/{}", port.id)),
        host: binding,
        peer: links.maybe("ports", port.peer_id),
        link: Some(format!("{uri}/link")),
        port_groups: Some(format!("{uri}/port_groups")),
        inbound_filter: links.maybe("chains", port.inbound_filter_id),
        outbound_filter: links.maybe("chains", port.outbound_filter_id),
        uri: Some(uri),
        ..api::Port::default()
    };
    match &port.kind {
        PortKind::Bridge { vlan_id, .. } => {
            api::Port { kind: Some(PortType::Bridge), vlan_id: Some(*vlan_id), ..common }
        }
        PortKind::Router(router) => with_router(router, common),
    }
}

fn with_router(router: &RouterPort, common: api::Port) -> api::Port {
    let first = router.addresses.iter().find(|address| address.addr.is_ipv4());
    api::Port {
        kind: Some(PortType::Router),
        port_mac: Some(router.mac),
        port_subnet: router.addresses.iter().map(|a| format!("{}/{}", a.addr, a.len)).collect(),
        port_address: first.map(|address| address.addr),
        network_address: first.and_then(IfAddr::subnet).map(|subnet| subnet.network()),
        network_length: first.map(|address| address.len),
        ra_mode: match router.ra_mode {
            RaMode::Off => None,
            RaMode::Slaac => Some(api::RaMode::Slaac),
            RaMode::DhcpStateless => Some(api::RaMode::DhcpStateless),
            RaMode::DhcpStateful => Some(api::RaMode::DhcpStateful),
        },
        ra_prefixes: router.ra_prefixes.clone(),
        ra_interval: router.ra_interval,
        ..common
    }
}

/// What was sent, for a message.
pub fn shown(id: Option<PortId>) -> Value {
    id.map_or(Value::Null, |id| id.to_string().into())
}
