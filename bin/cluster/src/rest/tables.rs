//! The MAC and the ARP table of a bridge.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use mn_api_types::{ArpEntry, MacPort, Media};
use mn_ids::{BridgeId, PortId};
use mn_nsdb::{Entry, Owner, TableId, TableKind, winner};
use mn_packet::{Mac, VlanId};
use mn_topology::{Port, PortKind};
use serde::{Deserialize, Serialize};

use super::call::{Answer, Call};
use super::db::{Changes, Db};
use super::endpoint::Resource;
use super::in_path;
use super::links::Links;
use super::problem::Problem;

pub fn mac_resource() -> Resource {
    Resource::new(Media::MAC_PORT, &MacPort::DESCRIPTION)
        .list("/bridges/{id}/mac_table", list_macs)
        .create("/bridges/{id}/mac_table", add_mac)
        .read("/bridges/{id}/mac_table/{entry}", read_mac)
        .delete("/bridges/{id}/mac_table/{entry}", remove_mac)
        .list("/bridges/{id}/vlans/{vlan}/mac_table", list_macs)
        .create("/bridges/{id}/vlans/{vlan}/mac_table", add_mac)
        .read("/bridges/{id}/vlans/{vlan}/mac_table/{entry}", read_mac)
        .delete("/bridges/{id}/vlans/{vlan}/mac_table/{entry}", remove_mac)
        .explicit()
}

pub fn arp_resource() -> Resource {
    Resource::new(Media::ARP_ENTRY, &ArpEntry::DESCRIPTION)
        .list("/bridges/{id}/arp_table", list_arp)
        .create("/bridges/{id}/arp_table", add_arp)
        .read("/bridges/{id}/arp_table/{entry}", read_arp)
        .delete("/bridges/{id}/arp_table/{entry}", remove_arp)
        .explicit()
}

/// The value of a `Mac` entry.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Place {
    port: PortId,
}

/// The value of a `BridgeNeighbor` entry.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Neighbor {
    mac: Mac,
}

/// The key of a `Mac` entry: `VLAN/MAC`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct MacKey {
    vlan: u16,
    mac: Mac,
}

impl MacKey {
    fn text(self) -> String {
        format!("{}/{}", self.vlan, self.mac)
    }
}

impl FromStr for MacKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (vlan, mac) = text.split_once('/').ok_or(())?;
        Ok(Self { vlan: vlan.parse().map_err(drop)?, mac: mac.parse().map_err(drop)? })
    }
}

/// Of each key the entry that counts.
pub fn winners(entries: Vec<Entry>) -> Vec<Entry> {
    let mut by_key: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_key.entry(entry.key.clone()).or_default().push(entry);
    }
    by_key.values().filter_map(|entries| winner(entries).cloned()).collect()
}

async fn macs(db: &Db, bridge: BridgeId) -> Result<Vec<(MacKey, PortId)>, Problem> {
    let entries = db.entries(TableId::of(TableKind::Mac, bridge)).await?;
    let read = |entry: &Entry| {
        let place: Place = serde_json::from_str(&entry.value).ok()?;
        Some((entry.key.parse().ok()?, place.port))
    };
    Ok(winners(entries).iter().filter_map(read).collect())
}

/// The keys of the entries put here for a port.
pub async fn static_macs_of(db: &Db, table: TableId, port: PortId) -> Result<Vec<String>, Problem> {
    let entries = db.entries(table).await?;
    let of_port = |entry: &Entry| {
        let place = serde_json::from_str::<Place>(&entry.value);
        entry.owner == Owner::Persistent && place.is_ok_and(|place| place.port == port)
    };
    Ok(entries.into_iter().filter(of_port).map(|entry| entry.key).collect())
}

/// The VLAN in the path, if there is one.
fn vlan(call: &Call) -> Result<Option<u16>, Problem> {
    match call.segment("vlan") {
        Ok("0") => Ok(Some(0)),
        Ok(_) => Ok(Some(call.parsed::<VlanId>("vlan", "a VLAN")?.get())),
        Err(_) => Ok(None),
    }
}

