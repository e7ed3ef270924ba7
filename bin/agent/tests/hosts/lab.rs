//! Hosts in one process: real agents, the memory engine, the software datapath. Frames go in and
//! come out as values; stations behind the ports answer ARP, neighbour discovery and echo.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mn_agent::{Agent, Capacities, Link, Links, Parts, Patience, PortLimits};
use mn_agent_api::{Endpoint, Interface, InterfaceKind, Request, Response, Status};
use mn_datapath::software::Software;
use mn_datapath::{Datapath, InstalledFlow, Offload, Output, UpcallLimit};
use mn_flow::{TunnelKey, TunnelOrigin};
use mn_ids::{BridgeId, HostId, Id, Object, PortId, RouterId, TunnelZoneId};
use mn_nsdb::{Engine, Op, Owner, Store, TableId, TableKind, Transaction};
use mn_packet::Mac;
use mn_topology::{
    AnyObject, Bridge, IfAddr, Port, PortKind, RaMode, Route, RouteTarget, Router, RouterPort,
    TunnelZone, TunnelZoneKind, TunnelZoneMember,
};
use tokio::sync::watch;

use crate::cable::Cable;
pub use crate::mail::copies;
use crate::mail::{Mail, Post};
pub use crate::station::{Station, is_arp_reply, is_echo_reply};

/// Within this a change must take effect on every host.
pub const SETTLE_FOR: Duration = Duration::from_millis(100);

/// A host.
pub struct HostSim {
    pub agent: Option<Agent>,
    pub datapath: Arc<Software>,
    pub links: watch::Sender<Links>,
    root: PathBuf,
    name: String,
    pub id: HostId,
}

/// A frame that came out: to a station, or between hosts.
#[derive(Clone, Debug)]
pub enum Seen {
    At { host: usize, interface: String, frame: Vec<u8>, when: Instant },
    Between { from: usize, key: TunnelKey },
}

type Shared<T> = Arc<Mutex<T>>;
const FOR_EVER: Duration = Duration::from_secs(600);

/// All of it.
pub struct Lab {
    pub store: Arc<Engine>,
    pub cable: Arc<Cable>,
    /// What carries state between the hosts.
    pub mail: Arc<Mail>,
    pub hosts: Vec<HostSim>,
    pub stations: Shared<Vec<Station>>,
    seen: Shared<Vec<Seen>>,
    /// Which underlay addresses each host answers to.
    pub addresses: Shared<Vec<IpAddr>>,
    pub zone: TunnelZoneId,
    workers: usize,
    patience: Patience,
    buckets: Capacities,
    limits: PortLimits,
    unused_for: Duration,
    stop: Arc<AtomicBool>,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// So many hosts in one tunnel zone.
    pub async fn new(count: usize) -> Self {
        Self::with(count, 1, Patience::default()).await
    }

    /// One host whose ports have these limits.
    pub async fn limited(buckets: Capacities, limits: PortLimits) -> Self {
        Self::make(1, 1, Patience::default(), (buckets, limits), FOR_EVER).await
    }

    /// Likewise, with so many packet workers each, and so much patience with neighbours.
    pub async fn with(count: usize, workers: usize, patience: Patience) -> Self {
        Self::make(count, workers, patience, Default::default(), FOR_EVER).await
    }

    /// Hosts that give up what nothing has needed for so long.
    pub async fn forgetting(count: usize, unused_for: Duration) -> Self {
        Self::make(count, 1, Patience::default(), Default::default(), unused_for).await
    }

    async fn make(
        count: usize,
        workers: usize,
        patience: Patience,
        (buckets, limits): (Capacities, PortLimits),
        unused_for: Duration,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Arc::new(Engine::memory());
        let cable = Arc::new(Cable::new(Arc::clone(&store) as Arc<dyn Store>));
        let mut lab = Self {
            store,
            cable,
            mail: Arc::default(),
            hosts: Vec::new(),
            stations: Shared::default(),
            seen: Shared::default(),
            addresses: Arc::new(Mutex::new((0..count).map(underlay).collect())),
            zone: Id::random(),
            workers,
            patience,
            buckets,
            limits,
            unused_for,
            stop: Arc::default(),
            _dir: dir,
        };
        for number in 0..count {
            let name = format!("hv{number}");
            let root = lab._dir.path().join(&name);
            std::fs::create_dir(&root).expect("a directory for the host");
            let mut links = Links::new();
            links.insert("eth0".to_owned(), link("eth0", 1000, vec![underlay(number)]));
            let host = HostSim {
                agent: None,
                datapath: Arc::new(Software::new(workers)),
                links: watch::channel(links).0,
                root,
                name,
                id: Id::random(),
            };
            lab.hosts.push(host);
            lab.start(number);
        }
        lab.draw_zone().await;
        lab.pump();
        lab
    }

