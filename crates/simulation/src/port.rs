//! What happens at a port, in and out. The order of both is here and nowhere else
//! (agent-facts §8).

use mn_flow::DropCause;
use mn_ids::PortId;
use mn_packet::{IcmpError, VlanTag};
use mn_topology::{DeviceId, L2Insertion, Port, PortKind};

use crate::branch::Branch;
use crate::delivery::Delivery;
use crate::insertion::Toward;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Entry, StateView};

/// The most devices one packet crosses. A longer walk is a loop in the topology.
pub const DEVICES_MAX: u8 = 12;

/// The most ports that all copies of one packet enter together. More is a loop that multiplies.
pub const CROSSINGS_MAX: u32 = 512;

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Takes the packet in by a port.
    pub(crate) fn ingress(&mut self, branch: &mut Branch, id: PortId) -> Result<(), Stop> {
        self.guard_loop(branch)?;
        let port = self.port(id)?;
        branch.enter(port);
        self.note(|| Step::Enter { port: id, device: port.device() });
        self.mark(branch, port)?;
        if !port.is_service() {
            self.serve_dhcp(branch, port)?;
            self.serve_dhcp_v6(branch, port)?;
        }
        self.mirror(branch, &port.inbound_mirror_ids)?;
        self.require_up(branch, port)?;
        if port.is_service() {
            self.filter(branch, port.inbound_filter_id)?;
            self.mirror(branch, &port.post_in_filter_mirror_ids)?;
            return self.inspected(branch, port);
        }
        if self.divert(branch, port, Toward::Network, None)? {
            return Ok(());
        }
        self.admit(branch, port)
    }

    /// Takes the packet through the inbound filter into the device.
    fn admit(&mut self, branch: &mut Branch, port: &'a Port) -> Result<(), Stop> {
        self.filter(branch, port.inbound_filter_id)?;
        self.mirror(branch, &port.post_in_filter_mirror_ids)?;
        match port.device() {
            DeviceId::Bridge(bridge) => self.bridge(branch, bridge, port),
            DeviceId::Router(router) => self.router(branch, router, port),
        }
    }

    /// Goes on with a packet that an inspecting machine sent back: where it was on its way to from a
    /// protected port.
    pub(crate) fn go_on(
        &mut self,
        branch: &mut Branch,
        port: &'a Port,
        toward: Toward,
        passed: &L2Insertion,
    ) -> Result<(), Stop> {
        match toward {
            Toward::Network => {
                branch.enter(port);
                self.note(|| Step::Enter { port: port.id, device: port.device() });
                self.require_up(branch, port)?;
                if self.divert(branch, port, toward, Some(passed))? {
                    return Ok(());
                }
                self.admit(branch, port)
            }
            Toward::Machine => {
                branch.leave(port);
                self.require_up(branch, port)?;
                if self.divert(branch, port, toward, Some(passed))? {
                    return Ok(());
                }
                self.release(branch, port)
            }
        }
    }

    /// Takes the packet out by a port.
    pub(crate) fn egress(&mut self, branch: &mut Branch, id: PortId) -> Result<(), Stop> {
        let port = self.port(id)?;
        if port.is_service() && self.inputs.entry != Entry::Egress(id) {
            return Err(DropCause::NotInserted.into());
        }
        leave_vlan(branch, port)?;
        branch.leave(port);
        self.mirror(branch, &port.pre_out_filter_mirror_ids)?;
        self.require_up(branch, port)?;
        self.filter(branch, port.outbound_filter_id)?;
        if self.divert(branch, port, Toward::Machine, None)? {
            return Ok(());
        }
        self.release(branch, port)
    }

    /// Sends the packet out to an inspecting machine, as nothing else leaves there.
    pub(crate) fn egress_to_service(
        &mut self,
        branch: &mut Branch,
        port: &Port,
    ) -> Result<(), Stop> {
        branch.out_port = Some(port.id);
        branch.crossed.push(port.id.uuid());
        self.mirror(branch, &port.pre_out_filter_mirror_ids)?;
        self.filter(branch, port.outbound_filter_id)?;
        self.release(branch, port)
    }

    /// Sends the packet out of the port, behind the outbound filter.
    fn release(&mut self, branch: &mut Branch, port: &Port) -> Result<(), Stop> {
        self.mirror(branch, &port.outbound_mirror_ids)?;
        self.note(|| Step::Leave { port: port.id, device: port.device() });
        if port.binding().is_some() {
            self.tell_limit(port);
            self.deliver(branch, port.id);
            return Ok(());
        }
        match port.peer_id {
            Some(peer) => self.ingress(branch, peer),
            None => Err(DropCause::Unbound.into()),
        }
    }

    fn guard_loop(&mut self, branch: &mut Branch) -> Result<(), Stop> {
        branch.devices += 1;
        self.crossings += 1;
        if branch.devices > DEVICES_MAX || self.crossings > CROSSINGS_MAX {
            return Err(DropCause::Looped.into());
        }
        Ok(())
    }

    /// A port that is down lets nothing through. A router says so to the sender; where the port is
    /// the one the sender is behind, it cannot.
    fn require_up(&mut self, branch: &mut Branch, port: &Port) -> Result<(), Stop> {
        if port.admin_state_up {
            return Ok(());
        }
        if branch.in_port.is_some_and(|in_port| in_port != port.id) {
            self.icmp_error(branch, IcmpError::Prohibited);
        }
        Err(DropCause::AdminDown.into())
    }

    fn deliver(&mut self, branch: &mut Branch, port: PortId) {
        let mirrored = !branch.mirrors.is_empty();
        let track = branch.track && !mirrored && is_tracked(branch);
        let trace = branch.packet.leave();
        let delivery = Delivery {
            port,
            headers: trace.headers,
            written: trace.written,
            hops: branch.hops,
            track,
            quote: branch.quote,
            answerer: None,
            mirrored,
        };
        self.buffers.deliveries.push(delivery);
        let (before, hops) = (self.packet.key, branch.hops);
        if trace.written != mn_flow::FlowMask::NONE || hops > 0 {
            self.note(|| Step::Rewritten { before, after: trace.headers, hops });
        }
        self.note(|| Step::Deliver { port, mirrored });
    }
}