async fn list_macs(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let vlan = vlan(&call)?;
    let macs = macs(&call.db, bridge).await?;
    let wanted: Vec<_> =
        macs.into_iter().filter(|(key, _)| vlan.is_none_or(|vlan| key.vlan == vlan)).collect();
    if let Some(vlan) = vlan.filter(|vlan| *vlan != 0 && wanted.is_empty()) {
        let has_port =
            |port: &Port| matches!(port.kind, PortKind::Bridge { vlan_id, .. } if vlan_id == vlan);
        let ports = call.db.referrers::<Port>(bridge).await?;
        if !ports.iter().any(|found| has_port(&found.object)) {
            return Err(Problem::missing(format_args!(
                "VLAN {vlan} of the bridge (no ports assigned)"
            )));
        }
    }
    Ok(Answer::many(
        wanted.into_iter().map(|(key, port)| mac_to_api(&call.links, bridge, key, port)),
    ))
}

async fn add_mac(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let sent: MacPort = call.input()?;
    let mac = sent.mac_addr.ok_or_else(|| Problem::required("macAddr"))?;
    let port = sent.port_id.ok_or_else(|| Problem::required("portId"))?;
    let vlan = vlan(&call)?.or(sent.vlan_id).unwrap_or(0);
    if vlan > VlanId::MAX {
        return Err(Problem::field("vlanId", vlan, "is no VLAN"));
    }
    let wrong = |reason: &str| Problem::field("portId", port.to_string(), reason);
    let found = call.db.find::<Port>(port).await?;
    let found = found.ok_or_else(|| wrong("is no port of the bridge"))?;
    match &found.object.kind {
        PortKind::Bridge { bridge_id, .. } if *bridge_id != bridge => {
            return Err(wrong("is no port of the bridge"));
        }
        PortKind::Router(_) => return Err(wrong("is no port of the bridge")),
        PortKind::Bridge { vlan_id, .. } if *vlan_id != 0 && *vlan_id != vlan => {
            return Err(wrong("is of another VLAN"));
        }
        PortKind::Bridge { .. } => {}
    }
    let key = MacKey { vlan, mac };
    let table = TableId::of(TableKind::Mac, bridge);
    // Written with the port as it is: a port that is being deleted must not leave an entry.
    let changes =
        Changes::default().check(&found).put_entry(table, key.text(), value(&Place { port }));
    call.db.commit(changes).await?;
    Ok(Answer::Created(mac_uri(&call.links, bridge, key, port)))
}

async fn read_mac(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let (key, port) = mac_in_path(&call)?;
    let macs = macs(&call.db, bridge).await?;
    if !macs.contains(&(key, port)) {
        return Err(Problem::missing(format_args!("MAC {} at port {port}", key.mac)));
    }
    Ok(Answer::one(&mac_to_api(&call.links, bridge, key, port)))
}

/// Removes what was put here. What agents learned they forget themselves.
async fn remove_mac(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let (key, port) = mac_in_path(&call)?;
    let table = TableId::of(TableKind::Mac, bridge);
    if static_macs_of(&call.db, table, port).await?.contains(&key.text()) {
        call.db.commit(Changes::default().remove_entry(table, key.text())).await?;
    }
    Ok(Answer::Done)
}

/// `MAC_PORT` with the MAC's octets separated by dashes.
fn mac_in_path(call: &Call) -> Result<(MacKey, PortId), Problem> {
    let text = call.segment("entry")?;
    let wrong = || Problem::bad_request(format!("{text:?} is not MAC_PORT"));
    let (mac, port) = text.split_once('_').ok_or_else(wrong)?;
    let mac = mac.parse().map_err(|_| wrong())?;
    let port = port.parse().map_err(|_| wrong())?;
    Ok((MacKey { vlan: vlan(call)?.unwrap_or(0), mac }, port))
}

