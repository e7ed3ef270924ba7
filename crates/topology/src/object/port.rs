//! Ports of bridges and routers.

use core::net::IpAddr;

use mn_ids::{
    BridgeId, ChainId, HostId, Id, L2InsertionId, MirrorId, Object, ObjectKey, OnDelete, PortId,
    QosPolicyId, Reference, RouterId,
};
use mn_packet::{IpPrefix, Mac, VlanId};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, yes};

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
    /// Mirrors of what comes in, before the inbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound_mirror_ids: Vec<MirrorId>,
    /// Mirrors of what the inbound filter lets pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_in_filter_mirror_ids: Vec<MirrorId>,
    /// Mirrors of what goes out, before the outbound filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_out_filter_mirror_ids: Vec<MirrorId>,
    /// Mirrors of what the outbound filter lets pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound_mirror_ids: Vec<MirrorId>,
    /// What it is held to while it is bound; `None`: its bridge's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<QosPolicyId>,
    /// The insertions that have what passes it inspected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub insertion_ids: Vec<L2InsertionId>,
    /// The insertions whose inspecting machine is behind it. Such a port carries nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub srv_insertion_ids: Vec<L2InsertionId>,
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
        /// The VLAN it carries (`L2-*`), without its tag at this port; 0 for none.
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
    /// Seconds between two router advertisements at most (RFC 4861 §6.2.1, `MaxRtrAdvInterval`);
    /// `None`: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ra_interval: Option<u16>,
}

/// What RFC 4861 §6.2.1 allows as the longest time between advertisements, in seconds.
const RA_INTERVALS: core::ops::RangeInclusive<u16> = 4..=1800;

impl RouterPort {
    /// Seconds between two router advertisements at most.
    #[must_use]
    pub fn ra_interval_seconds(&self) -> u16 {
        self.ra_interval.unwrap_or(600)
    }
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
    /// A port that is up, without filters, and attached to nothing.
    #[must_use]
    pub const fn new(id: PortId, kind: PortKind) -> Self {
        Self {
            id,
            tenant_id: None,
            kind,
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            inbound_mirror_ids: Vec::new(),
            post_in_filter_mirror_ids: Vec::new(),
            pre_out_filter_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            qos_policy_id: None,
            insertion_ids: Vec::new(),
            srv_insertion_ids: Vec::new(),
            peer_id: None,
            host_id: None,
            interface_name: None,
            previous_host_id: None,
            vif_id: None,
            tunnel_key: 0,
        }
    }

    /// The device it belongs to.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        match &self.kind {
            PortKind::Bridge { bridge_id, .. } => DeviceId::Bridge(*bridge_id),
            PortKind::Router(router) => DeviceId::Router(router.router_id),
        }
    }

    /// The filters of what comes in and of what goes out.
    #[must_use]
    pub const fn filters(&self) -> [Option<ChainId>; 2] {
        [self.inbound_filter_id, self.outbound_filter_id]
    }

    /// The VLAN that a bridge's port carries.
    #[must_use]
    pub fn vlan(&self) -> Option<VlanId> {
        match self.kind {
            PortKind::Bridge { vlan_id, .. } => VlanId::try_from(vlan_id).ok(),
            PortKind::Router(_) => None,
        }
    }

    /// The mirrors of its hooks, in the order that a packet passes them.
    #[must_use]
    pub fn mirrors(&self) -> [&[MirrorId]; 4] {
        [
            &self.inbound_mirror_ids,
            &self.post_in_filter_mirror_ids,
            &self.pre_out_filter_mirror_ids,
            &self.outbound_mirror_ids,
        ]
    }

    /// Whether a machine behind it inspects what others send and get.
    #[must_use]
    pub const fn is_service(&self) -> bool {
        !self.srv_insertion_ids.is_empty()
    }

    /// Where it is bound.
    #[must_use]
    pub fn binding(&self) -> Option<Binding<'_>> {
        Some(Binding { host_id: self.host_id?, interface_name: self.interface_name.as_deref()? })
    }
}

/// Why two ports cannot be linked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotLinkable {
    #[error("a port cannot be linked with itself")]
    Itself,
    #[error("both ports are of the same device")]
    SameDevice,
    #[error("port {0} has a peer already")]
    HasPeer(PortId),
    #[error("port {0} is bound to an interface")]
    IsBound(PortId),
}

