//! Frames of our own that tell others where an address is, or ask for one.

use std::net::{IpAddr, Ipv4Addr};

use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, EtherType, EthernetHeader, Mac};
use mn_topology::{Port, PortKind, RouterPort};

/// The request a router's port sends for a neighbour: ARP from its address in the neighbour's
/// subnet, or a neighbour solicitation from its link-local address. `None` where the port is no
/// router's or has no IPv4 address to ask from.
#[must_use]
pub fn solicitation(port: &Port, addr: IpAddr) -> Option<Vec<u8>> {
    let PortKind::Router(router) = &port.kind else { return None };
    match addr {
        IpAddr::V4(target) => {
            let source = source_for(router, target)?;
            Some(Arp::request(router.mac, source, target).frame())
        }
        IpAddr::V6(target) => Some(ndp::solicit(router.mac, ndp::link_local(router.mac), target)),
    }
}

/// The request whether a neighbour is still at `mac`, sent there alone (RFC 1122 §2.3.2.1, RFC 4861
/// §7.3.3). `None` as [`solicitation`].
#[must_use]
pub fn probe(port: &Port, addr: IpAddr, mac: Mac) -> Option<Vec<u8>> {
    let PortKind::Router(router) = &port.kind else { return None };
    let to = |eth_type| EthernetHeader::untagged(router.mac, mac, eth_type);
    match addr {
        IpAddr::V4(target) => {
            let request = Arp::request(router.mac, source_for(router, target)?, target);
            Some(request.frame_in(&to(EtherType::ARP)))
        }
        IpAddr::V6(target) => {
            let asks = NdMessage::NeighborSolicitation { target, source_mac: Some(router.mac) };
            Some(asks.frame(&to(EtherType::IPV6), ndp::link_local(router.mac), target))
        }
    }
}

/// The address of the port in the target's subnet, else its first.
fn source_for(router: &RouterPort, target: Ipv4Addr) -> Option<Ipv4Addr> {
    let v4 = |addr| if let IpAddr::V4(v4) = addr { Some(v4) } else { None };
    let on_link = router
        .addresses
        .iter()
        .find(|addr| addr.subnet().is_some_and(|subnet| subnet.contains(target.into())));
    on_link
        .and_then(|addr| v4(addr.addr))
        .or_else(|| router.addresses.iter().find_map(|addr| v4(addr.addr)))
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
    use mn_ids::Id;
    use mn_topology::{IfAddr, RaMode};

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
        Port {
            id: Id::random(),
            tenant_id: None,
            kind: PortKind::Router(router),
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            peer_id: None,
            host_id: None,
            interface_name: None,
            previous_host_id: None,
            vif_id: None,
            tunnel_key: 0,
        }
    }

    #[test]
    fn a_router_asks_from_its_address_in_the_neighbors_subnet() {
        let frame = solicitation(&router_port(), "10.0.2.9".parse().unwrap()).unwrap();
        let (header, payload) = EthernetHeader::split(&frame).unwrap();
        let arp = Arp::parse(payload).unwrap();
        assert_eq!((header.dst, header.eth_type), (Mac::BROADCAST, EtherType::ARP));
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
