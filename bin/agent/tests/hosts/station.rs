//! Machines behind interfaces, and the frames they send.

use std::net::IpAddr;

use mn_packet::{
    Arp, ArpOp, EtherType, EthernetHeader, IcmpHeader, IpProtocol, Layers, Mac, Network, UdpHeader,
    echo_reply, ip_packet, ndp,
};

/// Who is behind an interface.
#[derive(Clone, Debug)]
pub struct Station {
    pub host: usize,
    pub interface: String,
    pub mac: Mac,
    pub addrs: Vec<IpAddr>,
    pub ifindex: u32,
}

impl Station {
    /// What it answers to a frame.
    pub fn receive(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let layers = Layers::of(frame).ok()?;
        let to = layers.ethernet.dst;
        if !to.is_multicast() && to != self.mac {
            return None;
        }
        match layers.network {
            Network::Arp(arp) if arp.op == ArpOp::REQUEST => {
                self.addrs.contains(&arp.target.into()).then(|| arp.reply(self.mac).frame())
            }
            Network::Ip(ip) => {
                if ip.protocol == IpProtocol::ICMPV6
                    && let Ok(Some(ndp::NdMessage::NeighborSolicitation { target, .. })) =
                        ndp::NdMessage::parse(ip.payload)
                {
                    let IpAddr::V6(asker) = ip.src else { return None };
                    let mine = self.addrs.contains(&target.into());
                    let header = &layers.ethernet;
                    return mine.then(|| ndp::advertise(header, asker, target, self.mac, false));
                }
                let mine = to == self.mac && self.addrs.contains(&ip.dst);
                if mine { echo_reply(frame, self.mac) } else { None }
            }
            _ => None,
        }
    }

    /// An echo request to an address by way of a MAC.
    pub fn echo(&self, via: Mac, to: IpAddr, sequence: u16) -> Vec<u8> {
        let src = *self.addrs.iter().find(|a| a.is_ipv4() == to.is_ipv4()).expect("an address");
        let [high, low] = sequence.to_be_bytes();
        let v6 = to.is_ipv6();
        let header = IcmpHeader {
            ty: if v6 { 128 } else { IcmpHeader::ECHO_REQUEST },
            code: 0,
            rest: [0, 7, high, low],
        };
        let message = header.message(src, to, b"are you there?");
        let protocol = if v6 { IpProtocol::ICMPV6 } else { IpProtocol::ICMP };
        let ty = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let packet = ip_packet(src, to, 64, protocol, &message);
        EthernetHeader::untagged(self.mac, via, ty).frame(&packet)
    }

    /// A datagram to an address by way of a MAC.
    pub fn datagram(&self, via: Mac, to: IpAddr, src: u16, dst: u16) -> Vec<u8> {
        let from = *self.addrs.iter().find(|a| a.is_ipv4() == to.is_ipv4()).expect("an address");
        let message = UdpHeader { src, dst }.datagram(from, to, b"hello");
        let packet = ip_packet(from, to, 64, IpProtocol::UDP, &message);
        let ty = if to.is_ipv6() { EtherType::IPV6 } else { EtherType::IPV4 };
        EthernetHeader::untagged(self.mac, via, ty).frame(&packet)
    }

    /// An ARP request for an address.
    pub fn who_has(&self, addr: &str) -> Vec<u8> {
        let IpAddr::V4(src) = self.addrs[0] else { panic!("an IPv4 address first") };
        Arp::request(self.mac, src, addr.parse().expect("an address")).frame()
    }
}

pub fn is_echo_reply(frame: &[u8], from: IpAddr, sequence: u16) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    let Some(ip) = layers.ip() else { return false };
    ip.src == from
        && matches!(ip.payload, [0 | 129, 0, _, _, _, _, high, low, ..]
            if u16::from_be_bytes([*high, *low]) == sequence)
}

pub fn is_arp_reply(frame: &[u8]) -> bool {
    let layers = Layers::of(frame);
    matches!(layers, Ok(Layers { network: Network::Arp(arp), .. }) if arp.op == ArpOp::REPLY)
}
