//! What of a port others read.

use mn_ids::{ChainId, PortId, RouterId};

use super::super::Candidate;
use crate::object::{Port, PortKind};

/// What flows read of a port. Where it is bound is another matter (`Tag::Location`); here only
/// whether it is bound at all.
pub(super) fn read_of_port(
    port: &Port,
) -> (&PortKind, bool, [Option<ChainId>; 2], Option<PortId>, bool) {
    (
        &port.kind,
        port.admin_state_up,
        [port.inbound_filter_id, port.outbound_filter_id],
        port.peer_id,
        port.binding().is_some(),
    )
}

/// The routes that a router's port brings: one to each of its addresses.
pub(super) fn own(port: Option<&Port>) -> Vec<(RouterId, Candidate)> {
    let Some(Port { id, kind: PortKind::Router(router), .. }) = port else { return Vec::new() };
    let route = |addr: &crate::IfAddr| (router.router_id, Candidate::own(addr.addr, *id));
    let mut routes: Vec<_> = router.addresses.iter().map(route).collect();
    routes.dedup();
    routes
}
