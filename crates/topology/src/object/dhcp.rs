//! DHCP subnets of bridges.

use core::net::Ipv4Addr;

use mn_ids::{BridgeId, DhcpSubnetId, Id, Object, OnDelete, Reference};
use mn_packet::{IpPrefix, Mac};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, yes};

/// A subnet whose hosts the agent answers DHCPv4 for (agent-facts §19).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DhcpSubnet {
    pub id: DhcpSubnetId,
    pub bridge_id: BridgeId,
    /// IPv4. One subnet of a bridge has it.
    pub subnet: IpPrefix,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<Ipv4Addr>,
    /// Who answers; the default gateway where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_addr: Option<Ipv4Addr>,
    #[serde(default)]
    pub dns_server_addrs: Vec<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_mtu: Option<u16>,
    /// Classless static routes (option 121); the default route is added to them.
    #[serde(default)]
    pub routes: Vec<StaticRoute>,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub hosts: Vec<DhcpHost>,
}

/// One classless static route.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StaticRoute {
    pub destination: IpPrefix,
    pub gateway: Ipv4Addr,
}

/// One client and the address it gets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DhcpHost {
    pub mac: Mac,
    pub addr: Ipv4Addr,
    pub name: String,
    #[serde(default)]
    pub extra_options: Vec<DhcpOption>,
}

/// A DHCP option as an operator writes it: a name or number, and text by the option's own syntax.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DhcpOption {
    pub name: String,
    pub value: String,
}

impl DhcpSubnet {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        let is_v4 = self.subnet.network().is_ipv4();
        Invalid::unless(is_v4, "subnet", self.subnet, "is no IPv4 subnet")?;
        for route in &self.routes {
            let is_v4 = route.destination.network().is_ipv4();
            Invalid::unless(is_v4, "routes.destination", route.destination, "is no IPv4 subnet")?;
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let single = !host.mac.is_multicast() && host.mac != Mac::ZERO;
            Invalid::unless(single, "hosts.mac", host.mac, "is the address of no interface")?;
            let taken = self.hosts[..index].iter().any(|other| other.mac == host.mac);
            Invalid::unless(!taken, "hosts.mac", host.mac, "has an address already")?;
        }
        Ok(())
    }
}

impl Object for DhcpSubnet {
    type Kind = mn_ids::DhcpSubnet;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        References::default().to("bridge_id", [self.bridge_id], OnDelete::Cascade).done()
    }
}
