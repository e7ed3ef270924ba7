//! Checks of the members of pools: what a router of this host asks of them, and how their answers
//! are taken out of the network (`HM-01`).
//!
//! A check is a packet of ours that the router sends from its own address, so it goes the way of the
//! packets that the router balances. The member answers to that address. Answers are taken before
//! the router's filters and translations, which are not about it.

use std::net::IpAddr;

use mn_flow::{DropCause, Fragment, Tag};
use mn_ids::{ObjectKey, PortId, RouterId};
use mn_packet::{IpProtocol, eth_type_of, ndp, to_v6};
use mn_topology::snapshot::{Candidate, Lookup, RouterView, Snapshot};
use mn_topology::{DeviceId, PortKind, RouteTarget, RouterPort};

use crate::branch::Branch;
use crate::nat::{Endpoint, NatKey, NatKind, NatTuple};
use crate::next_hop::own_address;
use crate::router::Inside;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Effect, StateView};

/// The first of the router's ports that checks are sent from; the others are above it.
pub const CHECK_PORT_FIRST: u16 = 0xf000;

/// A conversation with a member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CheckKey {
    pub router: RouterId,
    /// TCP or UDP.
    pub protocol: IpProtocol,
    /// The router's end; its port is at least [`CHECK_PORT_FIRST`].
    pub own: Endpoint,
    pub member: Endpoint,
}

/// The port by which a router sends to a member, and its address there, which it speaks from.
/// `None` inside: there is no route, or no such address.
///
/// # Errors
///
/// What has to be loaded first.
pub fn address_toward(
    snapshot: &Snapshot,
    router: RouterId,
    member: IpAddr,
) -> Result<Option<(PortId, IpAddr)>, ObjectKey> {
    let view = match snapshot.router(router) {
        Lookup::Loaded(view) => view,
        Lookup::Absent => return Ok(None),
        Lookup::NotLoaded => return Err(router.into()),
    };
    let found = view.routes().search(eth_type_of(member), to_v6(member));
    for candidate in found.groups().flatten() {
        let RouteTarget::Normal { next_hop_port, gateway } = candidate.target else { continue };
        let port = match snapshot.port(next_hop_port) {
            Lookup::Loaded(port) if port.admin_state_up => port,
            Lookup::Loaded(_) | Lookup::Absent => continue,
            Lookup::NotLoaded => return Err(next_hop_port.into()),
        };
        let PortKind::Router(kind) = &port.kind else { continue };
        let own = own_address(kind, gateway.unwrap_or(member));
        return Ok(own.map(|own| (next_hop_port, own)));
    }
    Ok(None)
}

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Sends a packet of our own from a router: it is routed, and passes no filter of the router's.
    pub(crate) fn originate(&mut self, branch: &mut Branch, id: RouterId) -> Result<(), Stop> {
        let router = self.router_view(id)?;
        if !router.admin_state_up {
            return Err(DropCause::AdminDown.into());
        }
        branch.device = Some(DeviceId::Router(id));
        // What the member sends back is an answer to every filter on its way.
        branch.track = true;
        let route = self.route(branch, router)?.ok_or(DropCause::NoRoute)?;
        match route.target {
            RouteTarget::Normal { next_hop_port, .. } => {
                self.hand_on(branch, router, route, next_hop_port)
            }
            RouteTarget::Blackhole => Err(DropCause::Blackhole.into()),
            RouteTarget::Reject => Err(DropCause::RejectRoute.into()),
            RouteTarget::Local { .. } => Err(DropCause::Consumed.into()),
        }
    }

    /// Takes the answer to a check that is under way. Only routers with a load balancer have any,
    /// and of packets to their own addresses alone more is read.
    pub(crate) fn hear_check(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
        inside: Inside<'a>,
    ) -> Result<(), Stop> {
        if router.load_balancer_id.is_none() || !self.is_for_router(branch, router, inside.port) {
            return Ok(());
        }
        let protocol = branch.packet.nw_proto();
        if !matches!(protocol, IpProtocol::TCP | IpProtocol::UDP)
            || branch.packet.fragment() != Fragment::None
            || branch.packet.tp_dst() < CHECK_PORT_FIRST
        {
            return Ok(());
        }
        let packet = &mut branch.packet;
        let own = Endpoint { addr: packet.nw_dst(), port: packet.tp_dst() };
        let member = Endpoint { addr: packet.nw_src(), port: packet.tp_src() };
        let tuple = NatTuple {
            protocol,
            src: member.addr,
            dst: own.addr,
            src_port: member.port,
            dst_port: own.port,
        };
        if self.is_translated(router, tuple) {
            return Ok(());
        }
        let key = CheckKey { router: router.id, protocol, own, member };
        // The next like it may be of no check any more, and of another one again after that.
        self.once = true;
        if !self.state.is_checking(&key) {
            return Ok(());
        }
        let device = DeviceId::Router(router.id);
        self.note(|| Step::Answered { device, with: "its health monitor".to_owned() });
        self.effect(Effect::CheckAnswered { key, frame: self.packet.frame.to_vec() });
        Err(DropCause::Consumed.into())
    }

    /// Whether a packet is for an address of the port that it entered by, or of another of the
    /// router's: a check leaves by any of several equal routes, with one port's address.
    fn is_for_router(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
        port: &RouterPort,
    ) -> bool {
        let dst = branch.packet.nw_dst();
        let here = port.addresses.iter().any(|own| to_v6(own.addr) == dst);
        if here || ndp::link_local(port.mac) == dst {
            return true;
        }
        self.tag(Tag::Route { router: router.id, addr: dst, len: 128 });
        let found = router.routes().search(branch.packet.eth_type(), dst);
        let is_own = |route: &Candidate| matches!(route.target, RouteTarget::Local { .. });
        found.groups().flatten().any(is_own)
    }

    /// Whether a packet to the router's own address is of a connection that its rules or its load
    /// balancer translate, so that it answers no check.
    fn is_translated(&mut self, router: &RouterView, tuple: NatTuple) -> bool {
        let device = DeviceId::Router(router.id);
        let key = |kind| NatKey { kind, device, tuple };
        let found = self.state.nat_reverse(&key(NatKind::Source));
        let found = found.or_else(|| self.state.nat_forward(&key(NatKind::Destination)));
        if let Some(binding) = found {
            self.tag(Tag::Nat(binding.tag()));
        }
        found.is_some()
    }

    /// Where a packet of our own begins, for what has to be loaded around it.
    pub(crate) fn begins_at(&self) -> Option<PortId> {
        match self.inputs.entry {
            crate::Entry::Ingress(port) | crate::Entry::Egress(port) => Some(port),
            crate::Entry::Router(_) => None,
        }
    }
}
