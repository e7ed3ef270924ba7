//! A bridge with what belongs to it.

use core::ops::Deref;
use std::sync::Arc;

use mn_ids::{PortId, RouterId};
use mn_packet::Mac;

use super::{Lookup, Single};
use crate::object::{Bridge, DhcpSubnet, DhcpV6Subnet};

/// A loaded bridge. Derefs to the stored object.
#[derive(Clone, Debug)]
pub struct BridgeView {
    bridge: Arc<Bridge>,
    ports: Arc<[PortId]>,
    links: Arc<[Link]>,
    ends_known: bool,
    knows_vlans: bool,
    dhcp: Arc<[Arc<DhcpSubnet>]>,
    dhcp_v6: Arc<[Arc<DhcpV6Subnet>]>,
}

/// The link of an interior port of a bridge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// The bridge's port.
    pub port: PortId,
    pub peer: PortId,
    pub far: FarEnd,
    /// The VLAN the bridge's port carries; 0 for none.
    pub vlan: u16,
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FarEnd {
    /// A router's port with this MAC.
    Router { router: RouterId, mac: Mac },
    /// Another bridge.
    Bridge,
    /// The peer is not loaded, or does not exist.
    Unknown,
}

impl BridgeView {
    /// All its ports, in the order of their ids.
    #[must_use]
    pub fn ports(&self) -> &[PortId] {
        &self.ports
    }

    /// Its interior ports, in the order of their ids.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether it is known what is at the other end of every link. Where not, a router's MAC passes
    /// for a station's.
    #[must_use]
    pub const fn ends_known(&self) -> bool {
        self.ends_known
    }

    /// Whether any of its ports carries a VLAN. Such a bridge has a network for each VLAN; on others
    /// all frames, tagged or not, are of one.
    #[must_use]
    pub const fn knows_vlans(&self) -> bool {
        self.knows_vlans
    }

    /// Its DHCP subnets, in the order of their ids.
    #[must_use]
    pub fn dhcp_subnets(&self) -> &[Arc<DhcpSubnet>] {
        &self.dhcp
    }

    /// Its DHCPv6 subnets, in the order of their ids.
    #[must_use]
    pub fn dhcp_v6_subnets(&self) -> &[Arc<DhcpV6Subnet>] {
        &self.dhcp_v6
    }
}

impl Deref for BridgeView {
    type Target = Bridge;

    fn deref(&self) -> &Bridge {
        &self.bridge
    }
}

/// A bridge on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct BridgeEntry {
    pub(super) bridge: Single<Bridge>,
    pub(super) ports_complete: bool,
    pub(super) dhcp_complete: bool,
    pub(super) dhcp_v6_complete: bool,
    pub(super) ports: Arc<[PortId]>,
    pub(super) links: Arc<[Link]>,
    /// The ports that carry a VLAN, linked or not, in the order of their ids.
    pub(super) vlan_ports: Arc<[PortId]>,
    pub(super) dhcp: Arc<[Arc<DhcpSubnet>]>,
    pub(super) dhcp_v6: Arc<[Arc<DhcpV6Subnet>]>,
    view: Option<Arc<BridgeView>>,
}

impl BridgeEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, BridgeView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.bridge.watched && self.bridge.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    /// Whether nothing is known or watched.
    pub(super) fn is_empty(&self) -> bool {
        let complete = self.ports_complete || self.dhcp_complete || self.dhcp_v6_complete;
        !(self.bridge.watched || complete)
            && self.bridge.value.is_none()
            && self.ports.is_empty()
            && self.dhcp.is_empty()
            && self.dhcp_v6.is_empty()
    }

    /// Makes the view from the parts, once all are there.
    pub(super) fn compile(&mut self) {
        let complete = self.ports_complete && self.dhcp_complete && self.dhcp_v6_complete;
        self.view = self.bridge.value.as_ref().filter(|_| complete).map(|bridge| {
            Arc::new(BridgeView {
                bridge: Arc::clone(bridge),
                ports: Arc::clone(&self.ports),
                links: Arc::clone(&self.links),
                knows_vlans: !self.vlan_ports.is_empty(),
                ends_known: self.links.iter().all(|link| link.far != FarEnd::Unknown),
                dhcp: Arc::clone(&self.dhcp),
                dhcp_v6: Arc::clone(&self.dhcp_v6),
            })
        });
    }
}
