//! Where a packet leaves the virtual topology, and the actions that get it there.

use mn_flow::{Field, FlowKey, FlowMask, Rewrite, VirtualAction, diff};
use mn_ids::PortId;

/// One copy that leaves by the interface of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub port: PortId,
    /// The headers it leaves with.
    pub headers: FlowKey,
    /// The headers the walk set.
    pub written: FlowMask,
    /// Routers it crossed.
    pub hops: u8,
    /// The datapath is to follow its connection.
    pub track: bool,
}

/// Turns deliveries into one list of actions, in which a rewrite holds for all that follows.
///
/// A header that one copy changed and a later one did not is set back to what arrived; that value
/// is then part of the flow, so it joins `read`. Hops cannot be given back: the copies go out in
/// the order of their hops.
pub(crate) fn compile(
    arrived: &FlowKey,
    deliveries: &mut [Delivery],
    read: &mut FlowMask,
    actions: &mut Vec<VirtualAction>,
) {
    if deliveries.iter().any(|delivery| delivery.hops > 0) {
        deliveries.sort_by_key(|delivery| delivery.hops);
    }
    let (mut now, mut set, mut hops) = (*arrived, FlowMask::NONE, 0);
    for delivery in deliveries {
        let change = change(&now, set, delivery, read);
        diff(&now, &delivery.headers, change, |rewrite| {
            actions.push(VirtualAction::Rewrite(rewrite));
        });
        for _ in hops..delivery.hops {
            actions.push(VirtualAction::Rewrite(Rewrite::DecTtl));
        }
        if delivery.track {
            actions.push(VirtualAction::Track);
        }
        actions.push(VirtualAction::Deliver(delivery.port));
        now = delivery.headers;
        set |= delivery.written;
        hops = delivery.hops;
    }
}

/// The headers to set for a copy after others set those in `set`, whose values are in `now`.
fn change(now: &FlowKey, set: FlowMask, delivery: &Delivery, read: &mut FlowMask) -> FlowMask {
    if set == FlowMask::NONE {
        return delivery.written;
    }
    let mut change = FlowMask::NONE;
    for field in (set | delivery.written).fields() {
        if !delivery.written.contains(field) {
            *read |= field.into();
        }
        if !set.contains(field) || differs(field, now, &delivery.headers) {
            change |= field.into();
        }
    }
    change
}

/// Whether two keys differ in a header that walks set.
fn differs(field: Field, a: &FlowKey, b: &FlowKey) -> bool {
    match field {
        Field::EthDst => a.eth_dst != b.eth_dst,
        Field::EthSrc => a.eth_src != b.eth_src,
        Field::Vlan | Field::InnerVlan => (a.vlan, a.inner_vlan) != (b.vlan, b.inner_vlan),
        Field::NwSrc => a.nw_src != b.nw_src,
        Field::NwDst => a.nw_dst != b.nw_dst,
        Field::NwTos => a.nw_tos != b.nw_tos,
        Field::TpSrc => a.tp_src != b.tp_src,
        Field::TpDst => a.tp_dst != b.tp_dst,
        _ => false,
    }
}
