//! Entries of the state tables as the state database has them, and as the agent means them.

use std::net::IpAddr;

use mn_agent_core::{MacPlace, Owner, Place, Row, RowChange, TableName, vlan_number};
use mn_flow::TunnelKey;
use mn_ids::{BridgeId, HostId, Id, PoolId, PortId, RouterId};
use mn_nsdb::{EntryChange, Selector, TableId, TableKind};
use mn_packet::{Mac, VlanId};
use mn_topology::Health;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Deserialize, Serialize)]
struct MacValue {
    port: PortId,
}

#[derive(Deserialize, Serialize)]
struct BridgeNeighborValue {
    mac: Mac,
}

#[derive(Deserialize, Serialize)]
struct NeighborValue {
    mac: Mac,
    port: PortId,
}

#[derive(Deserialize, Serialize)]
struct LocationValue {
    host: HostId,
    tunnel_key: u32,
    epoch: u64,
}

#[derive(Deserialize, Serialize)]
struct HealthValue {
    status: Health,
}

#[derive(Deserialize, Serialize)]
struct FloodValue {
    tunnel_key: u32,
    ports: Vec<PortId>,
}

/// Why an entry means nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("the key {0:?} is not one of this table")]
    Key(String),
    #[error("the value of {key:?} cannot be read")]
    Value { key: String, source: serde_json::Error },
    #[error("the tunnel key {0:#x} is none")]
    TunnelKey(u32),
}

/// What a change of an entry means; `None` for tables that are not about forwarding.
pub(crate) fn decode(change: &EntryChange) -> Result<Option<RowChange>, RowError> {
    let value = change.entry.as_ref().map(|entry| entry.value.as_str());
    let key = change.key.as_str();
    let device = change.table.device;
    let row = match change.table.kind {
        TableKind::Mac => {
            let place = mac_place(device, key)?;
            Row::Mac(place, read::<MacValue>(key, value)?.map(|value| value.port))
        }
        TableKind::BridgeNeighbor => Row::BridgeNeighbor {
            bridge: Id::from_uuid(device),
            addr: addr(key)?,
            mac: read::<BridgeNeighborValue>(key, value)?.map(|value| value.mac),
        },
        TableKind::Neighbor => Row::Neighbor {
            router: Id::from_uuid(device),
            addr: key.parse().map_err(|_| RowError::Key(key.to_owned()))?,
            value: read::<NeighborValue>(key, value)?.map(|value| (value.mac, value.port)),
        },
        TableKind::Location => {
            let place = match read::<LocationValue>(key, value)? {
                Some(value) => Some(Place { host: value.host, key: tunnel_key(value.tunnel_key)? }),
                None => None,
            };
            Row::Location(key.parse().map_err(|_| RowError::Key(key.to_owned()))?, place)
        }
        TableKind::FloodGroup => flood_row(device, key, value)?,
        TableKind::MemberHealth => Row::MemberHealth {
            pool: Id::from_uuid(device),
            member: key.parse().map_err(|_| RowError::Key(key.to_owned()))?,
            health: read::<HealthValue>(key, value)?.map(|value| value.status),
        },
        TableKind::InsertionHealth => Row::InsertionHealth {
            insertion: Id::from_uuid(device),
            port: key.parse().map_err(|_| RowError::Key(key.to_owned()))?,
            health: read::<HealthValue>(key, value)?.map(|value| value.status),
        },
        TableKind::HostReport
        | TableKind::RouterPorts
        | TableKind::BridgePorts
        | TableKind::ZoneSecret => return Ok(None),
    };
    let owner = match change.owner {
        mn_nsdb::Owner::Persistent => Owner::Persistent,
        mn_nsdb::Owner::Host { id, .. } => Owner::Host(id),
    };
    let revision = change.entry.as_ref().map_or(0, |entry| entry.revision.0);
    Ok(Some(RowChange { row, owner, revision }))
}

fn flood_row(device: Uuid, key: &str, value: Option<&str>) -> Result<Row, RowError> {
    let wrong = || RowError::Key(key.to_owned());
    let (_, host) = key.split_once('/').ok_or_else(wrong)?;
    let host = host.parse().map_err(|_| wrong())?;
    let value = match read::<FloodValue>(key, value)? {
        Some(value) => Some((tunnel_key(value.tunnel_key)?, value.ports.into())),
        None => None,
    };
    Ok(Row::FloodGroup { bridge: Id::from_uuid(device), host, value })
}

