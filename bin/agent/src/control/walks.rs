//! Packet walks: described here, walked by a worker, told here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mn_agent_api::Response;
use mn_agent_core::{Means, TableName, Translation, translate};
use mn_api_types::walk::{AnswerWalk, Walk as Document, WalkRequest};
use mn_datapath::{InstalledFlow, Tuple};
use mn_flow::{Conn, Field, FlowKey, FlowMask, PortNo, extract};
use mn_ids::{BridgeId, HostId, PortId};
use mn_packet::Mac;
use mn_simulation::Outcome;
use mn_time::Instant;
use mn_topology::DeviceId;
use mn_topology::snapshot::Lookup;
use mn_walk::{
    DescribeError, Described, Hints, Installed, Names, Place, Story, Tunnel, Way, describe,
    document,
};
use tokio::sync::oneshot;

use super::{Control, State};
use crate::clock;
use crate::worker::host_of;
use crate::worker::message::ToWorker;
use crate::worker::walk::{WalkAsked, Walked};

/// How long a walk waits for topology that is being loaded.
const WALK_FOR: Duration = Duration::from_secs(3);
/// The worker that walks: all know the same.
const WALKER: usize = 0;

/// Walks that have no document yet.
#[derive(Default)]
pub(super) struct PendingWalks {
    waiting: Vec<PendingWalk>,
    begun: u64,
}

struct PendingWalk {
    number: u64,
    request: Box<WalkRequest>,
    reply: oneshot::Sender<Response>,
    until: Instant,
    /// A worker has walked it, or is about to, by what is known now.
    asked: bool,
    /// What the datapath says of the packet's connection.
    connection: Option<String>,
}

impl PendingWalks {
    pub(super) fn begin(
        &mut self,
        request: Box<WalkRequest>,
        reply: oneshot::Sender<Response>,
        now: Instant,
    ) {
        self.begun += 1;
        let (number, until) = (self.begun, now + WALK_FOR);
        let walk = PendingWalk { number, request, reply, until, asked: false, connection: None };
        self.waiting.push(walk);
    }

    /// Something new is known: what a worker could not walk may go on.
    pub(super) fn ask_again(&mut self) {
        for walk in &mut self.waiting {
            walk.asked = false;
        }
    }
}

/// Why a walk has no document yet, or never.
enum NoWalk {
    Loading,
    /// The request describes no packet.
    Invalid(DescribeError),
    Impossible(String),
}

impl Control {
    /// Has a worker walk what can be described by now; gives up what waited too long.
    pub(super) fn go_on_with_walks(&mut self) {
        for mut walk in std::mem::take(&mut self.state.walks.waiting) {
            let begun = if walk.asked { Err(NoWalk::Loading) } else { self.ask_worker(&mut walk) };
            let refused = match begun {
                Ok(()) => None,
                Err(NoWalk::Loading) if clock::now() < walk.until => None,
                Err(error) => Some(refused(error)),
            };
            match refused {
                None => self.state.walks.waiting.push(walk),
                // Whoever asked may have gone.
                Some(response) => drop(walk.reply.send(response)),
            }
        }
    }

    fn ask_worker(&mut self, walk: &mut PendingWalk) -> Result<(), NoWalk> {
        let packet = self.describe(&walk.request)?;
        let mut key = extract(&packet.frame, self.number_of(packet.port), None)
            .map_err(|cause| NoWalk::Impossible(cause.description().to_owned()))?;
        walk.connection = self.connection(&mut key);
        walk.asked = true;
        let asked = WalkAsked { number: walk.number, packet, key, both: walk.request.both };
        self.tell(WALKER, ToWorker::Walk(Box::new(asked)));
        Ok(())
    }

    /// A worker has walked a packet. What is missing is loaded, and the worker asked again.
    pub(super) fn take_walked(&mut self, walked: Walked) {
        let waiting = &self.state.walks.waiting;
        let Some(at) = waiting.iter().position(|walk| walk.number == walked.number) else { return };
        let connection = waiting[at].connection.clone();
        let response = match self.told(&walked, connection) {
            Ok(document) => Response::Walk(Box::new(document)),
            Err(NoWalk::Loading) => return,
            Err(error) => refused(error),
        };
        let walk = self.state.walks.waiting.swap_remove(at);
        drop(walk.reply.send(response));
    }

