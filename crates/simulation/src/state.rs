//! What agents learn, as a walk asks for it.

use std::net::IpAddr;

use mn_flow::ScopedAddr;
use mn_ids::{BridgeId, PortId, RouterId};
use mn_packet::{Mac, VlanId};
use mn_time::Instant;

/// What is known of things that agents learn. Implemented by the agent's copies of the state tables.
///
/// Where a port is bound is not among it: a walk ends at the port, and the agent knows the rest.
/// A table that is not loaded makes the walk end with `Outcome::Load` of the device it is of.
pub trait StateView {
    /// The port a MAC was learned or set on.
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId>;

    /// The MAC an address of a bridge's network has, for ARP suppression.
    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac>;

    /// What is known of a neighbour of a router.
    fn neighbor(&self, router: RouterId, addr: ScopedAddr, now: Instant) -> NeighborState;
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
