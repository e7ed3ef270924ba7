//! DHCP subnets of bridges, and their hosts.

use std::net::{IpAddr, Ipv4Addr};

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, DhcpSubnetId};
use mn_packet::{IpPrefix, Mac};
use mn_topology::{DhcpHost, DhcpOption, DhcpSubnet, Invalid, StaticRoute};

use super::endpoint::Resource;
use super::problem::Problem;
use super::subnets::{self, Subnet, SubnetHost};

pub fn subnet_resource() -> Resource {
    Resource::new(Media::DHCP_SUBNET, &api::DhcpSubnet::DESCRIPTION)
        .list("/bridges/{id}/dhcp", subnets::list::<DhcpSubnet>)
        .create("/bridges/{id}/dhcp", subnets::create::<DhcpSubnet>)
        .read("/bridges/{id}/dhcp/{subnet}", subnets::read::<DhcpSubnet>)
        .update("/bridges/{id}/dhcp/{subnet}", subnets::update::<DhcpSubnet>)
        .delete("/bridges/{id}/dhcp/{subnet}", subnets::delete::<DhcpSubnet>)
        .explicit()
}

pub fn host_resource() -> Resource {
    const ALL: &str = "/bridges/{id}/dhcp/{subnet}/hosts";
    const ONE: &str = "/bridges/{id}/dhcp/{subnet}/hosts/{mac}";
    Resource::new(Media::DHCP_HOST, &api::DhcpHost::DESCRIPTION)
        .list(ALL, subnets::list_hosts::<DhcpSubnet>)
        .create(ALL, subnets::add_host::<DhcpSubnet>)
        .read(ONE, subnets::read_host::<DhcpSubnet>)
        .update(ONE, subnets::update_host::<DhcpSubnet>)
        .delete(ONE, subnets::remove_host::<DhcpSubnet>)
        .explicit()
}

impl Subnet for DhcpSubnet {
    type Document = api::DhcpSubnet;
    type Host = DhcpHost;

    const NAME: &'static str = "DHCP subnet";
    const COLLECTION: &'static str = "dhcp";
    const PREFIX_FIELD: &'static str = "subnetPrefix";

    fn bridge_id(&self) -> BridgeId {
        self.bridge_id
    }

    fn prefix(&self) -> IpPrefix {
        self.subnet
    }

    fn hosts(&self) -> &Vec<DhcpHost> {
        &self.hosts
    }

    fn hosts_mut(&mut self) -> &mut Vec<DhcpHost> {
        &mut self.hosts
    }

    fn with_id(self, id: DhcpSubnetId) -> Self {
        Self { id, ..self }
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn mark(&self) -> u128 {
        let network = match self.subnet.network() {
            IpAddr::V4(network) => u128::from(network.to_bits()),
            IpAddr::V6(network) => network.to_bits(),
        };
        self.bridge_id.uuid().as_u128() ^ (network << 8 | u128::from(self.subnet.len()))
    }

    fn from_document(
        id: DhcpSubnetId,
        bridge_id: BridgeId,
        hosts: Vec<DhcpHost>,
        sent: api::DhcpSubnet,
    ) -> Result<Self, Problem> {
        Ok(Self {
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
        })
    }

    fn to_document(&self, uri: String, hosts: String) -> api::DhcpSubnet {
        let route = |route: &StaticRoute| api::DhcpRoute {
            destination_prefix: v4(route.destination.network()),
            destination_length: route.destination.len(),
            gateway_addr: Some(route.gateway),
        };
        let dns = self.dns_server_addrs.clone();
        api::DhcpSubnet {
            subnet_prefix: v4(self.subnet.network()),
            subnet_length: self.subnet.len(),
            default_gateway: self.default_gateway,
            server_addr: self.server_addr,
            dns_server_addrs: (!dns.is_empty()).then_some(dns),
            interface_mtu: self.interface_mtu,
            opt121_routes: self.routes.iter().map(route).collect(),
            enabled: self.enabled,
            hosts: Some(hosts),
            uri: Some(uri),
        }
    }
}

impl SubnetHost for DhcpHost {
    type Document = api::DhcpHost;
    type Key = Mac;

    const NAME: &'static str = "DHCP host";
    const KEY_NAME: &'static str = "a MAC address";
    const COLLECTION: &'static str = "hosts";
    const SEGMENT: &'static str = "mac";
    const KEY_FIELD: &'static str = "macAddr";

    fn key(&self) -> &Mac {
        &self.mac
    }

    fn from_document(sent: api::DhcpHost) -> Result<Self, Problem> {
        let option = |(index, option): (usize, api::DhcpOption)| {
            let missing = |name: &str| Problem::required(&format!("extraDhcpOpts[{index}].{name}"));
            Ok(DhcpOption {
                name: option.opt_name.ok_or_else(|| missing("optName"))?,
                value: option.opt_value.ok_or_else(|| missing("optValue"))?,
            })
        };
        let options = sent.extra_dhcp_opts.into_iter().enumerate().map(option);
        Ok(Self {
            mac: sent.mac_addr.ok_or_else(|| Problem::required("macAddr"))?,
            addr: sent.ip_addr.ok_or_else(|| Problem::required("ipAddr"))?,
            name: sent.name.ok_or_else(|| Problem::required("name"))?,
            extra_options: options.collect::<Result<_, Problem>>()?,
        })
    }

    fn to_document(&self, uri: String) -> api::DhcpHost {
        let option = |option: &DhcpOption| api::DhcpOption {
            opt_name: Some(option.name.clone()),
            opt_value: Some(option.value.clone()),
        };
        api::DhcpHost {
            mac_addr: Some(self.mac),
            ip_addr: Some(self.addr),
            name: Some(self.name.clone()),
            extra_dhcp_opts: self.extra_options.iter().map(option).collect(),
            uri: Some(uri),
        }
    }
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
