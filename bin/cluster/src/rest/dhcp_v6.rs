//! DHCPv6 subnets of bridges, and their hosts.

use std::net::IpAddr;
use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, DhcpV6SubnetId};
use mn_packet::IpPrefix;
use mn_topology::{ClientId, DhcpV6Host, DhcpV6Subnet};
use uuid::Uuid;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::ports;
use super::problem::Problem;

pub fn subnet_resource() -> Resource {
    Resource::new(Media::DHCP_V6_SUBNET, &api::DhcpV6Subnet::DESCRIPTION)
        .list("/bridges/{id}/dhcpV6", list)
        .create("/bridges/{id}/dhcpV6", create)
        .read("/bridges/{id}/dhcpV6/{subnet}", read)
        .update("/bridges/{id}/dhcpV6/{subnet}", update)
        .delete("/bridges/{id}/dhcpV6/{subnet}", delete)
        .explicit()
}

pub fn host_resource() -> Resource {
    Resource::new(Media::DHCP_V6_HOST, &api::DhcpV6Host::DESCRIPTION)
        .list("/bridges/{id}/dhcpV6/{subnet}/hostsV6", list_hosts)
        .create("/bridges/{id}/dhcpV6/{subnet}/hostsV6", add_host)
        .read("/bridges/{id}/dhcpV6/{subnet}/hostsV6/{client}", read_host)
        .update("/bridges/{id}/dhcpV6/{subnet}/hostsV6/{client}", update_host)
        .delete("/bridges/{id}/dhcpV6/{subnet}/hostsV6/{client}", remove_host)
        .explicit()
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = ports::bridge(&call).await?;
    let subnets = call.db.referrers::<DhcpV6Subnet>(bridge).await?;
    Ok(Answer::many(subnets.iter().map(|found| to_api(&found.object, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await.map_err(Problem::bare)?;
    Ok(Answer::one(&to_api(&subnet.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = ports::bridge(&call).await?;
    let subnet = from_api(DhcpV6SubnetId::random(), bridge, Vec::new(), call.input()?)?;
    refuse_prefix(&call.db.referrers::<DhcpV6Subnet>(bridge).await?, &subnet)?;
    let id = unique_id(&call.db, &subnet).await?;
    let subnet = DhcpV6Subnet { id, ..subnet };
    call.db.commit(Changes::default().create(&subnet)).await?;
    Ok(Answer::Created(uri(&subnet, &call.links)))
}

/// Its hosts stay; its prefix may change, where they all have addresses in the new one.
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = in_path(&call).await?;
    let DhcpV6Subnet { id, bridge_id, hosts, .. } = found.object;
    let object = from_api(id, bridge_id, hosts, call.input()?)?;
    refuse_prefix(&call.db.referrers::<DhcpV6Subnet>(bridge_id).await?, &object)?;
    let found = Found { object, version: found.version };
    call.db.commit(Changes::default().update(&found)).await?;
    Ok(Answer::Done)
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await?.object;
    call.db.commit(Changes::default().delete(subnet.id)).await?;
    Ok(Answer::Done)
}

/// A bridge has a prefix once: the prefix is the subnet's name in paths.
fn refuse_prefix(others: &[Found<DhcpV6Subnet>], subnet: &DhcpV6Subnet) -> Result<(), Problem> {
    let mut others = others.iter().map(|found| &found.object);
    if others.any(|other| other.id != subnet.id && other.prefix == subnet.prefix) {
        let value = subnet.prefix.to_string();
        return Err(Problem::taken("prefix", value, "the bridge has such a subnet already"));
    }
    Ok(())
}

/// An identifier that follows from bridge and prefix, so that of two requests that make the same
/// subnet at once the second finds it taken; where another subnet has it, a random one.
async fn unique_id(db: &Db, subnet: &DhcpV6Subnet) -> Result<DhcpV6SubnetId, Problem> {
    let mark = mn_packet::to_v6(subnet.prefix.network()).to_bits();
    let bridge = subnet.bridge_id.uuid().as_u128().rotate_left(u32::from(subnet.prefix.len()) + 1);
    let id = DhcpV6SubnetId::from_uuid(Uuid::from_u128(bridge ^ mark));
    let taken = db.find::<DhcpV6Subnet>(id).await?.is_some();
    Ok(if taken { subnet.id } else { id })
}

async fn in_path(call: &Call) -> Result<Found<DhcpV6Subnet>, Problem> {
    let bridge = ports::bridge(call).await?;
    let text = call.segment("subnet")?;
    let wrong = || Problem::bad_request(format!("{text:?} is not ADDRESS_LENGTH"));
    let prefix: IpPrefix = text.replacen('_', "/", 1).parse().map_err(|_| wrong())?;
    let subnets = call.db.referrers::<DhcpV6Subnet>(bridge).await?;
    let found = subnets.into_iter().find(|found| found.object.prefix == prefix);
    found.ok_or_else(|| Problem::missing(format_args!("DHCPv6 subnet {prefix} of bridge {bridge}")))
}

async fn list_hosts(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await?.object;
    let uri = uri(&subnet, &call.links);
    Ok(Answer::many(subnet.hosts.iter().map(|host| host_to_api(host, &uri))))
}

async fn read_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await?.object;
    let place = host_in_path(&call, &subnet)?;
    Ok(Answer::one(&host_to_api(&subnet.hosts[place], &uri(&subnet, &call.links))))
}

async fn add_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = in_path(&call).await?;
    let host = host_from_api(call.input()?)?;
    if subnet.object.hosts.iter().any(|other| other.client_id == host.client_id) {
        let value = host.client_id.to_string();
        return Err(Problem::taken("clientId", value, "has an address already"));
    }
    let location = host_uri(&uri(&subnet.object, &call.links), &host.client_id);
    subnet.object.hosts.push(host);
    subnet.object.validate()?;
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Created(location))
}

async fn update_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = in_path(&call).await?;
    let place = host_in_path(&call, &subnet.object)?;
    subnet.object.hosts[place] = host_from_api(call.input()?)?;
    subnet.object.validate()?;
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Done)
}

async fn remove_host(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = in_path(&call).await?;
    let place = host_in_path(&call, &subnet.object)?;
    subnet.object.hosts.remove(place);
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Done)
}

