//! Much to keep: memory and time by rules. By default a slice, with `MIDONET_LONG=1` a million.

use std::fmt::Write as _;
use std::time::Instant;

use mn_ids::{Class, ObjectKey, OnDelete, Reference};
use mn_nsdb::{Engine, Op, Selector, Store, Transaction, WatchEvent};
use mn_nsdb_embedded::open;
use uuid::Uuid;

const RULES_PER_CHAIN: u128 = 1000;

const fn chain(n: u128) -> ObjectKey {
    ObjectKey { class: Class::Chain, id: Uuid::from_u128(n) }
}

const fn group(n: u128) -> ObjectKey {
    ObjectKey { class: Class::IpAddrGroup, id: Uuid::from_u128(n) }
}

/// A chain with its rules, as the model stores it; every tenth rule names a group.
fn create(n: u128) -> Op {
    let mut json = format!(r#"{{"id":"{}","name":"tenant {n}","rules":["#, chain(n).id);
    let mut references = Vec::new();
    for rule in 0..RULES_PER_CHAIN {
        let comma = if rule == 0 { "" } else { "," };
        let id = Uuid::from_u128(n << 64 | rule);
        let port = 1024 + rule;
        write!(json, r#"{comma}{{"id":"{id}","condition":{{"nw_proto":6,"nw_src":"10.0.0.0/24","tp_dst":{{"start":{port},"end":{port}}}"#)
            .expect("strings take everything");
        if rule % 10 == 0 {
            let to = group(rule / 10);
            write!(json, r#","ip_addr_group_src":{{"is":"{}"}}"#, to.id).expect("likewise");
            let field = "rules.condition.ip_addr_group_src".to_owned();
            references.push(Reference { field, to, on_delete: OnDelete::Refuse });
        }
        json.push_str(r#"},"action":{"type":"accept"}}"#);
    }
    json.push_str("]}");
    Op::Create { key: chain(n), json, references }
}

/// Octets of this process's memory in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("it is a number") * 4096
}

async fn fill(engine: &Engine, chains: u128) -> usize {
    let plain = |n| Op::Create { key: group(n), json: "{}".to_owned(), references: Vec::new() };
    let ops = (0..RULES_PER_CHAIN / 10).map(plain).collect();
    engine.transact(Transaction { ops }).await.expect("nothing refuses this");
    let mut octets = 0;
    for n in 0..chains {
        let op = create(n);
        if let Op::Create { json, .. } = &op {
            octets += json.len();
        }
        engine.transact(Transaction { ops: vec![op] }).await.expect("nothing refuses this");
    }
    octets
}

/// Changes one chain, as somebody who watches them all sees it; how long that took.
async fn change_one(engine: &Engine) -> std::time::Duration {
    let mut watch = engine.watch().await.expect("watching works");
    watch.add(&[Selector::Class(Class::Chain)]).await.expect("watching works");
    watch.next().await.expect("the first picture");
    let stored = engine.get(chain(0)).await.expect("reading works").expect("it is there");
    let Op::Create { key, json, references } = create(0) else { panic!("not a creation") };
    let begun_at = Instant::now();
    let op = Op::Update { key, json, references, expected: stored.version };
    engine.transact(Transaction { ops: vec![op] }).await.expect("nothing refuses this");
    let Some(WatchEvent::Batch(batch)) = watch.next().await else { panic!("a batch comes") };
    assert_eq!(batch.changes.len(), 1);
    begun_at.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_time_are_those_of_the_documents() {
    let long = std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1");
    let chains = if long { 1000 } else { 20 };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("nsdb");
    let before = resident();
    let engine = open(&path).expect("it opens");
    let begun_at = Instant::now();
    let octets = fill(&engine, chains).await;
    let (filled, used) = (begun_at.elapsed(), resident() - before);
    let changed = change_one(&engine).await;
    engine.close().await;
    let begun_at = Instant::now();
    let engine = open(&path).expect("it opens again");
    let loaded = begun_at.elapsed();
    let chains_now = engine.list(Class::Chain).await.expect("reading works").len();
    println!(
        "{} rules, {} MB of documents: {} MB of memory; written in {filled:?}, one chain changed \
         in {changed:?}, loaded in {loaded:?}",
        chains * RULES_PER_CHAIN,
        octets >> 20,
        used >> 20,
    );
    assert_eq!(chains_now as u128, chains);
    // Page cache of the file and allocator included.
    assert!(used < octets * 2 + (64 << 20), "{used} octets of memory for {octets}");
    assert!(changed.as_millis() < 500, "changing one chain does not depend on the others");
}