fn read<'a, T: Deserialize<'a>>(key: &str, value: Option<&'a str>) -> Result<Option<T>, RowError> {
    value
        .map(serde_json::from_str)
        .transpose()
        .map_err(|source| RowError::Value { key: key.to_owned(), source })
}

fn addr(key: &str) -> Result<IpAddr, RowError> {
    key.parse().map_err(|_| RowError::Key(key.to_owned()))
}

fn mac_place(bridge: Uuid, key: &str) -> Result<MacPlace, RowError> {
    let wrong = || RowError::Key(key.to_owned());
    let (vlan, mac) = key.split_once('/').ok_or_else(wrong)?;
    let vlan = match vlan.parse::<u16>().map_err(|_| wrong())? {
        0 => None,
        number => Some(VlanId::try_from(number).map_err(|_| wrong())?),
    };
    Ok(MacPlace { bridge: Id::from_uuid(bridge), vlan, mac: mac.parse().map_err(|_| wrong())? })
}

fn tunnel_key(vni: u32) -> Result<TunnelKey, RowError> {
    TunnelKey::from_vni(vni).map(|(key, _)| key).ok_or(RowError::TunnelKey(vni))
}

/// Where a row is kept: its table and key.
pub(crate) fn place_of(row: &Row) -> (TableId, String) {
    match row {
        Row::Mac(place, _) => (
            TableId::of(TableKind::Mac, place.bridge),
            format!("{}/{}", vlan_number(place.vlan), place.mac),
        ),
        Row::BridgeNeighbor { bridge, addr, .. } => {
            (TableId::of(TableKind::BridgeNeighbor, *bridge), addr.to_string())
        }
        Row::Neighbor { router, addr, .. } => {
            (TableId::of(TableKind::Neighbor, *router), addr.to_string())
        }
        Row::Location(port, _) => (TableId::global(TableKind::Location), port.to_string()),
        Row::FloodGroup { bridge, host, .. } => {
            (TableId::of(TableKind::FloodGroup, *bridge), format!("0/{host}"))
        }
        Row::MemberHealth { pool, member, .. } => {
            (TableId::of(TableKind::MemberHealth, *pool), member.to_string())
        }
        Row::InsertionHealth { insertion, port, .. } => {
            (TableId::of(TableKind::InsertionHealth, *insertion), port.to_string())
        }
    }
}

/// A row's value as it is stored; `None` where it says "removed".
pub(crate) fn value_of(row: &Row, epoch: u64) -> Option<String> {
    let json = match row {
        Row::Mac(_, port) => serde_json::to_string(&MacValue { port: (*port)? }),
        Row::BridgeNeighbor { mac, .. } => {
            serde_json::to_string(&BridgeNeighborValue { mac: (*mac)? })
        }
        Row::Neighbor { value, .. } => {
            let (mac, port) = (*value)?;
            serde_json::to_string(&NeighborValue { mac, port })
        }
        Row::Location(_, place) => {
            let Place { host, key } = (*place)?;
            serde_json::to_string(&LocationValue { host, tunnel_key: key.vni(), epoch })
        }
        Row::FloodGroup { value, .. } => {
            let (key, ports) = value.as_ref()?;
            let value = FloodValue { tunnel_key: key.vni(), ports: ports.to_vec() };
            serde_json::to_string(&value)
        }
        Row::MemberHealth { health, .. } | Row::InsertionHealth { health, .. } => {
            serde_json::to_string(&HealthValue { status: (*health)? })
        }
    };
    Some(json.expect("identifiers, addresses and numbers can be written as JSON"))
}

