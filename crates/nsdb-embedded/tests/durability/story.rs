//! What happens to a database between crashes.

use std::time::Duration;

use mn_ids::{Class, HostId, ObjectKey, OnDelete, Reference};
use mn_nsdb::database::{Commit, Database};
use mn_nsdb::{Entry, Op, Owner, Revision, SessionId, TableId, TableKind, Transaction};
use mn_time::Instant;
use uuid::Uuid;

use crate::dice::Dice;

const fn key(class: Class, n: u64) -> ObjectKey {
    ObjectKey { class, id: Uuid::from_u128(n as u128) }
}

/// Does something random that is not refused.
pub fn next(database: &mut Database, dice: &mut Dice) -> Commit {
    loop {
        let commit = match dice.below(12) {
            0 => database.next_number("tunnel_key").1,
            1 => open_session(database, dice),
            kind => {
                let op = if kind == 2 { learn } else { change };
                let ops = (0..=dice.below(6)).map(|_| op(database, dice)).collect();
                database.transact(Transaction { ops }).unwrap_or_default()
            }
        };
        if !commit.writes.is_empty() {
            return commit;
        }
    }
}

fn open_session(database: &mut Database, dice: &mut Dice) -> Commit {
    let host = HostId::from_uuid(Uuid::from_u128(u128::from(dice.below(3))));
    let id = SessionId(Uuid::from_u128(u128::from(dice.next())));
    database.open_session(id, host, Duration::from_secs(9), Instant::ZERO).1
}

/// A MAC on a bridge, by a host that is alive or by hand.
fn learn(database: &Database, dice: &mut Dice) -> Op {
    let session = database.sessions().next();
    let owner = session.map_or(Owner::Persistent, |session| Owner::Host {
        id: session.host,
        epoch: session.epoch,
    });
    let table = TableId::of(TableKind::Mac, key(Class::Bridge, dice.below(5)));
    let (key, value) = (format!("0/{}", dice.below(4)), dice.next().to_string());
    Op::PutEntry { table, entry: Entry { key, value, owner, revision: Revision::ZERO } }
}

/// Makes, changes or deletes a bridge or a port; ports go with their bridge.
fn change(database: &Database, dice: &mut Dice) -> Op {
    let bridge = key(Class::Bridge, dice.below(5));
    let port = key(Class::Port, 100 + dice.below(20));
    let padding = "x".repeat(usize::try_from(dice.below(3000)).expect("small"));
    let (object, json, references) = if dice.below(3) == 0 {
        (bridge, format!(r#"{{"name":"{padding}"}}"#), Vec::new())
    } else {
        let field = "bridge_id".to_owned();
        let reference = Reference { field, to: bridge, on_delete: OnDelete::Cascade };
        let json = format!(r#"{{"bridge_id":"{}","x":"{padding}"}}"#, bridge.id);
        (port, json, vec![reference])
    };
    match database.get(object) {
        None => Op::Create { key: object, json, references },
        Some(_) if dice.below(4) == 0 => Op::Delete { key: object, expected: None },
        Some(stored) => Op::Update { key: object, json, references, expected: stored.version },
    }
}
