//! What a router does with a packet. The order is in [`Sim::router`] and [`Sim::send_on`]
//! (agent-facts §10).

use std::net::Ipv6Addr;

use mn_flow::{DropCause, Fragment, Tag};
use mn_ids::{PortId, RouterId};
use mn_packet::{EtherType, IcmpError, Ipv6Header, Mac, VlanTag, ndp};
use mn_topology::snapshot::{Candidate, RouterView};
use mn_topology::{Port, PortKind, RouteTarget, RouterPort};

use crate::StateView;
use crate::branch::Branch;
use crate::simulate::{Sim, Stop};

/// The port a packet entered a router by.
#[derive(Clone, Copy)]
pub(crate) struct Inside<'a> {
    pub id: PortId,
    pub port: &'a RouterPort,
}

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Takes a packet through a router.
    pub(crate) fn router(
        &mut self,
        branch: &mut Branch,
        id: RouterId,
        port: &'a Port,
    ) -> Result<(), Stop> {
        let router = self.router_view(id)?;
        let PortKind::Router(kind) = &port.kind else {
            return Err(DropCause::NoTopology.into());
        };
        let inside = Inside { id: port.id, port: kind };
        untag(branch)?;
        self.require_router_up(branch, router)?;
        self.mirror(branch, &router.inbound_mirror_ids)?;
        self.receive(branch, id, inside)?;
        self.hear_check(branch, router, inside)?;
        self.enter_router(branch, router)?;
        self.balance(branch, router)?;
        if is_link_local(branch, inside)? {
            return self.local(branch, inside);
        }
        let route = self.route(branch, router)?;
        match route.map(|route| (route, route.target)) {
            None => {
                self.icmp_error(branch, IcmpError::NetUnreachable);
                Err(DropCause::NoRoute.into())
            }
            Some((_, RouteTarget::Blackhole)) => Err(DropCause::Blackhole.into()),
            Some((_, RouteTarget::Reject)) => {
                self.icmp_error(branch, IcmpError::Prohibited);
                Err(DropCause::RejectRoute.into())
            }
            Some((_, RouteTarget::Local { .. })) => self.local(branch, inside),
            Some((route, RouteTarget::Normal { next_hop_port, .. })) => {
                self.send_on(branch, router, route, next_hop_port)
            }
        }
    }

    /// Asks a router's inbound filter. The source of a first fragment that it drops is told to send
    /// smaller packets: a rule that reads ports lets no later fragment pass (agent-facts §10).
    fn enter_router(&mut self, branch: &mut Branch, router: &RouterView) -> Result<(), Stop> {
        let passed = self.filter(branch, router.inbound_filter_id);
        if matches!(passed, Err(Stop::Drop(DropCause::Rule, _)))
            && branch.packet.fragment() == Fragment::First
        {
            let mtu = if self.inputs.mtu == 0 { Ipv6Header::MTU_MIN } else { self.inputs.mtu };
            self.icmp_error(branch, IcmpError::TooBig { mtu });
        }
        passed
    }

    /// Sends a routed packet out of its port to the next hop.
    fn send_on(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
        route: &Candidate,
        out: PortId,
    ) -> Result<(), Stop> {
        self.require_hop(branch)?;
        self.require_fits(branch)?;
        branch.out_port = Some(out);
        self.answer_for_vip(branch, router)?;
        self.filter(branch, router.outbound_filter_id)?;
        branch.hops += 1;
        self.hand_on(branch, router, route, out)
    }

    /// Hands a packet to the next hop of its route.
    pub(crate) fn hand_on(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
        route: &Candidate,
        out: PortId,
    ) -> Result<(), Stop> {
        let port = self.port(out)?;
        let PortKind::Router(kind) = &port.kind else {
            return Err(DropCause::NoTopology.into());
        };
        let mac = self.next_hop(branch, router.id, port, kind, route)?;
        branch.packet.set_eth_src(kind.mac);
        branch.packet.set_eth_dst(mac);
        branch.flooded.clear();
        self.mirror(branch, &router.outbound_mirror_ids)?;
        self.egress(branch, out)
    }

    pub(crate) fn router_view(&mut self, id: RouterId) -> Result<&'a RouterView, Stop> {
        self.tag(Tag::Router(id));
        self.found(self.snapshot.router(id), id)
    }

    fn require_router_up(&mut self, branch: &mut Branch, router: &RouterView) -> Result<(), Stop> {
        if router.admin_state_up {
            return Ok(());
        }
        self.icmp_error(branch, IcmpError::Prohibited);
        Err(DropCause::AdminDown.into())
    }

    /// Takes what is for the router at layer 2: its port's MAC, and of groups what asks for
    /// neighbours.
    fn receive(
        &mut self,
        branch: &mut Branch,
        router: RouterId,
        inside: Inside<'a>,
    ) -> Result<(), Stop> {
        let dst = branch.packet.eth_dst();
        if !dst.is_multicast() && dst != inside.port.mac {
            return Err(DropCause::NotForRouter.into());
        }
        match branch.packet.eth_type() {
            EtherType::ARP => return self.router_arp(branch, router, inside),
            EtherType::IPV4 => {}
            EtherType::IPV6 => self.router_nd(branch, router, inside)?,
            _ => return Err(DropCause::Unsupported.into()),
        }
        if dst.is_multicast() {
            return Err(DropCause::NotForRouter.into());
        }
        Ok(())
    }

    /// A packet whose hops are used up goes no further (RFC 1812 §5.3.1, RFC 8200 §3).
    ///
    /// The first router reads from the key whether any are left. For the others the packet's own
    /// count decides, which is in no key: the datapath sends a packet up that has too few for all
    /// the hops of its flow, and its verdict is for it alone.
    fn require_hop(&mut self, branch: &mut Branch) -> Result<(), Stop> {
        let spent = if branch.hops == 0 {
            branch.packet.ttl_spent()
        } else {
            self.ttl().is_some_and(|ttl| ttl <= branch.hops + 1)
        };
        if !spent {
            return Ok(());
        }
        self.once |= branch.hops > 0;
        self.icmp_error(branch, IcmpError::TtlExceeded);
        Err(DropCause::TtlExpired.into())
    }

    /// The time to live that the packet came with; `None` where only its headers are at hand, as of
    /// a flow that an agent adopts. Those that the datapath lets through the flow have enough.
    fn ttl(&self) -> Option<u8> {
        let key = &self.packet.key;
        let tags = usize::from(key.vlan.is_present()) + usize::from(key.inner_vlan.is_present());
        let at = if key.eth_type == EtherType::IPV4 { 8 } else { 7 };
        self.packet.frame.get(14 + 4 * tags + at).copied()
    }

    /// A packet too big for a tunnel is told to be smaller, wherever it goes: so the path's limit
    /// does not depend on where VMs are (contracts §2).
    fn require_fits(&mut self, branch: &mut Branch) -> Result<(), Stop> {
        let mtu = self.inputs.mtu;
        // Most are smaller than any limit, their headers counted in.
        if mtu == 0 || self.packet.frame.len() <= mtu as usize {
            return Ok(());
        }
        let Some(len) = self.largest_packet() else { return Ok(()) };
        if len <= mtu as usize {
            return Ok(());
        }
        // The length is in no key.
        self.once = true;
        self.icmp_error(branch, IcmpError::TooBig { mtu });
        Err(DropCause::TooBig.into())
    }
}

