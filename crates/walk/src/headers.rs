//! A packet's headers in the API's words.

use mn_api_types::walk::Headers;
use mn_flow::{FlowKey, Fragment};
use mn_packet::{EtherType, VlanTag, from_v6};

/// What a key says, field by field. The time to live is not in a key: the caller gives it.
#[must_use]
pub fn headers(key: &FlowKey, ttl: Option<u8>) -> Headers {
    let ip = matches!(key.eth_type, EtherType::IPV4 | EtherType::IPV6);
    let network = ip || key.eth_type == EtherType::ARP;
    let tag = |tag: VlanTag| tag.vlan().map(mn_packet::VlanId::get);
    let transport = ip && key.class.fragment != Fragment::Later;
    let ports = transport && key.nw_proto.has_ports();
    let icmp = transport && key.nw_proto.is_icmp();
    Headers {
        src_mac: Some(key.eth_src),
        dst_mac: Some(key.eth_dst),
        ether_type: key.eth_type.0,
        vlan: tag(key.vlan),
        inner_vlan: tag(key.inner_vlan),
        src_addr: network.then(|| from_v6(key.nw_src)),
        dst_addr: network.then(|| from_v6(key.nw_dst)),
        protocol: network.then_some(key.nw_proto.0),
        tos: ip.then_some(key.nw_tos),
        ttl: ttl.filter(|_| ip),
        src_port: ports.then_some(key.tp_src),
        dst_port: ports.then_some(key.tp_dst),
        icmp_type: icmp.then(|| key.icmp_type()),
        icmp_code: icmp.then(|| key.icmp_code()),
        icmp_id: icmp.then_some(key.tp_dst).filter(|id| *id != 0),
    }
}