    /// Starts a host's agent, again perhaps.
    pub fn start(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let agent = Agent::start(Parts {
            root: host.root.clone(),
            name: host.name.clone(),
            store: Arc::clone(&self.cable) as Arc<dyn Store>,
            datapath: Arc::clone(&host.datapath) as Arc<dyn Datapath>,
            links: host.links.subscribe(),
            workers: self.workers,
            flows_max: 100_000,
            upcall_limit: UpcallLimit { rate: 1_000_000, burst: 100_000 },
            buckets: self.buckets,
            limits: self.limits,
            patience: self.patience,
            unused_for: self.unused_for,
            connections: mn_agent::Connections::default(),
            state_path: Arc::new(Post::new(&self.mail)),
        })
        .expect("an agent");
        host.id = agent.host();
        host.agent = Some(agent);
    }

    async fn draw_zone(&self) {
        let members = (0..self.hosts.len()).map(|number| TunnelZoneMember {
            host_id: self.hosts[number].id,
            addr: underlay(number),
        });
        for host in &self.hosts {
            let key = host.id.into();
            until("the host is registered", || async {
                self.store.get(key).await.expect("a store").is_some()
            })
            .await;
        }
        self.create(TunnelZone {
            id: self.zone,
            name: "underlay".to_owned(),
            kind: TunnelZoneKind::Vxlan,
            members: members.collect(),
        })
        .await;
    }

