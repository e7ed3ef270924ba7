//! What the virtual topology does with a packet. Pure: no I/O, no clock, no randomness.
//!
//! [`simulate`] is one function for forwarding, the packet walk, tests and fuzzing.

pub mod walk;

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry, FlowKey, FlowMask, Tag, VirtualAction};
use mn_ids::{BridgeId, ObjectKey, PortId, RouterId, RuleId};
use mn_packet::{Mac, VlanId};
use mn_time::Instant;
use mn_topology::snapshot::Snapshot;

/// What is known of things that agents learn. Implemented by the agent's copies of the state tables.
///
/// Where a port is bound is not among it: a walk ends at the port, and the agent knows the rest.
pub trait StateView {
    /// The port a MAC was learned or set on.
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId>;

    /// The MAC an address of a bridge's network has, for ARP suppression.
    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac>;

    /// What is known of a neighbour of a router.
    fn neighbor(&self, router: RouterId, addr: IpAddr, now: Instant) -> NeighborState;
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

/// Where a walk begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// The packet comes in by this port.
    Ingress(PortId),
    /// A packet of our own leaves by this port. It installs no flow and counts as return traffic.
    Egress(PortId),
}

/// What a walk depends on besides topology, state and packet.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    pub now: Instant,
    /// For choices that want chance.
    pub seed: u64,
    pub entry: Entry,
    /// The largest IP packet the underlay carries inside a tunnel; what DHCP offers.
    pub mtu: u32,
}

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub key: FlowKey,
    /// The whole frame, tags in line.
    pub frame: &'a [u8],
    /// Octets of payload a segment, where it is to be segmented yet; else 0.
    pub gso_size: u16,
}

/// The caller's buffers; `simulate` clears them first. Nothing is allocated once they have grown.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    pub actions: Vec<VirtualAction>,
    pub tags: Vec<Tag>,
    pub effects: Vec<Effect>,
}

/// How a walk ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The verdict; its lists are in the buffers.
    Decided(Decision),
    /// These objects (and what belongs to them) must be loaded first.
    Load(Vec<ObjectKey>),
    /// This neighbour must be asked for out of this port, then the walk done again.
    AwaitNeighbor { router: RouterId, port: PortId, addr: IpAddr },
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// What the verdict read: the flow's mask.
    pub mask: FlowMask,
    pub expiry: Expiry,
    /// Why it goes nowhere, and the rule that said so; `None` where the actions send it somewhere.
    pub drop: Option<(DropCause, Option<RuleId>)>,
}

/// What else follows from a verdict. Applies only with it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The source MAC is behind this port.
    LearnMac { bridge: BridgeId, vlan: Option<VlanId>, mac: Mac, port: PortId },
    /// A bridge's network has this address at this MAC (seen in ARP or ND).
    LearnBridgeNeighbor { bridge: BridgeId, addr: IpAddr, mac: Mac },
    /// A router's neighbour was heard.
    LearnNeighbor { router: RouterId, port: PortId, addr: IpAddr, mac: Mac },
    /// A packet of our own is to leave by this port: simulate it from its egress
    /// ([`Entry::Egress`]). A walk with such an effect installs no flow: the next packet like this
    /// one is to be answered too.
    Emit { port: PortId, frame: Vec<u8>, limit: Limit },
}

/// Which budget pays for a packet of our own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Limit {
    /// Answers to questions: ARP, neighbour discovery, echo, DHCP.
    Answer,
    /// ICMP errors and what rejects send (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f): few a second.
    Error,
}

/// Walks a packet from where it enters to its end.
///
/// With `walk` every step is told, with the entry that decided it; without, nothing is spent on
/// that.
#[must_use]
pub fn simulate<S: StateView + ?Sized>(
    _snapshot: &Snapshot,
    _state: &S,
    _inputs: &Inputs,
    _packet: &Packet<'_>,
    _buffers: &mut Buffers,
    _walk: Option<&mut walk::Walk>,
) -> Outcome {
    Outcome::Decided(Decision {
        mask: FlowMask::all(),
        expiry: Expiry::None,
        drop: Some((DropCause::NoTopology, None)),
    })
}
