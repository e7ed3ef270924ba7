//! The datapath of one host: what forwards packets, and how it is told to.
//!
//! [`Datapath`] is the door; `ebpf` opens it on the kernel (`bpf/*.c`), `software` is the same as
//! values and the definition the kernel's programs are compared with.

pub mod conformance;
mod connection;
pub mod ebpf;
pub mod software;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mn_flow::{
    Action, Cookie, DropCause, FlowKey, FlowMask, GroupIndex, PeerIndex, PortNo, TcpClass,
    TunnelKey, Zone,
};
use mn_ids::RuleId;
use mn_time::Instant;

pub use worker::worker_of;

pub use connection::{Aged, ConnState, Connection, Direction, Progress, Timeouts, Tracking, Tuple};

/// One flow as the agent installs it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSpec {
    /// Chosen by the agent; never 0, never reused while installed. Its first octet is the number of
    /// the worker that [`Action::Follow`] tells.
    pub cookie: Cookie,
    /// The headers of its first packet, unmasked: kept in the datapath so that the next agent can
    /// decide about it anew.
    pub key: FlowKey,
    /// What of `key` must match. `InPort` is always in it.
    pub mask: FlowMask,
    /// At most [`FlowSpec::ACTIONS_MAX`]; longer lists go through [`Action::Outputs`].
    pub actions: Vec<Action>,
}

impl FlowSpec {
    /// The most actions in line.
    pub const ACTIONS_MAX: usize = 16;
}

/// What a flow or a port has carried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Wire packets: a GSO packet counts as its segments.
    pub packets: u64,
    /// Octets of the frames, without FCS.
    pub octets: u64,
}

/// An installed flow and its use.
#[derive(Clone, Debug, PartialEq)]
pub struct InstalledFlow {
    pub spec: FlowSpec,
    pub counters: Counters,
    /// When it was last used; when it was installed, if never.
    pub used_at: Instant,
}

/// What is left to say of a flow that was removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastUse {
    pub counters: Counters,
    /// The rule by which it dropped, if it did.
    pub rule: Option<RuleId>,
}

/// Which way into an interface a port has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interface {
    pub ifindex: u32,
    /// A veth (or netkit) whose peer is in another namespace: packets may go straight to the peer.
    pub peer_redirect: bool,
    /// The largest IP packet its far end takes.
    pub mtu: u32,
}

/// Where packets with a tunnel key go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    Port(PortNo),
    /// Every one of these ports (a flood group).
    Ports(Vec<PortNo>),
    /// It named an earlier activation: dropped with its own cause.
    Retired,
}

/// One output of a group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Output {
    Port(PortNo),
    Tunnel { peer: PeerIndex, key: TunnelKey },
}

/// Why a packet came up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpcallReason {
    /// No flow matches.
    Miss,
    /// Its flow would take more hops off its time to live than it has left.
    Ttl,
    /// Its flow's output cannot take a packet of this size.
    TooBig,
    /// Its flow asks for a copy.
    Copy,
    /// Its flow would answer it, and it is no question that the datapath can answer.
    Answer,
}

/// Segmentation that the kernel has left to the last device, and a checksum likewise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offload {
    /// Octets of payload a segment; 0: not segmented later.
    pub gso_size: u16,
    /// The transport checksum is the pseudo-header's alone.
    pub checksum_partial: bool,
}

/// A packet the datapath asks about.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcall<'a> {
    pub reason: UpcallReason,
    pub key: FlowKey,
    /// The whole frame, from the Ethernet header on, tags in line.
    pub frame: &'a [u8],
    pub offload: Offload,
    pub at: Instant,
}

/// A TCP segment that a flow with [`Action::Follow`] tells of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Followed {
    /// The flow.
    pub cookie: Cookie,
    pub class: TcpClass,
}

/// Limits of new flows of one port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpcallLimit {
    /// Tokens a second; a packet that goes up takes one.
    pub rate: u32,
    /// Tokens the bucket holds.
    pub burst: u32,
}

/// Limits of frames of one port that go to several receivers: broadcast and multicast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BroadcastLimit {
    /// Frames a second; 0: no limit.
    pub rate: u32,
    /// Frames at once.
    pub burst: u32,
}

/// How many octets of frames, as they are on the wire, a port carries one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bandwidth {
    /// Kilobits a second, 1,000 bits each; 0: no limit.
    pub kbps: u32,
    /// Octets at once. A larger packet passes when as much as this was not used.
    pub burst: u64,
}