fn mac_uri(links: &Links, bridge: BridgeId, key: MacKey, port: PortId) -> String {
    let bridge = links.object("bridges", bridge);
    let vlan = if key.vlan == 0 { String::new() } else { format!("/vlans/{}", key.vlan) };
    format!("{bridge}{vlan}/mac_table/{}_{port}", dashed(key.mac))
}

fn dashed(mac: Mac) -> String {
    mac.to_string().replace(':', "-")
}

fn mac_to_api(links: &Links, bridge: BridgeId, key: MacKey, port: PortId) -> MacPort {
    MacPort {
        mac_addr: Some(key.mac),
        port_id: Some(port),
        vlan_id: Some(key.vlan),
        uri: Some(mac_uri(links, bridge, key, port)),
    }
}

async fn neighbors(db: &Db, bridge: BridgeId) -> Result<Vec<(IpAddr, Mac)>, Problem> {
    let entries = db.entries(TableId::of(TableKind::BridgeNeighbor, bridge)).await?;
    let read = |entry: &Entry| {
        let neighbor: Neighbor = serde_json::from_str(&entry.value).ok()?;
        Some((entry.key.parse().ok()?, neighbor.mac))
    };
    Ok(winners(entries).iter().filter_map(read).collect())
}

async fn list_arp(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let neighbors = neighbors(&call.db, bridge).await?;
    Ok(Answer::many(
        neighbors.into_iter().map(|(ip, mac)| arp_to_api(&call.links, bridge, ip, mac)),
    ))
}

async fn add_arp(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let sent: ArpEntry = call.input()?;
    let ip = sent.ip.ok_or_else(|| Problem::required("ip"))?;
    let mac = sent.mac.ok_or_else(|| Problem::required("mac"))?;
    let table = TableId::of(TableKind::BridgeNeighbor, bridge);
    let entry = value(&Neighbor { mac });
    call.db.commit(Changes::default().put_entry(table, ip.to_string(), entry)).await?;
    Ok(Answer::Created(arp_uri(&call.links, bridge, ip, mac)))
}

async fn read_arp(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let (ip, mac) = arp_in_path(&call)?;
    if !neighbors(&call.db, bridge).await?.contains(&(ip, mac)) {
        return Err(Problem::missing(format_args!("{ip} at {mac}")));
    }
    Ok(Answer::one(&arp_to_api(&call.links, bridge, ip, mac)))
}

async fn remove_arp(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let (ip, mac) = arp_in_path(&call)?;
    if neighbors(&call.db, bridge).await?.contains(&(ip, mac)) {
        let table = TableId::of(TableKind::BridgeNeighbor, bridge);
        call.db.commit(Changes::default().remove_entry(table, ip.to_string())).await?;
    }
    Ok(Answer::Done)
}

/// `IP_MAC` with the MAC's octets separated by dashes.
fn arp_in_path(call: &Call) -> Result<(IpAddr, Mac), Problem> {
    let text = call.segment("entry")?;
    let wrong = || Problem::bad_request(format!("{text:?} is not IP_MAC"));
    let (ip, mac) = text.split_once('_').ok_or_else(wrong)?;
    Ok((ip.parse().map_err(|_| wrong())?, mac.parse().map_err(|_| wrong())?))
}

fn arp_uri(links: &Links, bridge: BridgeId, ip: IpAddr, mac: Mac) -> String {
    format!("{}/arp_table/{ip}_{}", links.object("bridges", bridge), dashed(mac))
}

fn arp_to_api(links: &Links, bridge: BridgeId, ip: IpAddr, mac: Mac) -> ArpEntry {
    ArpEntry { ip: Some(ip), mac: Some(mac), uri: Some(arp_uri(links, bridge, ip, mac)) }
}

fn value(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("an id or a MAC is text")
}
