//! What a flow does.

use core::net::IpAddr;

use mn_ids::{PortId, RuleId};
use mn_packet::ndp::NEIGHBOR_ADVERTISEMENT;
use mn_packet::{IpProtocol, Mac, VlanTag, to_v6};

use crate::{DropCause, FlowKey, GroupIndex, PeerIndex, PortNo, TunnelKey, Zone};

/// A change to a packet's headers. It takes effect for everything after it in the list.
///
/// Checksums follow: IPv4 header, TCP, UDP (0 stays 0), ICMP and ICMPv6; one that was wrong stays
/// wrong. A header the packet does not have makes the action fail, which drops the packet:
/// addresses of the other version, ports in ICMP, anything of IP in ARP. Later fragments have no
/// ports and no identifiers of echoes, and pass as they are: the first has been changed. The packet's
/// headers are those it arrived with: what a popped third tag uncovers is not looked at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rewrite {
    EthSrc(Mac),
    EthDst(Mac),
    /// Sets the source address; of the version the packet has, else the action fails.
    NwSrc(IpAddr),
    NwDst(IpAddr),
    /// Sets the whole TOS (traffic class) octet.
    NwTos(u8),
    TpSrc(u16),
    TpDst(u16),
    /// Sets the identifier of an ICMP echo.
    IcmpId(u16),
    /// Takes one hop off the time to live. A packet that has not one left for every such action of
    /// its flow goes up to the agent instead of through any action.
    DecTtl,
    /// Puts an 802.1Q tag in front.
    PushVlan(VlanTag),
    /// Takes the outer tag off.
    PopVlan,
    /// Sets the source of the packet an ICMP error quotes, and its port, or the identifier of an
    /// echo, where the quotation has one (IPv6 extension headers in a quotation are not walked).
    InnerSrc(IpAddr, Option<u16>),
    /// Sets the destination of the packet an ICMP error quotes, and its port, or the identifier of
    /// an echo, where it has one.
    InnerDst(IpAddr, Option<u16>),
    /// Turns a question for a neighbour into its answer: what was asked for is at `mac`. That is an
    /// ARP request (RFC 826), or a neighbour solicitation from an address with one option, the
    /// source's MAC (RFC 4861 §7.2.4). A packet of the flow that is neither goes up to the agent
    /// instead of through any action.
    Answer {
        mac: Mac,
        /// The advertisement says that it comes from a router.
        router: bool,
    },
}

impl Rewrite {
    /// Makes the change in a packet's own headers, as keys have them; neither the time to live nor
    /// what an ICMP error quotes is there.
    pub fn apply(self, key: &mut FlowKey) {
        match self {
            Self::EthSrc(mac) => key.eth_src = mac,
            Self::EthDst(mac) => key.eth_dst = mac,
            Self::NwSrc(addr) => key.nw_src = to_v6(addr),
            Self::NwDst(addr) => key.nw_dst = to_v6(addr),
            Self::NwTos(tos) => key.nw_tos = tos,
            Self::TpSrc(port) => key.tp_src = port,
            Self::TpDst(port) | Self::IcmpId(port) => key.tp_dst = port,
            Self::PushVlan(tag) => {
                key.inner_vlan = key.vlan;
                key.vlan = tag;
            }
            Self::PopVlan => {
                key.vlan = key.inner_vlan;
                key.inner_vlan = VlanTag::NONE;
            }
            Self::Answer { mac, .. } => answer(key, mac),
            Self::DecTtl | Self::InnerSrc(..) | Self::InnerDst(..) => {}
        }
    }
}

/// The headers of the answer to a question with these; what is no question stays as it is.
fn answer(key: &mut FlowKey, mac: Mac) {
    let (asker, target) = (key.nw_src, key.nw_dst);
    if key.is_arp_request() {
        key.nw_proto = IpProtocol(2);
        key.nw_dst = asker;
    } else if key.is_solicitation() {
        // The target stays in its place, and is the source too.
        key.tp_src = u16::from_be_bytes([NEIGHBOR_ADVERTISEMENT, 0]);
    } else {
        return;
    }
    key.nw_src = target;
    key.eth_dst = key.eth_src;
    key.eth_src = mac;
}

/// One step of a flow in the datapath.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    Rewrite(Rewrite),
    /// Sends a copy out of a port of this host.
    Output(PortNo),
    /// Sends a copy to another host.
    Tunnel {
        peer: PeerIndex,
        key: TunnelKey,
    },
    /// Sends a copy to every output of a group.
    Outputs(GroupIndex),
    /// The packet is of the forward direction of a connection to be followed: makes it in the zone,
    /// as one of the port's, and has whoever delivers the packet make the answer's. In zone 0 it is
    /// only said to who delivers.
    Track {
        zone: Zone,
        port: PortNo,
    },
    /// Tells the agent of the TCP segments that begin or end a connection, and of the first one that
    /// does neither. Only as the first of a flow's actions: elsewhere it does nothing. It holds no
    /// packet up: what the agent's list has no room for is counted and not told.
    Follow,
    /// Counts the packet.
    Meter(u32),
    /// Sends a copy to the agent for one packet in `one_in`.
    Copy {
        one_in: u32,
    },
    /// Sends it nowhere and counts why.
    Drop {
        cause: DropCause,
        rule: Option<RuleId>,
    },
}