impl Bandwidth {
    /// The time an octet takes, in parts of a nanosecond, and the time the whole bucket takes to
    /// fill, in nanoseconds; `None` without a limit.
    pub(crate) fn times(self) -> Option<(u64, u64)> {
        const NANOS: u128 = 8_000_000;
        let kbps = u128::from(self.kbps);
        let octet = (NANOS << mn_datapath_abi::Bandwidth::SHIFT).checked_div(kbps)?.max(1);
        let burst = u128::from(self.burst) * NANOS / kbps;
        let fit = |time| u64::try_from(time).unwrap_or(u64::MAX);
        Some((fit(octet), fit(burst.min(u128::from(u64::MAX / 2)))))
    }
}

/// What a port carries both ways.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortBandwidth {
    /// What is behind the port sends. Beyond it: [`DropCause::BandwidthSent`].
    pub sent: Bandwidth,
    /// What is behind the port gets. Beyond it: [`DropCause::BandwidthReceived`].
    pub received: Bandwidth,
}

/// The datapath of one host. All methods may be called from any thread.
pub trait Datapath: Send + Sync {
    /// Attaches an interface as a port, or replaces the interface of the port.
    fn attach(
        &self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError> {
        // The program first: an interface is never of a port without it.
        self.guard(interface.ifindex)?;
        self.serve(port, interface, limit)
    }

    /// Puts the program on an interface: what it sends goes no further than its port lets it, and
    /// nowhere while it has none. The program is at work long before this returns: the kernel waits
    /// until nothing runs without it, about 10 ms.
    fn guard(&self, ifindex: u32) -> Result<(), DatapathError>;

    /// Makes a port of an interface that is guarded, or is about to be; replaces the interface of
    /// the port.
    fn serve(
        &self,
        port: PortNo,
        interface: Interface,
        limit: UpcallLimit,
    ) -> Result<(), DatapathError>;

    /// Limits the broadcast and multicast frames of an attached port. Until it is said, nothing does.
    fn set_broadcast_limit(&self, port: PortNo, limit: BroadcastLimit)
    -> Result<(), DatapathError>;

    /// Says how much an attached port carries. Until it is said, as much as there is. Said again it
    /// changes nothing; another limit begins with a full bucket.
    fn set_bandwidth(&self, port: PortNo, bandwidth: PortBandwidth) -> Result<(), DatapathError>;

    /// Detaches a port. Its packets no longer enter or leave; its counters are returned.
    fn detach(&self, port: PortNo) -> Result<PortCounters, DatapathError>;

    /// What is attached, e.g. by an earlier agent.
    fn attached(&self) -> Result<Vec<(PortNo, Interface)>, DatapathError>;

    fn port_counters(&self, port: PortNo) -> Result<PortCounters, DatapathError>;

    /// Sets the tunnel address of a peer, or removes it. `local` is the outer source to use.
    fn set_peer(
        &self,
        peer: PeerIndex,
        addresses: Option<PeerAddresses>,
    ) -> Result<(), DatapathError>;

    /// Says which interfaces of the host tunnelled packets come in by, that they may be taken there
    /// rather than behind the host's own IP stack. It never changes what becomes of a packet.
    fn set_underlays(&self, interfaces: &[u32]) -> Result<(), DatapathError>;

    /// Sets the only outer sources tunnelled packets are taken from.
    fn set_members(&self, members: &[IpAddr]) -> Result<(), DatapathError>;

    /// Says what a tunnel key of ours means; `None` forgets it.
    fn set_key(&self, key: TunnelKey, delivery: Option<&Delivery>) -> Result<(), DatapathError>;

    /// Keys with a meaning, e.g. from an earlier agent.
    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>, DatapathError>;

    /// Sets the outputs of a group; empty removes it.
    fn set_group(&self, group: GroupIndex, outputs: &[Output]) -> Result<(), DatapathError>;

    /// Installs a flow, or replaces the actions of the one with the same masked key, whose
    /// counters then go on under the new cookie.
    fn install(&self, flow: &FlowSpec) -> Result<(), DatapathError>;

    /// Removes a flow by its key and mask; its last use, if it was there with this cookie.
    fn remove(&self, flow: &FlowSpec) -> Result<Option<LastUse>, DatapathError>;

    /// The counters of one flow.
    fn flow(&self, key: &FlowKey, mask: FlowMask) -> Result<Option<InstalledFlow>, DatapathError>;

    /// Every installed flow, in no order; flows that come or go meanwhile may be missed.
    fn flows(&self, each: &mut dyn FnMut(InstalledFlow)) -> Result<(), DatapathError>;

    /// Sends a frame of ours, or one that came up, through a list of actions.
    fn execute(
        &self,
        frame: &[u8],
        offload: Offload,
        actions: &[Action],
    ) -> Result<(), DatapathError>;

    /// Says whose connections the packets of an attached port belong to. Until it is said, nobody's.
    fn set_tracking(&self, port: PortNo, tracking: Tracking) -> Result<(), DatapathError>;

    /// What was said of an attached port, e.g. by an earlier agent, and how many connections count
    /// as its.
    fn tracking(&self, port: PortNo) -> Result<(Tracking, usize), DatapathError>;

    /// The connection of packets like this, of either direction.
    fn connection(&self, zone: Zone, tuple: &Tuple) -> Result<Option<Connection>, DatapathError>;

    /// Every tracked connection, in no order; those that come or go meanwhile may be missed.
    fn connections(&self, each: &mut dyn FnMut(Connection)) -> Result<(), DatapathError>;

    /// Looks at about so many connections, going on where it ended last, and removes those that
    /// are over. Nothing else removes them for their age: without an agent they stay.
    fn age_connections(
        &self,
        now: Instant,
        timeouts: &Timeouts,
        at_once: usize,
    ) -> Result<Aged, DatapathError>;

    /// Removes connections, e.g. those of a zone that is no more; how many.
    fn forget_connections(
        &self,
        is_one: &dyn Fn(&Connection) -> bool,
    ) -> Result<usize, DatapathError>;

    /// Says that the agent lives. Older than a second, and misses are dropped without asking.
    fn heartbeat(&self, now: Instant) -> Result<(), DatapathError>;

    /// The upcalls of one worker. Each packet goes to the worker its connection's hash chooses, of
    /// as many as the datapath was opened for.
    fn upcalls(&self, worker: usize) -> Result<Box<dyn Upcalls>, DatapathError>;

    /// What the packets of all flows with this meter have carried, since the datapath was made.
    fn meter(&self, index: u32) -> Result<Counters, DatapathError>;

    /// Dropped packets by port and cause, since the datapath was made.
    fn drops(&self) -> Result<Vec<(PortNo, DropCause, u64)>, DatapathError>;
}

/// A worker's queue of packets the datapath asks about.
pub trait Upcalls: Send {
    /// Hands over the packets that wait, at most `max`, oldest first; waits up to `timeout` for the
    /// first. Returns how many there were.
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        each: &mut dyn FnMut(Upcall<'_>),
    ) -> Result<usize, DatapathError>;