/// Routers know no VLANs; a tag that gives only a priority is taken off.
fn untag(branch: &mut Branch) -> Result<(), Stop> {
    let tag = branch.packet.vlan();
    if !tag.is_present() {
        return Ok(());
    }
    if tag.wire() & 0xfff != 0 || branch.packet.inner_vlan().is_present() {
        return Err(DropCause::VlanMismatch.into());
    }
    branch.packet.set_vlan(VlanTag::NONE);
    Ok(())
}

/// Whether an IPv6 packet is for the link-local address of the port it entered by. What is from or
/// for another link-local address, or for a group, goes no further (RFC 4291 §2.5.6).
fn is_link_local(branch: &mut Branch, inside: Inside<'_>) -> Result<bool, Stop> {
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
    const GROUPS: Ipv6Addr = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
    if branch.packet.eth_type() != EtherType::IPV6 {
        return Ok(false);
    }
    if branch.packet.nw_dst_begins(LINK_LOCAL, 10) {
        let own = branch.packet.nw_dst() == ndp::link_local(inside.port.mac);
        return if own { Ok(true) } else { Err(DropCause::Unsupported.into()) };
    }
    if branch.packet.nw_dst_begins(GROUPS, 8) || branch.packet.nw_src_begins(LINK_LOCAL, 10) {
        return Err(DropCause::Unsupported.into());
    }
    Ok(false)
}

/// Whether a MAC can be a neighbour's.
pub(crate) fn is_unicast(mac: Mac) -> bool {
    !mac.is_multicast() && mac != Mac::ZERO
}
