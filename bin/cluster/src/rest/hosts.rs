//! Hosts and their interfaces.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use mn_agent_api::HostReport;
use mn_api_types::{self as api, Media};
use mn_ids::{HostId, PortId};
use mn_nsdb::{TableId, TableKind};
use mn_topology::{Host, Port};
use serde_json::Value;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::in_path;
use super::links::Links;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::HOST, &api::Host::DESCRIPTION)
        .top("hosts", Some("hosts"), Some("hostTemplate"))
        .list("/hosts", list)
        .create("/hosts", create)
        .read("/hosts/{id}", read)
        .update("/hosts/{id}", update)
        .success(200)
        .delete("/hosts/{id}", delete)
        .success(200)
}

pub fn interface_resource() -> Resource {
    Resource::new(Media::INTERFACE, &api::Interface::DESCRIPTION)
        .list("/hosts/{id}/interfaces", list_interfaces)
        .read("/hosts/{id}/interfaces/{name}", read_interface)
}

/// What is known of all hosts beyond what is stored of them.
struct Known {
    alive: HashSet<HostId>,
    reports: HashMap<HostId, HostReport>,
}

impl Known {
    /// Of these hosts; `None`: of all.
    async fn read(db: &Db, of: Option<&BTreeSet<HostId>>) -> Result<Self, Problem> {
        let alive = db.sessions().await?.iter().map(|session| session.host).collect();
        let reports = reports(db, of).await?;
        Ok(Self {
            alive,
            reports: reports.into_iter().map(|report| (report.host, report)).collect(),
        })
    }

    async fn of(db: &Db, host: HostId) -> Result<Self, Problem> {
        Self::read(db, Some(&BTreeSet::from([host]))).await
    }
}

/// What agents report of these hosts. A report of an agent that speaks otherwise is passed over: its
/// host is shown without interfaces.
async fn reports(db: &Db, of: Option<&BTreeSet<HostId>>) -> Result<Vec<HostReport>, Problem> {
    let table = TableId::global(TableKind::HostReport);
    let entries = match of {
        None => db.entries(table).await?,
        Some(hosts) => {
            let mut entries = Vec::new();
            for host in hosts {
                entries.extend(db.entries_at(table, &host.to_string()).await?);
            }
            entries
        }
    };
    let read = |entry: &mn_nsdb::Entry| match serde_json::from_str(&entry.value) {
        Ok(report) => Some(report),
        Err(error) => {
            tracing::warn!(host = entry.key, %error, "a host's report cannot be read");
            None
        }
    };
    Ok(entries.iter().filter_map(read).collect())
}