    /// Hands over what this worker's flows with [`Action::Follow`] have told since the last call,
    /// oldest first; a flow is the worker's whose number is the first octet of its cookie. Waits
    /// for nothing. Returns how much more there was, but no room for it.
    fn followed(&mut self, each: &mut dyn FnMut(Followed)) -> u64;

    /// What any thread ends a wait of [`Self::poll`] with.
    fn bell(&self) -> Bell;
}

/// Ends the wait of a poll: of the one that waits, else of the next one.
#[derive(Clone)]
pub struct Bell(Arc<dyn Fn() + Send + Sync>);

impl Bell {
    /// A bell that does this when it is rung.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }

    /// Rings it.
    pub fn ring(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}

/// Both ends of a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerAddresses {
    pub local: IpAddr,
    pub remote: IpAddr,
    /// The largest inner IP packet the underlay carries.
    pub mtu: u32,
}

/// What a port has carried, seen from the virtual network.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortCounters {
    /// From the interface into the network.
    pub rx: Counters,
    /// Out of the network to the interface.
    pub tx: Counters,
    pub rx_dropped: u64,
}

/// A datapath operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel is too old or lacks a feature: an operator must act.
    #[error("this kernel cannot run the datapath: {0}")]
    Unsupported(String),
    /// A newer agent's datapath is installed here; this agent would not understand it.
    #[error(
        "the installed datapath has ABI version {installed}, newer than this agent's {ours}: install an agent at least as new, or remove the datapath first"
    )]
    Downgrade { installed: u32, ours: u32 },
    /// A datapath of a version that nobody can read any more is installed here.
    #[error(
        "the installed datapath has ABI version {installed}, and this agent reads no older one than {oldest}: start an agent of a version between first, or remove the datapath"
    )]
    TooOld { installed: u32, oldest: u32 },
    /// A table has no room: the caller evicts something and tries again.
    #[error("the datapath's table of {table} is full ({max})")]
    Full { table: &'static str, max: usize },
    /// What was asked for is not there (any more).
    #[error("{0} is not in the datapath")]
    Missing(String),
    /// What was asked for cannot be expressed.
    #[error("the datapath cannot do this: {0}")]
    Invalid(String),
    /// A system call failed.
    #[error("{call} failed")]
    System { call: &'static str, source: std::io::Error },
    /// The BPF loader failed.
    #[error("the datapath's programs cannot be loaded: {0}")]
    Load(String),
}
