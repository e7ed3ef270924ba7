//! A described packet as a frame.

use std::net::IpAddr;

use mn_api_types::walk::WalkRequest;
use mn_ids::{BridgeId, ObjectKey, PortId};
use mn_packet::{
    EtherType, EthernetHeader, IcmpHeader, IpProtocol, Layers, Mac, TcpFlags, TcpHeader, UdpHeader,
    VlanId, VlanTag, eth_type_of, icmp::icmp_of, ip_packet,
};
use mn_topology::snapshot::{FarEnd, Lookup, Snapshot};
use mn_topology::{DeviceId, Port, PortKind, RouterPort};

/// What learned state knows of who is behind a port; asked where the request leaves it out.
pub trait Hints {
    /// The MACs that were seen behind a port of a bridge.
    fn macs_behind(&self, bridge: BridgeId, port: PortId) -> Vec<Mac>;

    /// The addresses a MAC of a bridge's network has.
    fn addresses_of(&self, bridge: BridgeId, mac: Mac) -> Vec<IpAddr>;

    /// The MAC an address of a bridge's network has.
    fn mac_of(&self, bridge: BridgeId, addr: IpAddr) -> Option<Mac>;
}

/// A packet that can be simulated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Described {
    /// Where it enters.
    pub port: PortId,
    pub frame: Vec<u8>,
}

impl Described {
    /// The packet's time to live, where it has one.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        Layers::of(&self.frame).ok()?.ip().map(|ip| ip.ttl)
    }
}

/// Why a request describes no packet.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DescribeError {
    /// These must be loaded first.
    #[error("parts of the topology are not loaded")]
    Load(Vec<ObjectKey>),
    #[error("fromPort is missing: where does the packet enter?")]
    NoEntry,
    #[error("{field} {port} does not exist")]
    NoPort { field: &'static str, port: PortId },
    #[error("{field} is missing, and the address behind port {port} is not known")]
    NoAddress { field: &'static str, port: PortId },
    #[error("dstAddr is missing: give it, or toPort")]
    NoDestination,
    #[error("srcAddr {src} and dstAddr {dst} are of different versions")]
    Versions { src: IpAddr, dst: IpAddr },
    #[error("vlan {0} is outside 1 to 4094")]
    Vlan(u16),
    #[error("tcpFlags: {0:?} is none of syn, ack, fin, rst")]
    TcpFlag(String),
}

impl DescribeError {
    /// The member of the request that is wrong or missing; empty where none is.
    #[must_use]
    pub const fn property(&self) -> &'static str {
        match self {
            Self::NoEntry => "fromPort",
            Self::NoPort { field, .. } | Self::NoAddress { field, .. } => field,
            Self::NoDestination | Self::Versions { .. } => "dstAddr",
            Self::Vlan(_) => "vlan",
            Self::TcpFlag(_) => "tcpFlags",
            Self::Load(_) => "",
        }
    }
}

/// The MAC of a sender nobody has seen yet: locally administered.
const MADE_UP: Mac = Mac([0x02, 0, 0, 0, 0, 0x01]);
/// Source port and echo identifier where none is given.
const MADE_UP_PORT: u16 = 40_000;

/// The frame a request describes.
///
/// # Errors
///
/// [`DescribeError::Load`] where more of the topology is needed; else what is missing or wrong.
pub fn describe(
    request: &WalkRequest,
    snapshot: &Snapshot,
    hints: &dyn Hints,
) -> Result<Described, DescribeError> {
    let from = request.from_port.ok_or(DescribeError::NoEntry)?;
    let entry = port(snapshot, "fromPort", from)?;
    load_device(snapshot, entry)?;
    let sender = sender(request, snapshot, hints, entry)?;
    let eth_type = request.ether_type.map(EtherType);
    if let Some(eth_type) = eth_type.filter(|ty| !is_ip(*ty)) {
        let dst = request.dst_mac.unwrap_or(Mac::BROADCAST);
        let ethernet = ethernet(request, sender.mac, dst, eth_type)?;
        let payload = vec![0; usize::from(request.payload_length)];
        return Ok(Described { port: from, frame: ethernet.frame(&payload) });
    }
    let dst = destination(request, snapshot, hints, sender.addr)?;
    let src = sender.addr.filter(|src| src.is_ipv4() == dst.is_ipv4());
    let src = match (src, request.src_addr) {
        (Some(src), _) => src,
        (None, Some(src)) => return Err(DescribeError::Versions { src, dst }),
        (None, None) => return Err(DescribeError::NoAddress { field: "srcAddr", port: from }),
    };
    let dst_mac = match request.dst_mac {
        Some(mac) => mac,
        None => next_hop(snapshot, hints, entry, src, dst)?,
    };
    let ethernet = ethernet(request, sender.mac, dst_mac, eth_type_of(dst))?;
    let packet = packet(request, src, dst)?;
    Ok(Described { port: from, frame: ethernet.frame(&packet) })
}

