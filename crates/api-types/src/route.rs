//! Routes.

use core::net::IpAddr;

use mn_ids::{PortId, RouteId, RouterId};

words! {
    /// What a route does with a packet.
    RouteType {
        /// Sends it out of a port.
        Normal = "Normal",
        /// Drops it without a word.
        BlackHole = "BlackHole",
        /// Drops it and tells the sender.
        Reject = "Reject",
        /// Says that it is for an address of the router's own port.
        Local = "Local",
    }
}

dto! {
    /// A route of a router.
    Route {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<RouteId>,
        ro "routerId" router_id: Option<RouterId>,
        /// Required.
        "type" kind: Option<RouteType>,
        /// The sources it is for. Required.
        "srcNetworkAddr" src_network_addr: Option<IpAddr>,
        /// 0 to 32, for IPv6 to 128.
        "srcNetworkLength" src_network_length: u8,
        /// The destinations it is for, of the same version. Required.
        "dstNetworkAddr" dst_network_addr: Option<IpAddr>,
        /// 0 to 32, for IPv6 to 128.
        "dstNetworkLength" dst_network_length: u8,
        /// The port it leaves by or is local to.
        "nextHopPort" next_hop_port: Option<PortId>,
        /// The next router; left out: the destination itself is next.
        "nextHopGateway" next_hop_gateway: Option<IpAddr>,
        /// Of equally long routes the one with the lowest weight is taken.
        "weight" weight: u32,
        /// Free text.
        "attributes" attributes: Option<String>,
        /// Learned from a routing protocol, not drawn.
        ro "learned" learned: bool,
        /// Names what it leads through: equal routes with one name are one way, on every router.
        #[serde(skip_serializing_if = "Option::is_none")]
        "path" path: Option<String>,
        ro "uri" uri: Option<String>,
        ro "router" router: Option<String>,
    }
}
