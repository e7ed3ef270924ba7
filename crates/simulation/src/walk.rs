//! A walk told step by step.

use std::net::IpAddr;

use mn_flow::{DropCause, FlowKey};
use mn_ids::{
    BridgeId, ChainId, L2InsertionId, LoadBalancerId, MirrorId, PoolId, PoolMemberId, PortId,
    QosPolicyId, RouterId, RuleId, VipId,
};
use mn_packet::Mac;
use mn_topology::snapshot::Candidate;
use mn_topology::{BandwidthLimit, DeviceId};

use crate::nat::Endpoint;

/// The steps of one walk, in order.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub steps: Vec<Step>,
}

/// One thing that happened to the packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It entered a device by a port.
    Enter { port: PortId, device: DeviceId },
    /// A chain was asked; this rule (its place counted from 0) decided, or none did and the packet
    /// passes. A chain that was jumped to comes before the one that did.
    Chain { chain: ChainId, rule: Option<RuleId>, position: Option<usize>, result: RuleResult },
    /// A rule that translates was asked.
    Nat { chain: ChainId, rule: RuleId, told: NatTold },
    /// A load balancer was asked about a packet of one of its virtual addresses' connections; the
    /// member that has the connection, if one does.
    Balance {
        load_balancer: LoadBalancerId,
        vip: VipId,
        /// Where connections to the virtual address come to.
        at: Endpoint,
        pool: PoolId,
        member: Option<PoolMemberId>,
        told: BalanceTold,
    },
    /// A bridge looked for the destination MAC.
    BridgeLookup { bridge: BridgeId, mac: Mac, found: BridgeLookup },
    /// A router chose a route; these others matched too and lost.
    Route {
        router: RouterId,
        chosen: Option<Candidate>,
        by: ChosenBy,
        lost: Vec<(Candidate, RouteLost)>,
    },
    /// A router found the MAC of the next hop.
    NextHop { router: RouterId, addr: IpAddr, mac: Option<Mac> },
    /// Headers changed on the way here: those it came with, those it leaves with, and how many
    /// routers took a hop off.
    Rewritten { before: FlowKey, after: FlowKey, hops: u8 },
    /// A mirror copied it to its port. The copy's own steps come next.
    Mirrored { mirror: MirrorId, port: PortId },
    /// A bound port holds it to a policy: what it is marked with, and how much may go its way.
    Held { port: PortId, policy: QosPolicyId, dscp: Option<u8>, limit: Option<BandwidthLimit> },
    /// It is sent out to an inspecting machine, which is behind this port.
    Redirected { insertion: L2InsertionId, port: PortId },
    /// An inspecting machine sent it back; it goes on at the protected port.
    Inspected { insertion: L2InsertionId, port: PortId },
    /// The inspecting machine is not there. It goes on without, or no further.
    NotInspected { insertion: L2InsertionId, open: bool },
    /// It left a device by a port.
    Leave { port: PortId, device: DeviceId },
    /// It, or a mirror's copy of it, is delivered to the interface of a port.
    Deliver { port: PortId, mirrored: bool },
    /// The device answered it itself.
    Answered { device: DeviceId, with: String },
    /// The copy of a flood or a mirror for this port goes nowhere. Its own steps come before.
    CopyDropped { port: PortId, cause: DropCause, rule: Option<RuleId> },
    /// It goes nowhere.
    Drop { cause: DropCause, rule: Option<RuleId> },
}

/// What a chain came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuleResult {
    Accept,
    Drop,
    Reject,
}

/// What a rule that translates did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NatTold {
    /// One address for another; nothing is remembered.
    Static { from: IpAddr, to: IpAddr },
    /// A new connection.
    New { from: Endpoint, to: Endpoint },
    /// The connection is remembered.
    Known { from: Endpoint, to: Endpoint },
    /// No translation is remembered that the packet belongs to.
    Unknown,
    /// Packets of its kind are not translated.
    NotTranslatable,
    /// Ports have to be leased first.
    NoLease,
    /// Every port is in use for the destination.
    Exhausted,
}

/// What a load balancer did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BalanceTold {
    /// A new connection; what decided for the member.
    New { from: Endpoint, to: Endpoint, by: MemberBy },
    /// The connection has its member already.
    Known { from: Endpoint, to: Endpoint },
    /// An answer, which is from the virtual address again.
    Answer { from: Endpoint, to: Endpoint },
    /// Nobody may take the connection.
    NoMember,
    /// The virtual address has as many connections as it may have.
    Limit,
    /// Every member has a connection already whose answers would be the same.
    Exhausted,
    /// An answer of a connection that is balanced no longer.
    Gone,
}

/// What decided for a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemberBy {
    /// Chance, by weight.
    Weight,
    /// It had the fewest connections for its weight.
    LeastConnections,
    /// The hash of the client.
    Hash,
    /// The client's connections before.
    Persistence,
}

/// Where a bridge sends a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BridgeLookup {
    /// To the port where the MAC is.
    Port(PortId),
    /// To every port but the one it came by.
    Flood(Vec<PortId>),
}

/// What decided among the best routes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChosenBy {
    /// There was no other next hop, or it is the router's own address.
    Itself,
    /// The hash of the connection in the packet's direction.
    Hash,
    /// The hash of the connection, whichever its direction.
    SymmetricHash,
    /// The connection has state and had this next hop already.
    State,
}

/// Why a route that matched was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteLost {
    /// Another has a longer destination prefix.
    ShorterPrefix,
    /// Another to the same destination has a longer source prefix.
    ShorterSource,
    /// Another has a lower weight.
    HigherWeight,
    /// Its port is down.
    PortDown,
    /// Another of the same weight was chosen: [`ChosenBy`] says by what.
    OtherPath,
    /// Its source prefix does not match.
    Source,
}
