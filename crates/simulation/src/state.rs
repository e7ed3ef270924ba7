//! What agents learn, as a walk asks for it.

use std::net::{IpAddr, Ipv6Addr};

use mn_flow::ScopedAddr;
use mn_ids::{BridgeId, L2InsertionId, PortId, RouterId};
use mn_packet::{Mac, VlanId};
use mn_time::Instant;

use crate::check::CheckKey;
use crate::nat::{NatBinding, NatKey, Service, SourceChoice, SourceWanted};

/// What is known of things that agents learn. Implemented by the agent's copies of the state tables.
///
/// Where a port is bound is not among it: a walk ends at the port, and the agent knows the rest.
/// A table that is not loaded makes the walk end with `Outcome::Load` of the device it is of.
///
/// A view that knows no translations, as that of a cluster node, leaves those methods out.
pub trait StateView {
    /// The port a MAC was learned or set on.
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId>;

    /// The MAC an address of a bridge's network has, for ARP suppression.
    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac>;

    /// What is known of a neighbour of a router.
    fn neighbor(&self, router: RouterId, addr: ScopedAddr, now: Instant) -> NeighborState;

    /// Whether the inspecting machine of an insertion is there.
    fn serves(&self, insertion: L2InsertionId) -> Known<bool> {
        let _ = insertion;
        Known::Absent
    }

    /// The next hop, as a hash, that the connection with this hash had at a router when a flow of
    /// it left: see [`mn_flow::PathTag`].
    fn path(&self, router: RouterId, flow: u64) -> Option<u64> {
        let _ = (router, flow);
        None
    }

    /// Whether anything of the kind is remembered of a router.
    fn has_paths(&self, router: RouterId) -> bool {
        let _ = router;
        false
    }

    /// Whether this host has such a check under way.
    fn is_checking(&self, key: &CheckKey) -> bool {
        let _ = key;
        false
    }

    /// The translation remembered for packets with this forward key.
    fn nat_forward(&self, key: &NatKey) -> Option<NatBinding> {
        let _ = key;
        None
    }

    /// The translation whose answers have this key.
    fn nat_reverse(&self, key: &NatKey) -> Option<NatBinding> {
        let _ = key;
        None
    }

    /// Whether the TCP connection of the translation with this forward key has ended: it is kept for
    /// what comes late.
    fn nat_has_ended(&self, key: &NatKey) -> bool {
        let _ = key;
        false
    }

    /// Whether any translation is remembered by which the load balancer of this router sends to
    /// this address: answers from there are to be looked at.
    fn is_balanced_to(&self, router: RouterId, member: Ipv6Addr) -> bool {
        let _ = (router, member);
        false
    }

    /// How many connections to this virtual address are remembered and not known to have ended.
    fn connections_of_vip(&self, vip: &Service) -> u32 {
        let _ = vip;
        0
    }

    /// Likewise of this member.
    fn connections_of_member(&self, member: &Service) -> u32 {
        let _ = member;
        0
    }

    /// An address and port for a new connection: of those leased to this host, one that no
    /// other connection to the same destination has.
    fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        let _ = wanted;
        SourceChoice::NoLease
    }
}

/// What a copy of a table says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known<T> {
    Is(T),
    /// The whole table is loaded, and it is not there.
    Absent,
    /// The table is not loaded.
    Unknown,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NeighborState {
    Known(Mac),
    /// Nobody knows it yet; asking may help.
    Unresolved,
    /// It was asked for in vain a short while ago.
    Unreachable,
    /// The router's table is not loaded.
    NotLoaded,
}