/// The table a selector shows whole.
pub(crate) fn table_of(selector: &Selector) -> Option<TableName> {
    match *selector {
        Selector::Table(TableId { kind, device }) => Some(match kind {
            TableKind::Mac => TableName::Mac(BridgeId::from_uuid(device)),
            TableKind::BridgeNeighbor => TableName::BridgeNeighbor(BridgeId::from_uuid(device)),
            TableKind::Neighbor => TableName::Neighbor(RouterId::from_uuid(device)),
            TableKind::FloodGroup => TableName::FloodGroup(BridgeId::from_uuid(device)),
            TableKind::MemberHealth => TableName::MemberHealth(PoolId::from_uuid(device)),
            TableKind::InsertionHealth => TableName::InsertionHealth(Id::from_uuid(device)),
            TableKind::Location
            | TableKind::HostReport
            | TableKind::RouterPorts
            | TableKind::BridgePorts
            | TableKind::ZoneSecret => return None,
        }),
        Selector::Entry { table: TableId { kind: TableKind::Location, .. }, key } => {
            Some(TableName::Location(PortId::from_uuid(key)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mn_agent_core::StateTables;
    use mn_flow::{KeyKind, ScopedAddr};
    use mn_nsdb::{Entry, Revision};

    use super::*;

    #[test]
    fn every_row_reads_back_as_it_was_written() {
        let (host, mac) = (Id::random(), Mac([2, 0, 0, 0, 0, 7]));
        let key = TunnelKey::new(KeyKind::Group, 77).unwrap();
        let vlan = Some(VlanId::try_from(12).unwrap());
        let addr: IpAddr = "2001:db8::7".parse().unwrap();
        let rows = [
            Row::Mac(MacPlace { bridge: Id::random(), vlan, mac }, Some(Id::random())),
            Row::BridgeNeighbor { bridge: Id::random(), addr, mac: Some(mac) },
            Row::Neighbor {
                router: Id::random(),
                addr: ScopedAddr::on(Id::random(), addr),
                value: Some((mac, Id::random())),
            },
            Row::Neighbor {
                router: Id::random(),
                addr: ScopedAddr::on(Id::random(), "fe80::7".parse().unwrap()),
                value: Some((mac, Id::random())),
            },
            Row::Location(Id::random(), Some(Place { host, key })),
            Row::FloodGroup {
                bridge: Id::random(),
                host,
                value: Some((key, Box::new([Id::random(), Id::random()]))),
            },
            Row::MemberHealth {
                pool: Id::random(),
                member: Id::random(),
                health: Some(Health::Inactive),
            },
            Row::InsertionHealth {
                insertion: Id::random(),
                port: Id::random(),
                health: Some(Health::Active),
            },
        ];
        for row in rows {
            let (table, key) = place_of(&row);
            let owner = mn_nsdb::Owner::Host { id: host, epoch: 3 };
            let value = value_of(&row, 3).unwrap();
            let entry = Entry { key: key.clone(), value, owner, revision: Revision(9) };
            let change = EntryChange { table, key, owner, entry: Some(entry) };
            let expected = RowChange { row, owner: Owner::Host(host), revision: 9 };
            assert_eq!(decode(&change).unwrap(), Some(expected));
        }
    }

    #[test]
    fn a_key_or_value_that_means_nothing_is_refused_with_what_it_was() {
        let change = |key: &str, value: &str| EntryChange {
            table: TableId { kind: TableKind::Mac, device: Uuid::nil() },
            key: key.to_owned(),
            owner: mn_nsdb::Owner::Persistent,
            entry: Some(Entry {
                key: key.to_owned(),
                value: value.to_owned(),
                owner: mn_nsdb::Owner::Persistent,
                revision: Revision::ZERO,
            }),
        };
        for wrong in ["02:00:00:00:00:01", "5000/02:00:00:00:00:01", "x/02:00:00:00:00:01", "0/2"] {
            assert!(matches!(decode(&change(wrong, "{}")), Err(RowError::Key(_))), "{wrong}");
        }
        let value = decode(&change("0/02:00:00:00:00:01", "{}"));
        assert!(matches!(value, Err(RowError::Value { .. })));
    }

    /// `mn_nsdb::winner` is the rule for who has stored entries; agents merge changes as they
    /// come, in a crate that knows no database. Both must come to the same.
    #[test]
    fn agents_merge_the_entries_of_a_key_as_the_state_database_says() {
        let hosts: [HostId; 3] = std::array::from_fn(|_| Id::random());
        let place = MacPlace { bridge: Id::random(), vlan: None, mac: Mac([2, 0, 0, 0, 0, 7]) };
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut tables = StateTables::default();
        let mut stored: Vec<Entry> = Vec::new();
        for revision in 1..2000 {
            let owner = match next(4) as usize {
                3 => mn_nsdb::Owner::Persistent,
                host => mn_nsdb::Owner::Host { id: hosts[host], epoch: 1 },
            };
            let port = (next(3) > 0).then(Id::random);
            let (table, key) = place_of(&Row::Mac(place, port));
            let value = value_of(&Row::Mac(place, port), 1);
            let entry = value.map(|value| Entry {
                key: key.clone(),
                value,
                owner,
                revision: Revision(revision),
            });
            stored.retain(|other| other.owner != owner);
            stored.extend(entry.clone());
            let change = EntryChange { table, key, owner, entry };
            tables.apply(&decode(&change).unwrap().unwrap(), &mut Vec::new());
            let read = |entry: &Entry| serde_json::from_str::<MacValue>(&entry.value).unwrap().port;
            assert_eq!(tables.mac_port(place), mn_nsdb::winner(&stored).map(read));
        }
    }
}