impl Branch {
    fn enter(&mut self, port: &Port) {
        self.in_port = Some(port.id);
        self.in_exterior = port.binding().is_some();
        self.out_port = None;
        self.entered = self.ethernet();
        self.entered_headers = *self.packet.headers();
        self.dst_rewritten = false;
        self.device = Some(port.device());
        let device: mn_ids::ObjectKey = port.device().into();
        self.crossed.push(port.id.uuid());
        self.crossed.push(device.id);
    }

    fn leave(&mut self, port: &Port) {
        self.device = Some(port.device());
        self.out_port = Some(port.id);
        self.crossed.push(port.id.uuid());
    }
}

/// A bridge's port that carries one VLAN lets only that out, without its tag (agent-facts §9).
fn leave_vlan(branch: &mut Branch, port: &Port) -> Result<(), Stop> {
    let PortKind::Bridge { vlan_id, .. } = port.kind else { return Ok(()) };
    if branch.in_port == Some(port.id) {
        return Err(DropCause::SamePort.into());
    }
    if vlan_id == 0 {
        return Ok(());
    }
    let tag = branch.packet.vlan();
    if tag.vlan().is_none_or(|vlan| vlan.get() != vlan_id) {
        return Err(DropCause::VlanMismatch.into());
    }
    let inner = branch.packet.inner_vlan();
    branch.packet.set_vlan(inner);
    branch.packet.set_inner_vlan(VlanTag::NONE);
    Ok(())
}

/// Whether the datapath follows connections of packets like this: those of every protocol of IP.
fn is_tracked(branch: &mut Branch) -> bool {
    matches!(branch.packet.eth_type(), mn_packet::EtherType::IPV4 | mn_packet::EtherType::IPV6)
}
