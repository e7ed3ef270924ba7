//! Which route a router takes.

use mn_flow::Tag;
use mn_packet::to_v6;
use mn_topology::snapshot::{Candidate, Lookup, RouterView};

use crate::StateView;
use crate::branch::Branch;
use crate::ecmp::Best;
use crate::simulate::{Sim, Stop};
use crate::walk::{ChosenBy, RouteLost, Step};

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// The route for the packet: of those to the longest destination with a source that matches and
    /// a port that is up, the longest source, then the lowest weight; of several such, one by the
    /// connection.
    pub(crate) fn route(
        &mut self,
        branch: &mut Branch,
        router: &'a RouterView,
    ) -> Result<Option<&'a Candidate>, Stop> {
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
                    None => best.push(candidate),
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
        let chosen = self.choose_path(branch, router, &best);
        let (chosen, by) = chosen.map_or((None, ChosenBy::Itself), |(one, by)| (Some(one), by));
        if let Some(mut lost) = lost {
            let others = best.iter().filter(|other| Some(**other) != chosen);
            lost.extend(others.map(|other| (**other, RouteLost::OtherPath)));
            self.note(|| Step::Route { router: router.id, chosen: chosen.copied(), by, lost });
        }
        Ok(chosen)
    }

    /// Why a candidate loses against the best of the same destination so far, which come first;
    /// `None`: it is one of the best.
    fn contest(
        &mut self,
        branch: &mut Branch,
        candidate: &Candidate,
        best: &Best<'_>,
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