    /// Carries frames between hosts and to stations, and takes the stations' answers.
    fn pump(&self) {
        let addresses = Arc::clone(&self.addresses);
        let datapaths: Vec<_> = self.hosts.iter().map(|host| Arc::clone(&host.datapath)).collect();
        let (stations, seen) = (Arc::clone(&self.stations), Arc::clone(&self.seen));
        let stop = Arc::clone(&self.stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for (number, datapath) in datapaths.iter().enumerate() {
                    for sent in datapath.take_sent() {
                        match sent.to {
                            Output::Tunnel { peer, key } => {
                                log(&seen, Seen::Between { from: number, key });
                                let Some(outer) = datapath.peer(peer) else { continue };
                                let Some(to) = owner(&addresses, outer.remote) else { continue };
                                let mark = if sent.mark { TunnelKey::MARK } else { 0 };
                                let vni = key.vni() | mark;
                                let origin = TunnelOrigin { vni, src: outer.local };
                                datapaths[to].receive_tunnelled(origin, &sent.frame, sent.offload);
                            }
                            Output::Port(port) => {
                                let attached = datapath.attached().expect("the software answers");
                                let Some((_, interface)) =
                                    attached.iter().find(|(other, _)| *other == port)
                                else {
                                    continue;
                                };
                                let Some(station) = at(&stations, number, interface.ifindex) else {
                                    continue;
                                };
                                let answer = station.receive(&sent.frame);
                                let interface = station.interface;
                                let (frame, when) = (sent.frame, Instant::now());
                                log(&seen, Seen::At { host: number, interface, frame, when });
                                if let Some(answer) = answer {
                                    datapath.receive(port, &answer, Offload::default());
                                }
                            }
                        }
                    }
                }
                std::thread::park_timeout(Duration::from_micros(100));
            }
        });
    }

    /// Puts an object into the store.
    pub async fn create<T: Object>(&self, object: T)
    where
        AnyObject: From<T>,
    {
        let key = object.key();
        let any = AnyObject::from(object);
        let op = Op::Create { key, json: any.encode(), references: any.references() };
        let done = self.store.transact(Transaction { ops: vec![op] }).await;
        done.unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    /// Changes an object of the store.
    pub async fn change(&self, key: mn_ids::ObjectKey, change: impl Fn(&mut AnyObject)) {
        let stored = self.store.get(key).await.expect("a store").expect("the object");
        let mut any = AnyObject::decode(key.class, &stored.json).expect("it was encoded so");
        change(&mut any);
        let op = Op::Update {
            key,
            json: any.encode(),
            references: any.references(),
            expected: stored.version,
        };
        let done = self.store.transact(Transaction { ops: vec![op] }).await;
        done.unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    pub async fn bridge(&self) -> BridgeId {
        let id = Id::random();
        self.create(Bridge {
            id,
            tenant_id: None,
            name: Some("a bridge".to_owned()),
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            qos_policy_id: None,
        })
        .await;
        id
    }

    pub async fn router(&self) -> RouterId {
        let id = Id::random();
        self.create(Router {
            id,
            tenant_id: None,
            name: Some("a router".to_owned()),
            admin_state_up: true,
            inbound_filter_id: None,
            outbound_filter_id: None,
            load_balancer_id: None,
            inbound_mirror_ids: Vec::new(),
            outbound_mirror_ids: Vec::new(),
            as_number: 0,
            ecmp: mn_topology::Ecmp::Flow,
        })
        .await;
        id
    }

    /// Links a router and a bridge; the router's port, which is returned, has these addresses, and
    /// routes to their subnets.
    pub async fn link(
        &self,
        router: RouterId,
        bridge: BridgeId,
        mac: u8,
        addrs: &[&str],
    ) -> PortId {
        let (near, far) = (Id::random(), Id::random());
        let addresses: Vec<IfAddr> = addrs.iter().map(|text| if_addr(text)).collect();
        let kind = PortKind::Router(RouterPort {
            router_id: router,
            mac: Mac([2, 0, 0, 0, 1, mac]),
            addresses: addresses.clone(),
            ra_mode: RaMode::Off,
            ra_prefixes: Vec::new(),
            ra_interval: None,
        });
        self.create(Port::new(near, kind)).await;
        let bridge_kind = PortKind::Bridge { bridge_id: bridge, vlan_id: 0 };
        self.create(Port { peer_id: Some(near), ..Port::new(far, bridge_kind) }).await;
        self.change(near.into(), |object| {
            if let AnyObject::Port(port) = object {
                port.peer_id = Some(far);
            }
        })
        .await;
        for addr in addresses {
            let dst = addr.subnet().expect("a length that fits");
            let any = if addr.addr.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            self.create(Route {
                id: Id::random(),
                router_id: router,
                src: any.parse().expect("a prefix"),
                dst,
                target: RouteTarget::Normal { next_hop_port: near, gateway: None },
                weight: 0,
                attributes: None,
                learned: false,
                path: None,
            })
            .await;
        }
        near
    }

    /// An interface on a host and a port of the bridge bound to it.
    pub async fn station(
        &self,
        host: usize,
        bridge: BridgeId,
        number: u8,
        addrs: &[&str],
    ) -> (Station, PortId) {
        let station = self.stranger(host, number, addrs);
        self.plug(host, &station.interface, station.ifindex);
        let port = self.bind(&station, bridge).await;
        self.active(host, port).await;
        (station, port)
    }

    /// A station without a port.
    pub fn stranger(&self, host: usize, number: u8, addrs: &[&str]) -> Station {
        let station = Station {
            host,
            interface: format!("tap{number}"),
            mac: Mac([2, 0, 0, 0, 0, number]),
            addrs: addrs.iter().map(|text| text.parse().expect("an address")).collect(),
            ifindex: u32::from(number) + 10,
        };
        self.stations.lock().expect("no panic").push(station.clone());
        station
    }

    /// A port of a bridge, bound to a station's interface.
    pub async fn bind(&self, station: &Station, bridge: BridgeId) -> PortId {
        let id = Id::random();
        let kind = PortKind::Bridge { bridge_id: bridge, vlan_id: 0 };
        self.create(Port {
            host_id: Some(self.hosts[station.host].id),
            interface_name: Some(station.interface.clone()),
            ..Port::new(id, kind)
        })
        .await;
        id
    }

    /// A station goes to another interface, perhaps on another host.
    pub fn moves(&self, station: &mut Station, host: usize, ifindex: u32) {
        let mut stations = self.stations.lock().expect("no panic");
        let known = stations.iter_mut().find(|other| other.mac == station.mac);
        let known = known.expect("a station of this lab");
        (known.host, known.ifindex) = (host, ifindex);
        *station = known.clone();
    }

    /// A station has another MAC from now on, and tells nobody.
    pub fn changes_mac(&self, station: &mut Station, mac: Mac) {
        let mut stations = self.stations.lock().expect("no panic");
        for known in stations.iter_mut().filter(|known| known.mac == station.mac) {
            known.mac = mac;
        }
        station.mac = mac;
    }

    /// A station answers nothing any more.
    pub fn silence(&self, station: &Station) {
        let mut stations = self.stations.lock().expect("no panic");
        for known in stations.iter_mut().filter(|known| known.mac == station.mac) {
            known.addrs.clear();
        }
    }

    /// A station is there again.
    pub fn revive(&self, station: &Station) {
        let mut stations = self.stations.lock().expect("no panic");
        for known in stations.iter_mut().filter(|known| known.mac == station.mac) {
            known.addrs.clone_from(&station.addrs);
        }
    }

    /// An interface appears.
    pub fn plug(&self, host: usize, interface: &str, ifindex: u32) {
        self.hosts[host].links.send_modify(|links| {
            links.insert(interface.to_owned(), link(interface, ifindex, Vec::new()));
        });
    }

    /// An interface vanishes.
    pub fn unplug(&self, host: usize, interface: &str) {
        self.hosts[host].links.send_modify(|links| {
            links.remove(interface);
        });
    }

    /// Waits until a port is active on a host and everybody could hear of it.
    pub async fn active(&self, host: usize, port: PortId) {
        until("the port is active", || async {
            self.status(host).await.ports.values().any(|other| *other == port)
        })
        .await;
        let table = TableId::global(TableKind::Location);
        let owner = self.hosts[host].id;
        until("the place of the port is published", || async {
            let entries = self.store.entries(table).await.expect("a store");
            let mine = |owned| matches!(owned, Owner::Host { id, .. } if id == owner);
            entries.iter().any(|entry| entry.key == port.to_string() && mine(entry.owner))
        })
        .await;
        tokio::time::sleep(SETTLE_FOR).await;
    }

    pub async fn status(&self, host: usize) -> Status {
        let agent = self.hosts[host].agent.as_ref().expect("it runs");
        match agent.handle().ask(Request::Status).await {
            Response::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// A station sends a frame.
    pub fn send(&self, from: &Station, frame: &[u8]) {
        let datapath = &self.hosts[from.host].datapath;
        let attached = datapath.attached().expect("the software answers");
        let port = attached.iter().find(|(_, interface)| interface.ifindex == from.ifindex);
        let (port, _) = port.expect("the station's interface is attached");
        datapath.receive(*port, frame, Offload::default());
    }

    /// Waits for a frame at an interface that `matches`; it and when it came.
    pub async fn arrives(
        &self,
        to: &str,
        matches: impl Fn(&[u8]) -> bool,
    ) -> Option<(Vec<u8>, Instant)> {
        self.arrives_within(Duration::from_secs(5), to, matches).await
    }

    /// Likewise, and no longer than this.
    pub async fn arrives_within(
        &self,
        wait: Duration,
        to: &str,
        matches: impl Fn(&[u8]) -> bool,
    ) -> Option<(Vec<u8>, Instant)> {
        let end = Instant::now() + wait;
        while Instant::now() < end {
            let found = self.seen.lock().expect("no panic").iter().find_map(|seen| match seen {
                Seen::At { interface, frame, when, .. } if interface == to && matches(frame) => {
                    Some((frame.clone(), *when))
                }
                _ => None,
            });
            if found.is_some() {
                return found;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        None
    }

    /// What was seen since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }

    /// Whether a ping of `to` is answered.
    pub async fn pings(&self, from: &Station, via: Mac, to: &str, sequence: u16) -> bool {
        self.pings_within(Duration::from_secs(5), from, via, to, sequence).await
    }

    /// Likewise, and no later than this.
    pub async fn pings_within(
        &self,
        wait: Duration,
        from: &Station,
        via: Mac,
        to: &str,
        sequence: u16,
    ) -> bool {
        let to: IpAddr = to.parse().expect("an address");
        self.send(from, &from.echo(via, to, sequence));
        let answer = move |frame: &[u8]| is_echo_reply(frame, to, sequence);
        self.arrives_within(wait, &from.interface, answer).await.is_some()
    }

    pub fn flows(&self, host: usize) -> Vec<InstalledFlow> {
        let mut flows = Vec::new();
        let each = &mut |flow| flows.push(flow);
        self.hosts[host].datapath.flows(each).expect("the software answers");
        flows
    }

    /// Stops a host's agent; its datapath goes on.
    pub async fn stop_agent(&mut self, host: usize) {
        if let Some(agent) = self.hosts[host].agent.take() {
            agent.stop().await;
        }
    }

    pub async fn stop(mut self) {
        for host in 0..self.hosts.len() {
            self.stop_agent(host).await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits for something to become true.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within 5 s: {what}");
}

fn underlay(number: usize) -> IpAddr {
    IpAddr::from([192, 168, 100, number as u8 + 1])
}

fn if_addr(text: &str) -> IfAddr {
    let (addr, len) = text.split_once('/').expect("ADDRESS/LENGTH");
    IfAddr { addr: addr.parse().expect("an address"), len: len.parse().expect("a length") }
}

pub fn link(name: &str, ifindex: u32, addresses: Vec<IpAddr>) -> Link {
    let interface = Interface {
        name: name.to_owned(),
        ifindex,
        mac: None,
        mtu: 1500,
        up: true,
        link: true,
        kind: InterfaceKind::Virtual,
        endpoint: Endpoint::TunTap,
        addresses,
    };
    Link { interface, peer_elsewhere: false }
}

fn at(stations: &Shared<Vec<Station>>, host: usize, ifindex: u32) -> Option<Station> {
    let stations = stations.lock().expect("no panic");
    stations.iter().find(|it| it.host == host && it.ifindex == ifindex).cloned()
}

/// The host that has an underlay address.
fn owner(addresses: &Shared<Vec<IpAddr>>, addr: IpAddr) -> Option<usize> {
    addresses.lock().expect("no panic").iter().position(|other| *other == addr)
}

fn log(seen: &Shared<Vec<Seen>>, what: Seen) {
    seen.lock().expect("no panic").push(what);
}
