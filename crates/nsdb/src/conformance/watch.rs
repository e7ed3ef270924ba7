//! Watches.

use std::collections::BTreeMap;

use mn_ids::{Class, ObjectKey, OnDelete};
use serde_json::json;

use super::Fixture;
use super::scene::{
    Scene, bridge, chain, delete, entries, key, objects, plain, port, port_of, put, update,
};
use crate::{Batch, Change, Op, Owner, Revision, Selector, TableId, TableKind};

const PORTS: Selector = Selector::Class(Class::Port);

const fn ports_of(bridge: ObjectKey) -> Selector {
    Selector::Referrers { to: bridge, class: Class::Port }
}

/// Moves a port to another bridge.
fn move_port(port: ObjectKey, to: ObjectKey, expected: Revision) -> Op {
    let json = json!({"bridge_id": to.id});
    update(port, &json, &[("bridge_id", to, OnDelete::Cascade)], expected)
}

pub async fn a_first_picture_is_complete(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let revision = scene
        .make([plain(bridge(1)), plain(bridge(2)), port_of(port(1), bridge(1)), plain(port(2))])
        .await;
    let selectors = [Selector::Object(bridge(1)), Selector::Object(bridge(7)), ports_of(bridge(1))];
    let (_watch, picture) = scene.watch(&selectors).await;
    assert_eq!(objects(&picture), [(bridge(1), true), (port(1), true)]);
    assert_eq!(picture.complete, selectors, "also the one that nothing matches");
    assert_eq!(picture.revision, revision);
}

pub async fn a_batch_has_exactly_what_the_selectors_match(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), plain(bridge(2))]).await;
    let (mut watch, _) = scene.watch(&[ports_of(bridge(1)), Selector::Object(bridge(3))]).await;
    let revision = scene
        .make([
            port_of(port(1), bridge(1)),
            port_of(port(2), bridge(2)),
            port_of(port(3), bridge(1)),
            plain(bridge(3)),
            plain(bridge(4)),
        ])
        .await;
    let batch = watch.batch().await;
    assert_eq!(objects(&batch), [(bridge(3), true), (port(1), true), (port(3), true)]);
    assert_eq!((batch.revision, batch.complete.len()), (revision, 0));
    // What does not concern it is not mentioned at all.
    scene.make([delete(bridge(4)), delete(port(2))]).await;
    let revision = scene.make([delete(bridge(1))]).await;
    let batch = watch.batch().await;
    assert_eq!(
        (objects(&batch), batch.revision),
        (vec![(port(1), false), (port(3), false)], revision)
    );
}

pub async fn an_object_that_stops_referring_is_reported_as_gone(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1)), plain(bridge(2)), port_of(port(1), bridge(1))]).await;
    let (mut one, _) = scene.watch(&[ports_of(bridge(1))]).await;
    let (mut two, _) = scene.watch(&[ports_of(bridge(2))]).await;
    let (mut all, _) = scene.watch(&[ports_of(bridge(1)), PORTS]).await;
    scene.make([move_port(port(1), bridge(2), first)]).await;
    assert_eq!(objects(&one.batch().await), [(port(1), false)]);
    assert_eq!(objects(&two.batch().await), [(port(1), true)]);
    assert_eq!(objects(&all.batch().await), [(port(1), true)], "another selector matches it");
}

pub async fn selectors_come_and_go_while_the_watch_runs(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), plain(bridge(2)), port_of(port(1), bridge(1))]).await;
    let (mut watch, _) = scene.watch(&[ports_of(bridge(1))]).await;
    let picture = watch.add(&[Selector::Class(Class::Bridge)]).await;
    assert_eq!(objects(&picture), [(bridge(1), true), (bridge(2), true)]);
    scene.make([plain(bridge(3)), port_of(port(2), bridge(1))]).await;
    assert_eq!(objects(&watch.batch().await), [(bridge(3), true), (port(2), true)]);
    watch.0.remove(&[ports_of(bridge(1))]).await.expect("watching works");
    // Adding something waits until the node has seen the removal too.
    watch.add(&[Selector::Object(chain(1))]).await;
    scene.make([port_of(port(3), bridge(1))]).await;
    scene.make([plain(chain(1))]).await;
    assert_eq!(objects(&watch.batch().await), [(chain(1), true)]);
    let picture = watch.add(&[ports_of(bridge(1))]).await;
    assert_eq!(objects(&picture), [1, 2, 3].map(|n| (port(n), true)));
}

/// A watcher that gives something up hears of it until the end, and of nothing after that: there
/// is no moment at which it believes what nobody tells it any more.
pub async fn a_selector_that_is_removed_has_an_end_in_order(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), port_of(port(1), bridge(1)), port_of(port(2), bridge(1))]).await;
    let both = [Selector::Object(bridge(1)), ports_of(bridge(1))];
    let (mut watch, _) = scene.watch(&both).await;
    watch.add(&[Selector::Object(port(2))]).await;
    let before = scene.make([port_of(port(3), bridge(1))]).await;
    watch.0.remove(&both).await.expect("watching works");
    let batch = watch.batch().await;
    assert_eq!((objects(&batch), batch.revision), (vec![(port(3), true)], before));
    assert_eq!(batch.ended, []);
    let end = watch.batch().await;
    assert_eq!((end.ended.as_slice(), end.complete.as_slice()), (&both[..], &[][..]));
    let gone = [(bridge(1), false), (port(1), false), (port(3), false)];
    assert_eq!(objects(&end), gone, "port 2 is watched by itself");

    // What it gave up changes, goes and comes unseen; what it watches still is told.
    scene.make([delete(port(1)), port_of(port(4), bridge(1))]).await;
    scene.make([delete(port(2))]).await;
    assert_eq!(objects(&watch.batch().await), [(port(2), false)]);

    // Given up and wanted again in one breath: an end, and then all of it anew.
    let picture = watch.add(&both).await;
    assert_eq!(objects(&picture), [(bridge(1), true), (port(3), true), (port(4), true)]);
    watch.0.remove(&both).await.expect("watching works");
    let again = watch.add(&both).await;
    assert_eq!(again.ended, both);
    let mut there = BTreeMap::new();
    follow(&mut there, &again);
    assert_eq!(there.into_keys().collect::<Vec<_>>(), [bridge(1), port(3), port(4)]);

    // What was never watched ends too: whoever waits for the end never waits in vain.
    watch.0.remove(&[Selector::Object(chain(9))]).await.expect("watching works");
    let end = watch.batch().await;
    assert_eq!((end.ended, end.changes), (vec![Selector::Object(chain(9))], vec![]));
}

