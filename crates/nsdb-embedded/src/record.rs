//! What the file holds: one table of text keys and JSON values.
//!
//! ```text
//! object/CLASS/ID                     the object
//! entry/TABLE/DEVICE/OWNER/KEY        the entry; OWNER: persistent, or HOST.EPOCH
//! session/ID   epoch/HOST   sequence/NAME
//! meta/format  meta/revision  meta/digest
//! ```

use mn_ids::{HostId, ObjectKey};
use mn_nsdb::database::{Changed, Dump, EntryKey, Write};
use mn_nsdb::{Owner, SessionId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Damage;

/// A record's key and, unless it is to be removed, its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

impl Record {
    fn new<T: Serialize>(key: String, value: Option<&T>) -> Self {
        let json = |value| serde_json::to_vec(value).expect("the database's own types have JSON");
        Self { key, value: value.map(json) }
    }

    /// What a write leaves.
    pub(crate) fn of(write: &Write) -> Self {
        match write {
            Write::Object(Changed { key, after, .. }) => Self::new(object(*key), after.as_ref()),
            Write::Entry(Changed { key, after, .. }) => {
                let value = after.as_ref().map(|entry| (key.table, entry));
                Self::new(entry(key), value.as_ref())
            }
            Write::Session(Changed { key, after, .. }) => Self::new(session(*key), after.as_ref()),
            Write::Epoch(Changed { key, after, .. }) => {
                Self::new(epoch(*key), after.map(|last| (*key, last)).as_ref())
            }
            Write::Sequence(Changed { key, after, .. }) => {
                Self::new(sequence(key), after.map(|last| (key, last)).as_ref())
            }
        }
    }

    /// Every record of a dump.
    pub(crate) fn all(dump: &Dump) -> impl Iterator<Item = Self> {
        let objects = dump.objects.iter().map(|o| Self::new(object(o.stored.key), Some(o)));
        let entries = dump.entries.iter().map(|pair| {
            let (table, at) = pair;
            let key = EntryKey { table: *table, key: at.key.clone(), owner: at.owner };
            Self::new(entry(&key), Some(pair))
        });
        let sessions = dump.sessions.iter().map(|s| Self::new(session(s.id), Some(s)));
        let epochs = dump.epochs.iter().map(|pair| Self::new(epoch(*pair.0), Some(&pair)));
        let sequences = dump.sequences.iter().map(|pair| Self::new(sequence(pair.0), Some(&pair)));
        objects.chain(entries).chain(sessions).chain(epochs).chain(sequences)
    }
}

/// Adds a stored record to a dump.
pub(crate) fn read(dump: &mut Dump, key: &str, value: &[u8]) -> Result<(), Damage> {
    match key.split_once('/').map_or(key, |(kind, _)| kind) {
        "object" => dump.objects.push(parse(key, value)?),
        "entry" => dump.entries.push(parse(key, value)?),
        "session" => dump.sessions.push(parse(key, value)?),
        "epoch" => dump.epochs.extend([parse::<(HostId, u64)>(key, value)?]),
        "sequence" => dump.sequences.extend([parse::<(String, u64)>(key, value)?]),
        _ => return Err(Damage::Unknown(key.to_owned())),
    }
    Ok(())
}

pub(crate) fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(value).map_err(|source| Damage::Record { key: key.to_owned(), source })
}

fn object(key: ObjectKey) -> String {
    format!("object/{}/{}", key.class, key.id)
}

fn entry(EntryKey { table, key, owner }: &EntryKey) -> String {
    let kind = table.kind.name();
    match owner {
        Owner::Persistent => format!("entry/{kind}/{}/persistent/{key}", table.device),
        Owner::Host { id, epoch } => format!("entry/{kind}/{}/{id}.{epoch}/{key}", table.device),
    }
}

fn session(id: SessionId) -> String {
    format!("session/{}", id.0)
}

fn epoch(host: HostId) -> String {
    format!("epoch/{host}")
}

fn sequence(name: &str) -> String {
    format!("sequence/{name}")
}

/// A sum over all records, kept up to date as they change: what the file's own checksums do not
/// see, a record that is missing or another, changes it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) const fn add(&mut self, key: &str, value: &[u8]) {
        self.0 = self.0.wrapping_add(hash(key, value));
    }

    pub(crate) const fn remove(&mut self, key: &str, value: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(key, value));
    }
}

/// FNV-1a with 64 bits, of the key, an octet that no key has, and the value.
const fn hash(key: &str, value: &[u8]) -> u64 {
    let mut hash = step(0xcbf2_9ce4_8422_2325, key.as_bytes());
    hash = step(hash, &[0xff]);
    step(hash, value)
}

const fn step(mut hash: u64, octets: &[u8]) -> u64 {
    let mut at = 0;
    while at < octets.len() {
        hash = (hash ^ octets[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}
