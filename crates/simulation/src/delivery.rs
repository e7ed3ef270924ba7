//! Where a packet leaves the virtual topology, and the actions that get it there.

use mn_flow::{Field, FlowKey, FlowMask, Rewrite, VirtualAction, diff};
use mn_ids::PortId;

use crate::asked::Answerer;
use crate::quote::{Quote, Quoted};

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
    /// What it quotes, as it leaves.
    pub quote: Quoted,
    /// It is the answer to the question that came; there is no other delivery.
    pub answerer: Option<Answerer>,
    /// It is a mirror's copy.
    pub mirrored: bool,
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
    let mut quote: Option<Quote> = None;
    for delivery in deliveries {
        if let Some(Answerer { mac, router }) = delivery.answerer {
            actions.push(VirtualAction::Copy);
            actions.push(VirtualAction::Rewrite(Rewrite::Answer { mac, router }));
            actions.push(VirtualAction::Deliver(delivery.port));
            return;
        }
        let change = change(&now, set, delivery, read);
        diff(&now, &delivery.headers, change, |rewrite| {
            actions.push(VirtualAction::Rewrite(rewrite));
        });
        if let Quoted::Is(leaves) = delivery.quote {
            let before = quote.unwrap_or(leaves.as_arrived());
            before.changes(&leaves, |rewrite| actions.push(VirtualAction::Rewrite(rewrite)));
            quote = Some(leaves);
        }
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

#[cfg(test)]
mod tests {
    use mn_packet::Mac;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn copy(port: u128, eth_dst: Option<Mac>, hops: u8) -> Delivery {
        let headers = FlowKey { eth_dst: eth_dst.unwrap_or(Mac::ZERO), ..FlowKey::default() };
        let written = eth_dst.map_or(FlowMask::NONE, |_| Field::EthDst.into());
        let port = PortId::from_uuid(uuid::Uuid::from_u128(port));
        Delivery {
            port,
            headers,
            written,
            hops,
            track: false,
            quote: Quoted::Unread,
            answerer: None,
            mirrored: false,
        }
    }

    /// The actions for these copies of a packet to `Mac::ZERO`, and what they read besides.
    fn actions(mut copies: Vec<Delivery>) -> (Vec<VirtualAction>, FlowMask) {
        let (mut actions, mut read) = (Vec::new(), FlowMask::NONE);
        compile(&FlowKey::default(), &mut copies, &mut read, &mut actions);
        (actions, read)
    }

    fn to(mac: Mac) -> VirtualAction {
        VirtualAction::Rewrite(Rewrite::EthDst(mac))
    }

    fn deliver(port: u128) -> VirtualAction {
        VirtualAction::Deliver(PortId::from_uuid(uuid::Uuid::from_u128(port)))
    }

    #[test]
    fn a_header_that_only_an_earlier_copy_changed_is_set_back_and_becomes_part_of_the_flow() {
        let (actions, read) = actions(vec![copy(1, Some(A), 0), copy(2, None, 0)]);
        assert_eq!(actions, [to(A), deliver(1), to(Mac::ZERO), deliver(2)]);
        assert_eq!(read, Field::EthDst.into());
    }

    #[test]
    fn what_is_set_already_is_not_set_again() {
        let copies =
            vec![copy(1, None, 0), copy(2, Some(A), 0), copy(3, Some(A), 0), copy(4, Some(B), 0)];
        let (actions, read) = actions(copies);
        let want = [deliver(1), to(A), deliver(2), deliver(3), to(B), deliver(4)];
        assert_eq!((&actions[..], read), (&want[..], FlowMask::NONE));
    }

    #[test]
    fn copies_go_out_in_the_order_of_their_hops() {
        let hop = VirtualAction::Rewrite(Rewrite::DecTtl);
        let (actions, _) =
            actions(vec![copy(1, Some(A), 2), copy(2, None, 0), copy(3, Some(A), 1)]);
        assert_eq!(actions, [deliver(2), to(A), hop, deliver(3), hop, deliver(1)]);
    }
}
