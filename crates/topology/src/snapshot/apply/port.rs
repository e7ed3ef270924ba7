//! What of a port others read.

use mn_ids::{ChainId, L2InsertionId, MirrorId, PortId, QosPolicyId, RouterId};

use super::super::Candidate;
use crate::object::{Port, PortKind};

/// What flows read of a port.
#[derive(PartialEq)]
pub(super) struct ReadOfPort<'a> {
    kind: &'a PortKind,
    admin_state_up: bool,
    filters: [Option<ChainId>; 2],
    mirrors: [&'a [MirrorId]; 4],
    qos_policy: Option<QosPolicyId>,
    insertions: [&'a [L2InsertionId]; 2],
    peer: Option<PortId>,
    /// Where it is bound is another matter (`Tag::Location`).
    bound: bool,
}

pub(super) fn read_of_port(port: &Port) -> ReadOfPort<'_> {
    ReadOfPort {
        kind: &port.kind,
        admin_state_up: port.admin_state_up,
        filters: port.filters(),
        mirrors: port.mirrors(),
        qos_policy: port.qos_policy_id,
        insertions: [&port.insertion_ids, &port.srv_insertion_ids],
        peer: port.peer_id,
        bound: port.binding().is_some(),
    }
}

/// The routes that a router's port brings: one to each of its addresses.
pub(super) fn own(port: Option<&Port>) -> Vec<(RouterId, Candidate)> {
    let Some(Port { id, kind: PortKind::Router(router), .. }) = port else { return Vec::new() };
    let route = |addr: &crate::IfAddr| (router.router_id, Candidate::own(addr.addr, *id));
    let mut routes: Vec<_> = router.addresses.iter().map(route).collect();
    routes.dedup();
    routes
}
