//! Routers.

use mn_ids::{ChainId, LoadBalancerId, MirrorId, RouterId};

words! {
    /// By what a router chooses among routes that are equally good.
    EcmpMode {
        /// By the ends of a connection in the order that the packet has them.
        Flow = "flow",
        /// By the ends without their order: packets and their answers choose alike.
        Symmetric = "symmetric",
    }
}

dto! {
    /// A layer 3 virtual router.
    Router {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<RouterId>,
        /// Whose it is; free text.
        "tenantId" tenant_id: Option<String>,
        /// At most 255 characters.
        "name" name: Option<String>,
        /// Whether it forwards.
        "adminStateUp" admin_state_up: bool = true,
        /// The chain that packets pass which enter it.
        "inboundFilterId" inbound_filter_id: Option<ChainId>,
        /// The chain that packets pass which leave it.
        "outboundFilterId" outbound_filter_id: Option<ChainId>,
        /// The load balancer on the way through it, of no other router.
        "loadBalancerId" load_balancer_id: Option<LoadBalancerId>,
        /// Mirrors of what enters it, before the inbound filter.
        "inboundMirrorIds" inbound_mirror_ids: Vec<MirrorId>,
        /// Mirrors of what leaves it, after the outbound filter.
        "outboundMirrorIds" outbound_mirror_ids: Vec<MirrorId>,
        /// Its autonomous system number; 0 for none.
        "asNumber" as_number: u32,
        /// By what it chooses among equally good routes; left out: `flow`.
        #[serde(skip_serializing_if = "Option::is_none")]
        "ecmpMode" ecmp_mode: Option<EcmpMode>,
        ro "uri" uri: Option<String>,
        ro "inboundFilter" inbound_filter: Option<String>,
        ro "outboundFilter" outbound_filter: Option<String>,
        ro "loadBalancer" load_balancer: Option<String>,
        ro "ports" ports: Option<String>,
        ro "peerPorts" peer_ports: Option<String>,
        ro "routes" routes: Option<String>,
    }
}
