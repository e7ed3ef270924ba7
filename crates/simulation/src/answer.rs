//! The answer that a packet is going to get, before it comes.

use mn_flow::{FlowKey, Fragment, Rewrite, VirtualAction};
use mn_ids::PortId;
use mn_packet::icmp::{icmp_of, is_echo};
use mn_packet::{
    EtherType, EthernetHeader, IcmpHeader, IpProtocol, TcpFlags, TcpHeader, UdpHeader, from_v6,
    ip_packet,
};

/// A frame as it would answer a packet: where the packet went, with its ends exchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The port it will come in by.
    pub port: PortId,
    /// The packet as it left there.
    pub left: FlowKey,
    pub frame: Vec<u8>,
}

/// The answer to a packet of IP that went to one port; `None` for floods, later fragments, ICMP other
/// than echo requests, and what is no IP.
#[must_use]
pub fn answer(key: &FlowKey, actions: &[VirtualAction]) -> Option<Answer> {
    if !matches!(key.eth_type, EtherType::IPV4 | EtherType::IPV6)
        || key.class.fragment == Fragment::Later
    {
        return None;
    }
    let (mut left, mut port) = (*key, None);
    for action in actions {
        match *action {
            // An error that quotes a packet has no answer, nor has an answer.
            VirtualAction::Rewrite(
                Rewrite::InnerSrc(..) | Rewrite::InnerDst(..) | Rewrite::Answer { .. },
            ) => return None,
            VirtualAction::Rewrite(rewrite) => rewrite.apply(&mut left),
            VirtualAction::Deliver(to) if port.is_none() => port = Some(to),
            VirtualAction::Deliver(_) => return None,
            VirtualAction::Track | VirtualAction::Meter(_) | VirtualAction::Copy => {}
        }
    }
    Some(Answer { port: port?, left, frame: answer_to(&left)? })
}

/// The frame that answers a packet of IP which left with this key; `None` as of [`answer`].
#[must_use]
pub fn answer_to(left: &FlowKey) -> Option<Vec<u8>> {
    let ethernet = EthernetHeader {
        dst: left.eth_src,
        src: left.eth_dst,
        vlan: left.vlan,
        inner_vlan: left.inner_vlan,
        eth_type: left.eth_type,
    };
    let (src, dst) = (from_v6(left.nw_dst), from_v6(left.nw_src));
    let message = match left.nw_proto {
        IpProtocol::TCP => TcpHeader {
            src: left.tp_dst,
            dst: left.tp_src,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            ..TcpHeader::default()
        }
        .segment(src, dst, &[]),
        IpProtocol::UDP => UdpHeader { src: left.tp_dst, dst: left.tp_src }.datagram(src, dst, &[]),
        protocol if protocol == icmp_of(src) && is_echo(protocol, left.icmp_type()) => {
            let ty = match left.icmp_type() {
                IcmpHeader::ECHO_REQUEST => IcmpHeader::ECHO_REPLY,
                IcmpHeader::V6_ECHO_REQUEST => IcmpHeader::V6_ECHO_REPLY,
                _ => return None,
            };
            let [a, b] = left.tp_dst.to_be_bytes();
            IcmpHeader { ty, code: 0, rest: [a, b, 0, 0] }.message(src, dst, &[])
        }
        IpProtocol::ICMP | IpProtocol::ICMPV6 => return None,
        _ => Vec::new(),
    };
    let packet = ip_packet(src, dst, 64, left.nw_proto, &message);
    Some(ethernet.frame(&packet))
}

#[cfg(test)]
mod tests {
    use mn_flow::{PortNo, extract};
    use mn_packet::{Mac, eth_type_of};

    use super::*;

    #[test]
    fn an_answer_is_the_mirror_of_what_left() {
        let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let message = UdpHeader { src: 1, dst: 2 }.datagram(src, dst, b"x");
        let packet = ip_packet(src, dst, 9, IpProtocol::UDP, &message);
        let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let frame = EthernetHeader::untagged(a, b, eth_type_of(src)).frame(&packet);
        let key = extract(&frame, PortNo::NONE, None).unwrap();
        let port = mn_ids::Id::random();
        let public = "203.0.113.2".parse().unwrap();
        let actions = [
            VirtualAction::Rewrite(Rewrite::NwSrc(public)),
            VirtualAction::Rewrite(Rewrite::TpSrc(7000)),
            VirtualAction::Deliver(port),
        ];
        let answer = answer(&key, &actions).unwrap();
        let back = extract(&answer.frame, PortNo::NONE, None).unwrap();
        assert_eq!((answer.port, back.eth_src, back.eth_dst), (port, b, a));
        assert_eq!((from_v6(back.nw_src), from_v6(back.nw_dst)), (dst, public));
        assert_eq!((back.tp_src, back.tp_dst), (2, 7000));
        // A flood has no one answer.
        let flood = [VirtualAction::Deliver(port), VirtualAction::Deliver(mn_ids::Id::random())];
        assert_eq!(super::answer(&key, &flood), None);
    }
}
