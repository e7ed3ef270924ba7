//! Routers with two bridges each, stations on four hosts, and random changes to all of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mn_agent_core::health::Awaited;
use mn_agent_core::{
    Holding, LocalView, MacPlace, Means, NatTable, Neighbors, Owner, Paths, Place, Row, RowChange,
    StateTables, TableName, Translation, View, translate,
};
use mn_flow::{
    Action, FlowKey, FlowMask, KeyKind, PeerIndex, PortNo, ScopedAddr, Tag, TunnelKey, extract,
};
use mn_ids::{BridgeId, ChainId, Id, Kind, Object, ObjectKey, PortId, RouteId, RouterId};
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Mac, UdpHeader, ip_packet};
use mn_simulation::{Buffers, Entry, Inputs, Outcome, Packet, simulate};
use mn_testkit::Random;
use mn_time::Instant;
use mn_topology::snapshot::{Loaded, Lookup, Snapshot};
use mn_topology::{
    AnyObject, Bridge, Chain, Condition, IfAddr, Port, PortKind, RaMode, Route, RouteTarget,
    Router, RouterPort, Rule, RuleAction, Test,
};
use uuid::Uuid;

/// Stations of one bridge.
const STATIONS: u128 = 4;
/// Hosts; number 0 is this one.
const HOSTS: u128 = 4;

fn id<K: Kind>(kind: u128, router: u128, side: u128, number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(kind << 64 | router << 32 | side << 16 | number))
}

fn bridge_id(router: u128, side: u128) -> BridgeId {
    id(1, router, side, 0)
}

fn router_id(router: u128) -> RouterId {
    id(2, router, 0, 0)
}

fn port_id(router: u128, side: u128, station: u128) -> PortId {
    id(3, router, side, station)
}

fn router_port_id(router: u128, side: u128) -> PortId {
    id(4, router, side, 0)
}

fn linked_port_id(router: u128, side: u128) -> PortId {
    id(5, router, side, 0)
}

fn chain_id(router: u128) -> ChainId {
    id(6, router, 0, 0)
}

fn route_id(router: u128, number: u128) -> RouteId {
    id(7, router, 0, number)
}

fn host_id(host: u128) -> mn_ids::HostId {
    id(8, host, 0, 0)
}

fn station_mac(side: u128, station: u128) -> Mac {
    Mac([2, 0, 0, 0, side as u8, station as u8 + 1])
}

fn router_mac(side: u128) -> Mac {
    Mac([2, 0, 0, 1, side as u8, 0])
}

fn station_addr(side: u128, station: u128) -> IpAddr {
    IpAddr::from([10, 0, side as u8, station as u8 + 1])
}

/// What the agent decides by.
pub struct World {
    pub routers: u128,
    pub snapshot: Snapshot,
    pub tables: StateTables,
    pub local: LocalView,
    neighbors: Neighbors,
    pub objects: BTreeMap<ObjectKey, AnyObject>,
    /// Every entry of a table that was ever written.
    pub rows: Vec<RowChange>,
    /// What changed since somebody last took it from here.
    pub told: Vec<Told>,
}

/// A change as the state database tells it.
pub enum Told {
    /// As it was and as it is now.
    Object(ObjectKey, Box<[Option<AnyObject>; 2]>),
    Row(RowChange),
}

/// A packet of a flow.
#[derive(Clone, Debug)]
pub struct Probe {
    pub key: FlowKey,
    frame: Vec<u8>,
    port: PortId,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Flow {
        mask: FlowMask,
        actions: Vec<Action>,
    },
    /// A neighbour must be asked for first.
    Waits,
}

impl World {
    pub fn new(routers: u128) -> Self {
        let mut local = LocalView::new(host_id(0), 1450);
        local.peers.extend((1..HOSTS).map(|host| (host_id(host), PeerIndex(host as u32))));
        let mut world = Self {
            routers,
            snapshot: Snapshot::default(),
            tables: StateTables::default(),
            local,
            neighbors: Neighbors::default(),
            objects: BTreeMap::new(),
            rows: Vec::new(),
            told: Vec::new(),
        };
        for router in 0..routers {
            world.draw(router);
        }
        world
    }

