//! Objects, entries and transactions on the wire.
//!
//! `From` into the generated types, `TryFrom` out of them: what comes from outside is checked here,
//! once.

use std::str::FromStr;
use std::time::Duration;

use mn_ids::{Class, HostId, ObjectKey, OnDelete, Reference};
use mn_nsdb::{
    Entry, EntryChange, ObjectChange, Op, Owner, Revision, Session, SessionId, Stored, TableId,
    TableKind, Transaction,
};
use uuid::Uuid;

use crate::v1;

/// A message that is not what its type should be. The peer speaks another version, or is no peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("the message lacks {0}")]
    Missing(&'static str),
    #[error("{what} of the message is wrong: {value:?}")]
    Wrong { what: &'static str, value: String },
}

/// A field that must be there.
pub(crate) fn need<T>(field: Option<T>, what: &'static str) -> Result<T, Malformed> {
    field.ok_or(Malformed::Missing(what))
}

fn wrong(what: &'static str, value: impl Into<String>) -> Malformed {
    Malformed::Wrong { what, value: value.into() }
}

impl From<Uuid> for v1::Uuid {
    fn from(uuid: Uuid) -> Self {
        Self { octets: uuid.as_bytes().to_vec() }
    }
}

impl TryFrom<v1::Uuid> for Uuid {
    type Error = Malformed;

    fn try_from(uuid: v1::Uuid) -> Result<Self, Malformed> {
        Self::from_slice(&uuid.octets).map_err(|error| wrong("a UUID", error.to_string()))
    }
}

/// Reads the name of a class.
pub(crate) fn class(name: &str) -> Result<Class, Malformed> {
    Class::from_str(name).map_err(|error| wrong("the class", error.0))
}

impl From<ObjectKey> for v1::Key {
    fn from(key: ObjectKey) -> Self {
        Self { class: key.class.name().to_owned(), id: Some(key.id.into()) }
    }
}

impl TryFrom<v1::Key> for ObjectKey {
    type Error = Malformed;

    fn try_from(key: v1::Key) -> Result<Self, Malformed> {
        Ok(Self { class: class(&key.class)?, id: need(key.id, "an id")?.try_into()? })
    }
}

impl From<Stored> for v1::Stored {
    fn from(stored: Stored) -> Self {
        Self {
            key: Some(stored.key.into()),
            json: stored.json.as_ref().to_owned(),
            created: stored.created.0,
            version: stored.version.0,
        }
    }
}

impl TryFrom<v1::Stored> for Stored {
    type Error = Malformed;

    fn try_from(stored: v1::Stored) -> Result<Self, Malformed> {
        Ok(Self {
            key: need(stored.key, "a key")?.try_into()?,
            json: stored.json.into(),
            created: Revision(stored.created),
            version: Revision(stored.version),
        })
    }
}

macro_rules! table_kinds {
    ($($kind:ident = $name:literal),* $(,)?) => {
        const fn table_kind_name(kind: TableKind) -> &'static str {
            match kind { $(TableKind::$kind => $name,)* }
        }

        fn table_kind(name: &str) -> Result<TableKind, Malformed> {
            match name {
                $($name => Ok(TableKind::$kind),)*
                _ => Err(wrong("the table", name)),
            }
        }
    };
}

table_kinds! {
    Mac = "mac",
    BridgeNeighbor = "bridge_neighbor",
    Neighbor = "neighbor",
    Location = "location",
    FloodGroup = "flood_group",
    HostReport = "host_report",
    RouterPorts = "router_ports",
    BridgePorts = "bridge_ports",
    ZoneSecret = "zone_secret",
    MemberHealth = "member_health",
    InsertionHealth = "insertion_health",
}

impl From<TableId> for v1::Table {
    fn from(table: TableId) -> Self {
        Self { kind: table_kind_name(table.kind).to_owned(), device: Some(table.device.into()) }
    }
}

impl TryFrom<v1::Table> for TableId {
    type Error = Malformed;

    fn try_from(table: v1::Table) -> Result<Self, Malformed> {
        let device = need(table.device, "a device")?.try_into()?;
        Ok(Self { kind: table_kind(&table.kind)?, device })
    }
}

impl From<Owner> for v1::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Persistent => Self { host: None, epoch: 0 },
            Owner::Host { id, epoch } => Self { host: Some(id.uuid().into()), epoch },
        }
    }
}

impl TryFrom<v1::Owner> for Owner {
    type Error = Malformed;

    fn try_from(owner: v1::Owner) -> Result<Self, Malformed> {
        Ok(match owner.host {
            None => Self::Persistent,
            Some(host) => {
                Self::Host { id: HostId::from_uuid(host.try_into()?), epoch: owner.epoch }
            }
        })
    }
}

impl From<Entry> for v1::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            owner: Some(entry.owner.into()),
            revision: entry.revision.0,
        }
    }
}

impl TryFrom<v1::Entry> for Entry {
    type Error = Malformed;

    fn try_from(entry: v1::Entry) -> Result<Self, Malformed> {
        Ok(Self {
            key: entry.key,
            value: entry.value,
            owner: need(entry.owner, "an owner")?.try_into()?,
            revision: Revision(entry.revision),
        })
    }
}

impl From<Reference> for v1::Reference {
    fn from(reference: Reference) -> Self {
        let on_delete = match reference.on_delete {
            OnDelete::Clear => "clear",
            OnDelete::Cascade => "cascade",
            OnDelete::Refuse => "refuse",
        };
        Self {
            field: reference.field,
            to: Some(reference.to.into()),
            on_delete: on_delete.to_owned(),
        }
    }
}

