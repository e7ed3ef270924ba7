//! Questions to the agent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mn_agent_api::{Link, Request, Response, Status};
use mn_agent_core::{Means, NatTable, TableName, Translation, View, translate};
use mn_api_types::walk::{Walk as Document, WalkRequest};
use mn_datapath::{InstalledFlow, Tuple};
use mn_flow::{Conn, Field, FlowKey, FlowMask, PortNo, extract};
use mn_ids::{BridgeId, PortId};
use mn_packet::Mac;
use mn_simulation::walk::Walk;
use mn_simulation::{Buffers, Entry, Inputs, Outcome, Packet, simulate};
use mn_time::Instant;
use mn_topology::DeviceId;
use mn_topology::snapshot::Lookup;
use mn_walk::{
    DescribeError, Described, Hints, Installed, Names, Place, Story, Tunnel, describe, document,
};
use tokio::sync::oneshot;

use super::{Ask, Control, State};
use crate::clock;
use crate::worker::host_of;

/// How long a walk waits for topology that is being loaded.
const WALK_FOR: Duration = Duration::from_secs(3);

/// A walk that waits for topology.
pub(crate) struct PendingWalk {
    request: Box<WalkRequest>,
    reply: oneshot::Sender<Response>,
    until: Instant,
}

/// Why a walk has no document yet, or never.
enum NoWalk {
    Loading,
    /// The request describes no packet.
    Invalid(DescribeError),
    Impossible(String),
}

impl Control {
    pub(super) fn answer(&mut self, ask: Ask) {
        let response = match ask.request {
            Request::Status => Response::Status(self.status()),
            Request::Walk(request) => {
                let until = clock::now() + WALK_FOR;
                self.state.walks.push(PendingWalk { request, reply: ask.reply, until });
                return;
            }
            // The datapath answers these: see `Handle::ask`.
            Request::Flows { .. } | Request::Connections { .. } | Request::Counters => {
                Response::Error { reason: "the datapath is to be asked".to_owned() }
            }
        };
        // Whoever asked may have gone.
        drop(ask.reply.send(response));
    }

    fn status(&self) -> Status {
        let reports = || self.workers.iter().map(|worker| &worker.report);
        let state = &self.state;
        let link = match state.stale_since {
            None => Link::Connected,
            Some(since) => {
                let stale = clock::now().since(since).as_millis();
                Link::Stale { milliseconds: u64::try_from(stale).unwrap_or(u64::MAX) }
            }
        };
        Status {
            host: self.host.id,
            name: self.host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: state.epoch.unwrap_or(0),
            pid: std::process::id(),
            link,
            revision: state.revision,
            ports: state.attached.iter().map(|(name, at)| (name.clone(), at.port)).collect(),
            peers: state.peers.len(),
            tunnel_mtu: self.own_mtu().map(|_| state.local.mtu),
            flows: reports().map(|report| report.flows.get()).sum::<u64>() as usize,
            unverified: reports().map(|report| report.unverified.get()).sum::<u64>() as usize,
            adopted: reports().map(|report| report.adopted.get()).sum(),
            replaced: reports().map(|report| report.replaced.get()).sum(),
            adoption_ms: reports().map(|report| report.adoption_ms.get()).max().unwrap_or(0),
            waiting: reports().map(|report| report.waiting.get()).sum::<u64>() as usize,
        }
    }

    /// Tries the walks that wait: something may have been loaded for them.
    pub(super) fn go_on_with_walks(&mut self) {
        for walk in std::mem::take(&mut self.state.walks) {
            let reason = match self.walk(&walk.request) {
                Ok(document) => {
                    drop(walk.reply.send(Response::Walk(Box::new(document))));
                    continue;
                }
                Err(NoWalk::Loading) if clock::now() < walk.until => {
                    self.state.walks.push(walk);
                    continue;
                }
                Err(NoWalk::Loading) => "the topology could not be loaded in time".to_owned(),
                Err(NoWalk::Impossible(reason)) => reason,
                Err(NoWalk::Invalid(error)) => {
                    let property = error.property().to_owned();
                    let response = Response::Invalid { property, reason: error.to_string() };
                    drop(walk.reply.send(response));
                    continue;
                }
            };
            drop(walk.reply.send(Response::Error { reason }));
        }
    }

    /// Simulates the described packet with what this host knows. Nothing comes of it but the
    /// story, and that what is missing is loaded.
    fn walk(&mut self, request: &WalkRequest) -> Result<Document, NoWalk> {
        let described = self.describe(request)?;
        let number = self.state.local.ports.get(&described.port).copied().unwrap_or(PortNo::NONE);
        let mut key = extract(&described.frame, number, None)
            .map_err(|cause| NoWalk::Impossible(cause.description().to_owned()))?;
        let connection = self.connection(&mut key);
        let inputs = Inputs {
            now: clock::now(),
            seed: 0,
            entry: Entry::Ingress(described.port),
            mtu: self.state.local.mtu,
        };
        let packet = Packet { key, frame: &described.frame, gso_size: 0 };
        let translations = NatTable::default();
        let view = View {
            tables: &self.state.tables,
            neighbors: &self.neighbors,
            translations: &translations,
        };
        let (mut buffers, mut steps) = (Buffers::default(), Walk::default());
        let outcome =
            simulate(&self.state.snapshot, &view, &inputs, &packet, &mut buffers, Some(&mut steps));
        let mut translation = Translation::default();
        match &outcome {
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
                let drop = decision.drop;
                translate(&buffers.actions, number, drop, &means, &mut translation);
            }
        }
        if !translation.missing.is_empty() {
            for port in &translation.missing {
                self.subscriptions.place(*port);
            }
            return Err(NoWalk::Loading);
        }
        let flow = self.installed(&key, &outcome);
        Ok(document(&Story {
            names: Names::of(&self.state.snapshot),
            host: Some(self.host.id),
            notes: self.notes(number).into_iter().chain(connection).collect(),
            revision: self.state.revision,
            packet: key,
            ttl: described.ttl(),
            walk: &steps,
            outcome: &outcome,
            actions: &translation.actions,
            flow: flow.as_ref().map(installed),
            place: &|port| self.place(port),
        }))
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

    /// What the reader should know of this walk.
    fn notes(&self, number: PortNo) -> Vec<String> {
        let mut notes = Vec::new();
        if number == PortNo::NONE {
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

    fn place(&self, port: PortId) -> Place {
        if self.state.local.ports.contains_key(&port) {
            return Place { host: Some(self.host.id), tunnel: None };
        }
        let Some(place) = self.state.tables.place(port) else { return Place::default() };
        let peer = self.state.local.peers.get(&place.host);
        let addresses = peer.and_then(|index| self.state.peers.get(index));
        let tunnel = Tunnel {
            key: place.key.vni(),
            outer_src: addresses.map(|peer| peer.local),
            outer_dst: addresses.map(|peer| peer.remote),
        };
        Place { host: Some(place.host), tunnel: Some(tunnel) }
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
