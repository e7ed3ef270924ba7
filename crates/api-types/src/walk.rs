//! Packet walks: what to walk, and what came of it step by step.

use core::net::IpAddr;

use mn_ids::{HostId, PortId};
use mn_packet::Mac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Described, Description, Shape};

dto! {
    /// A packet to walk, described by what matters of it. What is left out is made up: a frame from the
    /// port's interface to the next hop, of the version of the addresses.
    WalkRequest {
        /// The port it enters by. This, or `hostId` with `interfaceName`.
        "fromPort" from_port: Option<PortId>,
        "hostId" host_id: Option<HostId>,
        "interfaceName" interface_name: Option<String>,
        /// The port it is meant for: its address is taken where `dstAddr` is left out.
        "toPort" to_port: Option<PortId>,
        "srcAddr" src_addr: Option<IpAddr>,
        "dstAddr" dst_addr: Option<IpAddr>,
        "srcMac" src_mac: Option<Mac>,
        "dstMac" dst_mac: Option<Mac>,
        /// 0x600 to 0xffff.
        "etherType" ether_type: Option<u16>,
        /// The VLAN of the outer tag; left out: none.
        "vlan" vlan: Option<u16>,
        /// The IP protocol's number; left out: ICMP of the addresses' version.
        "protocol" protocol: Option<u8>,
        "srcPort" src_port: Option<u16>,
        "dstPort" dst_port: Option<u16>,
        /// Left out: echo request.
        "icmpType" icmp_type: Option<u8>,
        "icmpCode" icmp_code: Option<u8>,
        "icmpId" icmp_id: Option<u16>,
        /// The whole octet.
        "tos" tos: u8,
        /// Time to live or hop limit.
        "ttl" ttl: u8 = 64,
        /// Of TCP: `syn`, `ack`, `fin`, `rst`; left out: `syn`.
        "tcpFlags" tcp_flags: Option<Vec<String>>,
        /// Octets after the last header.
        "payloadLength" payload_length: u16,
        /// Whether to walk the answer too, from the state that the packet would leave.
        "both" both: bool,
    }
}

dto! {
    /// What came of a walk. Nothing was changed by it.
    Walk {
        /// The host whose own agent simulated it; null: the cluster did, without any host's state.
        ro "simulatedBy" simulated_by: Option<Named>,
        /// The host where the packet enters; null: its port is bound to none.
        ro "enteredAt" entered_at: Option<Named>,
        /// What the reader should know, for example "without this host's state".
        ro "notes" notes: Vec<String>,
        /// The revision of the topology that was simulated.
        ro "revision" revision: u64,
        /// The packet as it entered.
        ro "packet" packet: Headers,
        ro "steps" steps: Vec<Step>,
        ro "verdict" verdict: Verdict,
        /// The headers the verdict read: what a flow for it matches, one word a header.
        ro "mask" mask: Vec<String>,
        /// What the datapath does with such packets, one line an action.
        ro "actions" actions: Vec<String>,
        /// The flow installed for such packets in the datapath of the host, if there is one.
        ro "flow" flow: Option<InstalledFlow>,
        /// The walk of the packet that answers this one. There only where it was asked for and there
        /// is one; why there is none stands in `notes`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ro "answer" answer: Option<AnswerWalk>,
    }
}

/// The walk of a packet that answers another.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AnswerWalk(pub Box<Walk>);

impl Described for AnswerWalk {
    const SHAPE: Shape = Shape::Again("Walk");
}

words! {
    /// How a walk ends.
    VerdictKind {
        /// It goes nowhere.
        Dropped = "dropped",
        /// It reaches one port.
        Delivered = "delivered",
        /// It reaches several.
        Flooded = "flooded",
        /// A virtual device answers it.
        Answered = "answered",
        /// A next hop must be asked for first.
        Waiting = "waiting",
    }
}

dto! {
    /// How a walk ends, and why.
    Verdict {
        ro "kind" kind: VerdictKind,
        /// A sentence for people.
        ro "reason" reason: Option<String>,
        /// The drop cause's name, as in metrics: `no-route`.
        ro "dropCause" drop_cause: Option<String>,
        /// The rule that dropped it.
        ro "rule" rule: Option<RuleAt>,
        /// Where it comes out.
        ro "deliveries" deliveries: Vec<Delivery>,
        /// Where the copies of mirrors come out.
        ro "copies" copies: Vec<Delivery>,
    }
}

dto! {
    /// A port that gets the packet.
    Delivery {
        ro "port" port: Named,
        ro "host" host: Option<Named>,
        ro "interfaceName" interface_name: Option<String>,
        /// How it gets to that host; null: it is on the same.
        ro "tunnel" tunnel: Option<TunnelHeader>,
        /// The packet as it comes out.
        ro "packet" packet: Headers,
    }
}

dto! {
    /// What is put around a packet between hosts.
    TunnelHeader {
        /// The VNI.
        ro "key" key: u32,
        ro "outerSrc" outer_src: Option<IpAddr>,
        ro "outerDst" outer_dst: Option<IpAddr>,
    }
}

