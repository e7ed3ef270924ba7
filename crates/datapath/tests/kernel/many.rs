//! Flows in numbers.

use std::net::Ipv6Addr;

use mn_datapath::FlowSpec;
use mn_flow::{Action, Cookie, Field, FlowKey, FlowMask, PortNo};
use mn_packet::{EtherType, IpProtocol, Mac};

/// UDP packets of port 16 to port 17, each with other addresses and ports.
pub fn key(number: u32) -> FlowKey {
    FlowKey {
        in_port: PortNo(16),
        eth_dst: Mac([2, 0, 0, 0, 0, 2]),
        eth_src: Mac([2, 0, 0, 0, 0, 1]),
        eth_type: EtherType::IPV4,
        nw_src: Ipv6Addr::from_bits(0xffff_0a00_0000 | u128::from(number >> 16)),
        nw_dst: Ipv6Addr::from_bits(0xffff_0a01_0001),
        nw_proto: IpProtocol::UDP,
        tp_src: number as u16,
        tp_dst: 53,
        ..FlowKey::default()
    }
}

/// So many flows, spread over so many masks (at most 128).
pub fn specs(count: u32, masks: u8) -> Vec<FlowSpec> {
    specs_from(0, count, masks)
}

/// Likewise, from a number on.
pub fn specs_from(first: u32, count: u32, masks: u8) -> Vec<FlowSpec> {
    (first..first + count).map(|number| spec(number, number as u8 % masks)).collect()
}

/// A flow with one of 128 masks; all of them match its ports and source.
pub fn spec(number: u32, mask: u8) -> FlowSpec {
    let base = FlowMask::from(Field::InPort)
        | Field::EthType.into()
        | Field::NwProto.into()
        | Field::TpSrc.into()
        | FlowMask::nw_src(128);
    let mask = FlowMask::nw_dst(mask) | base;
    let actions = vec![Action::Output(PortNo(17))];
    FlowSpec { cookie: Cookie(u64::from(number) + 1), key: key(number), mask, actions }
}
