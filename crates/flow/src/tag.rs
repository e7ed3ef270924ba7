//! What a flow depends on.

use core::net::{IpAddr, Ipv6Addr};

use mn_ids::{
    BridgeId, ChainId, HostId, IpAddrGroupId, L2InsertionId, LoadBalancerId, MirrorId, PoolId,
    PoolMemberId, PortGroupId, PortId, QosPolicyId, RouterId,
};
use mn_packet::{Mac, VlanId};

use crate::ScopedAddr;

/// One thing a simulation read. When it changes, the flows that carry its tag are removed, and no
/// others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Tag {
    /// The bridge object itself.
    Bridge(BridgeId),
    Chain(ChainId),
    /// The learned or static place of a MAC on a bridge, be it "unknown".
    Mac {
        bridge: BridgeId,
        vlan: Option<VlanId>,
        mac: Mac,
    },
    /// The MAC that a bridge's network has for an address, be it "unknown".
    BridgeNeighbor {
        bridge: BridgeId,
        addr: IpAddr,
    },
    /// The set of ports a flood on a bridge reaches.
    Flood {
        bridge: BridgeId,
        vlan: Option<VlanId>,
    },
    /// The MAC of a neighbour of a router, be it "unknown".
    Neighbor {
        router: RouterId,
        addr: ScopedAddr,
    },
    /// Where a port is bound, and the tunnel key it has there.
    Location(PortId),
    /// The tunnel address of a host.
    Peer(HostId),
    Port(PortId),
    IpAddrGroup(IpAddrGroupId),
    PortGroup(PortGroupId),
    Mirror(MirrorId),
    /// The mark of a policy of service quality.
    QosPolicy(QosPolicyId),
    /// An insertion, and whether its inspecting machine is there.
    L2Insertion(L2InsertionId),
    /// The DHCP subnets of a bridge.
    Dhcp(BridgeId),
    /// The router object itself (not its routes).
    Router(RouterId),
    /// The outcome of a route lookup: every route of this router whose destination overlaps these
    /// first `len` bits of `addr` matters. `addr` is as in flow keys, `len` of 128 bits.
    Route {
        router: RouterId,
        addr: Ipv6Addr,
        len: u8,
    },
    /// The load balancer object itself (not its virtual addresses).
    LoadBalancer(LoadBalancerId),
    /// The virtual addresses of a load balancer at one address, be it that there is none. The
    /// address is as in flow keys.
    Vip {
        load_balancer: LoadBalancerId,
        addr: Ipv6Addr,
    },
    /// A pool: how it chooses, and the members that new connections may go to.
    Pool(PoolId),
    /// Whether a member of a pool may keep its connections, and where it is.
    PoolMember {
        pool: PoolId,
        member: PoolMemberId,
    },
    /// A remembered address translation, or the lack of one.
    Nat(NatTag),
    /// The way that a connection with state takes where a router has several equal ones. Nothing
    /// touches it: it tells the next decision about the connection what this one was.
    Path(PathTag),
}

/// Which of several equal ways a router chose for a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PathTag {
    pub router: RouterId,
    /// The connection's hash.
    flow: [u8; 8],
    /// The next hop's.
    hop: [u8; 8],
}

impl PathTag {
    #[must_use]
    pub const fn new(router: RouterId, flow: u64, hop: u64) -> Self {
        Self { router, flow: flow.to_be_bytes(), hop: hop.to_be_bytes() }
    }

    /// The connection's hash.
    #[must_use]
    pub const fn flow(self) -> u64 {
        u64::from_be_bytes(self.flow)
    }

    /// The next hop's hash.
    #[must_use]
    pub const fn hop(self) -> u64 {
        u64::from_be_bytes(self.hop)
    }
}

/// Names a place in the tables of address translations: a digest of the key that was looked up.
///
/// Two keys have one digest by a chance of 2^-128; all that follows is a flow decided anew.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NatTag(pub [u8; 16]);

impl Tag {
    /// Whether a change of this touches a flow that carries `read`.
    ///
    /// That is equality, but for routes: a change of the routes to one prefix touches every lookup
    /// whose first bits overlap it.
    #[must_use]
    pub fn touches(&self, read: &Self) -> bool {
        match (self, read) {
            (
                Self::Route { router, addr, len },
                Self::Route { router: read_router, addr: read_addr, len: read_len },
            ) => {
                let common = u32::from(*len.min(read_len));
                let mask = u128::MAX.checked_shl(128 - common).unwrap_or(0);
                router == read_router && (addr.to_bits() ^ read_addr.to_bits()) & mask == 0
            }
            _ => self == read,
        }
    }
}
