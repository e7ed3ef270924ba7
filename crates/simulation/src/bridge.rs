//! What a bridge does with a frame. The order is in [`Sim::bridge`] (agent-facts §9).

use mn_flow::{DropCause, Tag};
use mn_ids::{BridgeId, PortId};
use mn_packet::{Mac, VlanId, VlanTag};
use mn_topology::Port;
use mn_topology::snapshot::{BridgeView, FarEnd, Link};

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::{BridgeLookup, Step};
use crate::{Effect, Known, StateView};

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Takes a frame through a bridge.
    pub(crate) fn bridge(
        &mut self,
        branch: &mut Branch,
        id: BridgeId,
        port: &Port,
    ) -> Result<(), Stop> {
        let bridge = self.bridge_view(id)?;
        if branch.packet.eth_src().is_multicast() {
            return Err(DropCause::MulticastSource.into());
        }
        if !bridge.admin_state_up {
            return Err(DropCause::AdminDown.into());
        }
        self.mirror(branch, &bridge.inbound_mirror_ids)?;
        self.filter(branch, bridge.inbound_filter_id)?;
        enter_vlan(branch, port)?;
        self.need_ends(bridge)?;
        let vlan = learning_vlan(branch, bridge, port);
        self.learn(branch, bridge, vlan)?;
        match self.forward(branch, bridge, vlan)? {
            Forward::Port(out) => {
                branch.out_port = Some(out);
                self.filter(branch, bridge.outbound_filter_id)?;
                self.mirror(branch, &bridge.outbound_mirror_ids)?;
                self.egress(branch, out)
            }
            Forward::Flood => {
                self.filter(branch, bridge.outbound_filter_id)?;
                self.mirror(branch, &bridge.outbound_mirror_ids)?;
                self.flood(branch, bridge)
            }
            Forward::Answered => Err(DropCause::Consumed.into()),
        }
    }

    pub(crate) fn bridge_view(&mut self, id: BridgeId) -> Result<&'a BridgeView, Stop> {
        self.tag(Tag::Bridge(id));
        self.found(self.snapshot.bridge(id), id)
    }

    /// Has all far ends of the bridge's links loaded: which of them are routers decides what is
    /// learned, what is answered for and where a frame goes.
    fn need_ends(&mut self, bridge: &BridgeView) -> Result<(), Stop> {
        if bridge.ends_known() {
            return Ok(());
        }
        let mut end = Ok(());
        for link in bridge.links().iter().filter(|link| link.far == FarEnd::Unknown) {
            // All that is missing is asked for at once.
            if let Err(stop @ Stop::Load) = self.port(link.peer).map(|_| ()) {
                end = Err(stop);
            }
        }
        end
    }

    /// Learns where the source is. The ports of linked routers are known without that, and nobody
    /// else can pass for one.
    fn learn(
        &mut self,
        branch: &mut Branch,
        bridge: &BridgeView,
        vlan: Option<VlanId>,
    ) -> Result<(), Stop> {
        let (Some(port), mac) = (branch.in_port, branch.packet.eth_src()) else { return Ok(()) };
        let from_router = |link: &Link| link.port == port || router_mac(link) == Some(mac);
        let is_router = |link: &Link| matches!(link.far, FarEnd::Router { .. });
        self.tag(Tag::Mac { bridge: bridge.id, vlan: None, mac });
        if bridge.links().iter().any(|link| is_router(link) && from_router(link)) {
            return Ok(());
        }
        if vlan.is_some() {
            self.tag(Tag::Mac { bridge: bridge.id, vlan, mac });
        }
        self.effect(Effect::LearnMac { bridge: bridge.id, vlan, mac, port });
        self.learn_bridge_neighbor(branch, bridge, mac)
    }

    /// Where the frame goes.
    fn forward(
        &mut self,
        branch: &mut Branch,
        bridge: &BridgeView,
        vlan: Option<VlanId>,
    ) -> Result<Forward, Stop> {
        let dst = branch.packet.eth_dst();
        if dst.is_multicast() {
            if let Some(forward) = self.suppress(branch, bridge)? {
                return Ok(forward);
            }
            return Ok(Forward::Flood);
        }
        match self.whereabouts(bridge, vlan, dst)? {
            Some(port) => {
                let found = BridgeLookup::Port(port);
                self.note(|| Step::BridgeLookup { bridge: bridge.id, mac: dst, found });
                if branch.in_port == Some(port) {
                    return Err(DropCause::SamePort.into());
                }
                Ok(Forward::Port(port))
            }
            None => Ok(Forward::Flood),
        }
    }

    /// The port a MAC is behind: that of a linked router, or the one it was learned on.
    fn whereabouts(
        &mut self,
        bridge: &BridgeView,
        vlan: Option<VlanId>,
        mac: Mac,
    ) -> Result<Option<PortId>, Stop> {
        self.tag(Tag::Mac { bridge: bridge.id, vlan: None, mac });
        if let Some(link) = bridge.links().iter().find(|link| router_mac(link) == Some(mac)) {
            return Ok(Some(link.port));
        }
        if vlan.is_some() {
            self.tag(Tag::Mac { bridge: bridge.id, vlan, mac });
        }
        match self.state.mac(bridge.id, vlan, mac) {
            // A port that has left the bridge since is no place.
            Known::Is(port) => Ok(bridge.ports().binary_search(&port).ok().map(|_| port)),
            Known::Absent => Ok(None),
            Known::Unknown => Err(self.load(bridge.id)),
        }
    }
}

/// Where a bridge sends a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forward {
    Port(PortId),
    Flood,
    /// Nowhere: the bridge answered it.
    Answered,
}

/// The MAC of the router's port at the other end.
pub(crate) fn router_mac(link: &Link) -> Option<Mac> {
    match link.far {
        FarEnd::Router { mac, .. } => Some(mac),
        FarEnd::Bridge | FarEnd::Unknown => None,
    }
}

/// A frame from a port that carries one VLAN gets that VLAN's tag.
///
/// A machine's port is an access port: its frames have no tag but that of priority (VLAN 0, IEEE
/// 802.1Q §6.9.1), which the VLAN's takes over. With another, a machine could speak in a VLAN that
/// is not its own. Behind a link there is a network with tags of its own, which stay inside.
fn enter_vlan(branch: &mut Branch, port: &Port) -> Result<(), Stop> {
    let Some(vlan) = port.vlan() else { return Ok(()) };
    let outer = branch.packet.vlan();
    let inner = if outer.is_present() { branch.packet.inner_vlan() } else { VlanTag::NONE };
    let access = port.binding().is_some();
    let tagged = outer.vlan().is_some() || inner.is_present();
    if (access && tagged) || inner.is_present() {
        // Keys have room for two tags.
        return Err(DropCause::VlanMismatch.into());
    }
    branch.packet.set_inner_vlan(if access { VlanTag::NONE } else { outer });
    branch.packet.set_vlan(VlanTag::of(vlan).with_priority_of(outer));
    Ok(())
}

/// The VLAN to learn in: none on a bridge none of whose ports carries one, be the frame tagged or
/// not; else the port's, else the frame's.
fn learning_vlan(branch: &mut Branch, bridge: &BridgeView, port: &Port) -> Option<VlanId> {
    if !bridge.knows_vlans() {
        return None;
    }
    port.vlan().or_else(|| branch.packet.vlan().vlan())
}
