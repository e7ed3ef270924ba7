//! The packet as it entered the present device: what answers of our own are about.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use mn_flow::FlowKey;
use mn_packet::{
    IcmpHeader, IpPacket, IpProtocol, Layers, TcpHeader, UdpHeader, checksum_update_octets,
};

use crate::StateView;
use crate::branch::Branch;
use crate::simulate::Sim;

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// The frame with the addresses and ports it entered the present device with. Its Ethernet
    /// header is the one it came with.
    pub(crate) fn frame_at_entry(&self, branch: &Branch) -> Cow<'a, [u8]> {
        let (from, to) = (&self.packet.key, &branch.entered_headers);
        let same = (from.nw_src, from.nw_dst, from.tp_src, from.tp_dst)
            == (to.nw_src, to.nw_dst, to.tp_src, to.tp_dst);
        if same || from.class.neighbor_discovery {
            return Cow::Borrowed(self.packet.frame);
        }
        let Ok(layers) = Layers::of(self.packet.frame) else {
            return Cow::Borrowed(self.packet.frame);
        };
        let Some(ip) = layers.ip() else { return Cow::Borrowed(self.packet.frame) };
        Cow::Owned(translated(self.packet.frame, layers.network_at, ip, from, to))
    }
}

/// A frame with other addresses and ports, checksums brought along.
fn translated(frame: &[u8], at: usize, ip: &IpPacket<'_>, from: &FlowKey, to: &FlowKey) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let v4 = ip.src.is_ipv4();
    let (src_at, dst_at) = if v4 { (at + 12, at + 16) } else { (at + 8, at + 24) };
    let transport = ip.transport_at;
    let checksum_at = if ip.is_later_fragment() { None } else { checksum_at(ip, &frame) };
    let mut set = |at: usize, old: &[u8], new: &[u8], sums: [Option<usize>; 2]| {
        frame[at..at + new.len()].copy_from_slice(new);
        for sum_at in sums.into_iter().flatten() {
            let sum = u16::from_be_bytes([frame[sum_at], frame[sum_at + 1]]);
            let sum = checksum_update_octets(sum, old, new);
            frame[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    };
    let header = v4.then_some(at + 10);
    let pseudo = checksum_at.filter(|_| ip.protocol != IpProtocol::ICMP);
    for (at, old, new) in [(src_at, from.nw_src, to.nw_src), (dst_at, from.nw_dst, to.nw_dst)] {
        set(at, &octets(old, v4), &octets(new, v4), [header, pseudo]);
    }
    if checksum_at.is_none() && !ip.protocol.has_ports() {
        return frame;
    }
    let word = |port: u16| port.to_be_bytes();
    if ip.protocol.has_ports() && !ip.is_later_fragment() {
        set(transport, &word(from.tp_src), &word(to.tp_src), [checksum_at, None]);
        set(transport + 2, &word(from.tp_dst), &word(to.tp_dst), [checksum_at, None]);
    } else if ip.protocol.is_icmp() && from.tp_dst != to.tp_dst {
        set(transport + 4, &word(from.tp_dst), &word(to.tp_dst), [checksum_at, None]);
    }
    frame
}

/// Where the transport checksum is, if there is one that was computed.
fn checksum_at(ip: &IpPacket<'_>, frame: &[u8]) -> Option<usize> {
    let offset = match ip.protocol {
        IpProtocol::TCP => TcpHeader::CHECKSUM_AT,
        IpProtocol::UDP => UdpHeader::CHECKSUM_AT,
        IpProtocol::ICMP | IpProtocol::ICMPV6 => IcmpHeader::CHECKSUM_AT,
        _ => return None,
    };
    let at = ip.transport_at + offset;
    let sum = frame.get(at..at + 2)?;
    (ip.protocol != IpProtocol::UDP || sum != [0, 0]).then_some(at)
}

fn octets(addr: Ipv6Addr, v4: bool) -> Vec<u8> {
    let octets = addr.octets();
    if v4 { octets[12..].to_vec() } else { octets.to_vec() }
}