    fn draw(&mut self, router: u128) {
        // It reads ports, so that every packet between the sides makes a flow of its own.
        self.put_chain(router, 0);
        self.put(Router {
            id: router_id(router),
            tenant_id: None,
            name: None,
            admin_state_up: true,
            inbound_filter_id: Some(chain_id(router)),
            outbound_filter_id: None,
            load_balancer_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            as_number: 0,
            ecmp: mn_topology::Ecmp::Flow,
        });
        for side in 0..2 {
            self.draw_side(router, side);
        }
    }

    fn draw_side(&mut self, router: u128, side: u128) {
        let bridge = bridge_id(router, side);
        self.put(Bridge {
            id: bridge,
            tenant_id: None,
            name: None,
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            qos_policy_id: None,
        });
        let (near, far) = (router_port_id(router, side), linked_port_id(router, side));
        let addr = IfAddr { addr: IpAddr::from([10, 0, side as u8, 254]), len: 24 };
        let kind = PortKind::Router(RouterPort {
            router_id: router_id(router),
            mac: router_mac(side),
            addresses: vec![addr],
            ra_mode: RaMode::Off,
            ra_prefixes: Vec::new(),
            ra_interval: None,
        });
        self.put(Port { peer_id: Some(far), ..Port::new(near, kind) });
        let kind = PortKind::Bridge { bridge_id: bridge, vlan_id: 0 };
        self.put(Port { peer_id: Some(near), ..Port::new(far, kind.clone()) });
        self.route(router, side, &format!("10.0.{side}.0/24"), near);
        for station in 0..STATIONS {
            let id = port_id(router, side, station);
            self.put(Port::new(id, kind.clone()));
            let host = (router + side + station) % HOSTS;
            if host == 0 {
                let number = 16 + (router * 16 + side * STATIONS + station) as u32;
                self.local.add_port(id, PortNo(number));
            }
            self.put_row(Row::Location(id, Some(place(host, router, side, station))));
            self.tables.complete(TableName::Location(id));
            let mac = station_mac(side, station);
            let at = MacPlace { bridge, vlan: None, mac };
            self.put_row(Row::Mac(at, Some(id)));
            let addr = ScopedAddr::on(near, station_addr(side, station));
            let value = Some((mac, near));
            self.put_row(Row::Neighbor { router: router_id(router), addr, value });
        }
        self.tables.complete(TableName::Mac(bridge));
        self.tables.complete(TableName::BridgeNeighbor(bridge));
        self.tables.complete(TableName::Neighbor(router_id(router)));
    }

    fn route(&mut self, router: u128, number: u128, dst: &str, port: PortId) -> Vec<Tag> {
        self.put(Route {
            id: route_id(router, number),
            router_id: router_id(router),
            src: "0.0.0.0/0".parse().expect("a prefix"),
            dst: dst.parse().expect("a prefix"),
            target: RouteTarget::Normal { next_hop_port: port, gateway: None },
            weight: 0,
            attributes: None,
            learned: false,
            path: None,
        })
    }

    fn put<T: Object>(&mut self, object: T) -> Vec<Tag>
    where
        AnyObject: From<T>,
    {
        self.set(object.key(), Some(AnyObject::from(object)))
    }

    fn set(&mut self, key: ObjectKey, object: Option<AnyObject>) -> Vec<Tag> {
        let before = match &object {
            Some(object) => self.objects.insert(key, object.clone()),
            None => self.objects.remove(&key),
        };
        self.told.push(Told::Object(key, Box::new([before, object.clone()])));
        let (snapshot, tags) = self.snapshot.apply([(key, object)], &Loaded::of(key));
        self.snapshot = snapshot;
        tags
    }

    fn put_row(&mut self, row: Row) -> Vec<Tag> {
        let revision = self.rows.len() as u64 + 1;
        let change = RowChange { row, owner: Owner::Host(host_id(1)), revision };
        let mut tags = Vec::new();
        self.tables.apply(&change, &mut tags);
        self.rows.push(change.clone());
        self.told.push(Told::Row(change));
        tags
    }