fn host_in_path(call: &Call, subnet: &DhcpV6Subnet) -> Result<usize, Problem> {
    let client: ClientId = call.parsed("client", "a client identifier")?;
    let place = subnet.hosts.iter().position(|host| host.client_id == client);
    place.ok_or_else(|| Problem::missing(format_args!("DHCPv6 host {client}")))
}

fn from_api(
    id: DhcpV6SubnetId,
    bridge_id: BridgeId,
    hosts: Vec<DhcpV6Host>,
    sent: api::DhcpV6Subnet,
) -> Result<DhcpV6Subnet, Problem> {
    let addr = sent.prefix.ok_or_else(|| Problem::required("prefix"))?;
    let prefix = IpPrefix::new(addr.into(), sent.prefix_length)
        .map_err(|error| Problem::field("prefixLength", sent.prefix_length, error.to_string()))?;
    let dns_server_addrs = sent.dns_server_addrs.unwrap_or_default();
    let subnet = DhcpV6Subnet { id, bridge_id, prefix, dns_server_addrs, hosts };
    subnet.validate()?;
    Ok(subnet)
}

fn host_from_api(sent: api::DhcpV6Host) -> Result<DhcpV6Host, Problem> {
    let client_id = sent.client_id.ok_or_else(|| Problem::required("clientId"))?;
    Ok(DhcpV6Host {
        client_id: client_id.parse().map_err(|error: mn_topology::ClientIdError| {
            Problem::field("clientId", client_id.as_str(), error.to_string())
        })?,
        fixed_address: sent.fixed_address.ok_or_else(|| Problem::required("fixedAddress"))?,
        name: sent.name.ok_or_else(|| Problem::required("name"))?,
    })
}

fn uri(subnet: &DhcpV6Subnet, links: &Links) -> String {
    let bridge = links.object("bridges", subnet.bridge_id);
    format!("{bridge}/dhcpV6/{}_{}", subnet.prefix.network(), subnet.prefix.len())
}

fn host_uri(subnet: &str, client: &ClientId) -> String {
    format!("{subnet}/hostsV6/{}", client.to_string().replace(':', "-"))
}

fn to_api(subnet: &DhcpV6Subnet, links: &Links) -> api::DhcpV6Subnet {
    let uri = uri(subnet, links);
    let dns = subnet.dns_server_addrs.clone();
    api::DhcpV6Subnet {
        prefix: match subnet.prefix.network() {
            IpAddr::V6(network) => Some(network),
            IpAddr::V4(_) => None,
        },
        prefix_length: subnet.prefix.len(),
        dns_server_addrs: (!dns.is_empty()).then_some(dns),
        hosts: Some(format!("{uri}/hostsV6")),
        uri: Some(uri),
    }
}

fn host_to_api(host: &DhcpV6Host, subnet: &str) -> api::DhcpV6Host {
    api::DhcpV6Host {
        client_id: Some(host.client_id.to_string()),
        fixed_address: Some(host.fixed_address),
        name: Some(host.name.clone()),
        uri: Some(host_uri(subnet, &host.client_id)),
    }
}
