//! Routes compiled for longest-prefix search.

use core::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use mn_flow::mix;
use mn_ids::{PortId, RouteId};
use mn_packet::{EtherType, IpPrefix, to_v6};
use smallvec::SmallVec;

use crate::object::{Route, RouteTarget};

/// The routes of one router, of both versions: two path-compressed binary tries whose nodes are
/// shared between snapshots. A change copies the path to what changed.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    v4: Branch,
    v6: Branch,
}

type Branch = Option<Arc<Node>>;

/// All routes to one prefix, and the longer prefixes within it.
#[derive(Clone, Debug)]
struct Node {
    bits: u128,
    /// How many of `bits` count; those after are zero.
    len: u8,
    routes: Arc<[Candidate]>,
    below: [Branch; 2],
}

/// A route as the table keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// `None`: the route to an address of the router's own port, which is in no list of routes.
    pub id: Option<RouteId>,
    pub src: IpPrefix,
    pub dst: IpPrefix,
    pub target: RouteTarget,
    pub weight: u32,
    /// Its next hop, as a hash that all hosts agree on: of the path it names, else of the port and
    /// the gateway. So what is deleted and drawn again, or withdrawn and announced, is the same.
    pub hop: u64,
}

impl From<&Route> for Candidate {
    fn from(route: &Route) -> Self {
        Self {
            id: Some(route.id),
            src: route.src,
            dst: route.dst,
            target: route.target,
            weight: route.weight,
            hop: hop(route.path.as_deref(), &route.target),
        }
    }
}

impl Candidate {
    /// The route to a router's own address.
    pub(super) fn own(addr: IpAddr, port: PortId) -> Self {
        Self {
            id: None,
            src: if addr.is_ipv4() { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 },
            dst: IpPrefix::host(addr),
            target: RouteTarget::Local { next_hop_port: port },
            weight: 0,
            hop: 0,
        }
    }

    /// The port it leaves by or is local to.
    #[must_use]
    pub const fn port(&self) -> Option<PortId> {
        match self.target {
            RouteTarget::Normal { next_hop_port, .. } | RouteTarget::Local { next_hop_port } => {
                Some(next_hop_port)
            }
            RouteTarget::Blackhole | RouteTarget::Reject => None,
        }
    }

    /// The order of candidates with one destination: longest source first, then lowest weight,
    /// then by identifier, the router's own addresses before all. It is the same on every host.
    fn rank(&self) -> (u8, u32, Option<RouteId>, Option<PortId>) {
        (u8::MAX - self.src.len(), self.weight, self.id, self.port())
    }
}

/// The hash of a next hop.
fn hop(path: Option<&str>, target: &RouteTarget) -> u64 {
    if let Some(path) = path {
        return path.bytes().fold(1, |hash, octet| mix(hash, u128::from(octet)));
    }
    match *target {
        RouteTarget::Normal { next_hop_port, gateway } => {
            let gateway = gateway.map_or(0, |gateway| to_v6(gateway).to_bits());
            mix(mix(2, next_hop_port.uuid().as_u128()), gateway)
        }
        RouteTarget::Local { next_hop_port } => mix(3, next_hop_port.uuid().as_u128()),
        RouteTarget::Blackhole => mix(4, 0),
        RouteTarget::Reject => mix(5, 0),
    }
}

/// What a search found.
#[derive(Debug)]
pub struct Matches<'a> {
    /// How many of the 128 bits of the destination decided which routes match: two destinations
    /// that agree on these have the same matches. 0 where the version alone decides.
    pub bits: u8,
    /// The routes per matching prefix, shortest prefix first.
    groups: SmallVec<[&'a [Candidate]; 8]>,
}

impl<'a> Matches<'a> {
    /// The matching destination prefixes' routes, longest prefix first; among those of one prefix
    /// longest source first, then lowest weight. Whether the source matches is not looked at yet.
    pub fn groups(&self) -> impl Iterator<Item = &'a [Candidate]> + '_ {
        self.groups.iter().rev().copied()
    }
}

impl RouteTable {
    /// Whether it has no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// The identifiers of all its routes that have one.
    pub(super) fn ids(&self) -> impl Iterator<Item = RouteId> {
        let mut all = Vec::new();
        let mut todo: Vec<&Node> =
            [&self.v4, &self.v6].into_iter().flatten().map(|a| &**a).collect();
        while let Some(node) = todo.pop() {
            all.extend(node.routes.iter().filter_map(|route| route.id));
            todo.extend(node.below.iter().flatten().map(|below| &**below));
        }
        all.into_iter()
    }

