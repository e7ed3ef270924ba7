//! ARP and neighbour discovery, at bridges and routers (agent-facts §9, §12; RFC 826, RFC 4861).
//!
//! A packet that may teach something makes no flow, but for a question that a flow answers: of that
//! the agent gets copies. What one station of a bridge says to another, and is known of it, makes one.

use std::net::{IpAddr, Ipv6Addr};

use mn_flow::{DropCause, ScopedAddr, Tag};
use mn_ids::{BridgeId, PortId, RouterId};
use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, ArpOp, EtherType, IpProtocol, Layers, Mac, Network, from_v6};
use mn_topology::snapshot::{BridgeView, FarEnd, Link};
use mn_topology::{DeviceId, PortKind, RouterPort};

use crate::asked::Answerer;
use crate::branch::Branch;
use crate::bridge::{Forward, router_mac};
use crate::router::{Inside, is_unicast};
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Effect, Known, Limit, NeighborState, StateView, dhcp};

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Notes the address that a frame on a bridge says is at its source.
    ///
    /// A frame to one station alone that can only tell what is known makes a flow. By such frames
    /// hosts find out whether a neighbour is there still (RFC 1122 §2.3.2.1, RFC 4861 §7.3.1), and
    /// they do so while no agent lives, too. The headers show all that the frame can tell: an
    /// address, and the MAC it comes from, for who speaks for another MAC is not believed.
    pub(crate) fn learn_bridge_neighbor(
        &mut self,
        branch: &mut Branch,
        view: &BridgeView,
        from: Mac,
    ) -> Result<(), Stop> {
        let bridge = view.id;
        let is_arp = branch.packet.eth_type() == EtherType::ARP;
        if !is_arp && (branch.packet.eth_type() != EtherType::IPV6 || !is_discovery(branch)) {
            return Ok(());
        }
        // What is known of a bridge's network answers questions without a tag.
        if branch.packet.vlan().is_present() {
            return Ok(());
        }
        let told = if is_arp { Some(branch.packet.nw_src()) } else { told_by_nd(branch) };
        if let Some(addr) = told.map(from_v6)
            && self.routers_port(view, addr)?.is_some()
        {
            self.once = true;
            self.effect(Effect::AddressClaimed {
                device: DeviceId::Bridge(bridge),
                addr,
                mac: from,
            });
            return Ok(());
        }
        if !branch.packet.eth_dst().is_multicast() {
            let Some(told) = told.map(from_v6) else { return Ok(()) };
            match self.known_neighbor(bridge, told) {
                Known::Is(mac) if mac == from => return Ok(()),
                // Kernels ask from there, and of nobody else it could be.
                Known::Absent if told == ndp::link_local(from) => return Ok(()),
                Known::Is(_) | Known::Absent => {}
                Known::Unknown => return Err(self.load(bridge)),
            }
        }
        self.teaches = true;
        let said = if is_arp {
            let arp = self.arp().filter(|arp| !arp.sender.is_unspecified());
            arp.map(|arp| (IpAddr::V4(arp.sender), arp.sender_mac))
        } else {
            self.said_by_nd()
        };
        if let Some((addr, mac)) = said.filter(|(_, mac)| *mac == from) {
            self.effect(Effect::LearnBridgeNeighbor { bridge, addr, mac });
        }
        Ok(())
    }

    /// Answers a question for an address that is known, or sends it only to who has it.
    pub(crate) fn suppress(
        &mut self,
        branch: &mut Branch,
        bridge: &BridgeView,
    ) -> Result<Option<Forward>, Stop> {
        let (asker, target) = match branch.packet.eth_type() {
            EtherType::ARP => {
                self.teaches = true;
                if branch.packet.nw_proto().0 != ArpOp::REQUEST.0 as u8 {
                    return Ok(None);
                }
                (branch.packet.nw_src(), branch.packet.nw_dst())
            }
            EtherType::IPV6 if is_solicitation(branch) => {
                self.teaches = true;
                (branch.packet.nw_src(), branch.packet.nw_dst())
            }
            _ => return Ok(None),
        };
        if self.verifies(branch, bridge, from_v6(target)) {
            return Ok(None);
        }
        // Announcements and checks for duplicates are for all to hear.
        if asker == target || asker.is_unspecified() || branch.packet.vlan().is_present() {
            return Ok(None);
        }
        let target = from_v6(target);
        if let Some(port) = self.routers_port(bridge, target)? {
            return Ok(Some(Forward::Port(port)));
        }
        let mac = match dhcp::server_mac(bridge, target) {
            Some(mac) => mac,
            None => match self.known_neighbor(bridge.id, target) {
                Known::Is(mac) if mac != branch.packet.eth_src() => mac,
                Known::Is(_) | Known::Absent => return Ok(None),
                Known::Unknown => return Err(self.load(bridge.id)),
            },
        };
        let Some(port) = branch.in_port else { return Ok(None) };
        let device = DeviceId::Bridge(bridge.id);
        self.note(|| Step::Answered { device, with: format!("{target} is at {mac}") });
        let is_answered = self.answer_question(branch, port, Answerer { mac, router: false })?;
        Ok(is_answered.then_some(Forward::Answered))
    }

    /// Whether a router asks for an address that it knows. Then it wants to hear of the station
    /// itself, not what it said once.
    fn verifies(&self, branch: &Branch, bridge: &BridgeView, target: IpAddr) -> bool {
        let from = bridge.links().iter().find(|link| branch.in_port == Some(link.port));
        let Some(Link { peer, far: FarEnd::Router { router, .. }, .. }) = from else {
            return false;
        };
        let known = self.state.neighbor(*router, ScopedAddr::on(*peer, target), self.inputs.now);
        matches!(known, NeighborState::Known(_))
    }

    /// What is known of an address of a bridge's network.
    fn known_neighbor(&mut self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        self.tag(Tag::BridgeNeighbor { bridge, addr });
        self.state.bridge_neighbor(bridge, addr)
    }

    /// The bridge's port with a router behind it that has the address, of the network without tags.
    fn routers_port(&mut self, bridge: &BridgeView, addr: IpAddr) -> Result<Option<PortId>, Stop> {
        for link in bridge.links().iter().filter(|link| link.vlan == 0) {
            if router_mac(link).is_some() && self.has_address(link.peer, addr)? {
                return Ok(Some(link.port));
            }
        }
        Ok(None)
    }

    /// Whether a router's port has the address.
    fn has_address(&mut self, port: PortId, addr: IpAddr) -> Result<bool, Stop> {
        Ok(match &self.port(port)?.kind {
            PortKind::Router(kind) => is_own(kind, addr),
            PortKind::Bridge { .. } => false,
        })
    }

    /// Answers a question by `port`; `false` where there is no frame to make an answer of.
    fn answer_question(
        &mut self,
        branch: &mut Branch,
        port: PortId,
        answerer: Answerer,
    ) -> Result<bool, Stop> {
        self.answer_by_flow(branch, port, answerer)?;
        let Some(reply) = self.answer_for(branch, answerer) else { return Ok(false) };
        self.emit(port, reply, Limit::Answer);
        Ok(true)
    }

    /// The frame that answers an ARP request or a neighbour solicitation.
    fn answer_for(&self, branch: &Branch, Answerer { mac, router }: Answerer) -> Option<Vec<u8>> {
        let layers = Layers::of(self.packet.frame).ok()?;
        match layers.network {
            Network::Arp(request) => {
                Some(request.reply(mac).frame_in(&branch.entered.reply_from(mac)))
            }
            Network::Ip(ip) => {
                let Ok(Some(NdMessage::NeighborSolicitation { target, .. })) =
                    NdMessage::parse(ip.payload)
                else {
                    return None;
                };
                let IpAddr::V6(asker) = ip.src else { return None };
                Some(ndp::advertise(&branch.entered, asker, target, mac, router))
            }
            Network::Other => None,
        }
    }

    /// ARP that reaches a router ends there: it answers for the port's own addresses and learns
    /// about those of the port's subnets.
    pub(crate) fn router_arp(
        &mut self,
        branch: &mut Branch,
        router: RouterId,
        inside: Inside<'a>,
    ) -> Result<(), Stop> {
        self.teaches = true;
        let sender = from_v6(branch.packet.nw_src());
        let target = from_v6(branch.packet.nw_dst());
        let asks = u16::from(branch.packet.nw_proto().0) == ArpOp::REQUEST.0;
        if is_own(inside.port, sender) {
            self.claimed(branch, router, sender);
            return Err(DropCause::Consumed.into());
        }
        // Of a flow that an agent adopts there is no more than headers.
        if let Some(arp) = self.arp() {
            let told = arp.op == ArpOp::REPLY || arp.is_gratuitous() || is_own(inside.port, target);
            if told {
                self.learn_neighbor(router, inside, sender, arp.sender_mac);
            }
        }
        if asks && is_own(inside.port, target) {
            self.answer_as_router(branch, inside)?;
        }
        Err(DropCause::Consumed.into())
    }

    /// Neighbour discovery that reaches a router ends there; everything else goes on.
    pub(crate) fn router_nd(
        &mut self,
        branch: &mut Branch,
        router: RouterId,
        inside: Inside<'a>,
    ) -> Result<(), Stop> {
        if !is_discovery(branch) {
            return Ok(());
        }
        self.teaches = true;
        let Some((message, src, hops)) = self.nd() else {
            // Of a flow that an agent adopts there is no more than headers.
            if self.packet.frame.is_empty() && is_solicitation(branch) {
                let (src, target) = (branch.packet.nw_src(), branch.packet.nw_dst());
                if is_own(inside.port, target.into()) && !is_own(inside.port, src.into()) {
                    self.answer_as_router(branch, inside)?;
                }
            }
            return Err(DropCause::Malformed.into());
        };
        // Whoever has crossed a router is no neighbour (RFC 4861 §6.1, §7.1).
        if hops != ndp::HOP_LIMIT {
            return Err(DropCause::Malformed.into());
        }
        match message {
            NdMessage::NeighborSolicitation { target, source_mac } => {
                if is_own(inside.port, src.into()) {
                    self.claimed(branch, router, src.into());
                    return Err(DropCause::Consumed.into());
                }
                if let Some(mac) = source_mac.filter(|_| !src.is_unspecified()) {
                    self.learn_neighbor(router, inside, src.into(), mac);
                }
                if is_own(inside.port, target.into()) {
                    self.answer_as_router(branch, inside)?;
                }
            }
            NdMessage::NeighborAdvertisement(told) if is_own(inside.port, told.target.into()) => {
                self.claimed(branch, router, told.target.into());
            }
            NdMessage::NeighborAdvertisement(told) => {
                let mac = match told.target_mac {
                    None if told.solicited => {
                        self.confirmed(branch, router, inside, told.target)?
                    }
                    mac => mac,
                };
                if let Some(mac) = mac {
                    self.learn_neighbor(router, inside, told.target.into(), mac);
                }
            }
            NdMessage::RouterSolicitation { .. } => self.advertise(branch, inside, src),
            NdMessage::RouterAdvertisement(_) => {}
        }
        Err(DropCause::Consumed.into())
    }

    /// The MAC that an answer without one confirms: the one that is known, if the answer came from
    /// there (RFC 4861 §7.2.5). A question to one station alone is answered like that.
    fn confirmed(
        &mut self,
        branch: &Branch,
        router: RouterId,
        inside: Inside<'a>,
        target: Ipv6Addr,
    ) -> Result<Option<Mac>, Stop> {
        let addr = ScopedAddr::on(inside.id, target.into());
        match self.state.neighbor(router, addr, self.inputs.now) {
            NeighborState::Known(mac) => Ok((mac == branch.entered.src).then_some(mac)),
            NeighborState::NotLoaded => Err(self.load(router)),
            NeighborState::Unresolved | NeighborState::Unreachable => Ok(None),
        }
    }

    /// Notes that a machine says that it has the router's own address. On a bridge, that has heard it
    /// before.
    fn claimed(&mut self, branch: &Branch, router: RouterId, addr: IpAddr) {
        self.once = true;
        if branch.devices == 1 && !branch.own {
            let mac = branch.entered.src;
            self.effect(Effect::AddressClaimed { device: DeviceId::Router(router), addr, mac });
        }
    }

    fn answer_as_router(&mut self, branch: &mut Branch, inside: Inside<'a>) -> Result<(), Stop> {
        let (mac, device) = (inside.port.mac, DeviceId::Router(inside.port.router_id));
        self.note(|| Step::Answered { device, with: format!("the address is at {mac}") });
        self.answer_question(branch, inside.id, Answerer { mac, router: true }).map(drop)
    }

    /// Learns a neighbour, if its address is one of the port's link.
    fn learn_neighbor(&mut self, router: RouterId, inside: Inside<'a>, addr: IpAddr, mac: Mac) {
        let on_link = match addr {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
            addr => inside
                .port
                .addresses
                .iter()
                .any(|own| own.subnet().is_some_and(|subnet| subnet.contains(addr))),
        };
        if on_link && is_unicast(mac) {
            self.effect(Effect::LearnNeighbor { router, port: inside.id, addr, mac });
        }
    }

    /// The ARP packet in the frame.
    fn arp(&self) -> Option<Arp> {
        match Layers::of(self.packet.frame).ok()?.network {
            Network::Arp(arp) => Some(arp),
            _ => None,
        }
    }

    /// The message of neighbour discovery in the frame, its source and its hop limit.
    fn nd(&self) -> Option<(NdMessage, Ipv6Addr, u8)> {
        let layers = Layers::of(self.packet.frame).ok()?;
        let ip = layers.ip()?;
        let IpAddr::V6(src) = ip.src else { return None };
        Some((NdMessage::parse(ip.payload).ok()??, src, ip.ttl))
    }

    /// The address and MAC that a message of neighbour discovery tells.
    fn said_by_nd(&self) -> Option<(IpAddr, Mac)> {
        let (message, src, hops) = self.nd()?;
        let said = match message {
            NdMessage::NeighborSolicitation { source_mac, .. } => (src, source_mac?),
            NdMessage::NeighborAdvertisement(told) => (told.target, told.target_mac?),
            NdMessage::RouterSolicitation { .. } | NdMessage::RouterAdvertisement(_) => {
                return None;
            }
        };
        (hops == ndp::HOP_LIMIT && !said.0.is_unspecified()).then_some((said.0.into(), said.1))
    }
}

