//! What is on this host.

use std::collections::{HashMap, HashSet};

use mn_flow::{PeerIndex, PortNo, Zone};
use mn_ids::{HostId, PortId};

/// The datapath's numbers for this host's ports and for the hosts it tunnels to.
#[derive(Clone, Debug)]
pub struct LocalView {
    pub host: HostId,
    /// Active ports.
    pub ports: HashMap<PortId, PortNo>,
    /// The same the other way round.
    pub by_number: HashMap<PortNo, PortId>,
    /// The zone of the device of each port, in which its connections are tracked.
    pub zones: HashMap<PortNo, Zone>,
    /// Hosts with a tunnel address.
    pub peers: HashMap<HostId, PeerIndex>,
    /// Hosts whose agent is known to live and to be heard of: none of them, while the state
    /// database cannot be reached. No flow depends on it (contracts §1).
    pub alive: HashSet<HostId>,
    /// The other ports of the stateful groups of each port.
    pub fellows: HashMap<PortId, Box<[PortId]>>,
    /// The largest IP packet the underlay carries inside a tunnel.
    pub mtu: u32,
}

impl LocalView {
    /// A host without ports and peers.
    #[must_use]
    pub fn new(host: HostId, mtu: u32) -> Self {
        Self {
            host,
            ports: HashMap::new(),
            by_number: HashMap::new(),
            zones: HashMap::new(),
            peers: HashMap::new(),
            alive: HashSet::new(),
            fellows: HashMap::new(),
            mtu,
        }
    }

    /// Adds an active port.
    pub fn add_port(&mut self, port: PortId, number: PortNo) {
        self.ports.insert(port, number);
        self.by_number.insert(number, port);
    }

    /// Takes a port out.
    pub fn remove_port(&mut self, port: PortId) {
        if let Some(number) = self.ports.remove(&port) {
            self.by_number.remove(&number);
            self.zones.remove(&number);
        }
    }
}
