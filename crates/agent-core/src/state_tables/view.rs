//! What a simulation sees of the tables.

use std::net::{IpAddr, Ipv6Addr};

use mn_flow::ScopedAddr;
use mn_ids::{BridgeId, L2InsertionId, PortId, RouterId};
use mn_packet::{Mac, VlanId};
use mn_simulation::nat::{NatBinding, NatKey, Service, SourceChoice, SourceWanted};
use mn_simulation::{CheckKey, Known, NeighborState, StateView};
use mn_time::Instant;
use mn_topology::{DeviceId, Health};

use super::{StateTables, TableName};
use crate::health::Awaited;
use crate::{MacPlace, NatTable, Neighbors, Paths};

/// The tables, who does not answer, which addresses were translated, and which of several ways
/// connections took.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub tables: &'a StateTables,
    pub neighbors: &'a Neighbors,
    pub translations: &'a NatTable,
    pub paths: &'a Paths,
    /// The checks under way.
    pub checks: &'a Awaited,
}

impl View<'_> {
    fn known<T>(&self, found: Option<T>, table: TableName) -> Known<T> {
        match found {
            Some(value) => Known::Is(value),
            None if self.tables.is_loaded(table) => Known::Absent,
            None => Known::Unknown,
        }
    }
}

impl StateView for View<'_> {
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId> {
        let found = self.tables.mac_port(MacPlace { bridge, vlan, mac });
        self.known(found, TableName::Mac(bridge))
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        let found = self.tables.bridge_neighbor(bridge, addr);
        self.known(found, TableName::BridgeNeighbor(bridge))
    }

    fn neighbor(&self, router: RouterId, addr: ScopedAddr, now: Instant) -> NeighborState {
        if let Some((mac, _)) = self.tables.neighbor(router, addr) {
            return NeighborState::Known(mac);
        }
        if !self.tables.is_loaded(TableName::Neighbor(router)) {
            return NeighborState::NotLoaded;
        }
        if self.neighbors.is_silent(router, addr, now) {
            return NeighborState::Unreachable;
        }
        NeighborState::Unresolved
    }

    fn serves(&self, insertion: L2InsertionId) -> Known<bool> {
        let found = self.tables.insertion_health(insertion);
        let found = found.map(|health| health == Health::Active);
        self.known(found, TableName::InsertionHealth(insertion))
    }

    fn path(&self, router: RouterId, flow: u64) -> Option<u64> {
        self.paths.hop(router, flow)
    }

    fn has_paths(&self, router: RouterId) -> bool {
        self.paths.is_of(router)
    }

    fn is_checking(&self, key: &CheckKey) -> bool {
        self.checks.has(key)
    }

    fn nat_forward(&self, key: &NatKey) -> Option<NatBinding> {
        self.translations.forward(key)
    }

    fn nat_reverse(&self, key: &NatKey) -> Option<NatBinding> {
        self.translations.reverse(key)
    }

    fn nat_has_ended(&self, key: &NatKey) -> bool {
        self.translations.has_ended(key)
    }

    fn is_balanced_to(&self, router: RouterId, member: Ipv6Addr) -> bool {
        self.translations.is_balanced_to(DeviceId::Router(router), member)
    }

    fn connections_of_vip(&self, vip: &Service) -> u32 {
        self.translations.connections_of_vip(vip)
    }

    fn connections_of_member(&self, member: &Service) -> u32 {
        self.translations.connections_of_member(member)
    }

    fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        self.translations.free_source(wanted)
    }
}