    /// Both ways of a walk as a document.
    fn told(&mut self, walked: &Walked, connection: Option<String>) -> Result<Document, NoWalk> {
        let here = self.host.id;
        let mut notes = self.notes(walked.way.port);
        notes.extend(connection);
        if let Some(Err(none)) = &walked.back {
            notes.push(none.to_string());
        }
        let mut document = self.told_way(&walked.way, Some(here), notes)?;
        if let Some(Ok(back)) = &walked.back {
            let at = self.host_of(back.port);
            let mut left = walked.way.leaves();
            if at != Some(here) {
                left.insert(0, "walked with what the host of the packet before knows".to_owned());
            }
            document.answer = Some(AnswerWalk(Box::new(self.told_way(back, at, left)?)));
        }
        Ok(document)
    }

    /// One way as a document, of a packet that enters on a host.
    fn told_way(
        &mut self,
        way: &Way,
        at: Option<HostId>,
        notes: Vec<String>,
    ) -> Result<Document, NoWalk> {
        let number = self.number_of(way.port);
        let mut translation = Translation::default();
        match &way.outcome {
            Outcome::Load(keys) => {
                for key in keys {
                    self.subscriptions.object(*key);
                }
                return Err(NoWalk::Loading);
            }
            Outcome::AwaitNeighbor { .. } | Outcome::AwaitLease { .. } => {}
            Outcome::Decided(decision) => {
                let (tables, local) = (&self.state.tables, &self.state.local);
                let bound = |port| host_of(&self.state.snapshot, port);
                let means = Means { tables, local, bound: &bound, only: None };
                translate(&way.actions, number, decision.drop, &means, &mut translation);
            }
        }
        if !translation.missing.is_empty() {
            for port in &translation.missing {
                self.subscriptions.place(*port);
            }
            return Err(NoWalk::Loading);
        }
        let here = at == Some(self.host.id);
        let flow = if here { self.installed(&way.key, &way.outcome) } else { None };
        Ok(document(&Story {
            names: Names::of(&self.state.snapshot),
            host: Some(self.host.id),
            entered_at: at,
            notes,
            revision: self.state.revision,
            way,
            // What another host's datapath does has that host's numbers.
            actions: if here { &translation.actions } else { &[] },
            flow: flow.as_ref().map(installed),
            place: &|port| self.place(port, at),
        }))
    }

    fn number_of(&self, port: PortId) -> PortNo {
        self.state.local.ports.get(&port).copied().unwrap_or(PortNo::NONE)
    }

    /// Says in the key what the datapath's table says of the packet, and how its connection is.
    fn connection(&self, key: &mut FlowKey) -> Option<String> {
        let zone = *self.state.local.zones.get(&key.in_port)?;
        let tuple = Tuple::of(key)?;
        let found = self.datapath.connection(zone, &tuple).ok()??;
        key.conn = found.says(&tuple, key.class.tcp);
        let idle = clock::now().since(found.used_at).as_secs();
        let what = match key.conn {
            Conn::None => "opens a new connection in place of one",
            Conn::Forward => "goes on in the direction of a connection",
            Conn::Return => "answers in a connection",
        };
        let state = found.state.name();
        Some(format!("the packet {what} that is {state}, idle for {idle} s"))
    }

    fn describe(&mut self, request: &WalkRequest) -> Result<Described, NoWalk> {
        let snapshot = Arc::clone(&self.state.snapshot);
        match describe(request, &snapshot, &self.state) {
            Ok(described) => Ok(described),
            Err(DescribeError::Load(keys)) => {
                for key in keys {
                    self.subscriptions.object(key);
                }
                Err(NoWalk::Loading)
            }
            // Who is behind a port is learned: the tables may be on their way still.
            Err(DescribeError::NoAddress { port, .. }) if self.loads_learned(port) => {
                Err(NoWalk::Loading)
            }
            Err(error) => Err(NoWalk::Invalid(error)),
        }
    }

