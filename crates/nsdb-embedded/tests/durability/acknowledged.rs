//! The whole engine on a disk that crashes: several writers, a reader and a watcher at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mn_ids::{Class, ObjectKey};
use mn_nsdb::database::Database;
use mn_nsdb::{Change, Engine, Op, Revision, Selector, Store, Transaction, TxError, WatchEvent};
use uuid::Uuid;

use crate::dice::Dice;
use crate::disk::Disk;

/// What anybody was told: an answer, a read or a watch. (object, version)
type Told = Arc<Mutex<BTreeMap<ObjectKey, Revision>>>;

fn tell(told: &Told, key: ObjectKey, version: Revision) {
    told.lock().expect("nothing panics under this lock").insert(key, version);
}

async fn write(engine: Engine, told: Told, mut dice: Dice) {
    loop {
        let key = ObjectKey { class: Class::Bridge, id: Uuid::from_u128(dice.next().into()) };
        let json = format!(r#"{{"n":{}}}"#, dice.below(1000));
        let ops = vec![Op::Create { key, json, references: Vec::new() }];
        match engine.transact(Transaction { ops }).await {
            Ok(version) => tell(&told, key, version),
            Err(TxError::Undecided { .. } | TxError::Storage(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn read(engine: Engine, told: Told) {
    while let Ok(list) = engine.list(Class::Bridge).await {
        list.iter().for_each(|stored| tell(&told, stored.key, stored.version));
        tokio::task::yield_now().await;
    }
}

async fn watch(engine: Engine, told: Told) {
    let mut watch = engine.watch().await.expect("watching works");
    watch.add(&[Selector::Class(Class::Bridge)]).await.expect("watching works");
    drop(engine);
    while let Some(WatchEvent::Batch(batch)) = watch.next().await {
        for change in batch.changes {
            let Change::Object(change) = change else { continue };
            tell(&told, change.key, change.stored.expect("nothing is deleted").version);
        }
    }
}

/// Runs until the crash; everything anybody was told is there afterwards.
async fn crash(seed: u64) {
    let mut dice = Dice::new(seed);
    let disk = Disk::new(seed, true);
    let open = |disk: Disk| {
        mn_nsdb_embedded::open_on(disk, Path::new("test"), Database::GRACE_FOR).expect("it opens")
    };
    let engine = open(disk.clone());
    disk.crash_after(u32::try_from(dice.below(150)).expect("small"));
    let told = Told::default();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        tasks.spawn(write(engine.clone(), Arc::clone(&told), Dice::new(dice.next())));
    }
    tasks.spawn(read(engine.clone(), Arc::clone(&told)));
    tasks.spawn(watch(engine.clone(), Arc::clone(&told)));
    tasks.join_all().await;
    engine.close().await;
    let engine = open(disk.after_crash());
    let told = std::mem::take(&mut *told.lock().expect("nothing panics under this lock"));
    for (key, version) in told {
        let found = engine.get(key).await.expect("reading works").map(|stored| stored.version);
        assert_eq!(found, Some(version), "seed {seed}: {key}");
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_was_told_is_there_after_a_crash() {
    for seed in 0..crate::disks() {
        crash(seed).await;
    }
}

#[tokio::test]
async fn a_database_whose_disk_fails_says_so_and_answers_nothing_new() {
    let disk = Disk::new(7, true);
    let open = mn_nsdb_embedded::open_on(disk.clone(), Path::new("test"), Database::GRACE_FOR);
    let engine = open.expect("it opens");
    let make = |n| {
        let key = ObjectKey { class: Class::Bridge, id: Uuid::from_u128(n) };
        let ops = vec![Op::Create { key, json: "{}".to_owned(), references: Vec::new() }];
        engine.transact(Transaction { ops })
    };
    make(1).await.expect("the disk works");
    disk.crash_after(0);
    let error = make(2).await.expect_err("it was perhaps written");
    assert!(matches!(error, TxError::Undecided { .. }), "{error}");
    let error = make(3).await.expect_err("nothing can be written any more");
    assert!(matches!(error, TxError::Storage(_)), "{error}");
    engine.list(Class::Bridge).await.expect_err("what could be read may be lost");
}