    /// A packet from a station of this host to another of the same router.
    pub fn probe(&self, dice: &mut Dice) -> Probe {
        loop {
            let router = dice.below(self.routers);
            let [side, other] = [dice.below(2), dice.below(2)];
            let [from, to] = [dice.below(STATIONS), dice.below(STATIONS)];
            let port = port_id(router, side, from);
            let Some(number) = self.local.ports.get(&port) else { continue };
            if (side, from) == (other, to) {
                continue;
            }
            let (src, dst) = (station_addr(side, from), station_addr(other, to));
            let next = if side == other { station_mac(other, to) } else { router_mac(side) };
            let ports =
                UdpHeader { src: dice.below(60_000) as u16, dst: dice.below(50_000) as u16 };
            let message = ports.datagram(src, dst, b"probe");
            let packet = ip_packet(src, dst, 64, IpProtocol::UDP, &message);
            let mac = station_mac(side, from);
            let frame = EthernetHeader::untagged(mac, next, EtherType::IPV4).frame(&packet);
            let key = extract(&frame, *number, None).expect("a whole frame");
            return Probe { key, frame, port };
        }
    }

    /// The router behind which the packet's station is.
    pub fn router_of(&self, probe: &Probe) -> u64 {
        (probe.port.uuid().as_u128() >> 32) as u64 & 0xffff_ffff
    }

    /// What the agent would do with it now, and what that depends on.
    pub fn decide(&self, probe: &Probe, buffers: &mut Buffers) -> (Verdict, Vec<Tag>) {
        let decided = self.decide_by(&self.snapshot, &self.tables, probe, buffers);
        decided.unwrap_or_else(|missing| panic!("everything is loaded: {missing:?}"))
    }

    /// Likewise, of an agent that knows only this of the topology; or what it has to load first.
    pub fn decide_by(
        &self,
        snapshot: &Snapshot,
        tables: &StateTables,
        probe: &Probe,
        buffers: &mut Buffers,
    ) -> Result<(Verdict, Vec<Tag>), Vec<Holding>> {
        let inputs =
            Inputs { now: Instant::ZERO, seed: 0, entry: Entry::Ingress(probe.port), mtu: 1450 };
        let packet = Packet { key: probe.key, frame: &probe.frame, gso_size: 0 };
        let translations = &NatTable::default();
        let (neighbors, paths) = (&self.neighbors, &Paths::default());
        let checks = &Awaited::default();
        let view = View { tables, neighbors, translations, paths, checks };
        match simulate(snapshot, &view, &inputs, &packet, buffers, None) {
            Outcome::Decided(decision) => {
                let mut out = Translation::default();
                let bound = |port| match snapshot.port(port) {
                    Lookup::Loaded(port) => port.binding().map(|binding| binding.host_id),
                    Lookup::Absent | Lookup::NotLoaded => None,
                };
                let means = Means { tables, local: &self.local, bound: &bound, only: None };
                let (in_port, drop) = (probe.key.in_port, decision.drop);
                translate(&buffers.actions, in_port, drop, &means, &mut out);
                if !out.missing.is_empty() {
                    return Err(out.missing.into_iter().map(Holding::Place).collect());
                }
                let tags = [&buffers.tags[..], &out.tags].concat();
                Ok((Verdict::Flow { mask: decision.mask, actions: out.actions }, tags))
            }
            Outcome::AwaitNeighbor { .. } | Outcome::AwaitLease { .. } => {
                Ok((Verdict::Waits, Vec::new()))
            }
            Outcome::Load(keys) => Err(keys.into_iter().map(Holding::Object).collect()),
        }
    }

