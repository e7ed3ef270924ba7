//! What both engines know before the first flow.

use mn_flow::{GroupIndex, KeyKind, PeerIndex, PortNo, TunnelKey, Zone};

use crate::conformance::Bench;
use crate::conformance::frames::addr;
use crate::{Delivery, Output, PeerAddresses, Tracking, UpcallLimit};

/// Ports and the MTUs of their interfaces.
pub const PORTS: [(PortNo, u32); 4] =
    [(PortNo(16), 1500), (PortNo(17), 1500), (PortNo(18), 1000), (PortNo(19), 576)];
/// The zone of each port; the last has none. Two ports of one zone are ports of one device.
pub const ZONES: [Zone; 4] = [Zone(1), Zone(1), Zone(2), Zone(0)];
/// Connections of the third port.
pub const CONNECTIONS_MAX: u32 = 2;
/// A port that is not attached.
pub const GONE: PortNo = PortNo(40);
/// Peers; the last has no addresses.
pub const PEERS: [PeerIndex; 3] = [PeerIndex(1), PeerIndex(2), PeerIndex(3)];
/// Groups; the last has no outputs.
pub const GROUPS: [GroupIndex; 3] = [GroupIndex(1), GroupIndex(2), GroupIndex(3)];
/// Members of the tunnel zone; the last is none.
pub const SOURCES: [&str; 3] = ["172.16.0.9", "fd00::9", "172.16.0.10"];
/// The meters that flows use.
pub const METERS: u32 = 4;

/// A port key.
pub fn port_key(value: u32) -> TunnelKey {
    TunnelKey::new(KeyKind::Port, value).expect("a small value fits")
}

/// A group key.
pub fn group_key(value: u32) -> TunnelKey {
    TunnelKey::new(KeyKind::Group, value).expect("a small value fits")
}

/// VNIs that come in; not all have a meaning.
pub fn vnis() -> [u32; 8] {
    let [port, group] = [port_key(1), group_key(1)].map(TunnelKey::vni);
    let (marked, flooded) = (port | TunnelKey::MARK, group | TunnelKey::MARK);
    [port, marked, marked, group, flooded, port_key(2).vni(), port_key(3).vni(), 3 << 22]
}

/// Makes an engine know all this.
pub fn set_up(bench: &mut dyn Bench) {
    // Without period between tokens nobody waits for one.
    let unlimited = UpcallLimit { rate: 2_000_000_000, burst: 1 };
    for (port, mtu) in PORTS {
        let interface = bench.interface(port, mtu);
        bench.datapath().attach(port, interface, unlimited).expect("a port can be attached");
    }
    for ((port, _), zone) in PORTS.into_iter().zip(ZONES) {
        let connections_max = if zone == Zone(2) { CONNECTIONS_MAX } else { 0 };
        let tracking = Tracking { zone, connections_max };
        bench.datapath().set_tracking(port, tracking).expect("a port can have a zone");
    }
    let peer = |local, remote, mtu| PeerAddresses { local: addr(local), remote: addr(remote), mtu };
    let [v4, v6, _] = PEERS;
    let datapath = bench.datapath();
    let [a, b, _] = GROUPS;
    let tunnel = Output::Tunnel { peer: v4, key: group_key(7) };
    let results = [
        datapath.set_peer(v4, Some(peer("172.16.0.1", "172.16.0.9", 1450))),
        datapath.set_peer(v6, Some(peer("fd00::1", "fd00::9", 1000))),
        datapath.set_group(a, &[Output::Port(PORTS[1].0), Output::Port(PORTS[2].0)]),
        datapath.set_group(b, &[tunnel, Output::Port(PORTS[3].0), Output::Port(GONE)]),
        datapath.set_members(&[addr(SOURCES[0]), addr(SOURCES[1])]),
        datapath.set_key(port_key(1), Some(&Delivery::Port(PORTS[1].0))),
        datapath.set_key(port_key(2), Some(&Delivery::Retired)),
        datapath.set_key(group_key(1), Some(&Delivery::Ports(vec![PORTS[0].0, PORTS[2].0, GONE]))),
    ];
    for result in results {
        result.expect("the world can be set up");
    }
    bench.beat();
}
