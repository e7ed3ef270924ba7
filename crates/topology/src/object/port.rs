//! Ports of bridges and routers.

use core::net::IpAddr;

use mn_ids::{
    BridgeId, ChainId, HostId, Id, Object, ObjectKey, OnDelete, PortId, Reference, RouterId,
};
use mn_packet::{IpPrefix, Mac};
use serde::{Deserialize, Serialize};

use super::{References, yes};

/// The attachment of a device to a peer device (*interior*) or to a host interface (*exterior*).
///
/// A port has a peer or a binding or neither, never both: see [`Port::validate`](crate::Port).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Port {
    pub id: PortId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(flatten)]
    pub kind: PortKind,
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<ChainId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<ChainId>,
    /// The port it is linked with. Both ends name each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<PortId>,
    /// The host it is bound to, and the interface there: both or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// The host it was bound to before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_host_id: Option<HostId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif_id: Option<String>,
    /// A stored sequence number that the API shows. Tunnels do not use it (contracts §1).
    #[serde(default)]
    pub tunnel_key: u64,
}

/// What a port is a port of, and what it has because of that.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PortKind {
    Bridge {
        bridge_id: BridgeId,
        /// On an interior port: the VLAN it carries (`L2-*`); 0 for none.
        #[serde(default)]
        vlan_id: u16,
    },
    Router(RouterPort),
}

/// What only ports of routers have.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RouterPort {
    pub router_id: RouterId,
    pub mac: Mac,
    /// Its addresses with their subnets, both versions: `10.0.0.1/24`, `2001:db8::1/64`. The
    /// link-local IPv6 address is not listed: it follows from `mac` (EUI-64).
    #[serde(default)]
    pub addresses: Vec<IfAddr>,
    #[serde(default, skip_serializing_if = "RaMode::is_off")]
    pub ra_mode: RaMode,
    /// The prefixes that router advertisements offer; empty: those of the port's own addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ra_prefixes: Vec<IpPrefix>,
}

/// An address and how many of its bits are its subnet's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct IfAddr {
    pub addr: IpAddr,
    /// 0..=32 for IPv4, 0..=128 for IPv6.
    pub len: u8,
}

impl IfAddr {
    /// The subnet; `None` where `len` is longer than the address.
    #[must_use]
    pub fn subnet(&self) -> Option<IpPrefix> {
        IpPrefix::new(self.addr, self.len).ok()
    }
}

/// Router advertisements of a router port (RFC 4861 §6.2, RFC 4862).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RaMode {
    /// None are sent.
    #[default]
    Off,
    /// Hosts make their own addresses (A flag).
    Slaac,
    /// Hosts make their own addresses and ask DHCPv6 for the rest (A and O flags).
    DhcpStateless,
    /// Hosts get their addresses from DHCPv6 (M flag).
    DhcpStateful,
}

impl RaMode {
    /// Whether nothing is sent.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// The device a port belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DeviceId {
    Bridge(BridgeId),
    Router(RouterId),
}

impl From<DeviceId> for ObjectKey {
    fn from(device: DeviceId) -> Self {
        match device {
            DeviceId::Bridge(id) => id.into(),
            DeviceId::Router(id) => id.into(),
        }
    }
}

/// Where an exterior port is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Binding<'a> {
    pub host_id: HostId,
    pub interface_name: &'a str,
}

impl Port {
    /// The device it belongs to.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        match &self.kind {
            PortKind::Bridge { bridge_id, .. } => DeviceId::Bridge(*bridge_id),
            PortKind::Router(router) => DeviceId::Router(router.router_id),
        }
    }

    /// Where it is bound.
    #[must_use]
    pub fn binding(&self) -> Option<Binding<'_>> {
        Some(Binding { host_id: self.host_id?, interface_name: self.interface_name.as_deref()? })
    }
}

impl Object for Port {
    type Kind = mn_ids::Port;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        let references = match self.device() {
            DeviceId::Bridge(id) => References::default().to("bridge_id", [id], OnDelete::Cascade),
            DeviceId::Router(id) => References::default().to("router_id", [id], OnDelete::Cascade),
        };
        references
            .to("inbound_filter_id", self.inbound_filter_id, OnDelete::Clear)
            .to("outbound_filter_id", self.outbound_filter_id, OnDelete::Clear)
            .to("peer_id", self.peer_id, OnDelete::Clear)
            .to("host_id", self.host_id, OnDelete::Refuse)
            .to("previous_host_id", self.previous_host_id, OnDelete::Clear)
            .done()
    }
}
