//! What a walk is given.

use mn_flow::FlowKey;
use mn_ids::{PortId, RouterId};
use mn_time::Instant;

/// Where a walk begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// The packet comes in by this port.
    Ingress(PortId),
    /// A packet of our own leaves by this port. It installs no flow and counts as return traffic.
    Egress(PortId),
    /// A packet of our own that a router sends to where its routes say. Likewise.
    Router(RouterId),
}

/// What a walk depends on besides topology, state and packet.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    pub now: Instant,
    /// For choices that want chance.
    pub seed: u64,
    pub entry: Entry,
    /// The largest IP packet the underlay carries inside a tunnel; what DHCP offers, and above
    /// which a router sends nothing on. 0: no limit is known.
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
