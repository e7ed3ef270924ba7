//! Which route a router takes.

use mn_flow::{Fragment, Tag};
use mn_packet::to_v6;
use mn_topology::RouteTarget;
use mn_topology::snapshot::{Candidate, Lookup, RouterView};
use smallvec::SmallVec;

use crate::StateView;
use crate::branch::Branch;
use crate::nat::mix;
use crate::simulate::{Sim, Stop};
use crate::walk::{RouteLost, Step};

type Best = SmallVec<[Candidate; 4]>;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// The route for the packet: of those to the longest destination with a source that matches and
    /// a port that is up, the longest source, then the lowest weight; of several such, one by the
    /// connection's hash, the same on every host.
    pub(crate) fn route(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
    ) -> Result<Option<Candidate>, Stop> {
        let version = branch.packet.eth_type();
        let found = router.routes().search(version, branch.packet.peek_nw_dst());
        let addr = branch.packet.nw_dst_to(found.bits);
        // An IPv4 lookup that looked at no bit still was one of IPv4 addresses.
        let implied = if version == mn_packet::EtherType::IPV4 { 96 } else { 0 };
        self.tag(Tag::Route { router: router.id, addr, len: found.bits.max(implied) });
        let mut best = Best::new();
        let mut lost = self.walk.is_some().then(Vec::new);
        for group in found.groups() {
            let decided = !best.is_empty();
            for candidate in group {
                let reason = if decided {
                    Some(RouteLost::ShorterPrefix)
                } else {
                    self.contest(branch, candidate, &best)?
                };
                match reason {
                    None => best.push(*candidate),
                    Some(reason) => {
                        if let Some(lost) = &mut lost {
                            lost.push((*candidate, reason));
                        }
                    }
                }
            }
            if !best.is_empty() && lost.is_none() {
                break;
            }
        }
        let chosen = choose(branch, &best);
        if let Some(mut lost) = lost {
            let others = best.iter().filter(|other| Some(**other) != chosen);
            lost.extend(others.map(|other| (*other, RouteLost::OtherPath)));
            self.note(|| Step::Route { router: router.id, chosen, lost });
        }
        Ok(chosen)
    }

    /// Why a candidate loses against the best of the same destination so far, which come first;
    /// `None`: it is one of the best.
    fn contest(
        &mut self,
        branch: &mut Branch,
        candidate: &Candidate,
        best: &Best,
    ) -> Result<Option<RouteLost>, Stop> {
        if let Some(first) = best.first() {
            if first.src.len() > candidate.src.len() {
                return Ok(Some(RouteLost::ShorterSource));
            }
            if first.weight < candidate.weight {
                return Ok(Some(RouteLost::HigherWeight));
            }
        }
        let src = candidate.src;
        let from_there =
            src.len() == 0 || branch.packet.nw_src_begins(to_v6(src.network()), src.len_in_key());
        if !from_there {
            return Ok(Some(RouteLost::Source));
        }
        Ok(if self.is_in_force(candidate)? { None } else { Some(RouteLost::PortDown) })
    }

    /// A route through a port holds while the port is up. Whether it is bound, or its host alive,
    /// is not asked (contracts §1).
    fn is_in_force(&mut self, candidate: &Candidate) -> Result<bool, Stop> {
        let Some(id) = candidate.port() else { return Ok(true) };
        self.tag(Tag::Port(id));
        match self.snapshot.port(id) {
            Lookup::Loaded(port) => Ok(port.admin_state_up),
            Lookup::Absent => Ok(false),
            Lookup::NotLoaded => Err(self.load(id)),
        }
    }
}

fn choose(branch: &mut Branch, best: &Best) -> Option<Candidate> {
    let local = |route: &&Candidate| matches!(route.target, RouteTarget::Local { .. });
    if best.len() > 1
        && let Some(own) = best.iter().find(local)
    {
        return Some(*own);
    }
    match best.len() {
        0 | 1 => best.first().copied(),
        len => Some(best[(connection_hash(branch) % len as u64) as usize]),
    }
}

/// A hash of the packet's connection that every host and every life of an agent agrees on.
///
/// All fragments of a datagram have the same: none of them is asked for ports. An echo is known by
/// its identifier.
fn connection_hash(branch: &mut Branch) -> u64 {
    let packet = &mut branch.packet;
    let mut hash = mix(0, packet.nw_src().to_bits());
    hash = mix(hash, packet.nw_dst().to_bits());
    let proto = packet.nw_proto();
    let ports = if packet.fragment() != Fragment::None {
        0
    } else if proto.has_ports() {
        u128::from(packet.tp_src()) << 16 | u128::from(packet.tp_dst())
    } else if proto.is_icmp() {
        u128::from(packet.tp_dst())
    } else {
        0
    };
    mix(hash, u128::from(proto.0) << 32 | ports)
}
