//! DHCP subnets of bridges, and their hosts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, DhcpSubnetId};
use mn_packet::{IpPrefix, Mac};
use mn_topology::{DhcpHost, DhcpOption, DhcpSubnet, StaticRoute};
use uuid::Uuid;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::links::Links;
use super::ports;
use super::problem::Problem;

pub fn subnet_resource() -> Resource {
    Resource::new(Media::DHCP_SUBNET, &api::DhcpSubnet::DESCRIPTION)
        .list("/bridges/{id}/dhcp", list)
        .create("/bridges/{id}/dhcp", create)
        .read("/bridges/{id}/dhcp/{subnet}", read)
        .update("/bridges/{id}/dhcp/{subnet}", update)
        .delete("/bridges/{id}/dhcp/{subnet}", delete)
        .explicit()
}

pub fn host_resource() -> Resource {
    Resource::new(Media::DHCP_HOST, &api::DhcpHost::DESCRIPTION)
        .list("/bridges/{id}/dhcp/{subnet}/hosts", list_hosts)
        .create("/bridges/{id}/dhcp/{subnet}/hosts", add_host)
        .read("/bridges/{id}/dhcp/{subnet}/hosts/{mac}", read_host)
        .update("/bridges/{id}/dhcp/{subnet}/hosts/{mac}", update_host)
        .delete("/bridges/{id}/dhcp/{subnet}/hosts/{mac}", remove_host)
        .explicit()
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = ports::bridge(&call).await?;
    let subnets = call.db.referrers::<DhcpSubnet>(bridge).await?;
    Ok(Answer::many(subnets.iter().map(|found| to_api(&found.object, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await.map_err(Problem::bare)?;
    Ok(Answer::one(&to_api(&subnet.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = ports::bridge(&call).await?;
    let subnet = from_api(DhcpSubnetId::random(), bridge, Vec::new(), call.input()?)?;
    let others = call.db.referrers::<DhcpSubnet>(bridge).await?;
    refuse_prefix(&others, &subnet)?;
    let id = unique_id(&call.db, &subnet).await?;
    let subnet = DhcpSubnet { id, ..subnet };
    call.db.commit(Changes::default().create(&subnet)).await?;
    Ok(Answer::Created(uri(&subnet, &call.links)))
}

/// Its hosts stay; its prefix may change.
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = in_path(&call).await?;
    let DhcpSubnet { id, bridge_id, hosts, .. } = found.object;
    let object = from_api(id, bridge_id, hosts, call.input()?)?;
    refuse_prefix(&call.db.referrers::<DhcpSubnet>(bridge_id).await?, &object)?;
    let found = Found { object, version: found.version };
    call.db.commit(Changes::default().update(&found)).await?;
    Ok(Answer::Done)
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = in_path(&call).await?.object;
    call.db.commit(Changes::default().delete(subnet.id)).await?;
    Ok(Answer::Done)
}

/// A bridge has a prefix once.
fn refuse_prefix(others: &[Found<DhcpSubnet>], subnet: &DhcpSubnet) -> Result<(), Problem> {
    let mut others = others.iter().map(|found| &found.object);
    if others.any(|other| other.id != subnet.id && other.subnet == subnet.subnet) {
        let value = subnet.subnet.to_string();
        return Err(Problem::taken("subnetPrefix", value, "the bridge has such a subnet already"));
    }
    Ok(())
}

/// An identifier that follows from bridge and prefix: of two requests that make the same subnet at
/// once, the second finds the identifier taken. Where a subnet has it that has another prefix now, a
/// random one.
async fn unique_id(db: &Db, subnet: &DhcpSubnet) -> Result<DhcpSubnetId, Problem> {
    let network = match subnet.subnet.network() {
        IpAddr::V4(network) => u128::from(network.to_bits()),
        IpAddr::V6(network) => network.to_bits(),
    };
    let mark = network << 8 | u128::from(subnet.subnet.len());
    let id = DhcpSubnetId::from_uuid(Uuid::from_u128(subnet.bridge_id.uuid().as_u128() ^ mark));
    let taken = db.find::<DhcpSubnet>(id).await?.is_some();
    Ok(if taken { subnet.id } else { id })
}

async fn in_path(call: &Call) -> Result<Found<DhcpSubnet>, Problem> {
    let bridge = ports::bridge(call).await?;
    let text = call.segment("subnet")?;
    let wrong = || Problem::bad_request(format!("{text:?} is not ADDRESS_LENGTH"));
    let prefix: IpPrefix = text.replacen('_', "/", 1).parse().map_err(|_| wrong())?;
    let subnets = call.db.referrers::<DhcpSubnet>(bridge).await?;
    let found = subnets.into_iter().find(|found| found.object.subnet == prefix);
    found.ok_or_else(|| Problem::missing(format_args!("DHCP subnet {prefix} of bridge {bridge}")))
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
    if subnet.object.hosts.iter().any(|other| other.mac == host.mac) {
        return Err(Problem::taken("macAddr", host.mac.to_string(), "has an address already"));
    }
    let location = host_uri(&uri(&subnet.object, &call.links), host.mac);
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

fn host_in_path(call: &Call, subnet: &DhcpSubnet) -> Result<usize, Problem> {
    let mac: Mac = call.parsed("mac", "a MAC address")?;
    let place = subnet.hosts.iter().position(|host| host.mac == mac);
    place.ok_or_else(|| Problem::missing(format_args!("DHCP host {mac}")))
}

fn from_api(
    id: DhcpSubnetId,
    bridge_id: BridgeId,
    hosts: Vec<DhcpHost>,
    sent: api::DhcpSubnet,
) -> Result<DhcpSubnet, Problem> {
    let subnet = DhcpSubnet {
        id,
        bridge_id,
        subnet: prefix("subnetPrefix", "subnetLength", sent.subnet_prefix, sent.subnet_length)?,
        default_gateway: sent.default_gateway,
        server_addr: sent.server_addr,
        dns_server_addrs: sent.dns_server_addrs.unwrap_or_default(),
        // 0 is how old clients leave it out.
        interface_mtu: sent.interface_mtu.filter(|mtu| *mtu != 0),
        routes: routes(&sent.opt121_routes)?,
        enabled: sent.enabled,
        hosts,
    };
    subnet.validate()?;
    Ok(subnet)
}

fn routes(sent: &[api::DhcpRoute]) -> Result<Vec<StaticRoute>, Problem> {
    let read = |(index, route): (usize, &api::DhcpRoute)| {
        let name = |field: &str| format!("opt121Routes[{index}].{field}");
        let (addr, len) = (name("destinationPrefix"), name("destinationLength"));
        let destination = prefix(&addr, &len, route.destination_prefix, route.destination_length)?;
        let missing = || Problem::required(&name("gatewayAddr"));
        Ok(StaticRoute { destination, gateway: route.gateway_addr.ok_or_else(missing)? })
    };
    sent.iter().enumerate().map(read).collect()
}

fn prefix(
    addr_name: &str,
    len_name: &str,
    addr: Option<Ipv4Addr>,
    len: u8,
) -> Result<IpPrefix, Problem> {
    let addr = addr.ok_or_else(|| Problem::required(addr_name))?;
    IpPrefix::new(addr.into(), len)
        .map_err(|error| Problem::field(len_name, len, error.to_string()))
}

fn v4(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    }
}

fn host_from_api(sent: api::DhcpHost) -> Result<DhcpHost, Problem> {
    let option = |(index, option): (usize, api::DhcpOption)| {
        let missing = |name: &str| Problem::required(&format!("extraDhcpOpts[{index}].{name}"));
        Ok(DhcpOption {
            name: option.opt_name.ok_or_else(|| missing("optName"))?,
            value: option.opt_value.ok_or_else(|| missing("optValue"))?,
        })
    };
    Ok(DhcpHost {
        mac: sent.mac_addr.ok_or_else(|| Problem::required("macAddr"))?,
        addr: sent.ip_addr.ok_or_else(|| Problem::required("ipAddr"))?,
        name: sent.name.ok_or_else(|| Problem::required("name"))?,
        extra_options: sent
            .extra_dhcp_opts
            .into_iter()
            .enumerate()
            .map(option)
            .collect::<Result<_, Problem>>()?,
    })
}

fn uri(subnet: &DhcpSubnet, links: &Links) -> String {
    let bridge = links.object("bridges", subnet.bridge_id);
    format!("{bridge}/dhcp/{}_{}", subnet.subnet.network(), subnet.subnet.len())
}

fn host_uri(subnet: &str, mac: Mac) -> String {
    format!("{subnet}/hosts/{}", mac.to_string().replace(':', "-"))
}

fn to_api(subnet: &DhcpSubnet, links: &Links) -> api::DhcpSubnet {
    let uri = uri(subnet, links);
    let route = |route: &StaticRoute| api::DhcpRoute {
        destination_prefix: v4(route.destination.network()),
        destination_length: route.destination.len(),
        gateway_addr: Some(route.gateway),
    };
    let dns = subnet.dns_server_addrs.clone();
    api::DhcpSubnet {
        subnet_prefix: v4(subnet.subnet.network()),
        subnet_length: subnet.subnet.len(),
        default_gateway: subnet.default_gateway,
        server_addr: subnet.server_addr,
        dns_server_addrs: (!dns.is_empty()).then_some(dns),
        interface_mtu: subnet.interface_mtu,
        opt121_routes: subnet.routes.iter().map(route).collect(),
        enabled: subnet.enabled,
        hosts: Some(format!("{uri}/hosts")),
        uri: Some(uri),
    }
}

fn host_to_api(host: &DhcpHost, subnet: &str) -> api::DhcpHost {
    let option = |option: &DhcpOption| api::DhcpOption {
        opt_name: Some(option.name.clone()),
        opt_value: Some(option.value.clone()),
    };
    api::DhcpHost {
        mac_addr: Some(host.mac),
        ip_addr: Some(host.addr),
        name: Some(host.name.clone()),
        extra_dhcp_opts: host.extra_options.iter().map(option).collect(),
        uri: Some(host_uri(subnet, host.mac)),
    }
}
