//! Frames of our own that tell others where an address is, or ask for one.

use std::net::IpAddr;

use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, EtherType, EthernetHeader, Mac};
use mn_simulation::own_address;
use mn_topology::{Port, PortKind};

/// The request whether a neighbour is still at `mac`, sent there alone (RFC 1122 §2.3.2.1, RFC 4861
/// §7.3.3). `None` where the port is no router's or has no address to ask from.
#[must_use]
pub fn probe(port: &Port, addr: IpAddr, mac: Mac) -> Option<Vec<u8>> {
    let PortKind::Router(router) = &port.kind else { return None };
    let to = |eth_type| EthernetHeader::untagged(router.mac, mac, eth_type);
    match (own_address(router, addr)?, addr) {
        (IpAddr::V4(own), IpAddr::V4(target)) => {
            Some(Arp::request(router.mac, own, target).frame_in(&to(EtherType::ARP)))
        }
        (IpAddr::V6(own), IpAddr::V6(target)) => {
            let asks = NdMessage::NeighborSolicitation { target, source_mac: Some(router.mac) };
            Some(asks.frame(&to(EtherType::IPV6), own, target))
        }
        _ => None,
    }
}

/// What a port that became active here announces: gratuitous ARP (RFC 5227 §3) and unsolicited
/// neighbour advertisements (RFC 4861 §7.2.6) for a router port's own addresses, or for the
/// `stations` known to be behind a bridge's port.
#[must_use]
pub fn announcements(port: &Port, stations: &[(Mac, IpAddr)]) -> Vec<Vec<u8>> {
    match &port.kind {
        PortKind::Router(router) => {
            router.addresses.iter().map(|addr| announce(router.mac, addr.addr, true)).collect()
        }
        PortKind::Bridge { .. } => {
            stations.iter().map(|(mac, addr)| announce(*mac, *addr, false)).collect()
        }
    }
}

fn announce(mac: Mac, addr: IpAddr, router: bool) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => Arp::gratuitous(mac, v4).frame(),
        IpAddr::V6(v6) => ndp::announce(mac, v6, router),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mn_ids::Id;
    use mn_topology::{IfAddr, RaMode, RouterPort};

    use super::*;

    fn router_port() -> Port {
        let addr = |text: &str, len| IfAddr { addr: text.parse().unwrap(), len };
        let router = RouterPort {
            router_id: Id::random(),
            mac: Mac([2, 0, 0, 0, 0, 0xa1]),
            addresses: vec![addr("10.0.1.1", 24), addr("10.0.2.1", 24), addr("2001:db8::1", 64)],
            ra_mode: RaMode::Off,
            ra_prefixes: Vec::new(),
            ra_interval: None,
        };
        Port::new(Id::random(), PortKind::Router(router))
    }

    #[test]
    fn a_router_asks_from_its_address_in_the_neighbors_subnet() {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let frame = probe(&router_port(), "10.0.2.9".parse().unwrap(), mac).unwrap();
        let (header, payload) = EthernetHeader::split(&frame).unwrap();
        let arp = Arp::parse(payload).unwrap();
        assert_eq!((header.dst, header.eth_type), (mac, EtherType::ARP));
        assert_eq!(arp.sender, Ipv4Addr::new(10, 0, 2, 1));
        assert_eq!(arp.target, Ipv4Addr::new(10, 0, 2, 9));
    }

    #[test]
    fn whether_a_neighbor_is_still_there_is_asked_where_it_was() {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        for addr in ["10.0.2.9", "2001:db8::9"] {
            let frame = probe(&router_port(), addr.parse().unwrap(), mac).unwrap();
            assert_eq!(EthernetHeader::split(&frame).unwrap().0.dst, mac);
        }
    }

    #[test]
    fn a_router_port_announces_every_address_it_has() {
        let frames = announcements(&router_port(), &[]);
        let types: Vec<EtherType> =
            frames.iter().map(|frame| EthernetHeader::split(frame).unwrap().0.eth_type).collect();
        assert_eq!(types, [EtherType::ARP, EtherType::ARP, EtherType::IPV6]);
    }
}