/// One step of a verdict, before the agent knows on which host a port is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VirtualAction {
    Rewrite(Rewrite),
    /// Sends a copy out of a virtual port that is bound to an interface somewhere.
    Deliver(PortId),
    /// Makes or refreshes the connection of this packet: of the device that delivers it.
    Track,
    /// Counts the packet.
    Meter(u32),
    /// Shows the agent a copy, as the packet is by then: it may teach something.
    Copy,
}

/// How long a flow stays without traffic.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Expiry {
    /// A flow like any other.
    Idle,
    /// A flow that drops because of something that may mend itself, or that carries what comes after
    /// the end of a connection: gone soon, traffic or not.
    Brief,
    /// No flow at all: the next packet is decided anew.
    None,
}

/// The rewrites that turn a packet whose headers are `from` into one whose headers are `to`, in
/// the fields of `written`.
///
/// Tags are compared as a stack of at most two. Fields outside `written` are left alone, also
/// where they differ.
pub fn diff(from: &FlowKey, to: &FlowKey, written: crate::FlowMask, mut emit: impl FnMut(Rewrite)) {
    use crate::Field;
    use mn_packet::{EtherType, from_v6};

    let set = |field: Field, differs: bool| written.contains(field) && differs;
    if set(Field::Vlan, from.vlan != to.vlan)
        || set(Field::InnerVlan, from.inner_vlan != to.inner_vlan)
    {
        restack(from, to, &mut emit);
    }
    if written.contains(Field::EthSrc) {
        emit(Rewrite::EthSrc(to.eth_src));
    }
    if written.contains(Field::EthDst) {
        emit(Rewrite::EthDst(to.eth_dst));
    }
    let icmp = to.nw_proto.is_icmp() && to.eth_type != EtherType::ARP;
    if written.contains(Field::NwSrc) {
        emit(Rewrite::NwSrc(from_v6(to.nw_src)));
    }
    if written.contains(Field::NwDst) {
        emit(Rewrite::NwDst(from_v6(to.nw_dst)));
    }
    if written.contains(Field::NwTos) {
        emit(Rewrite::NwTos(to.nw_tos));
    }
    if written.contains(Field::TpSrc) && !icmp {
        emit(Rewrite::TpSrc(to.tp_src));
    }
    if written.contains(Field::TpDst) {
        emit(if icmp { Rewrite::IcmpId(to.tp_dst) } else { Rewrite::TpDst(to.tp_dst) });
    }
}

/// Makes the tag stack of `from` that of `to`, keeping a common inner tag where there is one.
fn restack(from: &FlowKey, to: &FlowKey, emit: &mut impl FnMut(Rewrite)) {
    let stack = |key: &FlowKey| {
        // Bottom of the stack (nearest the payload) first.
        let mut tags = [VlanTag::NONE; 2];
        let mut depth = 0;
        for tag in [key.inner_vlan, key.vlan] {
            if tag.is_present() {
                tags[depth] = tag;
                depth += 1;
            }
        }
        (tags, depth)
    };
    let ((have, have_depth), (want, want_depth)) = (stack(from), stack(to));
    let common =
        have[..have_depth].iter().zip(&want[..want_depth]).take_while(|(a, b)| a == b).count();
    for _ in common..have_depth {
        emit(Rewrite::PopVlan);
    }
    for tag in &want[common..want_depth] {
        emit(Rewrite::PushVlan(*tag));
    }
}

#[cfg(test)]
mod tests {
    use mn_packet::VlanId;

    use super::*;
    use crate::{Field, FlowKey, FlowMask};

    fn tagged(outer: Option<u16>, inner: Option<u16>) -> FlowKey {
        let tag = |vlan: Option<u16>| {
            vlan.map_or(VlanTag::NONE, |id| VlanTag::of(VlanId::try_from(id).unwrap()))
        };
        FlowKey { vlan: tag(outer), inner_vlan: tag(inner), ..FlowKey::default() }
    }

    fn tags(from: &FlowKey, to: &FlowKey) -> Vec<Rewrite> {
        let mut out = Vec::new();
        diff(from, to, FlowMask::from(Field::Vlan) | Field::InnerVlan.into(), |rewrite| {
            out.push(rewrite)
        });
        out
    }

    #[test]
    fn a_tag_stack_changes_from_the_top() {
        let push = |id| Rewrite::PushVlan(VlanTag::of(VlanId::try_from(id).unwrap()));
        assert_eq!(tags(&tagged(None, None), &tagged(Some(7), None)), [push(7)]);
        assert_eq!(tags(&tagged(Some(7), None), &tagged(None, None)), [Rewrite::PopVlan]);
        assert_eq!(tags(&tagged(Some(7), None), &tagged(Some(8), Some(7))), [push(8)]);
        assert_eq!(
            tags(&tagged(Some(8), Some(7)), &tagged(Some(9), Some(7))),
            [Rewrite::PopVlan, push(9)]
        );
        assert_eq!(tags(&tagged(Some(7), None), &tagged(Some(7), None)), []);
    }

    #[test]
    fn a_written_field_is_set_even_where_this_packet_has_the_value_already() {
        let key = FlowKey::default();
        let mut out = Vec::new();
        diff(&key, &key, Field::EthDst.into(), |rewrite| out.push(rewrite));
        assert_eq!(out, [Rewrite::EthDst(Mac::ZERO)]);
    }
}
