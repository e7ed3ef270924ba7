//! A condition as the API writes it, and as it is stored.

use std::net::IpAddr;

use mn_api_types::{self as api, MacMask};
use mn_packet::{EtherType, IpPrefix, IpProtocol, Mac};
use mn_topology::{Condition, FragmentPolicy, MaskedMac, PortRange, Test};

use super::problem::Problem;

/// Reads a condition. The fragment policy is the rule's to choose.
pub fn from_api(sent: &api::Condition) -> Result<Condition, Problem> {
    let is = Test::Is::<PortRange>;
    let range = |range: &Option<api::Range>, inverted| {
        range.as_ref().map(|range| turned(is(stored_range(range)), inverted))
    };
    Ok(Condition {
        inverted: sent.cond_invert,
        fragment_policy: FragmentPolicy::default(),
        match_forward_flow: sent.match_forward_flow,
        match_return_flow: sent.match_return_flow,
        match_valid_flow: sent.match_valid_flow,
        no_vlan: sent.no_vlan,
        // 0 says nothing, as in the fields of old clients.
        vlan: sent.vlan.filter(|vlan| *vlan != 0),
        port_group: test(sent.port_group, sent.inv_port_group),
        in_port_group: test(sent.in_port_group, sent.inv_in_port_group),
        out_port_group: test(sent.out_port_group, sent.inv_out_port_group),
        in_ports: list(&sent.in_ports, sent.inv_in_ports),
        out_ports: list(&sent.out_ports, sent.inv_out_ports),
        dl_type: test(sent.dl_type.map(EtherType), sent.inv_dl_type),
        dl_src: masked("dlSrc", sent.dl_src, sent.dl_src_mask, sent.inv_dl_src)?,
        dl_dst: masked("dlDst", sent.dl_dst, sent.dl_dst_mask, sent.inv_dl_dst)?,
        nw_tos: test(sent.nw_tos, sent.inv_nw_tos),
        nw_proto: test(sent.nw_proto.map(IpProtocol), sent.inv_nw_proto),
        nw_src: prefix("nwSrc", sent.nw_src_address, sent.nw_src_length, sent.inv_nw_src)?,
        nw_dst: prefix("nwDst", sent.nw_dst_address, sent.nw_dst_length, sent.inv_nw_dst)?,
        tp_src: range(&sent.tp_src, sent.inv_tp_src),
        tp_dst: range(&sent.tp_dst, sent.inv_tp_dst),
        ip_addr_group_src: test(sent.ip_addr_group_src, sent.inv_ip_addr_group_src),
        ip_addr_group_dst: test(sent.ip_addr_group_dst, sent.inv_ip_addr_group_dst),
        traversed_device: test(sent.traversed_device, sent.inv_traversed_device),
        icmp_data_src: prefix(
            "icmpDataSrcIp",
            sent.icmp_data_src_ip_address,
            sent.icmp_data_src_ip_length,
            sent.inv_icmp_data_src_ip,
        )?,
        icmp_data_dst: prefix(
            "icmpDataDstIp",
            sent.icmp_data_dst_ip_address,
            sent.icmp_data_dst_ip_length,
            sent.inv_icmp_data_dst_ip,
        )?,
        match_nw_dst_rewritten: sent.match_nw_dst_rewritten,
    })
}

fn turned<A>(test: Test<A>, inverted: bool) -> Test<A> {
    match test {
        Test::Is(set) if inverted => Test::IsNot(set),
        other => other,
    }
}

fn test<A>(set: Option<A>, inverted: bool) -> Option<Test<A>> {
    set.map(|set| turned(Test::Is(set), inverted))
}

fn list<A: Clone>(set: &[A], inverted: bool) -> Option<Test<Vec<A>>> {
    test((!set.is_empty()).then(|| set.to_vec()), inverted)
}

fn masked(
    name: &str,
    mac: Option<Mac>,
    mask: Option<MacMask>,
    inverted: bool,
) -> Result<Option<Test<MaskedMac>>, Problem> {
    match (mac, mask) {
        (None, Some(_)) => Err(Problem::required(name)),
        (mac, mask) => {
            let mask = mask.map_or(Mac::BROADCAST, |mask| mask.0);
            Ok(test(mac.map(|mac| MaskedMac { mac, mask }), inverted))
        }
    }
}

/// Without an address the length says nothing: old clients send 0.
fn prefix(
    name: &str,
    addr: Option<IpAddr>,
    len: Option<u8>,
    inverted: bool,
) -> Result<Option<Test<IpPrefix>>, Problem> {
    let Some(addr) = addr else { return Ok(None) };
    let len = len.unwrap_or_else(|| IpPrefix::host(addr).len());
    let wrong = |error: mn_packet::PrefixError| {
        Problem::field(&format!("{name}Length"), len, error.to_string())
    };
    Ok(test(Some(IpPrefix::new(addr, len).map_err(wrong)?), inverted))
}

fn stored_range(range: &api::Range) -> PortRange {
    PortRange { start: range.start.unwrap_or(0), end: range.end.unwrap_or(u16::MAX) }
}