const fn is_ip(eth_type: EtherType) -> bool {
    matches!(eth_type, EtherType::IPV4 | EtherType::IPV6)
}

fn port<'a>(
    snapshot: &'a Snapshot,
    field: &'static str,
    id: PortId,
) -> Result<&'a Port, DescribeError> {
    match snapshot.port(id) {
        Lookup::Loaded(port) => Ok(port),
        Lookup::Absent => Err(DescribeError::NoPort { field, port: id }),
        Lookup::NotLoaded => Err(DescribeError::Load(vec![id.into()])),
    }
}

/// The device of a port must be loaded to know who is around.
fn load_device(snapshot: &Snapshot, port: &Port) -> Result<(), DescribeError> {
    let missing = match port.device() {
        DeviceId::Bridge(id) => matches!(snapshot.bridge(id), Lookup::NotLoaded),
        DeviceId::Router(id) => matches!(snapshot.router(id), Lookup::NotLoaded),
    };
    if missing { Err(DescribeError::Load(vec![port.device().into()])) } else { Ok(()) }
}

/// Who sends.
struct Sender {
    mac: Mac,
    addr: Option<IpAddr>,
}

fn sender(
    request: &WalkRequest,
    snapshot: &Snapshot,
    hints: &dyn Hints,
    entry: &Port,
) -> Result<Sender, DescribeError> {
    let behind = match &entry.kind {
        PortKind::Bridge { bridge_id, .. } => behind(snapshot, hints, *bridge_id, entry.id),
        PortKind::Router(_) => Vec::new(),
    };
    let fits = |addr: &IpAddr| request.dst_addr.is_none_or(|dst| dst.is_ipv4() == addr.is_ipv4());
    let known = behind.iter().find(|(_, addrs)| addrs.iter().any(fits)).or(behind.first());
    let mac = request.src_mac.or(known.map(|(mac, _)| *mac)).unwrap_or(MADE_UP);
    let known = known.and_then(|(_, addrs)| addrs.iter().copied().find(fits));
    Ok(Sender { mac, addr: request.src_addr.or(known) })
}

