//! A packet's way through the topology, and that of the packet that answers it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use mn_flow::{Conn, FlowKey, PortNo, ScopedAddr, VirtualAction, extract};
use mn_ids::{BridgeId, L2InsertionId, PortId, RouterId};
use mn_packet::{Mac, VlanId, from_v6};
use mn_simulation::nat::{
    Endpoint, NatBinding, NatKey, NatKind, NatOrigin, Service, SourceChoice, SourceWanted,
};
use mn_simulation::walk::Walk;
use mn_simulation::{
    Buffers, Effect, Entry, Inputs, Known, NeighborState, Outcome, Packet, StateView, answer,
    simulate,
};
use mn_time::Instant;
use mn_topology::DeviceId;
use mn_topology::snapshot::Snapshot;

use crate::Described;

/// The way of one packet, from the port where it enters.
#[derive(Debug)]
pub struct Way {
    pub port: PortId,
    pub key: FlowKey,
    /// Its time to live as it enters, where it has one.
    pub ttl: Option<u8>,
    pub steps: Walk,
    pub outcome: Outcome,
    pub actions: Vec<VirtualAction>,
    /// What it would leave behind.
    pub effects: Vec<Effect>,
}

/// What a way depends on besides topology and state.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub now: Instant,
    /// As in [`Inputs`].
    pub seed: u64,
    pub mtu: u32,
}

impl Way {
    /// Simulates a packet whose headers are `key`; nothing comes of it but what is returned.
    pub fn go(
        snapshot: &Snapshot,
        state: &dyn StateView,
        setting: Setting,
        packet: &Described,
        key: FlowKey,
    ) -> Self {
        let Setting { now, seed, mtu } = setting;
        let inputs = Inputs { now, seed, mtu, entry: Entry::Ingress(packet.port) };
        let (mut buffers, mut steps) = (Buffers::default(), Walk::default());
        let walked = Packet { key, frame: &packet.frame, gso_size: 0 };
        let outcome = simulate(snapshot, state, &inputs, &walked, &mut buffers, Some(&mut steps));
        let Buffers { actions, effects, .. } = buffers;
        Self { port: packet.port, key, ttl: packet.ttl(), steps, outcome, actions, effects }
    }

    /// The packet that answers this one, as its receiver would send it.
    ///
    /// # Errors
    ///
    /// Why nothing answers it.
    pub fn answered(&self) -> Result<Answering, NoAnswer> {
        let Outcome::Decided(decision) = &self.outcome else { return Err(NoAnswer::Waits) };
        if decision.drop.is_some() {
            return Err(NoAnswer::Dropped);
        }
        let delivered = self.actions.iter().filter(|it| matches!(it, VirtualAction::Deliver(_)));
        match delivered.count() {
            0 => return Err(NoAnswer::ByDevice),
            1 => {}
            _ => return Err(NoAnswer::Flooded),
        }
        let answer = answer(&self.key, &self.actions).ok_or(NoAnswer::Kind)?;
        let packet = Described { port: answer.port, frame: answer.frame };
        let key = extract(&packet.frame, PortNo::NONE, None).map_err(|_| NoAnswer::Kind)?;
        let tracked = self.actions.contains(&VirtualAction::Track);
        let conn = match self.key.conn {
            Conn::Return => Conn::Forward,
            Conn::Forward => Conn::Return,
            Conn::None if tracked => Conn::Return,
            Conn::None => Conn::None,
        };
        Ok(Answering { packet, key: FlowKey { conn, ..key } })
    }

    /// What it would leave for its answer, a sentence each.
    #[must_use]
    pub fn leaves(&self) -> Vec<String> {
        let tracked = self.actions.contains(&VirtualAction::Track);
        let connection = match self.key.conn {
            Conn::None if tracked => Some("the packet before leaves a connection".to_owned()),
            Conn::None => None,
            Conn::Forward | Conn::Return => Some("it is of the connection above".to_owned()),
        };
        let translations = self.effects.iter().filter_map(|effect| match effect {
            Effect::Translate(binding) => Some(translation(binding)),
            _ => None,
        });
        connection.into_iter().chain(translations).collect()
    }
}

