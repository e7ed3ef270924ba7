//! Many at once, and much at once.

use std::collections::BTreeMap;

use mn_ids::Class;
use serde_json::json;
use tokio::task::JoinSet;

use super::Fixture;
use super::scene::{Scene, bridge, delete, plain, port, port_of, update};
use super::watch::follow;
use crate::{Selector, Transaction, TxError};

pub async fn of_concurrent_updates_one_wins(fixture: impl Fixture) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 20;
    let scene = Scene::of(&fixture).await;
    scene.make([super::scene::create(bridge(1), &json!({"n": 0}), &[])]).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let scene = Scene { store: fixture.store().await };
        writers.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let version = scene.version(bridge(1)).await;
                let stored = scene.get(bridge(1)).await.expect("it is there");
                let n = stored.json.trim_matches(|c: char| !c.is_ascii_digit());
                let n: u64 = n.parse().expect("a number");
                let ops = vec![update(bridge(1), &json!({"n": n + 1}), &[], version)];
                match scene.store.transact(Transaction { ops }).await {
                    Ok(_) => done += 1,
                    Err(TxError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(scene.json(bridge(1)).await, json!({"n": WRITERS * EACH}), "none was lost");
}

pub async fn watchers_of_concurrent_writers_end_at_the_same_state(fixture: impl Fixture) {
    const WRITERS: u128 = 4;
    const EACH: u128 = 60;
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1))]).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let scene = Scene { store: fixture.store().await };
        writers.spawn(async move {
            for n in (0..EACH).map(|n| n * WRITERS + writer) {
                scene.make([port_of(port(n), bridge(1))]).await;
                if n % 3 == 0 {
                    scene.make([delete(port(n))]).await;
                }
            }
        });
    }
    let mut watchers = Vec::new();
    for _ in 0..4 {
        let ports = Selector::Referrers { to: bridge(1), class: Class::Port };
        let (watch, picture) = scene.watch(&[ports, Selector::Object(bridge(2))]).await;
        let mut there = BTreeMap::new();
        follow(&mut there, &picture);
        watchers.push((watch, there));
    }
    writers.join_all().await;
    let end = scene.make([plain(bridge(2))]).await;
    let ports = scene.store.list(Class::Port).await.expect("reading works");
    let mut want: BTreeMap<_, _> = ports.iter().map(|port| (port.key, port.version)).collect();
    want.insert(bridge(2), end);
    for (mut watch, mut there) in watchers {
        while !there.contains_key(&bridge(2)) {
            follow(&mut there, &watch.batch().await);
        }
        assert_eq!(there, want);
    }
}

pub async fn long_lists_are_whole(fixture: impl Fixture) {
    const PORTS: u128 = 20_000;
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1))]).await;
    for first in (0..PORTS).step_by(Transaction::OPS_MAX) {
        let some = first..(first + Transaction::OPS_MAX as u128).min(PORTS);
        scene.make(some.map(|n| port_of(port(n), bridge(1)))).await;
    }
    let all = scene.store.list(Class::Port).await.expect("reading works");
    assert!(all.iter().map(|stored| stored.key).eq((0..PORTS).map(port)));
    let ports = Selector::Referrers { to: bridge(1), class: Class::Port };
    let (_watch, picture) = scene.watch(&[ports]).await;
    assert_eq!(picture.changes.len() as u128, PORTS);
    // What cascades is not counted.
    scene.make([delete(bridge(1))]).await;
    assert_eq!(scene.store.list(Class::Port).await.expect("reading works"), []);
}
