//! This host's copy of the state tables, and how entries of several owners become one answer.

mod cell;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use mn_flow::{ScopedAddr, Tag, TunnelKey};
use mn_ids::{BridgeId, HostId, L2InsertionId, PoolId, PoolMemberId, PortId, RouterId};
use mn_packet::{Mac, VlanId};
use mn_topology::Health;
use mn_topology::snapshot::Verdict;

use crate::MacPlace;
use cell::Cell;
pub use view::View;

/// Who wrote an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// An operator.
    Persistent,
    /// A host's agent, in any of its lives.
    Host(HostId),
}

/// A table of which a copy can be loaded whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TableName {
    Mac(BridgeId),
    BridgeNeighbor(BridgeId),
    Neighbor(RouterId),
    /// The place of one port.
    Location(PortId),
    FloodGroup(BridgeId),
    MemberHealth(PoolId),
    InsertionHealth(L2InsertionId),
}

/// An entry's key and value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Row {
    Mac(MacPlace, Option<PortId>),
    BridgeNeighbor {
        bridge: BridgeId,
        addr: IpAddr,
        mac: Option<Mac>,
    },
    Neighbor {
        router: RouterId,
        addr: ScopedAddr,
        value: Option<(Mac, PortId)>,
    },
    Location(PortId, Option<Place>),
    /// What a host delivers a flood copy to.
    FloodGroup {
        bridge: BridgeId,
        host: HostId,
        value: Option<(TunnelKey, Box<[PortId]>)>,
    },
    /// What the checks of a pool's member came to.
    MemberHealth {
        pool: PoolId,
        member: PoolMemberId,
        health: Option<Health>,
    },
    /// Whether the inspecting machine of an insertion is there, behind this port.
    InsertionHealth {
        insertion: L2InsertionId,
        port: PortId,
        health: Option<Health>,
    },
}

/// One owner's entry as it is now; its value is `None` where it was removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RowChange {
    pub row: Row,
    pub owner: Owner,
    pub revision: u64,
}

/// Where a port is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    pub host: HostId,
    pub key: TunnelKey,
}

/// The copy that one thread reads.
///
/// Per key the learned entry with the highest revision wins, then the persistent one (contracts
/// §4). What this host has just learned wins over both until the table shows it: it acts at once.
#[derive(Clone, Debug, Default)]
pub struct StateTables {
    loaded: HashSet<TableName>,
    macs: HashMap<MacPlace, Cell<PortId>>,
    bridge_neighbors: HashMap<(BridgeId, IpAddr), Cell<Mac>>,
    neighbors: HashMap<(RouterId, ScopedAddr), Cell<(Mac, PortId)>>,
    locations: HashMap<PortId, Cell<Place>>,
    floods: HashMap<BridgeId, HashMap<HostId, Published>>,
    healths: HashMap<(PoolId, PoolMemberId), Cell<Health>>,
    insertions: HashMap<L2InsertionId, Cell<Health>>,
}

/// A flood group of another host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Published {
    pub(crate) key: TunnelKey,
    pub(crate) ports: Box<[PortId]>,
}

impl StateTables {
    /// The whole table has been shown: what it does not have is not there.
    pub fn complete(&mut self, table: TableName) {
        self.loaded.insert(table);
    }

    /// The tables are not watched any more: nothing is known of them. Adds what depended on them to
    /// `tags`: it would not hear of changes.
    pub fn forget(&mut self, tables: &[TableName], tags: &mut Vec<Tag>) {
        let (mut macs, mut bridge_neighbors, mut neighbors) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for table in tables {
            self.loaded.remove(table);
            match *table {
                TableName::Mac(bridge) => drop(macs.insert(bridge)),
                TableName::BridgeNeighbor(bridge) => drop(bridge_neighbors.insert(bridge)),
                TableName::Neighbor(router) => drop(neighbors.insert(router)),
                TableName::Location(port) => drop(self.locations.remove(&port)),
                TableName::FloodGroup(bridge) => drop(self.floods.remove(&bridge)),
                TableName::MemberHealth(pool) => self.healths.retain(|(of, _), _| *of != pool),
                TableName::InsertionHealth(id) => drop(self.insertions.remove(&id)),
            }
            tags.push(table.tag());
        }
        // Each map is gone through once, however many tables go.
        if !macs.is_empty() {
            self.macs.retain(|place, _| !macs.contains(&place.bridge));
        }
        if !bridge_neighbors.is_empty() {
            self.bridge_neighbors.retain(|(bridge, _), _| !bridge_neighbors.contains(bridge));
        }
        if !neighbors.is_empty() {
            self.neighbors.retain(|(router, _), _| !neighbors.contains(router));
        }
    }

    /// Whether the table has been shown whole.
    #[must_use]
    pub fn is_loaded(&self, table: TableName) -> bool {
        self.loaded.contains(&table)
    }

