//! Why packets are sent nowhere.

use core::fmt;
use core::str::FromStr;

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $cause:ident = $code:literal, $name:literal;)*) => {
        /// Why a packet was sent nowhere: one cause per place that drops. The number is part of the
        /// datapath's ABI and the name of metrics and of the API: append only, never renumber.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u16)]
        pub enum DropCause { $($(#[doc = $doc])* $cause = $code,)* }

        impl DropCause {
            /// Every cause.
            pub const ALL: &[Self] = &[$(Self::$cause),*];

            /// Its name in metrics, walks and the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$cause => $name),* }
            }

            /// One sentence for an operator.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$cause => concat!($($doc),*)),* }
            }

            /// The cause with this number.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$cause),)* _ => None }
            }
        }
    };
}

causes! {
    /// The frame ends inside a header.
    Truncated = 1, "truncated";
    /// A header gives itself a length or version it cannot have.
    Malformed = 2, "malformed";
    /// No agent is alive to decide about a new flow.
    AgentDown = 3, "agent-down";
    /// This port has used up its share of new flows.
    UpcallLimit = 4, "upcall-limit";
    /// The queue to the agent is full.
    UpcallQueue = 5, "upcall-queue";
    /// The outer source is no member of the tunnel zone.
    TunnelNotMember = 6, "tunnel-not-member";
    /// No port or group has this tunnel key here.
    TunnelUnknownKey = 7, "tunnel-unknown-key";
    /// The output port is not attached here.
    PortGone = 8, "port-gone";
    /// The peer has no tunnel address.
    PeerGone = 9, "peer-gone";
    /// Too big for the output and not to be fragmented.
    TooBig = 10, "too-big";
    /// An action could not be applied to this packet.
    ActionFailed = 11, "action-failed";
    /// A rule of a chain drops it.
    Rule = 12, "rule";
    /// A rule of a chain rejects it.
    Rejected = 13, "rejected";
    /// The device or port is administratively down.
    AdminDown = 14, "admin-down";
    /// It crossed more devices than a packet may: the topology has a loop.
    Looped = 15, "loop";
    /// Its source is a group address.
    MulticastSource = 16, "multicast-source";
    /// It would leave by the port it came in by.
    SamePort = 17, "same-port";
    /// The router has no route to its destination.
    NoRoute = 18, "no-route";
    /// A route says that packets to this destination vanish.
    Blackhole = 19, "blackhole";
    /// A route says that packets to this destination are refused.
    RejectRoute = 20, "reject-route";
    /// Its time to live is used up.
    TtlExpired = 21, "ttl-expired";
    /// The next hop does not answer ARP or neighbour discovery.
    NeighborUnreachable = 22, "neighbor-unreachable";
    /// It is not addressed to the router's port at layer 2.
    NotForRouter = 23, "not-for-router";
    /// The device does not carry this protocol.
    Unsupported = 24, "unsupported-protocol";
    /// The port it should leave by is bound to no interface and has no peer.
    Unbound = 25, "port-unbound";
    /// The topology is not known here and cannot be asked for.
    NoTopology = 26, "no-topology";
    /// Too many packets wait for an answer.
    QueueFull = 27, "pending-queue";
    /// What the packet waited for did not come in time.
    WaitTimeout = 28, "wait-timeout";
    /// The VLAN tag does not fit the port.
    VlanMismatch = 29, "vlan-mismatch";
    /// A host address of this machine, which VMs may not reach.
    HostAddress = 30, "host-address";
    /// The packet was answered or used up by the virtual device itself.
    Consumed = 31, "consumed";
    /// Where the output port is, is not known yet.
    NoLocation = 32, "no-location";
    /// The key was retired: it named an earlier activation of a port.
    TunnelRetiredKey = 33, "tunnel-retired-key";
    /// The action list does not fit the datapath.
    TooManyActions = 34, "too-many-actions";
    /// This port has as many tracked connections as it may have.
    ConnectionLimit = 35, "connection-limit";
    /// This host's table of tracked connections is full.
    ConnectionTable = 36, "connection-table";
    /// Every address and port that a rule may translate to is in use for this destination.
    NatExhausted = 37, "nat-exhausted";
    /// No block of ports to translate to was leased in time.
    NatNoLease = 38, "nat-no-lease";
    /// Connections of this port are translated to as many ports as they may be.
    NatPortLimit = 39, "nat-port-limit";
    /// This port sends more broadcast and multicast frames than it may.
    BroadcastLimit = 40, "broadcast-limit";
    /// The outer destination is an address of this host, and none of its tunnels'.
    TunnelOtherAddress = 41, "tunnel-other-address";
    /// The machine behind this port sends more than the port's QoS policy allows.
    BandwidthSent = 42, "bandwidth-sent";
    /// The machine behind this port would get more than the port's QoS policy allows. Counted for the
    /// port it was to leave by.
    BandwidthReceived = 43, "bandwidth-received";
    /// No member of the virtual address's pool may take a connection.
    NoPoolMember = 44, "no-pool-member";
    /// The virtual address has as many connections as it may have.
    VipConnectionLimit = 45, "vip-connection-limit";
    /// Its connection is no longer balanced: the virtual address or the member is gone.
    NoLongerBalanced = 46, "no-longer-balanced";
    /// A machine that is to inspect it is not there.
    ServiceDown = 47, "service-down";
    /// It came from or is for an inspecting machine, and was not sent to be inspected.
    NotInserted = 48, "not-inserted";
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DropCause {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|cause| cause.name() == name).ok_or(())
    }
}