    /// Whether what is learned of a port's bridge is not loaded yet; asks for it.
    fn loads_learned(&mut self, port: PortId) -> bool {
        let Lookup::Loaded(port) = self.state.snapshot.port(port) else { return false };
        let DeviceId::Bridge(bridge) = port.device() else { return false };
        self.subscriptions.object(bridge.into());
        let tables = [TableName::Mac(bridge), TableName::BridgeNeighbor(bridge)];
        !tables.iter().all(|table| self.state.tables.is_loaded(*table))
    }

    /// What the reader should know of a walk that begins at this port.
    fn notes(&self, port: PortId) -> Vec<String> {
        let mut notes = Vec::new();
        if self.number_of(port) == PortNo::NONE {
            notes.push("the packet's port is not active on this host".to_owned());
        }
        if let Some(since) = self.state.stale_since {
            let age = clock::now().since(since).as_secs();
            notes.push(format!("what this host knows is {age} s old"));
        }
        notes
    }

    /// The flow that is installed for the packet.
    fn installed(&self, key: &FlowKey, outcome: &Outcome) -> Option<InstalledFlow> {
        let Outcome::Decided(decision) = outcome else { return None };
        let mask = decision.mask | FlowMask::from(Field::InPort);
        self.datapath.flow(key, mask).ok().flatten()
    }

    /// The host a port is on.
    fn host_of(&self, port: PortId) -> Option<HostId> {
        if self.state.local.ports.contains_key(&port) {
            return Some(self.host.id);
        }
        self.state.tables.place(port).map(|place| place.host)
    }

    /// Where a port is, and how packets get there from the host `from`.
    fn place(&self, port: PortId, from: Option<HostId>) -> Place {
        let here = self.host.id;
        let to = self.host_of(port);
        let Some(host) = to.filter(|_| to != from) else { return Place { host: to, tunnel: None } };
        let key = if host == here {
            self.state.port_keys.get(&port).copied()
        } else {
            self.state.tables.place(port).map(|place| place.key)
        };
        // Each host is known here by its address towards this one, this one by that towards it.
        let address = |of: HostId, other: HostId| {
            let far = if of == here { other } else { of };
            let peer = self.state.peers.get(self.state.local.peers.get(&far)?)?;
            Some(if of == here { peer.local } else { peer.remote })
        };
        let from = from.unwrap_or(here);
        let (outer_src, outer_dst) = (address(from, host), address(host, from));
        let tunnel = key.map(|key| Tunnel { key: key.vni(), outer_src, outer_dst });
        Place { host: Some(host), tunnel }
    }
}

fn refused(error: NoWalk) -> Response {
    match error {
        NoWalk::Loading => {
            Response::Error { reason: "the topology could not be loaded in time".to_owned() }
        }
        NoWalk::Impossible(reason) => Response::Error { reason },
        NoWalk::Invalid(error) => {
            Response::Invalid { property: error.property().to_owned(), reason: error.to_string() }
        }
    }
}

impl Hints for State {
    fn macs_behind(&self, _: BridgeId, port: PortId) -> Vec<Mac> {
        self.tables.macs_on(port).collect()
    }

    fn addresses_of(&self, bridge: BridgeId, mac: Mac) -> Vec<IpAddr> {
        self.tables.addresses_of(bridge, mac)
    }

    fn mac_of(&self, bridge: BridgeId, addr: IpAddr) -> Option<Mac> {
        self.tables.bridge_neighbor(bridge, addr)
    }
}

fn installed(flow: &InstalledFlow) -> Installed<'_> {
    let idle = clock::now().since(flow.used_at).as_millis();
    Installed {
        cookie: flow.spec.cookie.0,
        actions: &flow.spec.actions,
        packets: flow.counters.packets,
        octets: flow.counters.octets,
        idle_ms: u64::try_from(idle).unwrap_or(u64::MAX),
    }
}
