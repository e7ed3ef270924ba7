//! Sessions.

use std::time::Duration;

use mn_ids::Class;
use serde_json::json;

use super::scene::{Scene, bridge, entries, eventually, plain, port, put, update};
use super::table::{host, live};
use super::{Fixture, GRACE_FOR};
use crate::{Owner, Remedy, Selector, Session, TableId, TableKind, TxError};

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(60);

async fn open(scene: &Scene, n: u128, ttl: Duration) -> Session {
    scene.store.open_session(host(n), ttl).await.expect("a session opens")
}

async fn alive(scene: &Scene) -> Vec<Session> {
    scene.store.sessions().await.expect("reading works")
}

pub async fn an_epoch_is_one_more_than_any_before(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = open(&scene, 1, LONG).await;
    assert_eq!((first.host, first.epoch, first.ttl), (host(1), 1, LONG));
    let second = open(&scene, 1, LONG).await;
    assert_eq!(second.epoch, 2);
    assert_eq!(open(&scene, 2, LONG).await.epoch, 1);
    let error = scene.store.renew_session(first.id).await.expect_err("the second ended it");
    assert!(matches!(error, TxError::NoSession(id) if id == first.id), "{error}");
    assert_eq!(error.remedy(), Remedy::Reconnect);
    scene.store.renew_session(second.id).await.expect("it is alive");
    scene.store.close_session(second.id).await.expect("it is alive");
    let error = scene.store.close_session(second.id).await.expect_err("it was closed");
    assert!(matches!(error, TxError::NoSession(_)), "{error}");
    assert_eq!(alive(&scene).await.len(), 1);
    assert_eq!(open(&scene, 1, LONG).await.epoch, 3, "closing forgets no epoch");
}

pub async fn the_next_life_takes_entries_over(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), plain(port(1))]).await;
    let table = TableId::of(TableKind::Mac, bridge(1));
    let first = live(&scene, host(1)).await;
    let other = live(&scene, host(2)).await;
    scene.make([put(table, "0/a", "1", first), put(table, "0/b", "1", first)]).await;
    scene.make([put(table, "0/b", "2", other)]).await;
    let before = scene.store.entries(table).await.expect("reading works");
    let (mut watch, _) = scene.watch(&[Selector::Table(table)]).await;
    let second = live(&scene, host(1)).await;
    let after = scene.store.entries(table).await.expect("reading works");
    let values = |n: &str| [("0/a".to_owned(), "1".to_owned()), ("0/b".to_owned(), n.to_owned())];
    for (entry, (key, value)) in after.iter().filter(|e| e.owner == second).zip(values("1")) {
        assert_eq!((&entry.key, &entry.value), (&key, &value));
        let same = |old: &&crate::Entry| old.key == key && old.owner == first;
        let earlier = before.iter().find(same).expect("it was there");
        assert_eq!(entry.revision, earlier.revision, "who wins stays as it was");
    }
    assert_eq!(after.iter().filter(|entry| entry.owner == second).count(), 2);
    assert_eq!(after.len(), 3);
    let shown = entries(&watch.batch().await);
    assert_eq!(
        shown.iter().filter(|(_, owner, value)| *owner == first && value.is_none()).count(),
        2
    );
    assert_eq!(
        shown.iter().filter(|(_, owner, value)| *owner == second && value.is_some()).count(),
        2
    );
}

pub async fn the_end_of_a_session_and_the_grace_time_remove_entries(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), plain(port(1)), plain(host(1).into())]).await;
    let macs = TableId::of(TableKind::Mac, bridge(1));
    let reports = TableId::global(TableKind::HostReport);
    let places = TableId::global(TableKind::Location);
    let session = open(&scene, 1, SHORT).await;
    let owner = Owner::Host { id: host(1), epoch: session.epoch };
    scene
        .make([
            put(macs, "0/a", "{}", owner),
            put(macs, "0/a", "{}", Owner::Persistent),
            put(reports, &host(1).to_string(), "{}", owner),
            put(places, &port(1).id.to_string(), "{}", owner),
        ])
        .await;
    eventually("the session ends", async || alive(&scene).await.is_empty()).await;
    let ended_at = tokio::time::Instant::now();
    assert_eq!(scene.entries(reports).await, [], "this goes with the session");
    if ended_at.elapsed() < GRACE_FOR / 2 {
        assert_eq!(scene.entries(macs).await.len(), 2, "this outlives it by the grace time");
    }
    eventually("the grace time ends", async || scene.entries(macs).await.len() == 1).await;
    assert_eq!(scene.entries(macs).await[0].2, Owner::Persistent);
    assert_eq!(scene.entries(places).await.len(), 1, "where a port is stays");
    open(&scene, 1, LONG).await;
    let taken = Owner::Host { id: host(1), epoch: 2 };
    assert_eq!(scene.entries(places).await[0].2, taken);
}

pub async fn a_session_lives_while_it_is_renewed(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let renewed = open(&scene, 1, SHORT * 3).await;
    let forgotten = open(&scene, 2, SHORT).await;
    let begun_at = tokio::time::Instant::now();
    while begun_at.elapsed() < SHORT * 6 {
        scene.store.renew_session(renewed.id).await.expect("it is alive");
        tokio::time::sleep(SHORT / 4).await;
    }
    assert_eq!(alive(&scene).await, [renewed]);
    let error = scene.store.renew_session(forgotten.id).await.expect_err("it has ended");
    assert!(matches!(error, TxError::NoSession(_)), "{error}");
}

pub async fn a_deleted_host_loses_entries_and_session(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(host(1).into()), plain(port(1))]).await;
    let table = TableId::global(TableKind::Location);
    let owner = live(&scene, host(1)).await;
    scene.make([put(table, &port(1).id.to_string(), "{}", owner)]).await;
    scene.make([super::scene::delete(host(1).into())]).await;
    assert_eq!(scene.entries(table).await, []);
    assert_eq!(alive(&scene).await, []);
    assert_eq!(open(&scene, 1, LONG).await.epoch, 2);
}

pub async fn sessions_and_everything_else_survive_a_restart(mut fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1)), super::scene::port_of(port(1), bridge(1))]).await;
    scene.make([update(bridge(1), &json!({"n": 2}), &[], first)]).await;
    let table = TableId::of(TableKind::Mac, bridge(1));
    let short = open(&scene, 1, SHORT).await;
    let owner = Owner::Host { id: host(1), epoch: short.epoch };
    let ended = open(&scene, 2, LONG).await;
    scene.store.close_session(ended.id).await.expect("it is alive");
    let revision = scene.make([put(table, "0/a", "{}", owner)]).await;
    assert_eq!(scene.store.next_number("s").await.expect("a number"), 1);
    let before = scene.get(bridge(1)).await;
    drop(scene);
    if !fixture.restart().await {
        return;
    }
    let scene = Scene::of(&fixture).await;
    assert_eq!(alive(&scene).await, [short], "its time starts in full");
    assert_eq!(scene.entries(table).await, [("0/a".to_owned(), "{}".to_owned(), owner)]);
    assert_eq!(scene.get(bridge(1)).await, before);
    let ports = scene.store.referrers(bridge(1), Class::Port).await.expect("reading works");
    assert_eq!(ports.len(), 1);
    assert_eq!(scene.store.next_number("s").await.expect("a number"), 2);
    assert!(scene.make([plain(bridge(2))]).await > revision);
    assert_eq!(open(&scene, 2, LONG).await.epoch, 2);
    eventually("the session ends", async || alive(&scene).await.len() == 1).await;
    eventually("the grace time ends", async || scene.entries(table).await.is_empty()).await;
}
