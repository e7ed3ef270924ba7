//! Which of several equally good routes a router takes (`EC-*`).
//!
//! Rendezvous hashing: each next hop gets a number from its own hash and the connection's, and the
//! highest wins. So every host chooses alike, in whatever order it knows the routes, and when a next
//! hop goes or comes only the connections move that it had or has now.

use std::net::Ipv6Addr;

use mn_flow::{Conn, Field, Fragment, PathTag, Tag, mix};
use mn_packet::IpProtocol;
use mn_topology::snapshot::{Candidate, RouterView};
use mn_topology::{Ecmp, RouteTarget};
use smallvec::SmallVec;

use crate::StateView;
use crate::branch::Branch;
use crate::simulate::Sim;
use crate::walk::ChosenBy;

/// Routes that are equally good. So many take no memory of their own.
pub(crate) type Best<'a> = SmallVec<[&'a Candidate; 32]>;

/// The ends of a connection as a packet has them.
struct Ends {
    src: (Ipv6Addr, u16),
    dst: (Ipv6Addr, u16),
    protocol: IpProtocol,
}

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// One of the best routes. Where there is but one next hop nothing of the packet is read, unless
    /// there were several a while ago: then it is to be known who stays when they are back.
    ///
    /// A connection with state keeps the next hop that it had, as long as that is among them.
    pub(crate) fn choose_path<'c>(
        &mut self,
        branch: &mut Branch,
        router: &RouterView,
        best: &Best<'c>,
    ) -> Option<(&'c Candidate, ChosenBy)> {
        let first = *best.first()?;
        let local = |route: &&&Candidate| matches!(route.target, RouteTarget::Local { .. });
        if let Some(own) = best.iter().find(local) {
            return Some((own, ChosenBy::Itself));
        }
        let alone = best.iter().all(|other| other.hop == first.hop);
        if alone && !self.state.has_paths(router.id) {
            return Some((first, ChosenBy::Itself));
        }
        let flow = flow_hash(&self.ends(branch), router.ecmp);
        let had = self.state.path(router.id, flow);
        let had = had.and_then(|hop| best.iter().find(|route| route.hop == hop));
        let chosen = had.copied().unwrap_or_else(|| highest(best, flow));
        branch.paths.push(PathTag::new(router.id, flow, chosen.hop));
        let by = match (had, router.ecmp) {
            _ if alone => ChosenBy::Itself,
            (Some(_), _) => ChosenBy::State,
            (None, Ecmp::Flow) => ChosenBy::Hash,
            (None, Ecmp::Symmetric) => ChosenBy::SymmetricHash,
        };
        Some((chosen, by))
    }

    /// Notes the ways that a connection with state took, if this branch is of one: tracked or
    /// translated.
    pub(crate) fn note_paths(&mut self, branch: &Branch) {
        if branch.paths.is_empty() {
            return;
        }
        let followed =
            self.packet.key.conn != Conn::None && branch.packet.leave().read.contains(Field::Conn);
        if branch.track || branch.translated || followed {
            for path in &branch.paths {
                self.tag(Tag::Path(*path));
            }
        }
    }

    /// The ends of the connection that a packet belongs to; for an ICMP error those of an answer to
    /// what it quotes, so that it goes where answers go.
    ///
    /// All fragments of a datagram have the same: none of them is asked for ports. An echo is known
    /// by its identifier.
    fn ends(&mut self, branch: &mut Branch) -> Ends {
        if let Some(quote) = self.quote(branch) {
            let answer = quote.now.reversed();
            return Ends {
                src: (answer.src, answer.src_port),
                dst: (answer.dst, answer.dst_port),
                protocol: answer.protocol,
            };
        }
        let packet = &mut branch.packet;
        let (src, dst, protocol) = (packet.nw_src(), packet.nw_dst(), packet.nw_proto());
        let (src_port, dst_port) = if packet.fragment() != Fragment::None {
            (0, 0)
        } else if protocol.has_ports() {
            (packet.tp_src(), packet.tp_dst())
        } else if protocol.is_icmp() {
            let id = packet.tp_dst();
            (id, id)
        } else {
            (0, 0)
        };
        Ends { src: (src, src_port), dst: (dst, dst_port), protocol }
    }
}

/// The route with the highest number; of routes to one next hop the first.
fn highest<'c>(best: &Best<'c>, flow: u64) -> &'c Candidate {
    let mut chosen = (best[0], weight(best[0], flow));
    for route in &best[1..] {
        let weight = weight(route, flow);
        if weight > chosen.1 {
            chosen = (route, weight);
        }
    }
    chosen.0
}

fn weight(route: &Candidate, flow: u64) -> u64 {
    mix(flow, u128::from(route.hop))
}

/// A hash of a connection, the same on every host.
fn flow_hash(ends: &Ends, mode: Ecmp) -> u64 {
    let Ends { src, dst, protocol } = *ends;
    let (one, other) = match mode {
        Ecmp::Flow => (src, dst),
        Ecmp::Symmetric => (src.min(dst), src.max(dst)),
    };
    let ports = u128::from(one.1) << 16 | u128::from(other.1);
    let hash = mix(mix(0, one.0.to_bits()), other.0.to_bits());
    mix(hash, u128::from(protocol.0) << 32 | ports)
}