/// Whether an IPv6 packet is one of the messages of neighbour discovery.
fn is_discovery(branch: &mut Branch) -> bool {
    branch.packet.nw_proto() == IpProtocol::ICMPV6
        && branch.packet.fragment() == mn_flow::Fragment::None
        && matches!(
            (branch.packet.tp_src() >> 8) as u8,
            ndp::ROUTER_SOLICITATION..=ndp::NEIGHBOR_ADVERTISEMENT
        )
}

fn is_solicitation(branch: &mut Branch) -> bool {
    is_discovery(branch)
        && branch.packet.neighbor_discovery()
        && (branch.packet.tp_src() >> 8) as u8 == ndp::NEIGHBOR_SOLICITATION
}

/// The address that a message of neighbour discovery may say is at its source. What its headers
/// show not to be one (RFC 4861 §7.1) tells nothing.
fn told_by_nd(branch: &mut Branch) -> Option<Ipv6Addr> {
    if !branch.packet.neighbor_discovery() {
        return None;
    }
    match (branch.packet.tp_src() >> 8) as u8 {
        ndp::NEIGHBOR_SOLICITATION => Some(branch.packet.nw_src()),
        ndp::NEIGHBOR_ADVERTISEMENT => Some(branch.packet.nw_dst()),
        _ => None,
    }
}

/// Whether an address is one of a router's port, its link-local one included.
fn is_own(port: &RouterPort, addr: IpAddr) -> bool {
    addr == IpAddr::V6(ndp::link_local(port.mac))
        || port.addresses.iter().any(|own| own.addr == addr)
}