    /// The routes whose destination matches a packet of this type. `addr` is a flow key's.
    ///
    /// The version is the packet's, not the address's: an IPv6 packet to an IPv4-mapped address
    /// must not find IPv4 routes.
    #[must_use]
    pub fn search(&self, version: EtherType, addr: Ipv6Addr) -> Matches<'_> {
        let v4 = version == EtherType::IPV4;
        let (addr, mut branch) = (addr.to_bits(), if v4 { &self.v4 } else { &self.v6 });
        let mut found = Matches { bits: 0, groups: SmallVec::new() };
        while let Some(node) = branch {
            let common = common_len(addr, node.bits).min(node.len);
            if common < node.len {
                found.bits = common + 1;
                break;
            }
            if !node.routes.is_empty() {
                found.groups.push(&node.routes);
            }
            found.bits = node.len;
            if node.len == 128 || node.below.iter().all(Option::is_none) {
                break;
            }
            found.bits = node.len + 1;
            branch = &node.below[bit(addr, node.len)];
        }
        if v4 && found.bits <= 96 {
            found.bits = 0;
        }
        found
    }

    /// Adds a candidate.
    pub(super) fn insert(&mut self, candidate: Candidate) {
        let (bits, len, root) = self.place(candidate.dst);
        let node = node_at(root, bits, len);
        let mut routes = node.routes.to_vec();
        let at = routes.partition_point(|other| other.rank() < candidate.rank());
        routes.insert(at, candidate);
        node.routes = routes.into();
    }

    /// Takes a candidate out.
    pub(super) fn remove(&mut self, candidate: &Candidate) {
        let (bits, len, root) = self.place(candidate.dst);
        remove_from(root, bits, len, candidate);
    }

    fn place(&mut self, dst: IpPrefix) -> (u128, u8, &mut Branch) {
        let root = if dst.network().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        (to_v6(dst.network()).to_bits(), dst.len_in_key(), root)
    }
}

/// The node of exactly this prefix, made where there is none.
fn node_at(branch: &mut Branch, bits: u128, len: u8) -> &mut Node {
    let leaf = || Node { bits, len, routes: Arc::default(), below: [None, None] };
    let split = match branch {
        None => None,
        Some(node) => Some((common_len(node.bits, bits).min(node.len).min(len), node.len)),
    };
    match split {
        None => {
            let node = branch.insert(Arc::new(leaf()));
            Arc::make_mut(node)
        }
        Some((common, node_len)) if common == node_len => {
            let node = Arc::make_mut(branch.as_mut().expect("the split was made of it"));
            if node_len == len {
                return node;
            }
            node_at(&mut node.below[bit(bits, node_len)], bits, len)
        }
        Some((common, _)) => {
            let lower = branch.take().expect("the split was made of it");
            let mut upper = Node {
                bits: bits & mask(common),
                len: common,
                routes: Arc::default(),
                below: [None, None],
            };
            let side = bit(lower.bits, common);
            upper.below[side] = Some(lower);
            let upper = Arc::make_mut(branch.insert(Arc::new(upper)));
            if common == len {
                return upper;
            }
            node_at(&mut upper.below[bit(bits, common)], bits, len)
        }
    }
}

/// Takes a candidate out, and the nodes that are then of no use.
fn remove_from(branch: &mut Branch, bits: u128, len: u8, candidate: &Candidate) {
    let Some(shared) = branch else { return };
    if shared.len > len || common_len(shared.bits, bits) < shared.len {
        return;
    }
    let node = Arc::make_mut(shared);
    if node.len == len {
        let mut routes = node.routes.to_vec();
        if let Some(at) = routes.iter().position(|other| other == candidate) {
            routes.remove(at);
            node.routes = routes.into();
        }
    } else {
        let side = bit(bits, node.len);
        remove_from(&mut node.below[side], bits, len, candidate);
    }
    if node.routes.is_empty() {
        match &mut node.below {
            [None, None] => *branch = None,
            [only @ Some(_), None] | [None, only @ Some(_)] => *branch = only.take(),
            [Some(_), Some(_)] => {}
        }
    }
}

/// How many leading bits agree, at most 128.
fn common_len(a: u128, b: u128) -> u8 {
    (a ^ b).leading_zeros() as u8
}

/// The bit after the first `len`, which are fewer than 128.
fn bit(bits: u128, len: u8) -> usize {
    usize::from(bits >> (127 - len) & 1 == 1)
}

/// `len` one bits, then zeros.
fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// The tag of a lookup that a change of this candidate touches.
pub(super) fn tag(router: mn_ids::RouterId, candidate: &Candidate) -> mn_flow::Tag {
    mn_flow::Tag::Route {
        router,
        addr: to_v6(candidate.dst.network()),
        len: candidate.dst.len_in_key(),
    }
}