/// The MACs behind a port of a bridge and the addresses each is known to have.
fn behind(
    snapshot: &Snapshot,
    hints: &dyn Hints,
    bridge: BridgeId,
    port: PortId,
) -> Vec<(Mac, Vec<IpAddr>)> {
    let leased = |mac: Mac| match snapshot.bridge(bridge) {
        Lookup::Loaded(bridge) => {
            let hosts = bridge.dhcp_subnets().iter().flat_map(|subnet| &subnet.hosts);
            hosts.filter(|host| host.mac == mac).map(|host| IpAddr::V4(host.addr)).collect()
        }
        Lookup::Absent | Lookup::NotLoaded => Vec::new(),
    };
    let addresses = |mac| {
        let mut all: Vec<IpAddr> = leased(mac);
        all.extend(hints.addresses_of(bridge, mac));
        // A global address says more of where a packet goes than a link-local one.
        all.sort_by_key(|addr| matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        (mac, all)
    };
    hints.macs_behind(bridge, port).into_iter().map(addresses).collect()
}

fn destination(
    request: &WalkRequest,
    snapshot: &Snapshot,
    hints: &dyn Hints,
    src: Option<IpAddr>,
) -> Result<IpAddr, DescribeError> {
    if let Some(addr) = request.dst_addr {
        return Ok(addr);
    }
    let to = request.to_port.ok_or(DescribeError::NoDestination)?;
    let target = port(snapshot, "toPort", to)?;
    load_device(snapshot, target)?;
    let known: Vec<IpAddr> = match &target.kind {
        PortKind::Router(router) => router.addresses.iter().map(|own| own.addr).collect(),
        PortKind::Bridge { bridge_id, .. } => {
            let behind = behind(snapshot, hints, *bridge_id, to);
            behind.into_iter().flat_map(|(_, addrs)| addrs).collect()
        }
    };
    let fits = |addr: &&IpAddr| src.is_none_or(|src| src.is_ipv4() == addr.is_ipv4());
    let found = known.iter().find(fits).or(known.first());
    found.copied().ok_or(DescribeError::NoAddress { field: "dstAddr", port: to })
}

/// The MAC a sender at `entry` gives a packet from `src` to `dst`: the destination's own where it
/// is on the same network, else that of the router there.
fn next_hop(
    snapshot: &Snapshot,
    hints: &dyn Hints,
    entry: &Port,
    src: IpAddr,
    dst: IpAddr,
) -> Result<Mac, DescribeError> {
    let bridge_id = match &entry.kind {
        PortKind::Router(router) => return Ok(router.mac),
        PortKind::Bridge { bridge_id, .. } => *bridge_id,
    };
    if let IpAddr::V4(v4) = dst
        && (v4.is_broadcast() || v4.is_multicast())
    {
        return Ok(Mac::BROADCAST);
    }
    let mut routers = Vec::new();
    if let Lookup::Loaded(bridge) = snapshot.bridge(bridge_id) {
        for link in bridge.links() {
            // The peer tells whether a router is there; without it nothing is known.
            let peer = port(snapshot, "toPort", link.peer);
            match (&link.far, peer) {
                (FarEnd::Bridge, _) | (_, Err(DescribeError::NoPort { .. })) => {}
                (_, Ok(Port { kind: PortKind::Router(router), .. })) => routers.push(router),
                (_, Ok(_)) => {}
                (_, Err(error)) => return Err(error),
            }
        }
    }
    let on = |addr: IpAddr| {
        move |router: &&&RouterPort| {
            router.addresses.iter().any(|own| own.subnet().is_some_and(|net| net.contains(addr)))
        }
    };
    if let Some(own) =
        routers.iter().find(|router| router.addresses.iter().any(|own| own.addr == dst))
    {
        return Ok(own.mac);
    }
    let gateway = routers.iter().find(on(src));
    match gateway {
        Some(gateway) if !on(dst)(&gateway) => Ok(gateway.mac),
        _ => Ok(neighbour(snapshot, hints, bridge_id, dst).unwrap_or(Mac::BROADCAST)),
    }
}

/// The MAC of an address on a bridge's network.
fn neighbour(
    snapshot: &Snapshot,
    hints: &dyn Hints,
    bridge: BridgeId,
    addr: IpAddr,
) -> Option<Mac> {
    let leased = match snapshot.bridge(bridge) {
        Lookup::Loaded(bridge) => {
            let mut hosts = bridge.dhcp_subnets().iter().flat_map(|subnet| &subnet.hosts);
            hosts.find(|host| IpAddr::V4(host.addr) == addr).map(|host| host.mac)
        }
        Lookup::Absent | Lookup::NotLoaded => None,
    };
    hints.mac_of(bridge, addr).or(leased)
}

fn ethernet(
    request: &WalkRequest,
    src: Mac,
    dst: Mac,
    eth_type: EtherType,
) -> Result<EthernetHeader, DescribeError> {
    let mut header = EthernetHeader::untagged(src, dst, eth_type);
    if let Some(vlan) = request.vlan {
        let id = VlanId::try_from(vlan).map_err(|_| DescribeError::Vlan(vlan))?;
        header.vlan = VlanTag::of(id);
    }
    Ok(header)
}

/// The IP packet.
fn packet(request: &WalkRequest, src: IpAddr, dst: IpAddr) -> Result<Vec<u8>, DescribeError> {
    let protocol = request.protocol.map_or(icmp_of(dst), IpProtocol);
    let data = vec![0; usize::from(request.payload_length)];
    let ports = (request.src_port.unwrap_or(MADE_UP_PORT), request.dst_port.unwrap_or(0));
    let message = match protocol {
        IpProtocol::TCP => {
            let flags = tcp_flags(request.tcp_flags.as_deref())?;
            let header = TcpHeader { src: ports.0, dst: ports.1, flags, ..TcpHeader::default() };
            header.segment(src, dst, &data)
        }
        IpProtocol::UDP => UdpHeader { src: ports.0, dst: ports.1 }.datagram(src, dst, &data),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => icmp(request, dst).message(src, dst, &data),
        _ => data,
    };
    let mut packet = ip_packet(src, dst, request.ttl, protocol, &message);
    set_tos(&mut packet, request.tos);
    Ok(packet)
}

fn icmp(request: &WalkRequest, dst: IpAddr) -> IcmpHeader {
    let echo = if dst.is_ipv4() { 8 } else { 128 };
    let id = request.icmp_id.unwrap_or(MADE_UP_PORT).to_be_bytes();
    IcmpHeader {
        ty: request.icmp_type.unwrap_or(echo),
        code: request.icmp_code.unwrap_or(0),
        rest: [id[0], id[1], 0, 1],
    }
}

fn tcp_flags(words: Option<&[String]>) -> Result<TcpFlags, DescribeError> {
    let Some(words) = words else { return Ok(TcpFlags::SYN) };
    let mut flags = 0;
    for word in words {
        flags |= match word.to_ascii_lowercase().as_str() {
            "syn" => TcpFlags::SYN.0,
            "ack" => TcpFlags::ACK.0,
            "fin" => TcpFlags::FIN.0,
            "rst" => TcpFlags::RST.0,
            _ => return Err(DescribeError::TcpFlag(word.clone())),
        };
    }
    Ok(TcpFlags(flags))
}

/// Writes the TOS (traffic class) octet of a packet that was made with 0.
fn set_tos(packet: &mut [u8], tos: u8) {
    if packet.first().is_some_and(|first| first >> 4 == 6) {
        packet[0] |= tos >> 4;
        packet[1] |= tos << 4;
    } else if tos != 0 {
        packet[1] = tos;
        packet[10..12].fill(0);
        let checksum = mn_packet::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}