dto! {
    /// An object by its id and its name, where it has one.
    Named {
        /// `bridge`, `router`, `port`, `chain`, `mirror`, `qos_policy`, `l2_insertion`, `load_balancer`,
        /// `pool`, `vip`, `host`.
        ro "kind" kind: String,
        ro "id" id: Uuid,
        ro "name" name: Option<String>,
    }
}

dto! {
    /// A rule and its place.
    RuleAt {
        ro "id" id: Uuid,
        ro "chain" chain: Option<Named>,
        /// 1 for the first.
        ro "position" position: Option<u32>,
        /// Its type: `drop`.
        ro "type" kind: Option<String>,
    }
}

dto! {
    /// A route in words.
    RouteAt {
        ro "id" id: Uuid,
        /// `10.0.0.0/24`.
        ro "src" src: String,
        ro "dst" dst: String,
        /// `Normal`, `BlackHole`, `Reject`, `Local`.
        ro "type" kind: String,
        ro "port" port: Option<Named>,
        ro "gateway" gateway: Option<IpAddr>,
        ro "weight" weight: u32,
    }
}

dto! {
    /// A route that matched and was not taken.
    LostRoute {
        ro "route" route: RouteAt,
        /// `shorter prefix`, `higher weight`, `port down`, `other path`, `source`.
        ro "reason" reason: String,
    }
}

dto! {
    /// The headers of a packet; null where it does not have one.
    Headers {
        ro "srcMac" src_mac: Option<Mac>,
        ro "dstMac" dst_mac: Option<Mac>,
        ro "etherType" ether_type: u16,
        ro "vlan" vlan: Option<u16>,
        ro "innerVlan" inner_vlan: Option<u16>,
        ro "srcAddr" src_addr: Option<IpAddr>,
        ro "dstAddr" dst_addr: Option<IpAddr>,
        ro "protocol" protocol: Option<u8>,
        ro "tos" tos: Option<u8>,
        ro "ttl" ttl: Option<u8>,
        ro "srcPort" src_port: Option<u16>,
        ro "dstPort" dst_port: Option<u16>,
        ro "icmpType" icmp_type: Option<u8>,
        ro "icmpCode" icmp_code: Option<u8>,
        ro "icmpId" icmp_id: Option<u16>,
    }
}

dto! {
    /// A flow in a host's datapath.
    InstalledFlow {
        ro "cookie" cookie: u64,
        /// Its actions, one line each.
        ro "actions" actions: Vec<String>,
        /// Packets and octets it has carried.
        ro "packets" packets: u64,
        ro "bytes" bytes: u64,
        /// Since a packet last used it.
        ro "idleMs" idle_ms: Option<u64>,
        /// Whether it does what the walk says.
        ro "agrees" agrees: bool,
        /// Where it does not, in what.
        ro "difference" difference: Option<String>,
    }
}

dto! {
    /// It entered a device.
    Enter {
        ro "port" port: Named,
        ro "device" device: Named,
    }
}

dto! {
    /// It left a device.
    Leave {
        ro "port" port: Named,
        ro "device" device: Named,
    }
}

dto! {
    /// A chain was asked.
    ChainAsked {
        ro "chain" chain: Named,
        /// The rule that decided; null: none did, and the packet passed.
        ro "rule" rule: Option<RuleAt>,
        /// `accept`, `drop` or `reject`.
        ro "result" result: String,
    }
}

dto! {
    /// A rule that translates addresses was asked.
    Translated {
        ro "rule" rule: Option<RuleAt>,
        /// `static` (one address for another, nothing remembered), `new` (chosen for this
        /// connection), `found` (remembered), `none` (nothing is remembered of the packet's
        /// connection), `unsupported` (such packets are not translated), `waiting` (ports have to
        /// be leased first), `exhausted` (every port is in use for this destination).
        ro "result" result: String,
        /// The address that was replaced.
        ro "fromAddr" from_addr: Option<IpAddr>,
        /// Its port, or an echo's identifier; null where that is left alone.
        ro "fromPort" from_port: Option<u16>,
        ro "toAddr" to_addr: Option<IpAddr>,
        ro "toPort" to_port: Option<u16>,
    }
}

dto! {
    /// A load balancer was asked about a packet of a connection to one of its virtual addresses.
    Balanced {
        ro "loadBalancer" load_balancer: Named,
        ro "vip" vip: Named,
        /// The virtual address and its port.
        ro "vipAddr" vip_addr: Option<IpAddr>,
        ro "vipPort" vip_port: u16,
        ro "pool" pool: Named,
        /// Who has the connection; null: nobody.
        ro "member" member: Option<MemberAt>,
        /// `new` (chosen for this connection), `found` (it has its member), `answer` (it is from the
        /// virtual address again), `no member` (nobody may take the connection), `limit` (the
        /// virtual address has as many as it may have), `exhausted` (every member has a connection
        /// whose answers would be the same), `gone` (an answer of a connection that is balanced no
        /// longer).
        ro "result" result: String,
        /// Of a new one: `weight`, `least connections`, `client hash`, `persistence`.
        ro "chosenBy" chosen_by: Option<String>,
        /// Members that get no new connections.
        ro "others" others: Vec<MemberAt>,
    }
}