/// The stored word for a fragment policy.
pub const fn stored_policy(policy: api::FragmentPolicy) -> FragmentPolicy {
    match policy {
        api::FragmentPolicy::Any => FragmentPolicy::Any,
        api::FragmentPolicy::Header => FragmentPolicy::Header,
        api::FragmentPolicy::Nonheader => FragmentPolicy::Nonheader,
        api::FragmentPolicy::Unfragmented => FragmentPolicy::Unfragmented,
    }
}

const fn shown_policy(policy: FragmentPolicy) -> api::FragmentPolicy {
    match policy {
        FragmentPolicy::Any => api::FragmentPolicy::Any,
        FragmentPolicy::Header => api::FragmentPolicy::Header,
        FragmentPolicy::Nonheader => api::FragmentPolicy::Nonheader,
        FragmentPolicy::Unfragmented => api::FragmentPolicy::Unfragmented,
    }
}

/// Writes a condition.
pub fn to_api(stored: &Condition) -> api::Condition {
    let mut shown = api::Condition {
        cond_invert: stored.inverted,
        match_forward_flow: stored.match_forward_flow,
        match_return_flow: stored.match_return_flow,
        match_valid_flow: stored.match_valid_flow,
        no_vlan: stored.no_vlan,
        vlan: stored.vlan,
        match_nw_dst_rewritten: stored.match_nw_dst_rewritten,
        fragment_policy: Some(shown_policy(stored.fragment_policy)),
        ..api::Condition::default()
    };
    show_devices(stored, &mut shown);
    show_ethernet(stored, &mut shown);
    show_ip(stored, &mut shown);
    shown
}

/// The set of a test, and whether it is turned round.
fn set<A: Clone>(test: &Option<Test<A>>) -> (Option<A>, bool) {
    (test.as_ref().map(|test| test.set().clone()), matches!(test, Some(Test::IsNot(_))))
}

fn show_devices(stored: &Condition, shown: &mut api::Condition) {
    let ports = |test| {
        let (ports, inverted) = set(test);
        (ports.unwrap_or_default(), inverted)
    };
    (shown.in_ports, shown.inv_in_ports) = ports(&stored.in_ports);
    (shown.out_ports, shown.inv_out_ports) = ports(&stored.out_ports);
    (shown.port_group, shown.inv_port_group) = set(&stored.port_group);
    (shown.in_port_group, shown.inv_in_port_group) = set(&stored.in_port_group);
    (shown.out_port_group, shown.inv_out_port_group) = set(&stored.out_port_group);
    (shown.ip_addr_group_src, shown.inv_ip_addr_group_src) = set(&stored.ip_addr_group_src);
    (shown.ip_addr_group_dst, shown.inv_ip_addr_group_dst) = set(&stored.ip_addr_group_dst);
    (shown.traversed_device, shown.inv_traversed_device) = set(&stored.traversed_device);
}

fn show_ethernet(stored: &Condition, shown: &mut api::Condition) {
    let (dl_type, inverted) = set(&stored.dl_type);
    (shown.dl_type, shown.inv_dl_type) = (dl_type.map(|dl_type| dl_type.0), inverted);
    let masked = |test| {
        let (masked, inverted): (Option<MaskedMac>, bool) = set(test);
        let mask = masked.map(|masked| masked.mask).filter(|mask| *mask != Mac::BROADCAST);
        (masked.map(|masked| masked.mac), mask.map(MacMask), inverted)
    };
    (shown.dl_src, shown.dl_src_mask, shown.inv_dl_src) = masked(&stored.dl_src);
    (shown.dl_dst, shown.dl_dst_mask, shown.inv_dl_dst) = masked(&stored.dl_dst);
}

fn show_ip(stored: &Condition, shown: &mut api::Condition) {
    (shown.nw_tos, shown.inv_nw_tos) = set(&stored.nw_tos);
    let (proto, inverted) = set(&stored.nw_proto);
    (shown.nw_proto, shown.inv_nw_proto) = (proto.map(|proto| proto.0), inverted);
    let prefix = |test| {
        let (prefix, inverted): (Option<IpPrefix>, bool) = set(test);
        (prefix.map(|prefix| prefix.network()), prefix.map(|prefix| prefix.len()), inverted)
    };
    (shown.nw_src_address, shown.nw_src_length, shown.inv_nw_src) = prefix(&stored.nw_src);
    (shown.nw_dst_address, shown.nw_dst_length, shown.inv_nw_dst) = prefix(&stored.nw_dst);
    (shown.icmp_data_src_ip_address, shown.icmp_data_src_ip_length, shown.inv_icmp_data_src_ip) =
        prefix(&stored.icmp_data_src);
    (shown.icmp_data_dst_ip_address, shown.icmp_data_dst_ip_length, shown.inv_icmp_data_dst_ip) =
        prefix(&stored.icmp_data_dst);
    let range = |test| {
        let (range, inverted): (Option<PortRange>, bool) = set(test);
        let shown =
            |range: PortRange| api::Range { start: Some(range.start), end: Some(range.end) };
        (range.map(shown), inverted)
    };
    (shown.tp_src, shown.inv_tp_src) = range(&stored.tp_src);
    (shown.tp_dst, shown.inv_tp_dst) = range(&stored.tp_dst);
}
