//! The MAC a routed packet goes to.

use std::net::IpAddr;

use mn_flow::{DropCause, ScopedAddr, Tag};
use mn_ids::RouterId;
use mn_packet::{Arp, IcmpError, Mac, from_v6, ndp};
use mn_topology::snapshot::Candidate;
use mn_topology::{IfAddr, Port, PortKind, RouteTarget, RouterPort};

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{NeighborState, StateView};

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// The MAC of the next hop: of the router's port at the other end of a link, else of the
    /// neighbour with the gateway's address, or the destination's where there is no gateway.
    pub(crate) fn next_hop(
        &mut self,
        branch: &mut Branch,
        router: RouterId,
        out: &Port,
        kind: &RouterPort,
        route: &Candidate,
    ) -> Result<Mac, Stop> {
        if let Some(mac) = self.linked_router(out)? {
            return Ok(mac);
        }
        let RouteTarget::Normal { gateway, .. } = route.target else {
            return Err(DropCause::NoTopology.into());
        };
        let addr = match gateway {
            Some(gateway) => gateway,
            None => from_v6(branch.packet.nw_dst()),
        };
        if is_no_host(kind, addr) {
            return Err(DropCause::Unsupported.into());
        }
        let scoped = ScopedAddr::on(out.id, addr);
        self.tag(Tag::Neighbor { router, addr: scoped });
        let known = match self.state.neighbor(router, scoped, self.inputs.now) {
            NeighborState::Known(mac) => Some(mac),
            NeighborState::Unresolved if own_address(kind, addr).is_some() => {
                return Err(Stop::AwaitNeighbor { router, port: out.id, addr });
            }
            NeighborState::Unresolved | NeighborState::Unreachable => None,
            NeighborState::NotLoaded => return Err(self.load(router)),
        };
        self.note(|| Step::NextHop { router, addr, mac: known });
        match known {
            Some(mac) => Ok(mac),
            None => {
                self.icmp_error(branch, IcmpError::HostUnreachable);
                Err(DropCause::NeighborUnreachable.into())
            }
        }
    }

    /// The MAC of the router's port that a router's port is linked to. Such a link has two ends, so
    /// there is nothing to ask.
    fn linked_router(&mut self, out: &Port) -> Result<Option<Mac>, Stop> {
        let Some(peer) = out.peer_id else { return Ok(None) };
        match &self.port(peer)?.kind {
            PortKind::Router(far) => Ok(Some(far.mac)),
            PortKind::Bridge { .. } => Ok(None),
        }
    }
}

/// Groups and a subnet's broadcast address are not sent to (RFC 2644).
fn is_no_host(port: &RouterPort, addr: IpAddr) -> bool {
    addr.is_multicast()
        || match addr {
            IpAddr::V4(v4) => v4.is_broadcast() || is_broadcast_of(port, v4),
            IpAddr::V6(_) => false,
        }
}

/// Whether it is the broadcast address of one of the port's subnets.
pub(crate) fn is_broadcast_of(port: &RouterPort, addr: std::net::Ipv4Addr) -> bool {
    port.addresses.iter().any(|own| {
        let broadcast = own.subnet().and_then(|subnet| subnet.broadcast());
        broadcast == Some(addr)
    })
}

/// The port's own address to speak to `addr` with: one of the same subnet, else the first of the
/// same version, for IPv6 at last the link-local one.
#[must_use]
pub fn own_address(port: &RouterPort, addr: IpAddr) -> Option<IpAddr> {
    let same_version = |own: &&IfAddr| own.addr.is_ipv4() == addr.is_ipv4();
    let near = |own: &&IfAddr| own.subnet().is_some_and(|subnet| subnet.contains(addr));
    let link_local = || -> IpAddr { ndp::link_local(port.mac).into() };
    if matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Some(link_local());
    }
    let own = port.addresses.iter().find(near);
    let own = own.or_else(|| port.addresses.iter().find(same_version)).map(|own| own.addr);
    own.or_else(|| addr.is_ipv6().then(link_local))
}

/// The frame that asks for a neighbour's MAC, to be sent from the egress of the port
/// ([`crate::Entry::Egress`]); `None` where the port is no router's, or has no address to ask with.
#[must_use]
pub fn neighbor_query(port: &Port, addr: IpAddr) -> Option<Vec<u8>> {
    let PortKind::Router(port) = &port.kind else { return None };
    match (own_address(port, addr)?, addr) {
        (IpAddr::V4(own), IpAddr::V4(addr)) => Some(Arp::request(port.mac, own, addr).frame()),
        (IpAddr::V6(own), IpAddr::V6(addr)) => Some(ndp::solicit(port.mac, own, addr)),
        _ => None,
    }
}