dto! {
    /// A member of a pool.
    MemberAt {
        ro "id" id: Uuid,
        ro "addr" addr: Option<IpAddr>,
        ro "port" port: u16,
        /// Why it gets no new connections: `down`, `dead`, `other IP version`; null where it does.
        ro "reason" reason: Option<String>,
    }
}

dto! {
    /// A bridge looked for a MAC.
    BridgeLookup {
        ro "bridge" bridge: Named,
        ro "mac" mac: Option<Mac>,
        /// Whether it goes to every port because the MAC is of a group or not known.
        ro "flooded" flooded: bool,
        ro "ports" ports: Vec<Named>,
    }
}

dto! {
    /// A router looked for a route.
    RouteLookup {
        ro "router" router: Named,
        ro "chosen" chosen: Option<RouteAt>,
        /// Where there were several next hops, what decided: `connection hash`, `symmetric hash`, or
        /// `earlier choice` for a connection with state that keeps its way.
        #[serde(skip_serializing_if = "Option::is_none")]
        ro "chosenBy" chosen_by: Option<String>,
        ro "lost" lost: Vec<LostRoute>,
    }
}

dto! {
    /// A router looked for the MAC of the next hop.
    NextHop {
        ro "router" router: Named,
        ro "addr" addr: Option<IpAddr>,
        /// Null: nobody knows it yet.
        ro "mac" mac: Option<Mac>,
    }
}

dto! {
    /// Headers changed.
    Rewritten {
        ro "before" before: Headers,
        ro "after" after: Headers,
    }
}

dto! {
    /// A mirror copied it. What becomes of the copy comes next.
    Mirrored {
        ro "mirror" mirror: Named,
        /// Where copies leave.
        ro "port" port: Named,
    }
}

dto! {
    /// It is held to a policy of service quality: marked, limited, or both.
    Held {
        ro "policy" policy: Named,
        ro "port" port: Named,
        /// The code point it is marked with; null for none.
        ro "dscp" dscp: Option<u8>,
        /// Kilobits a second that may go this way by the port; null for as many as there are.
        ro "maxKbps" max_kbps: Option<u32>,
        /// Kilobits at once.
        ro "maxBurstKb" max_burst_kb: Option<u32>,
    }
}

dto! {
    /// It passes an insertion of an inspecting machine.
    Inspected {
        ro "insertion" insertion: Named,
        /// `sent` to the machine's port; `returned` by it, on at the protected port; `passed by`,
        /// since the machine is not there; `missing` likewise, and it goes no further.
        ro "result" result: String,
        ro "port" port: Option<Named>,
    }
}

dto! {
    /// It crosses the underlay to another host.
    Tunneled {
        ro "host" host: Option<Named>,
        ro "tunnel" tunnel: TunnelHeader,
    }
}

dto! {
    /// A port's interface gets it.
    Deliver {
        ro "port" port: Named,
        ro "host" host: Option<Named>,
        ro "interfaceName" interface_name: Option<String>,
    }
}

dto! {
    /// A virtual device answers it.
    Answered {
        ro "device" device: Named,
        /// With what, for people.
        ro "with" with: String,
    }
}

dto! {
    /// It goes nowhere.
    Dropped {
        /// The drop cause's name: `no-route`.
        ro "cause" cause: String,
        /// A sentence for people.
        ro "reason" reason: String,
        ro "rule" rule: Option<RuleAt>,
    }
}

macro_rules! steps {
    ($($step:ident = $word:literal,)*) => {
        /// One thing that happened to a packet; the member `step` says which.
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        #[serde(tag = "step")]
        pub enum Step { $(#[doc = $word] #[serde(rename = $word)] $step($step),)* }

        impl Described for Step {
            const SHAPE: Shape = Shape::Tagged {
                tag: "step",
                variants: &[$(($word, &$step::DESCRIPTION as &'static Description)),*],
            };
        }
    };
}

steps! {
    Enter = "enter",
    ChainAsked = "chain",
    Translated = "nat",
    Balanced = "balance",
    BridgeLookup = "bridgeLookup",
    RouteLookup = "route",
    NextHop = "nextHop",
    Rewritten = "rewritten",
    Mirrored = "mirror",
    Held = "qos",
    Inspected = "insertion",
    Leave = "leave",
    Tunneled = "tunnel",
    Deliver = "deliver",
    Answered = "answered",
    Dropped = "drop",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_what_it_is() {
        let dropped = Dropped { cause: "no-route".to_owned(), ..Dropped::default() };
        let json = serde_json::to_value(Step::Dropped(dropped.clone())).unwrap();
        assert_eq!(json["step"], "drop");
        assert_eq!(serde_json::from_value::<Step>(json).unwrap(), Step::Dropped(dropped));
    }
}
