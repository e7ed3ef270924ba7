//! DHCPv6 subnets of bridges, and their hosts.

use std::net::IpAddr;

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, DhcpV6SubnetId};
use mn_packet::IpPrefix;
use mn_topology::{ClientId, DhcpV6Host, DhcpV6Subnet, Invalid};

use super::endpoint::Resource;
use super::problem::Problem;
use super::subnets::{self, Subnet, SubnetHost};

pub fn subnet_resource() -> Resource {
    Resource::new(Media::DHCP_V6_SUBNET, &api::DhcpV6Subnet::DESCRIPTION)
        .list("/bridges/{id}/dhcpV6", subnets::list::<DhcpV6Subnet>)
        .create("/bridges/{id}/dhcpV6", subnets::create::<DhcpV6Subnet>)
        .read("/bridges/{id}/dhcpV6/{subnet}", subnets::read::<DhcpV6Subnet>)
        .update("/bridges/{id}/dhcpV6/{subnet}", subnets::update::<DhcpV6Subnet>)
        .delete("/bridges/{id}/dhcpV6/{subnet}", subnets::delete::<DhcpV6Subnet>)
        .explicit()
}

pub fn host_resource() -> Resource {
    const ALL: &str = "/bridges/{id}/dhcpV6/{subnet}/hostsV6";
    const ONE: &str = "/bridges/{id}/dhcpV6/{subnet}/hostsV6/{client}";
    Resource::new(Media::DHCP_V6_HOST, &api::DhcpV6Host::DESCRIPTION)
        .list(ALL, subnets::list_hosts::<DhcpV6Subnet>)
        .create(ALL, subnets::add_host::<DhcpV6Subnet>)
        .read(ONE, subnets::read_host::<DhcpV6Subnet>)
        .update(ONE, subnets::update_host::<DhcpV6Subnet>)
        .delete(ONE, subnets::remove_host::<DhcpV6Subnet>)
        .explicit()
}

impl Subnet for DhcpV6Subnet {
    type Document = api::DhcpV6Subnet;
    type Host = DhcpV6Host;

    const NAME: &'static str = "DHCPv6 subnet";
    const COLLECTION: &'static str = "dhcpV6";
    const PREFIX_FIELD: &'static str = "prefix";

    fn bridge_id(&self) -> BridgeId {
        self.bridge_id
    }

    fn prefix(&self) -> IpPrefix {
        self.prefix
    }

    fn hosts(&self) -> &Vec<DhcpV6Host> {
        &self.hosts
    }

    fn hosts_mut(&mut self) -> &mut Vec<DhcpV6Host> {
        &mut self.hosts
    }

    fn with_id(self, id: DhcpV6SubnetId) -> Self {
        Self { id, ..self }
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn mark(&self) -> u128 {
        let network = mn_packet::to_v6(self.prefix.network()).to_bits();
        self.bridge_id.uuid().as_u128().rotate_left(u32::from(self.prefix.len()) + 1) ^ network
    }

    fn from_document(
        id: DhcpV6SubnetId,
        bridge_id: BridgeId,
        hosts: Vec<DhcpV6Host>,
        sent: api::DhcpV6Subnet,
    ) -> Result<Self, Problem> {
        let (addr, len) = (sent.prefix, sent.prefix_length);
        let addr = addr.ok_or_else(|| Problem::required("prefix"))?;
        let prefix = IpPrefix::new(addr.into(), len)
            .map_err(|error| Problem::field("prefixLength", len, error.to_string()))?;
        let dns_server_addrs = sent.dns_server_addrs.unwrap_or_default();
        Ok(Self { id, bridge_id, prefix, dns_server_addrs, hosts })
    }

    fn to_document(&self, uri: String, hosts: String) -> api::DhcpV6Subnet {
        let dns = self.dns_server_addrs.clone();
        api::DhcpV6Subnet {
            prefix: match self.prefix.network() {
                IpAddr::V6(network) => Some(network),
                IpAddr::V4(_) => None,
            },
            prefix_length: self.prefix.len(),
            dns_server_addrs: (!dns.is_empty()).then_some(dns),
            hosts: Some(hosts),
            uri: Some(uri),
        }
    }
}

impl SubnetHost for DhcpV6Host {
    type Document = api::DhcpV6Host;
    type Key = ClientId;

    const NAME: &'static str = "DHCPv6 host";
    const KEY_NAME: &'static str = "a client identifier";
    const COLLECTION: &'static str = "hostsV6";
    const SEGMENT: &'static str = "client";
    const KEY_FIELD: &'static str = "clientId";

    fn key(&self) -> &ClientId {
        &self.client_id
    }

    fn from_document(sent: api::DhcpV6Host) -> Result<Self, Problem> {
        let client_id = sent.client_id.ok_or_else(|| Problem::required("clientId"))?;
        Ok(Self {
            client_id: client_id.parse().map_err(|error: mn_topology::ClientIdError| {
                Problem::field("clientId", client_id.as_str(), error.to_string())
            })?,
            fixed_address: sent.fixed_address.ok_or_else(|| Problem::required("fixedAddress"))?,
            name: sent.name.ok_or_else(|| Problem::required("name"))?,
        })
    }

    fn to_document(&self, uri: String) -> api::DhcpV6Host {
        api::DhcpV6Host {
            client_id: Some(self.client_id.to_string()),
            fixed_address: Some(self.fixed_address),
            name: Some(self.name.clone()),
            uri: Some(uri),
        }
    }
}
