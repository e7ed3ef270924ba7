//! Flows for people to read.

use mn_flow::{Action, Field, FlowMask, Rewrite};

/// The word for a header, as in the API.
#[must_use]
pub const fn field_name(field: Field) -> &'static str {
    match field {
        Field::InPort => "inPort",
        Field::TunKey => "tunnelKey",
        Field::TunSrc => "tunnelSrc",
        Field::EthDst => "dstMac",
        Field::EthSrc => "srcMac",
        Field::EthType => "etherType",
        Field::Vlan => "vlan",
        Field::InnerVlan => "innerVlan",
        Field::NwSrc => "srcAddr",
        Field::NwDst => "dstAddr",
        Field::NwProto => "protocol",
        Field::NwTos => "tos",
        Field::Fragment => "fragment",
        Field::Ttl => "ttlSpent",
        Field::Tcp => "tcpFlags",
        Field::TcpEnds => "tcpEnds",
        Field::NeighborDiscovery => "neighborDiscovery",
        Field::Conn => "connection",
        Field::TpSrc => "srcPort",
        Field::TpDst => "dstPort",
    }
}

/// The headers of a mask, addresses with the length that is matched: `dstAddr/24`.
pub(crate) fn mask_words(mask: FlowMask, v4: bool) -> Vec<String> {
    let len = |bits: u8| if v4 { bits.saturating_sub(96) } else { bits };
    mask.fields()
        .map(|field| match field {
            Field::NwSrc => format!("{}/{}", field_name(field), len(mask.nw_src_len())),
            Field::NwDst => format!("{}/{}", field_name(field), len(mask.nw_dst_len())),
            _ => field_name(field).to_owned(),
        })
        .collect()
}

/// One action of the datapath.
#[must_use]
pub fn action_text(action: &Action) -> String {
    match action {
        Action::Rewrite(rewrite) => rewrite_text(rewrite),
        Action::Output(port) => format!("output to port {}", port.0),
        Action::Tunnel { peer, key } => format!("tunnel to peer {} with key {key}", peer.0),
        Action::Outputs(group) => format!("output to group {}", group.0),
        Action::Track { zone, .. } => format!("track the connection in zone {}", zone.0),
        Action::Follow => "tell of the connection's beginning and end".to_owned(),
        Action::Meter(meter) => format!("count in meter {meter}"),
        Action::Copy { one_in } => format!("copy one in {one_in} to the agent"),
        Action::Drop { cause, .. } => format!("drop: {cause}"),
    }
}

fn rewrite_text(rewrite: &Rewrite) -> String {
    let port = |port: &Option<u16>| port.map_or(String::new(), |port| format!(" port {port}"));
    match rewrite {
        Rewrite::EthSrc(mac) => format!("set srcMac {mac}"),
        Rewrite::EthDst(mac) => format!("set dstMac {mac}"),
        Rewrite::NwSrc(addr) => format!("set srcAddr {addr}"),
        Rewrite::NwDst(addr) => format!("set dstAddr {addr}"),
        Rewrite::NwTos(tos) => format!("set tos {tos}"),
        Rewrite::TpSrc(port) => format!("set srcPort {port}"),
        Rewrite::TpDst(port) => format!("set dstPort {port}"),
        Rewrite::IcmpId(id) => format!("set icmpId {id}"),
        Rewrite::Answer { mac, .. } => format!("answer at {mac}"),
        Rewrite::DecTtl => "decrement ttl".to_owned(),
        Rewrite::PushVlan(tag) => format!("push vlan {}", tag.wire() & 0xfff),
        Rewrite::PopVlan => "pop vlan".to_owned(),
        Rewrite::InnerSrc(addr, p) => format!("set quoted srcAddr {addr}{}", port(p)),
        Rewrite::InnerDst(addr, p) => format!("set quoted dstAddr {addr}{}", port(p)),
    }
}
