//! What a walk comes to.

use std::net::IpAddr;

use mn_flow::{DropCause, Expiry, FlowMask, Tag, TcpClass, VirtualAction};
use mn_ids::{BridgeId, ChainId, L2InsertionId, ObjectKey, PortId, RouterId, RuleId};
use mn_packet::{Mac, VlanId};
use mn_topology::DeviceId;

use crate::check::CheckKey;
use crate::delivery::Delivery;
use crate::nat::{NatBinding, NatKey, Way};

/// The caller's buffers; `simulate` clears them first. Nothing is allocated once they have grown,
/// except for packets of our own.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// What becomes of the packet and of all like it, in order. A `Track` belongs to the `Deliver`
    /// after it.
    pub actions: Vec<VirtualAction>,
    /// What the walk read. One may be there more than once.
    pub tags: Vec<Tag>,
    /// What else follows, in order.
    pub effects: Vec<Effect>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) missing: Vec<ObjectKey>,
}

impl Buffers {
    pub(crate) fn clear(&mut self) {
        self.actions.clear();
        self.tags.clear();
        self.effects.clear();
        self.deliveries.clear();
        self.missing.clear();
    }
}

/// How a walk ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The verdict; its lists are in the buffers.
    Decided(Decision),
    /// These objects (and what belongs to them, tables of learned state too) must be loaded first.
    Load(Vec<ObjectKey>),
    /// This neighbour must be asked for out of this port ([`crate::neighbor_query`]), then the walk
    /// done again.
    AwaitNeighbor { router: RouterId, port: PortId, addr: IpAddr },
    /// Ports for this rule of this device must be leased, then the walk done again.
    AwaitLease { device: DeviceId, chain: ChainId, rule: RuleId },
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// What the verdict read: the flow's mask.
    pub mask: FlowMask,
    pub expiry: Expiry,
    /// There is no flow only because of the error or reset that is sent ([`Limit::Error`]). Where
    /// the caller does not send it, a flow may drop what is like the packet for a while.
    pub budgeted: bool,
    /// It goes this way of a TCP connection that is translated: whoever remembers the translation
    /// is to hear how the connection begins and ends.
    pub follows: Option<Way>,
    /// Why it goes nowhere, and the rule that said so; `None` where the actions send it somewhere.
    /// Copies for mirrors go out nevertheless.
    pub drop: Option<(DropCause, Option<RuleId>)>,
}

/// What else follows from a verdict. Applies only with it, and before its flow is filed: what it
/// teaches may touch the flow's own tags.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The source MAC is behind this port. Told by every walk, also where it is known already.
    LearnMac { bridge: BridgeId, vlan: Option<VlanId>, mac: Mac, port: PortId },
    /// A bridge's network has this address at this MAC (seen in ARP or ND).
    LearnBridgeNeighbor { bridge: BridgeId, addr: IpAddr, mac: Mac },
    /// A machine says that it has an address of a router next to it. Nothing is learned of that.
    AddressClaimed { device: DeviceId, addr: IpAddr, mac: Mac },
    /// A router's neighbour was heard.
    LearnNeighbor { router: RouterId, port: PortId, addr: IpAddr, mac: Mac },
    /// A heartbeat came back from the inspecting machine of an insertion.
    Heartbeat { insertion: L2InsertionId },
    /// A packet of our own is to leave by this port: simulate it from its egress
    /// ([`crate::Entry::Egress`]). A walk with such an effect installs no flow: the next packet
    /// like this one is to be answered too.
    Emit { port: PortId, frame: Vec<u8>, limit: Limit },
    /// A member of a pool answers to a check: this frame.
    CheckAnswered { key: CheckKey, frame: Vec<u8> },
    /// A translation was chosen and is to be remembered, before the packet is sent.
    Translate(NatBinding),
    /// A TCP segment of the connection of the translation with this forward key, one that was
    /// remembered before or that ends it.
    Segment { key: NatKey, way: Way, class: TcpClass },
}

/// Which budget pays for a packet of our own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Limit {
    /// Answers to questions: ARP, neighbour discovery, echo, DHCP.
    Answer,
    /// ICMP errors and what rejects send (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f): few a second.
    Error,
}
