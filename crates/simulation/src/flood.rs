//! Floods: one copy to every member port but the one the frame came by.

use mn_flow::{DropCause, Tag};
use mn_ids::PortId;
use mn_topology::snapshot::{BridgeView, Lookup};
use mn_topology::{Port, PortKind};

use crate::StateView;
use crate::branch::Branch;
use crate::bridge::router_mac;
use crate::simulate::{Sim, Stop};
use crate::walk::{BridgeLookup, Step};

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Sends a copy out of every member port; each goes its own way from here. A copy that goes
    /// nowhere takes nothing from the others.
    pub(crate) fn flood(&mut self, branch: &mut Branch, bridge: &BridgeView) -> Result<(), Stop> {
        self.tag(Tag::Flood { bridge: bridge.id, vlan: None });
        if branch.flooded.contains(&bridge.id) {
            return Err(DropCause::Looped.into());
        }
        branch.flooded.push(bridge.id);
        let mac = branch.packet.eth_dst();
        self.note(|| {
            let found = BridgeLookup::Flood(bridge.ports().to_vec());
            Step::BridgeLookup { bridge: bridge.id, mac, found }
        });
        let mut load = false;
        for member in bridge.ports() {
            let skip = !mac.is_multicast() && self.leads_to_router(bridge, *member);
            if skip || branch.in_port == Some(*member) || !self.is_member(branch, *member) {
                continue;
            }
            let mut copy = branch.clone();
            let end = self.egress(&mut copy, *member);
            self.absorb(&copy);
            match end {
                Ok(()) | Err(Stop::Answered) => {}
                Err(Stop::Drop(cause, rule)) => {
                    self.note(|| Step::CopyDropped { port: *member, cause, rule });
                    self.dropped.get_or_insert((cause, rule));
                }
                // All that the copies lack is asked for at once.
                Err(Stop::Load) => load = true,
                Err(wait @ (Stop::AwaitNeighbor { .. } | Stop::AwaitLease { .. })) => {
                    return Err(wait);
                }
            }
        }
        if load { Err(Stop::Load) } else { Ok(()) }
    }

    /// Whether a router is at the other end of the port. One with another MAC than the frame's would
    /// not take it.
    fn leads_to_router(&mut self, bridge: &BridgeView, port: PortId) -> bool {
        let links = bridge.links();
        let link = links.binary_search_by_key(&port, |link| link.port).ok().map(|at| links[at]);
        let Some(link) = link.filter(|link| router_mac(link).is_some()) else { return false };
        self.tag(Tag::Port(port));
        self.tag(Tag::Port(link.peer));
        true
    }

    /// Whether a flood reaches the port: those that lead nowhere are not asked, nor those that
    /// carry another VLAN.
    fn is_member(&mut self, branch: &mut Branch, id: PortId) -> bool {
        self.tag(Tag::Port(id));
        let Lookup::Loaded(port) = self.snapshot.port(id) else { return true };
        let leads_somewhere = |port: &Port| {
            !port.is_service() && (port.binding().is_some() || port.peer_id.is_some())
        };
        match port.kind {
            PortKind::Bridge { vlan_id, .. } if vlan_id != 0 => {
                let vlan = branch.packet.vlan().vlan();
                leads_somewhere(port) && vlan.is_some_and(|vlan| vlan.get() == vlan_id)
            }
            _ => leads_somewhere(port),
        }
    }
}