/// Those of these ports that the agents of their hosts forward for, and are alive.
pub async fn active_ports(
    db: &Db,
    ports: impl IntoIterator<Item = &Port>,
) -> Result<BTreeSet<PortId>, Problem> {
    let hosts: BTreeSet<HostId> = ports.into_iter().filter_map(|port| port.host_id).collect();
    if hosts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let reports = reports(db, Some(&hosts)).await?;
    Ok(reports.into_iter().flat_map(|report| report.active_ports).collect())
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let known = Known::read(&call.db, None).await?;
    let hosts = call.db.list::<Host>().await?;
    Ok(Answer::many(hosts.iter().map(|found| to_api(&found.object, &known, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let host = call.db.get::<Host>(call.id("id")?).await?;
    let known = Known::of(&call.db, host.object.id).await?;
    Ok(Answer::one(&to_api(&host.object, &known, &call.links)))
}

/// Mostly agents make their hosts themselves.
async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::Host = call.input()?;
    let id = sent.id.unwrap_or_else(HostId::random);
    let name = sent.name.clone().ok_or_else(|| Problem::required("name"))?;
    let default = Host::new(id, name);
    let host = Host {
        flooding_proxy_weight: sent.flooding_proxy_weight.unwrap_or(default.flooding_proxy_weight),
        container_weight: sent.container_weight.unwrap_or(default.container_weight),
        container_limit: sent.container_limit.unwrap_or(default.container_limit),
        enforce_container_limit: sent.enforce_container_limit.unwrap_or(false),
        ..default
    };
    host.validate()?;
    call.db.commit(Changes::default().create(&host)).await?;
    Ok(Answer::Created(call.links.object("hosts", id)))
}

/// Only the tunables change, and each must be given (api-facts §4.11).
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<Host>(call.id("id")?).await?;
    let sent: api::Host = call.input()?;
    let missing = Problem::required;
    let object = Host {
        id: found.object.id,
        name: found.object.name,
        flooding_proxy_weight: sent
            .flooding_proxy_weight
            .ok_or_else(|| missing("floodingProxyWeight"))?,
        container_weight: sent.container_weight.ok_or_else(|| missing("containerWeight"))?,
        container_limit: sent.container_limit.ok_or_else(|| missing("containerLimit"))?,
        enforce_container_limit: sent
            .enforce_container_limit
            .ok_or_else(|| missing("enforceContainerLimit"))?,
    };
    object.validate()?;
    call.db.commit(Changes::default().update(&Found { object, version: found.version })).await?;
    Ok(Answer::Done)
}

/// Only a host without life and without ports (`HO-05`); it leaves its tunnel zones.
async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::host(&call).await?;
    if call.db.sessions().await?.iter().any(|session| session.host == id) {
        return Err(Problem::forbidden("the host is alive: stop its agent first"));
    }
    let bound = call.db.referrers::<Port>(id).await?;
    if let Some(port) = bound.iter().find(|found| found.object.host_id == Some(id)) {
        let message = format!("port {} is bound to the host: unbind it first", port.object.id);
        return Err(Problem::forbidden(message));
    }
    call.db.commit(Changes::default().delete(id)).await?;
    Ok(Answer::Done)
}

async fn list_interfaces(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::host(&call).await?;
    Ok(Answer::many(interfaces(&Known::of(&call.db, id).await?, id, &call.links)))
}

async fn read_interface(call: Arc<Call>) -> Result<Answer, Problem> {
    let id = in_path::host(&call).await?;
    let name = call.segment("name")?;
    let interfaces = interfaces(&Known::of(&call.db, id).await?, id, &call.links);
    let found = interfaces.into_iter().find(|interface| interface.name.as_deref() == Some(name));
    let missing = || Problem::missing(format_args!("interface {name} of host {id}"));
    Ok(Answer::one(&found.ok_or_else(missing)?))
}

fn to_api(host: &Host, known: &Known, links: &Links) -> api::Host {
    let uri = links.object("hosts", host.id);
    let interfaces = interfaces(known, host.id, links);
    let addresses = interfaces.iter().flat_map(|interface| interface.addresses.clone()).collect();
    api::Host {
        id: Some(host.id),
        name: Some(host.name.clone()),
        addresses,
        host_interfaces: interfaces,
        alive: known.alive.contains(&host.id),
        flooding_proxy_weight: Some(host.flooding_proxy_weight),
        container_weight: Some(host.container_weight),
        container_limit: Some(host.container_limit),
        enforce_container_limit: Some(host.enforce_container_limit),
        interfaces: Some(format!("{uri}/interfaces")),
        ports: Some(format!("{uri}/ports")),
        uri: Some(uri),
    }
}

fn interfaces(known: &Known, host: HostId, links: &Links) -> Vec<api::Interface> {
    let report = known.reports.get(&host);
    let interfaces = report.map(|report| report.interfaces.as_slice()).unwrap_or_default();
    interfaces.iter().map(|interface| interface_to_api(interface, host, links)).collect()
}

fn interface_to_api(
    interface: &mn_agent_api::Interface,
    host: HostId,
    links: &Links,
) -> api::Interface {
    let uri = format!("{}/interfaces/{}", links.object("hosts", host), interface.name);
    api::Interface {
        host_id: Some(host),
        name: Some(interface.name.clone()),
        mac: interface.mac.as_deref().and_then(|mac| mac.parse().ok()),
        mtu: interface.mtu,
        kind: word(&interface.kind),
        endpoint: word(&interface.endpoint),
        port_type: Some("NetDev".to_owned()),
        addresses: interface.addresses.iter().map(ToString::to_string).collect(),
        status: interface.status(),
        uri: Some(uri),
    }
}

/// The word an agent reports is the API's.
fn word(reported: &impl serde::Serialize) -> Option<String> {
    match serde_json::to_value(reported) {
        Ok(Value::String(word)) => Some(word),
        _ => None,
    }
}
