//! A datapath that remembers its peers, to tell where a tunnelled packet went.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use mn_datapath::ebpf::Ebpf;
use mn_datapath::{
    Aged, BroadcastLimit, Connection, Counters, Datapath, DatapathError, Delivery, FlowSpec,
    InstalledFlow, Interface, LastUse, Offload, Output, PeerAddresses, PortBandwidth, PortCounters,
    Timeouts, Tracking, Tuple, UpcallLimit, Upcalls,
};
use mn_flow::{
    Action, DropCause, FlowKey, FlowMask, GroupIndex, PeerIndex, PortNo, TunnelKey, Zone,
};
use mn_time::Instant;

type Result<T> = std::result::Result<T, DatapathError>;

/// See the module.
pub struct Recorder {
    engine: Arc<Ebpf>,
    peers: Mutex<BTreeMap<PeerIndex, IpAddr>>,
}

impl Recorder {
    pub fn new(engine: Arc<Ebpf>) -> Self {
        Self { engine, peers: Mutex::default() }
    }

    /// The peer with this address.
    pub fn peer_of(&self, addr: IpAddr) -> Option<PeerIndex> {
        let peers = self.peers.lock().unwrap();
        peers.iter().find(|(_, remote)| **remote == addr).map(|(peer, _)| *peer)
    }
}

impl Datapath for Recorder {
    fn guard(&self, ifindex: u32) -> Result<()> {
        self.engine.guard(ifindex)
    }
    fn serve(&self, port: PortNo, interface: Interface, limit: UpcallLimit) -> Result<()> {
        self.engine.serve(port, interface, limit)
    }
    fn set_broadcast_limit(&self, port: PortNo, limit: BroadcastLimit) -> Result<()> {
        self.engine.set_broadcast_limit(port, limit)
    }
    fn set_bandwidth(&self, port: PortNo, bandwidth: PortBandwidth) -> Result<()> {
        self.engine.set_bandwidth(port, bandwidth)
    }
    fn detach(&self, port: PortNo) -> Result<PortCounters> {
        self.engine.detach(port)
    }
    fn attached(&self) -> Result<Vec<(PortNo, Interface)>> {
        self.engine.attached()
    }
    fn port_counters(&self, port: PortNo) -> Result<PortCounters> {
        self.engine.port_counters(port)
    }
    fn set_peer(&self, peer: PeerIndex, addresses: Option<PeerAddresses>) -> Result<()> {
        let mut peers = self.peers.lock().unwrap();
        match addresses {
            Some(addresses) => peers.insert(peer, addresses.remote),
            None => peers.remove(&peer),
        };
        self.engine.set_peer(peer, addresses)
    }
    fn set_underlays(&self, interfaces: &[u32]) -> Result<()> {
        self.engine.set_underlays(interfaces)
    }
    fn set_members(&self, members: &[IpAddr]) -> Result<()> {
        self.engine.set_members(members)
    }
    fn set_key(&self, key: TunnelKey, delivery: Option<&Delivery>) -> Result<()> {
        self.engine.set_key(key, delivery)
    }
    fn keys(&self) -> Result<Vec<(TunnelKey, Delivery)>> {
        self.engine.keys()
    }
    fn set_group(&self, group: GroupIndex, outputs: &[Output]) -> Result<()> {
        self.engine.set_group(group, outputs)
    }
    fn install(&self, flow: &FlowSpec) -> Result<()> {
        self.engine.install(flow)
    }
    fn remove(&self, flow: &FlowSpec) -> Result<Option<LastUse>> {
        self.engine.remove(flow)
    }
    fn flow(&self, key: &FlowKey, mask: FlowMask) -> Result<Option<InstalledFlow>> {
        self.engine.flow(key, mask)
    }
    fn flows(&self, each: &mut dyn FnMut(InstalledFlow)) -> Result<()> {
        self.engine.flows(each)
    }
    fn execute(&self, frame: &[u8], offload: Offload, actions: &[Action]) -> Result<()> {
        self.engine.execute(frame, offload, actions)
    }
    fn set_tracking(&self, port: PortNo, tracking: Tracking) -> Result<()> {
        self.engine.set_tracking(port, tracking)
    }
    fn tracking(&self, port: PortNo) -> Result<(Tracking, usize)> {
        self.engine.tracking(port)
    }
    fn connection(&self, zone: Zone, tuple: &Tuple) -> Result<Option<Connection>> {
        self.engine.connection(zone, tuple)
    }
    fn connections(&self, each: &mut dyn FnMut(Connection)) -> Result<()> {
        self.engine.connections(each)
    }
    fn age_connections(&self, now: Instant, timeouts: &Timeouts, at_once: usize) -> Result<Aged> {
        self.engine.age_connections(now, timeouts, at_once)
    }
    fn forget_connections(&self, is_one: &dyn Fn(&Connection) -> bool) -> Result<usize> {
        self.engine.forget_connections(is_one)
    }
    fn heartbeat(&self, now: Instant) -> Result<()> {
        self.engine.heartbeat(now)
    }
    fn upcalls(&self, worker: usize) -> Result<Box<dyn Upcalls>> {
        self.engine.upcalls(worker)
    }
    fn meter(&self, index: u32) -> Result<Counters> {
        self.engine.meter(index)
    }
    fn drops(&self) -> Result<Vec<(PortNo, DropCause, u64)>> {
        self.engine.drops()
    }
}