impl Port {
    /// The longest name of an interface, in octets (`IFNAMSIZ` without its NUL).
    pub const INTERFACE_NAME_MAX: usize = 15;

    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        match (self.host_id, &self.interface_name) {
            (Some(_), Some(name)) => interface_name(name)?,
            (None, None) => {}
            (Some(host), None) => {
                return Err(Invalid::new("interface_name", "", format!("host {host} needs one")));
            }
            (None, Some(name)) => {
                return Err(Invalid::new("host_id", "", format!("interface {name} needs one")));
            }
        }
        if let Some(peer) = self.peer_id {
            let interior = self.host_id.is_none();
            Invalid::unless(interior, "peer_id", peer, "a port that is bound cannot have a peer")?;
        }
        match &self.kind {
            PortKind::Bridge { vlan_id, .. } => {
                Invalid::unless(*vlan_id <= VlanId::MAX, "vlan_id", vlan_id, "is no VLAN")
            }
            PortKind::Router(router) => router.validate(),
        }
    }

    /// Refuses a link that cannot be (`CN-01`): both ports must be free and of two devices.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_link(&self, peer: &Self) -> Result<(), NotLinkable> {
        if self.id == peer.id {
            return Err(NotLinkable::Itself);
        }
        for port in [self, peer] {
            if port.peer_id.is_some() {
                return Err(NotLinkable::HasPeer(port.id));
            }
            if port.host_id.is_some() {
                return Err(NotLinkable::IsBound(port.id));
            }
        }
        if self.device() == peer.device() { Err(NotLinkable::SameDevice) } else { Ok(()) }
    }
}

impl RouterPort {
    fn validate(&self) -> Result<(), Invalid> {
        let single = !self.mac.is_multicast() && self.mac != Mac::ZERO;
        Invalid::unless(single, "mac", self.mac, "is the address of no interface")?;
        for (index, own) in self.addresses.iter().enumerate() {
            let IfAddr { addr, len } = *own;
            let text = format!("{addr}/{len}");
            let Some(subnet) = own.subnet() else {
                return Err(Invalid::new("addresses", text, "has too long a prefix"));
            };
            let usable = !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback());
            Invalid::unless(usable, "addresses", &text, "is no address of a router")?;
            let end = subnet.broadcast().is_some_and(|broadcast| IpAddr::V4(broadcast) == addr);
            Invalid::unless(!end, "addresses", &text, "is its subnet's broadcast address")?;
            let taken = self.addresses[..index].iter().any(|other| other.addr == addr);
            Invalid::unless(!taken, "addresses", &text, "is listed twice")?;
        }
        let interval = self.ra_interval_seconds();
        let possible = RA_INTERVALS.contains(&interval);
        Invalid::unless(possible, "ra_interval", interval, "is not within 4 to 1800 seconds")?;
        let v4 = self.ra_prefixes.iter().find(|prefix| prefix.network().is_ipv4());
        v4.map_or(Ok(()), |v4| Err(Invalid::new("ra_prefixes", v4, "is no IPv6 prefix")))
    }
}

/// Refuses a name that no interface of Linux can have.
fn interface_name(name: &str) -> Result<(), Invalid> {
    let fits = (1..=Port::INTERFACE_NAME_MAX).contains(&name.len());
    Invalid::unless(fits, "interface_name", name, "must have 1 to 15 octets")?;
    let plain = name.chars().all(|c| c != '/' && c != ':' && !c.is_whitespace() && !c.is_control());
    let named = plain && !matches!(name, "." | "..");
    Invalid::unless(named, "interface_name", name, "is no name of an interface")
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
            .to("inbound_mirror_ids", self.inbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .to(
                "post_in_filter_mirror_ids",
                self.post_in_filter_mirror_ids.iter().copied(),
                OnDelete::Clear,
            )
            .to(
                "pre_out_filter_mirror_ids",
                self.pre_out_filter_mirror_ids.iter().copied(),
                OnDelete::Clear,
            )
            .to("outbound_mirror_ids", self.outbound_mirror_ids.iter().copied(), OnDelete::Clear)
            .to("qos_policy_id", self.qos_policy_id, OnDelete::Clear)
            .to("insertion_ids", self.insertion_ids.iter().copied(), OnDelete::Clear)
            .to("srv_insertion_ids", self.srv_insertion_ids.iter().copied(), OnDelete::Clear)
            .to("peer_id", self.peer_id, OnDelete::Clear)
            .to("host_id", self.host_id, OnDelete::Refuse)
            .to("previous_host_id", self.previous_host_id, OnDelete::Clear)
            .done()
    }
}