    /// A random change; what it is, and the tags it raises.
    pub fn change(&mut self, dice: &mut Dice) -> (&'static str, Vec<Tag>) {
        let router = dice.below(self.routers);
        let side = dice.below(2);
        let station = dice.below(STATIONS);
        let port = port_id(router, side, station);
        let mac = station_mac(side, station);
        match dice.below(11) {
            0 => ("a port goes up or down", self.flip_port(port)),
            1 => ("a router's port goes up or down", self.flip_port(router_port_id(router, side))),
            2 => ("the rules of a chain", self.change_chain(router, dice)),
            3 => ("a longer route comes", {
                let dst = format!("10.0.{side}.{}/30", station & !3);
                self.route(router, 10 + side, &dst, router_port_id(router, 1 - side))
            }),
            4 => {
                let key = route_id(router, 10 + side).into();
                ("a longer route goes", self.set(key, None))
            }
            5 => ("a MAC moves", {
                let place = MacPlace { bridge: bridge_id(router, side), vlan: None, mac };
                let to = port_id(router, side, dice.below(STATIONS));
                self.put_row(Row::Mac(place, Some(to)))
            }),
            6 => ("a neighbour changes", {
                let mac = station_mac(side, dice.below(STATIONS));
                let value = Some((mac, router_port_id(router, side)));
                let near = router_port_id(router, side);
                let addr = ScopedAddr::on(near, station_addr(side, station));
                self.put_row(Row::Neighbor { router: router_id(router), addr, value })
            }),
            7 if !self.local.ports.contains_key(&port) => ("a port moves", {
                let host = 1 + dice.below(HOSTS - 1);
                let number = dice.below(1000);
                self.put_row(Row::Location(port, Some(place(host, router, side, number))))
            }),
            9 if !self.local.ports.contains_key(&port) => {
                ("a port is bound anew", self.bind(port, dice.below(HOSTS)))
            }
            8 => ("a peer comes or goes", self.flip_peer(1 + dice.below(HOSTS - 1))),
            _ => ("a bridge goes up or down", self.flip_bridge(bridge_id(router, side))),
        }
    }

    fn flip_port(&mut self, id: PortId) -> Vec<Tag> {
        let Some(AnyObject::Port(port)) = self.objects.get(&id.into()).cloned() else {
            panic!("the port was drawn");
        };
        self.put(Port { admin_state_up: !port.admin_state_up, ..port })
    }

    fn bind(&mut self, id: PortId, host: u128) -> Vec<Tag> {
        let Some(AnyObject::Port(port)) = self.objects.get(&id.into()).cloned() else {
            panic!("the port was drawn");
        };
        let interface_name = Some("tap0".to_owned());
        self.put(Port { host_id: Some(host_id(host)), interface_name, ..port })
    }

    fn flip_bridge(&mut self, id: BridgeId) -> Vec<Tag> {
        let Some(AnyObject::Bridge(bridge)) = self.objects.get(&id.into()).cloned() else {
            panic!("the bridge was drawn");
        };
        self.put(Bridge { admin_state_up: !bridge.admin_state_up, ..bridge })
    }

    fn flip_peer(&mut self, host: u128) -> Vec<Tag> {
        let host_id = host_id(host);
        if self.local.peers.remove(&host_id).is_none() {
            self.local.peers.insert(host_id, PeerIndex(host as u32));
        }
        vec![Tag::Peer(host_id)]
    }

    fn change_chain(&mut self, router: u128, dice: &mut Dice) -> Vec<Tag> {
        self.put_chain(router, dice.below(50_000) as u16)
    }

    /// The router drops a range of ports.
    fn put_chain(&mut self, router: u128, low: u16) -> Vec<Tag> {
        let range = mn_topology::PortRange { start: low, end: low + 10_000 };
        let condition = Condition { tp_dst: Some(Test::Is(range)), ..Condition::default() };
        let rule = Rule { id: Id::random(), condition, action: RuleAction::Drop, meter_name: None };
        self.put(Chain {
            id: chain_id(router),
            tenant_id: None,
            name: None,
            rules: vec![rule],
            segments: Vec::new(),
        })
    }
}

fn place(host: u128, router: u128, side: u128, number: u128) -> Place {
    let value = 1 + (router * 4096 + side * 2048 + number) as u32;
    Place { host: host_id(host), key: TunnelKey::new(KeyKind::Port, value).expect("21 bits") }
}

/// Choices among the numbers of things.
pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    pub fn below(&mut self, end: u128) -> u128 {
        self.0.below(end as usize) as u128
    }
}