    /// Enters a change that the state database told; adds what it touches to `tags`.
    pub fn apply(&mut self, change: &RowChange, tags: &mut Vec<Tag>) {
        let (owner, revision) = (change.owner, change.revision);
        match &change.row {
            Row::Mac(place, port) => {
                if cell::set(&mut self.macs, *place, owner, revision, *port) {
                    tags.push(place.tag());
                }
            }
            Row::BridgeNeighbor { bridge, addr, mac } => {
                let key = (*bridge, *addr);
                if cell::set(&mut self.bridge_neighbors, key, owner, revision, *mac) {
                    tags.push(Tag::BridgeNeighbor { bridge: *bridge, addr: *addr });
                }
            }
            Row::Neighbor { router, addr, value } => {
                if cell::set(&mut self.neighbors, (*router, *addr), owner, revision, *value) {
                    tags.push(Tag::Neighbor { router: *router, addr: *addr });
                }
            }
            Row::Location(port, place) => {
                if cell::set(&mut self.locations, *port, owner, revision, *place) {
                    tags.push(Tag::Location(*port));
                }
            }
            Row::FloodGroup { bridge, host, value } => {
                let groups = self.floods.entry(*bridge).or_default();
                let before = match value {
                    Some((key, ports)) => {
                        groups.insert(*host, Published { key: *key, ports: ports.clone() })
                    }
                    None => groups.remove(host),
                };
                if before.as_ref() != groups.get(host) {
                    tags.push(Tag::Flood { bridge: *bridge, vlan: None });
                }
            }
            Row::MemberHealth { pool, member, health } => {
                if cell::set(&mut self.healths, (*pool, *member), owner, revision, *health) {
                    tags.push(Tag::Pool(*pool));
                }
            }
            Row::InsertionHealth { insertion, health, .. } => {
                if cell::set(&mut self.insertions, *insertion, owner, revision, *health) {
                    tags.push(Tag::L2Insertion(*insertion));
                }
            }
        }
    }

    /// Whether the inspecting machine of an insertion was there when its host last said so.
    #[must_use]
    pub fn insertion_health(&self, insertion: L2InsertionId) -> Option<Health> {
        self.insertions.get(&insertion)?.get()
    }

    /// What counts of the checks of a pool's member, for the snapshot.
    #[must_use]
    pub fn verdict(&self, pool: PoolId, member: PoolMemberId) -> Verdict {
        (pool, member, self.healths.get(&(pool, member)).and_then(Cell::get))
    }

    /// What a host has said of a pool's members, whether it counts or not.
    #[must_use]
    pub fn healths_of(&self, pool: PoolId, host: HostId) -> Vec<(PoolMemberId, Health)> {
        let of_pool = self.healths.iter().filter(|((of, _), _)| *of == pool);
        of_pool.filter_map(|((_, member), cell)| Some((*member, cell.of(host)?))).collect()
    }

    /// Whether another host spoke of a member after `host` did.
    #[must_use]
    pub fn lost_health(&self, pool: PoolId, member: PoolMemberId, host: HostId) -> bool {
        self.healths.get(&(pool, member)).is_some_and(|cell| cell.lost_by(host))
    }

    /// The members of these pools of whose checks something is known.
    pub fn checked_of(&self, pools: &[PoolId]) -> impl Iterator<Item = (PoolId, PoolMemberId)> {
        self.healths.keys().copied().filter(|(pool, _)| pools.contains(pool))
    }

    /// Learns where a MAC is, ahead of the table. Whether that is news here.
    pub fn learn_mac(&mut self, place: MacPlace, port: PortId, tags: &mut Vec<Tag>) -> bool {
        let news = cell::learn(&mut self.macs, place, port);
        if news {
            tags.push(place.tag());
        }
        news
    }

    /// Learns a neighbour of a bridge's network, ahead of the table. Whether that is news here.
    pub fn learn_bridge_neighbor(
        &mut self,
        bridge: BridgeId,
        addr: IpAddr,
        mac: Mac,
        tags: &mut Vec<Tag>,
    ) -> bool {
        let news = cell::learn(&mut self.bridge_neighbors, (bridge, addr), mac);
        if news {
            tags.push(Tag::BridgeNeighbor { bridge, addr });
        }
        news
    }

    /// Learns a neighbour of a router, ahead of the table. Whether that is news here.
    pub fn learn_neighbor(
        &mut self,
        router: RouterId,
        addr: ScopedAddr,
        value: (Mac, PortId),
        tags: &mut Vec<Tag>,
    ) -> bool {
        let news = cell::learn(&mut self.neighbors, (router, addr), value);
        if news {
            tags.push(Tag::Neighbor { router, addr });
        }
        news
    }

    /// A neighbour does not answer where it was learned: that holds no more, until it is learned
    /// anew. What an operator wrote holds on.
    pub fn refute_neighbor(&mut self, router: RouterId, addr: ScopedAddr, tags: &mut Vec<Tag>) {
        if cell::refute(&mut self.neighbors, (router, addr)) {
            tags.push(Tag::Neighbor { router, addr });
        }
    }

