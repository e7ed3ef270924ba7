//! Opening: a database, something else, or what is left of one; and backups.

use std::fs;
use std::path::{Path, PathBuf};

use mn_ids::{Class, HostId, ObjectKey};
use mn_nsdb::{Engine, Op, Store, Transaction};
use mn_nsdb_embedded::{BackupError, OpenError, back_up, open, restore};
use tempfile::TempDir;
use uuid::Uuid;

const fn bridge(n: u128) -> ObjectKey {
    ObjectKey { class: Class::Bridge, id: Uuid::from_u128(n) }
}

async fn fill(engine: &Engine, bridges: u128) {
    let create = |n| {
        let json = format!(r#"{{"name":"bridge {n}"}}"#);
        Op::Create { key: bridge(n), json, references: Vec::new() }
    };
    let ops = (0..bridges).map(create).collect();
    engine.transact(Transaction { ops }).await.expect("nothing refuses this");
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("nsdb");
    (directory, path)
}

fn refused(path: &Path) -> String {
    match open(path) {
        Ok(_) => panic!("this should not open"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn only_one_has_it_open() {
    let (_directory, path) = place();
    let engine = open(&path).expect("it opens");
    assert_eq!(refused(&path), format!("{} is in use by another process", path.display()));
    fill(&engine, 1).await;
    engine.close().await;
    let engine = open(&path).expect("it is free again");
    assert!(engine.get(bridge(0)).await.expect("reading works").is_some());
}

/// The lock of a file that is being made is another process's, too.
#[tokio::test]
async fn only_one_makes_it() {
    let (_directory, path) = place();
    let other = fs::File::create(path.with_extension("new")).expect("it is made");
    other.lock().expect("nobody else has it");
    assert!(refused(&path).contains("in use"));
    drop(other);
    open(&path).expect("the other one is gone");
    assert!(!path.with_extension("new").exists());
}

#[tokio::test]
async fn what_a_crash_left_of_a_new_file_is_made_anew() {
    let (_directory, path) = place();
    fs::write(path.with_extension("new"), vec![0x17; 5000]).expect("written");
    fs::write(&path, []).expect("written");
    let engine = open(&path).expect("an empty file is a new one");
    fill(&engine, 1).await;
}

#[tokio::test]
async fn another_program_s_file_is_left_alone() {
    let (_directory, path) = place();
    for content in [b"#!/bin/sh\necho hello\n".to_vec(), vec![0; 1 << 20], b"redb".to_vec()] {
        fs::write(&path, &content).expect("written");
        assert_eq!(refused(&path), format!("{} is no state database", path.display()));
        assert_eq!(fs::read(&path).expect("readable"), content);
    }
    fs::remove_file(&path).expect("it is there");
    let other = redb::Database::create(&path).expect("made");
    let transaction = other.begin_write().expect("nobody writes");
    transaction.open_table(redb::TableDefinition::<u32, u32>::new("theirs")).expect("made");
    transaction.commit().expect("committed");
    drop(other);
    assert!(refused(&path).contains(r#"another program's, with a table named "theirs""#));
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let (_directory, path) = place();
    open(&path).expect("it opens").close().await;
    let redb = redb::Database::open(&path).expect("it opens");
    let transaction = redb.begin_write().expect("nobody writes");
    let records = redb::TableDefinition::<&str, &[u8]>::new("records");
    let mut table = transaction.open_table(records).expect("it is there");
    table.insert("meta/format", b"2".as_slice()).expect("written");
    drop(table);
    transaction.commit().expect("committed");
    drop(redb);
    assert!(refused(&path).contains("was written by a later version (format 2)"));
}

/// Every kind of damage: one that goes unnoticed leaves everything as it was.
#[tokio::test]
async fn a_damaged_file_is_refused_or_whole() {
    let (_directory, path) = place();
    let engine = open(&path).expect("it opens");
    for _ in 0..3 {
        engine.open_session(HostId::random(), std::time::Duration::from_secs(9)).await.expect("ok");
    }
    fill(&engine, 300).await;
    let whole = engine.dump().await.expect("reading works");
    engine.close().await;
    let content = fs::read(&path).expect("readable");
    let mut refusals = 0;
    let step = content.len() / 150;
    for at in (0..content.len()).step_by(step) {
        let mut damaged = content.clone();
        match at / step % 3 {
            0 => damaged[at] ^= 0x10,
            1 => damaged[at..content.len().min(at + 700)].fill(0xa5),
            _ => damaged.truncate(at),
        }
        fs::write(&path, &damaged).expect("written");
        match open(&path) {
            Ok(engine) => {
                assert_eq!(engine.dump().await.expect("reading works"), whole, "octet {at}");
                engine.close().await;
            }
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::Io { .. }) => {
                refusals += 1;
            }
            Err(error) => panic!("octet {at}: {error}"),
        }
    }
    assert!(refusals > 40, "{refusals}");
}

#[tokio::test]
async fn a_backup_is_restored_whole_to_a_new_database() {
    let (directory, path) = place();
    let engine = open(&path).expect("it opens");
    fill(&engine, 20).await;
    assert_eq!(engine.next_number("tunnel_key").await.expect("a number"), 1);
    engine.open_session(HostId::random(), std::time::Duration::from_secs(9)).await.expect("ok");
    let (backup, copy) = (directory.path().join("backup.json"), directory.path().join("copy"));
    back_up(&engine, &backup).await.expect("it is written");
    restore(&backup, &copy).expect("it is restored");
    let restored = open(&copy).expect("it opens");
    let (one, two) = (engine.dump().await, restored.dump().await);
    assert_eq!(one.expect("reading works"), two.expect("reading works"));
    assert_eq!(restored.next_number("tunnel_key").await.expect("a number"), 2);
    let error = restore(&backup, &path).expect_err("there is a database");
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
}

#[tokio::test]
async fn a_backup_that_contradicts_itself_is_refused() {
    let (directory, path) = place();
    let backup = directory.path().join("backup.json");
    let texts = [
        "{",
        "{}",
        r#"{"backup_of":"midonet state database","format":9,"revision":0,"objects":[],"entries":[],"sessions":[],"epochs":{},"sequences":{}}"#,
        r#"{"backup_of":"midonet state database","format":1,"revision":1,"objects":[{"key":{"class":"port","id":"00000000-0000-0000-0000-000000000001"},"json":"{}","created":1,"version":1,"references":[{"field":"bridge_id","to":{"class":"bridge","id":"00000000-0000-0000-0000-000000000002"},"on_delete":"cascade"}]}],"entries":[],"sessions":[],"epochs":{},"sequences":{}}"#,
    ];
    for text in texts {
        fs::write(&backup, text).expect("written");
        let error = restore(&backup, &path).expect_err("this is no backup");
        assert!(matches!(error, BackupError::NoBackup { .. }), "{error}");
        assert!(!path.exists(), "nothing is made of it");
    }
}