impl TryFrom<v1::Reference> for Reference {
    type Error = Malformed;

    fn try_from(reference: v1::Reference) -> Result<Self, Malformed> {
        let on_delete = match reference.on_delete.as_str() {
            "clear" => OnDelete::Clear,
            "cascade" => OnDelete::Cascade,
            "refuse" => OnDelete::Refuse,
            other => return Err(wrong("what deletion does", other)),
        };
        let to = need(reference.to, "a key")?.try_into()?;
        Ok(Self { field: reference.field, to, on_delete })
    }
}

fn document(
    key: ObjectKey,
    json: String,
    references: Vec<Reference>,
    expected: Revision,
) -> v1::Document {
    let references = references.into_iter().map(Into::into).collect();
    v1::Document { key: Some(key.into()), json, references, expected: expected.0 }
}

fn references(wire: Vec<v1::Reference>) -> Result<Vec<Reference>, Malformed> {
    wire.into_iter().map(TryInto::try_into).collect()
}

impl From<Op> for v1::Op {
    fn from(op: Op) -> Self {
        use v1::op::Op as Wire;
        let op = match op {
            Op::Create { key, json, references } => {
                Wire::Create(document(key, json, references, Revision::ZERO))
            }
            Op::Update { key, json, references, expected } => {
                Wire::Update(document(key, json, references, expected))
            }
            Op::Delete { key, expected } => Wire::Delete(v1::Delete {
                key: Some(key.into()),
                expected: expected.map(|revision| revision.0),
            }),
            Op::Check { key, expected } => {
                Wire::Check(v1::Check { key: Some(key.into()), expected: expected.0 })
            }
            Op::PutEntry { table, entry } => Wire::PutEntry(v1::PutEntry {
                table: Some(table.into()),
                entry: Some(entry.into()),
            }),
            Op::RemoveEntry { table, key, owner } => Wire::RemoveEntry(v1::RemoveEntry {
                table: Some(table.into()),
                key,
                owner: Some(owner.into()),
            }),
        };
        Self { op: Some(op) }
    }
}

impl TryFrom<v1::Op> for Op {
    type Error = Malformed;

    fn try_from(op: v1::Op) -> Result<Self, Malformed> {
        use v1::op::Op as Wire;
        Ok(match need(op.op, "an operation")? {
            Wire::Create(document) => Self::Create {
                key: need(document.key, "a key")?.try_into()?,
                json: document.json,
                references: references(document.references)?,
            },
            Wire::Update(document) => Self::Update {
                key: need(document.key, "a key")?.try_into()?,
                json: document.json,
                references: references(document.references)?,
                expected: Revision(document.expected),
            },
            Wire::Delete(delete) => Self::Delete {
                key: need(delete.key, "a key")?.try_into()?,
                expected: delete.expected.map(Revision),
            },
            Wire::Check(check) => Self::Check {
                key: need(check.key, "a key")?.try_into()?,
                expected: Revision(check.expected),
            },
            Wire::PutEntry(put) => Self::PutEntry {
                table: need(put.table, "a table")?.try_into()?,
                entry: need(put.entry, "an entry")?.try_into()?,
            },
            Wire::RemoveEntry(remove) => Self::RemoveEntry {
                table: need(remove.table, "a table")?.try_into()?,
                key: remove.key,
                owner: need(remove.owner, "an owner")?.try_into()?,
            },
        })
    }
}

impl From<Transaction> for v1::Transaction {
    fn from(transaction: Transaction) -> Self {
        Self { ops: transaction.ops.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::Transaction> for Transaction {
    type Error = Malformed;

    fn try_from(transaction: v1::Transaction) -> Result<Self, Malformed> {
        let ops = transaction.ops.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { ops })
    }
}

impl From<Session> for v1::Session {
    fn from(session: Session) -> Self {
        Self {
            id: Some(session.id.0.into()),
            host: Some(session.host.uuid().into()),
            epoch: session.epoch,
            ttl_ms: u64::try_from(session.ttl.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<v1::Session> for Session {
    type Error = Malformed;

    fn try_from(session: v1::Session) -> Result<Self, Malformed> {
        Ok(Self {
            id: SessionId(need(session.id, "an id")?.try_into()?),
            host: HostId::from_uuid(need(session.host, "a host")?.try_into()?),
            epoch: session.epoch,
            ttl: Duration::from_millis(session.ttl_ms),
        })
    }
}

impl From<ObjectChange> for v1::ObjectChange {
    fn from(change: ObjectChange) -> Self {
        Self { key: Some(change.key.into()), stored: change.stored.map(Into::into) }
    }
}

impl TryFrom<v1::ObjectChange> for ObjectChange {
    type Error = Malformed;

    fn try_from(change: v1::ObjectChange) -> Result<Self, Malformed> {
        let stored = change.stored.map(TryInto::try_into).transpose()?;
        Ok(Self { key: need(change.key, "a key")?.try_into()?, stored })
    }
}

impl From<EntryChange> for v1::EntryChange {
    fn from(change: EntryChange) -> Self {
        Self {
            table: Some(change.table.into()),
            key: change.key,
            owner: Some(change.owner.into()),
            entry: change.entry.map(Into::into),
        }
    }
}

impl TryFrom<v1::EntryChange> for EntryChange {
    type Error = Malformed;

    fn try_from(change: v1::EntryChange) -> Result<Self, Malformed> {
        Ok(Self {
            table: need(change.table, "a table")?.try_into()?,
            key: change.key,
            owner: need(change.owner, "an owner")?.try_into()?,
            entry: change.entry.map(TryInto::try_into).transpose()?,
        })
    }
}