#[cfg(test)]
mod tests {
    use mn_packet::from_v6;
    use proptest::prelude::*;

    use super::*;

    fn blackhole(number: u128, dst: IpPrefix, weight: u32) -> Candidate {
        Candidate {
            id: Some(RouteId::from_uuid(uuid::Uuid::from_u128(number))),
            src: if dst.network().is_ipv4() { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 },
            dst,
            target: RouteTarget::Blackhole,
            weight,
            hop: 0,
        }
    }

    fn table(routes: &[&str]) -> RouteTable {
        let mut table = RouteTable::default();
        for (number, dst) in routes.iter().enumerate() {
            table.insert(blackhole(number as u128, dst.parse().unwrap(), 0));
        }
        table
    }

    fn search(table: &RouteTable, addr: &str) -> (Vec<String>, u8) {
        let addr: IpAddr = addr.parse().unwrap();
        let version = if addr.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let found = table.search(version, to_v6(addr));
        (found.groups().map(|group| group[0].dst.to_string()).collect(), found.bits)
    }

    #[test]
    fn the_longest_prefix_comes_first_and_no_more_bits_are_read_than_decide() {
        let table = table(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fd00::/8"]);
        let of = |addr| search(&table, addr);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            of("10.1.2.3"),
            (names(&["10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]), 96 + 24)
        );
        // 10.128… differs from 10.1… in the ninth bit; 192… from 10… in the first.
        assert_eq!(of("10.128.0.1"), (names(&["10.0.0.0/8", "0.0.0.0/0"]), 96 + 9));
        assert_eq!(of("192.0.2.1"), (names(&["0.0.0.0/0"]), 96 + 1));
        assert_eq!(of("fd00::1"), (names(&["fd00::/8"]), 8));
        assert_eq!(of("2001:db8::1"), (names(&[]), 1));
    }

    #[test]
    fn a_table_of_one_default_route_reads_no_bit() {
        assert_eq!(search(&table(&["0.0.0.0/0"]), "192.0.2.1").1, 0);
        assert_eq!(search(&table(&["::/0"]), "2001:db8::1").1, 0);
    }

    /// Few bits, so that prefixes nest and collide.
    fn prefix() -> impl Strategy<Value = IpPrefix> {
        (any::<u8>(), 0u8..=6, any::<bool>()).prop_map(|(high, len, v4)| {
            let addr = if v4 {
                IpAddr::from([high, 0, 0, 0])
            } else {
                IpAddr::from([u16::from(high) << 8, 0, 0, 0, 0, 0, 0, 0])
            };
            IpPrefix::new(addr, len).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_search_agrees_with_a_list_and_its_bits_decide_alone(
            prefixes in prop::collection::vec((prefix(), 0u32..3), 0..24),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            addr in any::<u8>(), noise in any::<u128>(), v4 in any::<bool>(),
        ) {
            let mut list: Vec<Candidate> = prefixes
                .iter()
                .enumerate()
                .map(|(number, (dst, weight))| blackhole(number as u128, *dst, *weight))
                .collect();
            let mut table = RouteTable::default();
            for candidate in &list {
                table.insert(*candidate);
            }
            for index in removed {
                if !list.is_empty() {
                    table.remove(&list.swap_remove(index.index(list.len())));
                }
            }
            let at = |noise: u128| -> Ipv6Addr {
                if v4 {
                    to_v6(IpAddr::V4((u32::from(addr) << 24 ^ noise as u32).into()))
                } else {
                    (u128::from(addr) << 120 ^ noise & u128::MAX >> 3).into()
                }
            };
            let version = if v4 { EtherType::IPV4 } else { EtherType::IPV6 };
            let ids = |addr: Ipv6Addr| -> Vec<Option<RouteId>> {
                table.search(version, addr).groups().flatten().map(|candidate| candidate.id).collect()
            };
            let here = at(0);
            let mut expected: Vec<&Candidate> =
                list.iter().filter(|candidate| candidate.dst.contains(from_v6(here))).collect();
            expected.sort_by_key(|candidate| {
                (u8::MAX - candidate.dst.len(), candidate.weight, candidate.id)
            });
            prop_assert_eq!(
                ids(here),
                expected.iter().map(|candidate| candidate.id).collect::<Vec<_>>()
            );
            let bits = table.search(version, here).bits;
            let there = at(noise & !mask(bits.max(if v4 { 96 } else { 0 })));
            if (here.to_bits() ^ there.to_bits()) & mask(bits) == 0 {
                prop_assert_eq!(ids(there), ids(here));
            }
        }
    }
}
