//! Which host checks a member.
//!
//! The one at whose port the member is: its answers come in there, and nowhere else. Every host
//! finds the same, since all walk the same topology with the same tables. Where no port is known to
//! be the member's, of the living hosts with a port on its network one by lot, the same for all: its
//! check asks for the member, and who answers is known from then on.

use std::net::IpAddr;

use mn_flow::{FlowKey, ScopedAddr, VirtualAction, mix};
use mn_ids::{BridgeId, HostId, ObjectKey, PoolMemberId, PortId, RouterId};
use mn_packet::{IpProtocol, Mac, VlanId, eth_type_of, to_v6};
use mn_simulation::{
    Buffers, Entry, Inputs, Known, NeighborState, Outcome, Packet, StateView, simulate,
};
use mn_time::Instant;
use mn_topology::PortKind;
use mn_topology::snapshot::{Lookup, Snapshot};

use super::Target;
use crate::{LocalView, MacPlace, StateTables, TableName};

/// Where a member is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Whereabouts {
    /// Behind this port.
    At(PortId),
    /// Behind one of these, perhaps.
    Among(Vec<PortId>),
    /// These are not loaded, without which it cannot be said.
    Load(Vec<ObjectKey>),
}

impl Whereabouts {
    /// The ports it may be behind.
    #[must_use]
    pub const fn ports(&self) -> &[PortId] {
        match self {
            Self::At(port) => std::slice::from_ref(port),
            Self::Among(ports) => ports.as_slice(),
            Self::Load(_) => &[],
        }
    }
}

/// Who may check members.
#[derive(Clone, Copy, Debug)]
pub struct Checkers<'a> {
    pub tables: &'a StateTables,
    pub local: &'a LocalView,
}

impl Checkers<'_> {
    /// The host that checks a member; `None`: no agent can.
    ///
    /// # Errors
    /// Of these ports it is not known where they are.
    pub fn of(
        &self,
        member: PoolMemberId,
        at: &Whereabouts,
    ) -> Result<Option<HostId>, Vec<PortId>> {
        let unknown = |port: &PortId| {
            !self.local.ports.contains_key(port)
                && !self.tables.is_loaded(TableName::Location(*port))
        };
        let missing: Vec<PortId> = at.ports().iter().copied().filter(unknown).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(match at {
            Whereabouts::At(port) => self.host(*port),
            Whereabouts::Among(ports) => {
                let hosts = ports.iter().filter_map(|port| self.host(*port));
                let alive =
                    |host: &HostId| *host == self.local.host || self.local.alive.contains(host);
                let lot = |host: &HostId| {
                    let drawn = mix(mix(0, member.uuid().as_u128()), host.uuid().as_u128());
                    (drawn, *host)
                };
                hosts.filter(alive).max_by_key(lot)
            }
            Whereabouts::Load(_) => None,
        })
    }

    fn host(&self, port: PortId) -> Option<HostId> {
        if self.local.ports.contains_key(&port) {
            return Some(self.local.host);
        }
        self.tables.place(port).map(|place| place.host)
    }
}

/// Where a packet from the router to the member goes; `out` is the router's port toward it.
#[must_use]
pub fn whereabouts(
    snapshot: &Snapshot,
    tables: &StateTables,
    (target, out): (&Target, PortId),
    buffers: &mut Buffers,
    now: Instant,
) -> Whereabouts {
    let key = FlowKey {
        eth_type: eth_type_of(target.address),
        nw_src: to_v6(target.own),
        nw_dst: to_v6(target.address),
        nw_proto: IpProtocol::TCP,
        tp_dst: target.port.get(),
        ..FlowKey::default()
    };
    let packet = Packet { key, frame: &[], gso_size: 0 };
    let inputs = Inputs { now, seed: 0, entry: Entry::Router(target.router), mtu: 0 };
    match simulate(snapshot, &Tables(tables), &inputs, &packet, buffers, None) {
        Outcome::Load(keys) => return Whereabouts::Load(keys),
        Outcome::AwaitNeighbor { .. } | Outcome::AwaitLease { .. } => {}
        Outcome::Decided(_) => {
            let port = |action: &VirtualAction| match action {
                VirtualAction::Deliver(port) => Some(*port),
                _ => None,
            };
            let ports: Vec<PortId> = buffers.actions.iter().filter_map(port).collect();
            match ports[..] {
                [] => {}
                [port] => return Whereabouts::At(port),
                [..] => return Whereabouts::Among(ports),
            }
        }
    }
    match network(snapshot, out) {
        Ok(ports) => Whereabouts::Among(ports),
        Err(missing) => Whereabouts::Load(vec![missing]),
    }
}

/// The ports of the network that a router's port is on; what is missing to say so.
fn network(snapshot: &Snapshot, out: PortId) -> Result<Vec<PortId>, ObjectKey> {
    let port = match snapshot.port(out) {
        Lookup::Loaded(port) => port,
        Lookup::Absent => return Ok(Vec::new()),
        Lookup::NotLoaded => return Err(out.into()),
    };
    if port.binding().is_some() {
        return Ok(vec![out]);
    }
    let Some(peer) = port.peer_id else { return Ok(Vec::new()) };
    let bridge_id = match snapshot.port(peer) {
        Lookup::Loaded(peer) => match peer.kind {
            PortKind::Bridge { bridge_id, .. } => bridge_id,
            _ => return Ok(Vec::new()),
        },
        Lookup::Absent => return Ok(Vec::new()),
        Lookup::NotLoaded => return Err(peer.into()),
    };
    match snapshot.bridge(bridge_id) {
        Lookup::Loaded(bridge) => Ok(bridge.ports().to_vec()),
        Lookup::Absent => Ok(Vec::new()),
        Lookup::NotLoaded => Err(bridge_id.into()),
    }
}

/// What the tables say, whoever asks: who is being asked for at the moment, and what was translated
/// here, must not decide who checks.
struct Tables<'a>(&'a StateTables);

impl Tables<'_> {
    fn known<T>(&self, found: Option<T>, table: TableName) -> Known<T> {
        match found {
            Some(value) => Known::Is(value),
            None if self.0.is_loaded(table) => Known::Absent,
            None => Known::Unknown,
        }
    }
}

impl StateView for Tables<'_> {
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId> {
        let found = self.0.mac_port(MacPlace { bridge, vlan, mac });
        self.known(found, TableName::Mac(bridge))
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        self.known(self.0.bridge_neighbor(bridge, addr), TableName::BridgeNeighbor(bridge))
    }

    fn neighbor(&self, router: RouterId, addr: ScopedAddr, _now: Instant) -> NeighborState {
        match self.0.neighbor(router, addr) {
            Some((mac, _)) => NeighborState::Known(mac),
            None if self.0.is_loaded(TableName::Neighbor(router)) => NeighborState::Unresolved,
            None => NeighborState::NotLoaded,
        }
    }
}