    /// Whether a neighbour is known by an operator's word: nobody needs to ask.
    #[must_use]
    pub fn is_static_neighbor(&self, router: RouterId, addr: ScopedAddr) -> bool {
        self.neighbors.get(&(router, addr)).is_some_and(Cell::is_static)
    }

    /// Gives up what was learned ahead of the table: it aged before the table showed it.
    pub fn unlearn_mac(&mut self, place: MacPlace, tags: &mut Vec<Tag>) {
        if cell::unlearn(&mut self.macs, place) {
            tags.push(place.tag());
        }
        for addr in self.addresses_of(place.bridge, place.mac) {
            if cell::unlearn(&mut self.bridge_neighbors, (place.bridge, addr)) {
                tags.push(Tag::BridgeNeighbor { bridge: place.bridge, addr });
            }
        }
    }

    /// Where a port is. `None`: nowhere, as far as is known; see [`Self::is_loaded`].
    #[must_use]
    pub fn place(&self, port: PortId) -> Option<Place> {
        self.locations.get(&port)?.get()
    }

    /// The learned entry another host wrote after `host` wrote its own, if that is so: `host` is
    /// to withdraw its own (contracts §4).
    #[must_use]
    pub fn lost_mac(&self, place: MacPlace, host: HostId) -> bool {
        self.macs.get(&place).is_some_and(|cell| cell.lost_by(host))
    }

    /// The MACs on a port, with the addresses its bridge's network knows of them.
    pub fn stations(&self, bridge: BridgeId, port: PortId) -> Vec<(Mac, IpAddr)> {
        let on_port = |mac| {
            let place = MacPlace { bridge, vlan: None, mac };
            self.macs.get(&place).and_then(Cell::get) == Some(port)
        };
        self.bridge_neighbors
            .iter()
            .filter(|((other, _), _)| *other == bridge)
            .filter_map(|((_, addr), cell)| Some((cell.get()?, *addr)))
            .filter(|(mac, _)| on_port(*mac))
            .collect()
    }

    /// Where a MAC is in a bridge's network, whatever the thread's view.
    #[must_use]
    pub fn mac_port(&self, place: MacPlace) -> Option<PortId> {
        self.macs.get(&place)?.get()
    }

    /// The untagged MACs that are on a port.
    pub fn macs_on(&self, port: PortId) -> impl Iterator<Item = Mac> + '_ {
        let here = self.macs.iter().filter(move |(_, cell)| cell.get() == Some(port));
        here.filter(|(place, _)| place.vlan.is_none()).map(|(place, _)| place.mac)
    }

    /// The addresses a MAC of a bridge's network has.
    #[must_use]
    pub fn addresses_of(&self, bridge: BridgeId, mac: Mac) -> Vec<IpAddr> {
        let known = self.bridge_neighbors.iter();
        let matching =
            known.filter(|((other, _), cell)| *other == bridge && cell.get() == Some(mac));
        matching.map(|((_, addr), _)| *addr).collect()
    }

    /// Every address of bridges' networks whose MAC is known.
    pub fn bridge_neighbors(&self) -> impl Iterator<Item = (BridgeId, IpAddr, Mac)> + '_ {
        let known = self.bridge_neighbors.iter();
        known.filter_map(|((bridge, addr), cell)| Some((*bridge, *addr, cell.get()?)))
    }

    /// The MAC a bridge's network has for an address.
    #[must_use]
    pub fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Option<Mac> {
        self.bridge_neighbors.get(&(bridge, addr))?.get()
    }

    /// The MAC of a router's neighbour and the port it is behind.
    #[must_use]
    pub fn neighbor(&self, router: RouterId, addr: ScopedAddr) -> Option<(Mac, PortId)> {
        self.neighbors.get(&(router, addr))?.get()
    }

    /// The flood groups of `host` on every loaded bridge.
    pub(crate) fn flood_groups(&self, host: HostId) -> impl Iterator<Item = &Published> {
        self.floods.values().filter_map(move |groups| groups.get(&host))
    }
}

impl TableName {
    /// What every flow carries that read the table.
    const fn tag(self) -> Tag {
        match self {
            Self::Mac(bridge) | Self::BridgeNeighbor(bridge) | Self::FloodGroup(bridge) => {
                Tag::Bridge(bridge)
            }
            Self::Neighbor(router) => Tag::Router(router),
            Self::Location(port) => Tag::Location(port),
            Self::MemberHealth(pool) => Tag::Pool(pool),
            Self::InsertionHealth(id) => Tag::L2Insertion(id),
        }
    }
}

impl MacPlace {
    fn tag(&self) -> Tag {
        Tag::Mac { bridge: self.bridge, vlan: self.vlan, mac: self.mac }
    }
}

/// The number a VLAN has in the keys of tables: 0 for none.
#[must_use]
pub fn vlan_number(vlan: Option<VlanId>) -> u16 {
    vlan.map_or(0, VlanId::get)
}
