//! Transactions a second, and what a thousand watchers cost.
//!
//! Each line is the median of several runs. The file is in the system's directory for temporary
//! files: with `TMPDIR` on another disk it is that disk that is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mn_ids::{Class, ObjectKey, OnDelete, Reference};
use mn_nsdb::{Engine, Op, Revision, Selector, Store, Transaction, WatchEvent};
use mn_nsdb_embedded::open;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use uuid::Uuid;

const RUNS: usize = 5;
const PER_RUN: Duration = Duration::from_millis(600);

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    for writers in [1, 16, 128] {
        rate("memory", writers, &runtime, Engine::memory);
        let directory = tempfile::tempdir().expect("a directory");
        let mut n = 0;
        rate("embedded", writers, &runtime, || {
            n += 1;
            open(&directory.path().join(n.to_string())).expect("it opens")
        });
    }
    for watchers in [1, 100, 1000] {
        fan_out(watchers, &runtime);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Updates a second by writers that each change a port of their own, one after the other.
fn rate(name: &str, writers: u64, runtime: &Runtime, mut engine: impl FnMut() -> Engine) {
    let rates = (0..RUNS).map(|_| {
        runtime.block_on(async {
            let engine = engine();
            engine.transact(Transaction { ops: vec![bridge()] }).await.expect("not refused");
            let begun_at = Instant::now();
            let mut tasks = JoinSet::new();
            for writer in 0..writers {
                tasks.spawn(write(engine.clone(), writer, begun_at + PER_RUN));
            }
            let done: u64 = tasks.join_all().await.into_iter().sum();
            let rate = done as f64 / begun_at.elapsed().as_secs_f64();
            engine.close().await;
            rate
        })
    });
    println!("{name:9} {writers:4} writers  {:10.0} transactions/s", median(rates.collect()));
}

fn bridge() -> Op {
    let key = ObjectKey { class: Class::Bridge, id: Uuid::nil() };
    Op::Create { key, json: "{}".to_owned(), references: Vec::new() }
}

/// A port as the model stores it.
fn port(n: u64, version: Option<Revision>) -> Op {
    let key = ObjectKey { class: Class::Port, id: Uuid::from_u128(n.into()) };
    let to = ObjectKey { class: Class::Bridge, id: Uuid::nil() };
    let json = format!(
        r#"{{"id":"{}","type":"bridge","bridge_id":"{}","vlan_id":0,"admin_state_up":true,"tunnel_key":{n}}}"#,
        key.id, to.id
    );
    let field = "bridge_id".to_owned();
    let references = vec![Reference { field, to, on_delete: OnDelete::Cascade }];
    match version {
        None => Op::Create { key, json, references },
        Some(expected) => Op::Update { key, json, references, expected },
    }
}

async fn write(engine: Engine, n: u64, until: Instant) -> u64 {
    let (mut version, mut done) = (None, 0);
    while Instant::now() < until {
        let ops = vec![port(n, version)];
        version = Some(engine.transact(Transaction { ops }).await.expect("not refused"));
        done += 1;
    }
    done
}

/// How long a change takes until every watcher has it.
fn fan_out(watchers: u32, runtime: &Runtime) {
    const CHANGES: u32 = 50;
    let times = (0..RUNS).map(|_| {
        runtime.block_on(async {
            let engine = Engine::memory();
            engine.transact(Transaction { ops: vec![bridge()] }).await.expect("not refused");
            let ready = Arc::new(tokio::sync::Semaphore::new(0));
            let mut tasks = JoinSet::new();
            for _ in 0..watchers {
                tasks.spawn(follow(engine.clone(), Arc::clone(&ready)));
            }
            let wait = async || ready.acquire_many(watchers).await.expect("open").forget();
            wait().await;
            let (mut version, begun_at) = (None, Instant::now());
            for _ in 0..CHANGES {
                let ops = vec![port(1, version)];
                version = Some(engine.transact(Transaction { ops }).await.expect("not refused"));
                wait().await;
            }
            let each = begun_at.elapsed().as_secs_f64() / f64::from(CHANGES);
            tasks.abort_all();
            each * 1e6
        })
    });
    println!("{watchers:4} watchers: {:8.1} µs until all have a change", median(times.collect()));
}

async fn follow(engine: Engine, ready: Arc<tokio::sync::Semaphore>) {
    let mut watch = engine.watch().await.expect("watching works");
    watch.add(&[Selector::Class(Class::Port)]).await.expect("watching works");
    while let Some(WatchEvent::Batch(_)) = watch.next().await {
        ready.add_permits(1);
    }
}