pub async fn a_table_that_is_watched_no_more_has_an_end_too(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let table = TableId::global(TableKind::Location);
    let locate = |n: u128| put(table, &port(n).id.to_string(), "here", Owner::Persistent);
    scene.make([plain(port(1)), plain(port(2))]).await;
    scene.make([locate(1), locate(2)]).await;
    let (all, one) = (Selector::Table(table), Selector::Entry { table, key: port(1).id });
    let (mut watch, _) = scene.watch(&[all, one]).await;
    watch.0.remove(&[all]).await.expect("watching works");
    let end = watch.batch().await;
    assert_eq!(end.ended, [all]);
    assert_eq!(entries(&end), [(port(2).id.to_string(), Owner::Persistent, None)]);
    scene.make([locate(2)]).await;
    scene.make([locate(1)]).await;
    let here = Some("here".to_owned());
    assert_eq!(entries(&watch.batch().await), [(port(1).id.to_string(), Owner::Persistent, here)]);
}

/// Two rules take turns, each time with the other's deletion in the same transaction.
pub async fn a_rule_is_never_missing_while_it_is_replaced(fixture: impl Fixture) {
    const TURNS: u128 = 200;
    let scene = Scene::of(&fixture).await;
    scene.make([plain(chain(0)), plain(chain(TURNS * 2))]).await;
    let (mut watch, picture) = scene.watch(&[Selector::Class(Class::Chain)]).await;
    let store = fixture.store().await;
    let writer = tokio::spawn(async move {
        let scene = Scene { store };
        for turn in 1..=TURNS {
            scene.make([delete(chain(turn - 1)), plain(chain(turn))]).await;
        }
    });
    let mut there = BTreeMap::new();
    follow(&mut there, &picture);
    while !there.contains_key(&chain(TURNS)) {
        follow(&mut there, &watch.batch().await);
        assert_eq!(there.len(), 2, "one of the two, and the one that stays: {there:?}");
    }
    writer.await.expect("the writer ends");
}

/// Applies a batch to what a watcher has; revisions of what is shown only rise.
pub(super) fn follow(there: &mut BTreeMap<ObjectKey, Revision>, batch: &Batch) {
    for change in &batch.changes {
        let Change::Object(change) = change else { continue };
        match &change.stored {
            Some(stored) => {
                let before = there.insert(change.key, stored.version);
                assert!(before.is_none_or(|before| before <= stored.version), "back in time");
                assert!(stored.version <= batch.revision, "shown before it happened");
            }
            None => drop(there.remove(&change.key)),
        }
    }
}

pub async fn a_slow_watcher_ends_at_the_latest_state(fixture: impl Fixture) {
    const CHANGES: u64 = 400;
    let scene = Scene::of(&fixture).await;
    let mut version = scene.make([plain(bridge(1)), plain(bridge(2))]).await;
    let (mut watch, _) = scene.watch(&[Selector::Class(Class::Bridge)]).await;
    for n in 0..CHANGES {
        let passing = bridge(u128::from(n) + 10);
        let change = update(bridge(1), &json!({"n": n}), &[], version);
        version = scene.make([change, plain(passing)]).await;
        version =
            scene.make([update(bridge(1), &json!({"n": n}), &[], version), delete(passing)]).await;
    }
    let (mut there, mut seen) = (BTreeMap::new(), Revision::ZERO);
    while there.get(&bridge(1)) != Some(&version) {
        let batch = watch.batch().await;
        assert!(batch.revision > seen, "revisions rise");
        seen = batch.revision;
        follow(&mut there, &batch);
    }
    assert_eq!(there.len(), 1, "bridge 2 did not change, the others are gone: {there:?}");
}

pub async fn a_watch_of_one_entry_sees_only_that(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let table = TableId::global(TableKind::Location);
    scene.make([plain(port(1)), plain(port(2))]).await;
    let locate =
        |n: u128, value: &str| put(table, &port(n).id.to_string(), value, Owner::Persistent);
    scene.make([locate(1, "here"), locate(2, "there")]).await;
    let one = Selector::Entry { table, key: port(1).id };
    let (mut watch, picture) = scene.watch(&[one]).await;
    let shown = |value: Option<&str>| {
        vec![(port(1).id.to_string(), Owner::Persistent, value.map(str::to_owned))]
    };
    assert_eq!(entries(&picture), shown(Some("here")));
    scene.make([locate(2, "elsewhere")]).await;
    scene.make([locate(1, "moved")]).await;
    assert_eq!(entries(&watch.batch().await), shown(Some("moved")));
    let remove = Op::RemoveEntry { table, key: port(1).id.to_string(), owner: Owner::Persistent };
    scene.make([remove]).await;
    assert_eq!(entries(&watch.batch().await), shown(None));
    let (_watch, picture) =
        scene.watch(&[Selector::Table(table), Selector::Object(key(Class::Host, 1))]).await;
    assert_eq!(entries(&picture).len(), 1);
}
