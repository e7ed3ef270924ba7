//! Learned state as a test has it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use mn_flow::ScopedAddr;
use mn_ids::{BridgeId, L2InsertionId, PortId, RouterId};
use mn_packet::{Mac, VlanId};
use mn_simulation::nat::{NatBinding, NatKey, Service, SourceChoice, SourceWanted};
use mn_simulation::{CheckKey, Effect, Known, NeighborState, StateView};
use mn_time::Instant;
use mn_topology::DeviceId;

use crate::Translations;

/// The tables of learned state, all loaded unless named in `unloaded`.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub macs: BTreeMap<(BridgeId, Option<VlanId>, Mac), PortId>,
    pub bridge_neighbors: BTreeMap<(BridgeId, IpAddr), Mac>,
    pub neighbors: BTreeMap<(RouterId, ScopedAddr), Mac>,
    /// Neighbours that did not answer.
    pub unreachable: BTreeSet<(RouterId, ScopedAddr)>,
    pub translations: Translations,
    /// Next hops of connections whose flows left.
    pub paths: BTreeMap<(RouterId, u64), u64>,
    /// Insertions whose inspecting machine is not there.
    pub away: BTreeSet<L2InsertionId>,
    /// Checks of members of pools that are under way.
    pub checks: HashSet<CheckKey>,
    /// Devices whose tables are not loaded.
    pub unloaded: BTreeSet<uuid::Uuid>,
}

impl Tables {
    /// Takes in what a walk taught; packets of our own are left out.
    pub fn learn(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::LearnMac { bridge, vlan, mac, port } => {
                    self.macs.insert((bridge, vlan, mac), port);
                }
                Effect::LearnBridgeNeighbor { bridge, addr, mac } => {
                    self.bridge_neighbors.insert((bridge, addr), mac);
                }
                Effect::LearnNeighbor { router, port, addr, mac } => {
                    self.neighbors.insert((router, ScopedAddr::on(port, addr)), mac);
                }
                Effect::Translate(binding) => self.translations.insert(binding),
                Effect::Segment { key, way, class } => self.translations.see(key, way, class),
                Effect::Emit { .. }
                | Effect::AddressClaimed { .. }
                | Effect::CheckAnswered { .. }
                | Effect::Heartbeat { .. } => {}
            }
        }
    }
}

impl StateView for Tables {
    fn is_checking(&self, key: &CheckKey) -> bool {
        self.checks.contains(key)
    }

    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId> {
        if self.unloaded.contains(&bridge.uuid()) {
            return Known::Unknown;
        }
        self.macs.get(&(bridge, vlan, mac)).map_or(Known::Absent, |port| Known::Is(*port))
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        if self.unloaded.contains(&bridge.uuid()) {
            return Known::Unknown;
        }
        self.bridge_neighbors.get(&(bridge, addr)).map_or(Known::Absent, |mac| Known::Is(*mac))
    }

    fn neighbor(&self, router: RouterId, addr: ScopedAddr, _now: Instant) -> NeighborState {
        if self.unloaded.contains(&router.uuid()) {
            return NeighborState::NotLoaded;
        }
        match self.neighbors.get(&(router, addr)) {
            Some(mac) => NeighborState::Known(*mac),
            None if self.unreachable.contains(&(router, addr)) => NeighborState::Unreachable,
            None => NeighborState::Unresolved,
        }
    }

    fn serves(&self, insertion: L2InsertionId) -> Known<bool> {
        Known::Is(!self.away.contains(&insertion))
    }

    fn path(&self, router: RouterId, flow: u64) -> Option<u64> {
        self.paths.get(&(router, flow)).copied()
    }

    fn has_paths(&self, router: RouterId) -> bool {
        self.paths.keys().any(|(of, _)| *of == router)
    }

    fn nat_forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.translations.forward(key)
    }

    fn nat_reverse(&self, key: &NatKey) -> Option<NatBinding> {
        self.translations.reverse(key)
    }

    fn nat_has_ended(&self, key: &NatKey) -> bool {
        self.translations.ended.contains(key)
    }

    fn is_balanced_to(&self, router: RouterId, member: Ipv6Addr) -> bool {
        let to =
            |[at, _]: &[Service; 2]| (at.device, at.end.addr) == (DeviceId::Router(router), member);
        self.translations.all.iter().filter_map(NatBinding::balanced).any(|it| to(&it))
    }

    fn connections_of_vip(&self, vip: &Service) -> u32 {
        self.translations.connections(|[_, came_to]| came_to == *vip)
    }

    fn connections_of_member(&self, member: &Service) -> u32 {
        self.translations.connections(|[went_to, _]| went_to == *member)
    }

    fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        self.translations.free_source(wanted)
    }
}