fn translation(binding: &NatBinding) -> String {
    let end = |end: Endpoint| SocketAddr::new(from_v6(end.addr), end.port);
    let (from, to) = (end(binding.key.tuple.end(binding.key.kind)), end(binding.to));
    let what = match binding.key.kind {
        NatKind::Source => "source",
        NatKind::Destination => "destination",
    };
    match binding.by {
        NatOrigin::Client { .. } => {
            let client = from_v6(binding.key.tuple.src);
            format!("the packet before ties the client {client} to its member")
        }
        NatOrigin::Rule { .. } | NatOrigin::Pool { .. } => {
            format!("the packet before leaves a translation: its {what} {from} became {to}")
        }
    }
}

/// A packet that answers another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answering {
    pub packet: Described,
    /// Its headers, with what the datapath would say of its connection. The port's number is the
    /// caller's to set.
    pub key: FlowKey,
}

/// Why a packet has no answer to walk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoAnswer {
    #[error("no answer is walked: the packet has to wait")]
    Waits,
    #[error("no answer is walked: the packet reaches nobody")]
    Dropped,
    #[error("no answer is walked: a virtual device answers by itself")]
    ByDevice,
    #[error("no answer is walked: the packet reaches several")]
    Flooded,
    #[error("no answer is walked: packets of this kind have none")]
    Kind,
}

/// The state that a packet would leave.
#[derive(Clone, Copy)]
pub struct After<'a> {
    state: &'a dyn StateView,
    effects: &'a [Effect],
}

impl<'a> After<'a> {
    /// The state after this way was gone.
    #[must_use]
    pub fn of(state: &'a dyn StateView, way: &'a Way) -> Self {
        Self { state, effects: &way.effects }
    }

    fn translated(&self, by: impl Fn(&NatBinding) -> bool) -> Option<NatBinding> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Translate(binding) if by(binding) => Some(*binding),
            _ => None,
        })
    }
}

impl StateView for After<'_> {
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId> {
        let learned = self.effects.iter().find_map(|effect| match *effect {
            Effect::LearnMac { bridge: at, vlan: of, mac: heard, port }
                if (at, of, heard) == (bridge, vlan, mac) =>
            {
                Some(port)
            }
            _ => None,
        });
        learned.map_or_else(|| self.state.mac(bridge, vlan, mac), Known::Is)
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        self.state.bridge_neighbor(bridge, addr)
    }

    fn neighbor(&self, router: RouterId, addr: ScopedAddr, now: Instant) -> NeighborState {
        self.state.neighbor(router, addr, now)
    }

    fn serves(&self, insertion: L2InsertionId) -> Known<bool> {
        self.state.serves(insertion)
    }

    fn nat_forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.translated(|it| it.key == *key).or_else(|| self.state.nat_forward(key))
    }

    fn nat_reverse(&self, key: &NatKey) -> Option<NatBinding> {
        self.translated(|it| it.answer() == *key).or_else(|| self.state.nat_reverse(key))
    }

    fn nat_has_ended(&self, key: &NatKey) -> bool {
        self.state.nat_has_ended(key)
    }

    fn is_balanced_to(&self, router: RouterId, member: Ipv6Addr) -> bool {
        let goes_there = |it: &NatBinding| {
            it.balanced().is_some_and(|[to, _]| {
                (to.device, to.end.addr) == (DeviceId::Router(router), member)
            })
        };
        self.translated(goes_there).is_some() || self.state.is_balanced_to(router, member)
    }

    fn connections_of_vip(&self, vip: &Service) -> u32 {
        self.state.connections_of_vip(vip)
    }

    fn connections_of_member(&self, member: &Service) -> u32 {
        self.state.connections_of_member(member)
    }

    fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        self.state.free_source(wanted)
    }
}
