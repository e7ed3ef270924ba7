//! Learned state as the state database has it, for walks without a host.

use std::collections::HashMap;
use std::net::IpAddr;

use mn_flow::ScopedAddr;
use mn_ids::{BridgeId, HostId, L2InsertionId, ObjectKey, PortId, RouterId};
use mn_nsdb::{Entry, ReadError, Store, TableId, TableKind, winner};
use mn_packet::{Mac, VlanId};
use mn_simulation::{Known, NeighborState, StateView};
use mn_time::Instant;
use mn_walk::Hints;
use serde_json::Value;

/// The tables of the devices that were asked for.
#[derive(Debug, Default)]
pub(super) struct Learned {
    tables: HashMap<TableId, HashMap<String, Value>>,
}

impl Learned {
    /// Loads the tables of a device.
    pub(super) async fn load(
        &mut self,
        store: &dyn Store,
        device: ObjectKey,
    ) -> Result<(), ReadError> {
        let kinds: &[TableKind] = match device.class {
            mn_ids::Class::Bridge => &[TableKind::Mac, TableKind::BridgeNeighbor],
            mn_ids::Class::Router => &[TableKind::Neighbor],
            mn_ids::Class::L2Insertion => &[TableKind::InsertionHealth],
            _ => &[],
        };
        for kind in kinds {
            let table = TableId::of(*kind, device);
            let entries = store.entries(table).await?;
            self.tables.insert(table, merged(entries));
        }
        Ok(())
    }

    /// Loads where ports are.
    pub(super) async fn load_locations(&mut self, store: &dyn Store) -> Result<(), ReadError> {
        let table = TableId::global(TableKind::Location);
        let entries = store.entries(table).await?;
        self.tables.insert(table, merged(entries));
        Ok(())
    }

    /// What a table says under a key.
    fn get(&self, table: TableId, key: &str) -> Known<&Value> {
        match self.tables.get(&table).map(|entries| entries.get(key)) {
            None => Known::Unknown,
            Some(None) => Known::Absent,
            Some(Some(value)) => Known::Is(value),
        }
    }

    /// The keys of a table and their values.
    fn rows(&self, kind: TableKind, device: ObjectKey) -> impl Iterator<Item = (&str, &Value)> {
        let table = self.tables.get(&TableId::of(kind, device));
        table.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// The host a port is on.
    pub(super) fn location(&self, port: PortId) -> Option<HostId> {
        match read(self.get(TableId::global(TableKind::Location), &port.to_string()), "host") {
            Known::Is(host) => Some(host),
            Known::Absent | Known::Unknown => None,
        }
    }

    /// The tunnel key a port has where it is.
    pub(super) fn tunnel_key(&self, port: PortId) -> Option<u32> {
        match self.get(TableId::global(TableKind::Location), &port.to_string()) {
            Known::Is(value) => value.get("tunnel_key")?.as_u64()?.try_into().ok(),
            Known::Absent | Known::Unknown => None,
        }
    }
}

/// Per key the entry that wins.
fn merged(entries: Vec<Entry>) -> HashMap<String, Value> {
    let mut by_key: HashMap<String, Vec<Entry>> = HashMap::new();
    for entry in entries {
        by_key.entry(entry.key.clone()).or_default().push(entry);
    }
    let won = by_key.into_iter().filter_map(|(key, entries)| {
        let entry = winner(&entries)?;
        Some((key, serde_json::from_str(&entry.value).ok()?))
    });
    won.collect()
}

fn read<T: std::str::FromStr>(value: Known<&Value>, member: &str) -> Known<T> {
    match value {
        Known::Unknown => Known::Unknown,
        Known::Absent => Known::Absent,
        Known::Is(value) => {
            let text = value.get(member).and_then(Value::as_str);
            text.and_then(|text| text.parse().ok()).map_or(Known::Absent, Known::Is)
        }
    }
}

impl StateView for Learned {
    fn mac(&self, bridge: BridgeId, vlan: Option<VlanId>, mac: Mac) -> Known<PortId> {
        let key = format!("{}/{mac}", vlan.map_or(0, VlanId::get));
        read(self.get(TableId::of(TableKind::Mac, bridge), &key), "port")
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        let table = TableId::of(TableKind::BridgeNeighbor, bridge);
        read(self.get(table, &addr.to_string()), "mac")
    }

    fn neighbor(&self, router: RouterId, addr: ScopedAddr, _now: Instant) -> NeighborState {
        let table = TableId::of(TableKind::Neighbor, router);
        match read(self.get(table, &addr.to_string()), "mac") {
            Known::Is(mac) => NeighborState::Known(mac),
            Known::Absent => NeighborState::Unresolved,
            Known::Unknown => NeighborState::NotLoaded,
        }
    }

    fn serves(&self, insertion: L2InsertionId) -> Known<bool> {
        let table = TableId::of(TableKind::InsertionHealth, insertion);
        let Some(rows) = self.tables.get(&table) else { return Known::Unknown };
        let Some(row) = rows.values().next() else { return Known::Absent };
        Known::Is(row.get("status").and_then(Value::as_str) == Some("ACTIVE"))
    }
}

impl Hints for Learned {
    fn macs_behind(&self, bridge: BridgeId, port: PortId) -> Vec<Mac> {
        let port = port.to_string();
        let here = |value: &Value| value.get("port").and_then(Value::as_str) == Some(&port);
        self.rows(TableKind::Mac, bridge.into())
            .filter(|(_, value)| here(value))
            .filter_map(|(key, _)| key.split_once('/')?.1.parse().ok())
            .collect()
    }

    fn addresses_of(&self, bridge: BridgeId, mac: Mac) -> Vec<IpAddr> {
        let mac = mac.to_string();
        let has = |value: &Value| value.get("mac").and_then(Value::as_str) == Some(&mac);
        self.rows(TableKind::BridgeNeighbor, bridge.into())
            .filter(|(_, value)| has(value))
            .filter_map(|(key, _)| key.parse().ok())
            .collect()
    }

    fn mac_of(&self, bridge: BridgeId, addr: IpAddr) -> Option<Mac> {
        match self.bridge_neighbor(bridge, addr) {
            Known::Is(mac) => Some(mac),
            Known::Absent | Known::Unknown => None,
        }
    }
}
