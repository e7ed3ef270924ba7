//! Transactions on objects.

use mn_ids::{Class, OnDelete};
use serde_json::json;

use super::Fixture;
use super::scene::{Scene, bridge, create, delete, key, plain, port, port_of, update};
use crate::{Op, Remedy, Revision, Transaction, TxError};

pub async fn a_created_object_is_read_back_with_its_revision(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    assert_eq!(scene.get(bridge(1)).await, None);
    let revision = scene.make([create(bridge(1), &json!({"name": "a bridge"}), &[])]).await;
    let stored = scene.get(bridge(1)).await.expect("it was made");
    assert_eq!((stored.key, stored.created, stored.version), (bridge(1), revision, revision));
    assert_eq!(&*stored.json, r#"{"name":"a bridge"}"#);
    assert!(revision > Revision::ZERO);
    let error = scene.refused([plain(bridge(1))]).await;
    assert!(matches!(error, TxError::Exists { object } if object == bridge(1)), "{error}");
}

pub async fn a_list_has_a_class_in_the_order_of_its_ids(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let others = [plain(key(Class::Router, 0)), plain(key(Class::Chain, 9))];
    scene.make([3, 1, 2].map(|n| plain(bridge(n)))).await;
    scene.make(others).await;
    let list = scene.store.list(Class::Bridge).await.expect("reading works");
    let keys: Vec<_> = list.iter().map(|stored| stored.key).collect();
    assert_eq!(keys, [bridge(1), bridge(2), bridge(3)]);
}

pub async fn an_update_needs_the_version_it_read(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1))]).await;
    let second = scene.make([update(bridge(1), &json!({"n": 2}), &[], first)]).await;
    let error = scene.refused([update(bridge(1), &json!({"n": 3}), &[], first)]).await;
    assert_eq!(error.remedy(), Remedy::Retry);
    let TxError::Conflict { object, expected, now } = error else { panic!("{error}") };
    assert_eq!((object, expected, now), (bridge(1), first, second));
    let stored = scene.get(bridge(1)).await.expect("it is there");
    assert_eq!((stored.created, stored.version, &*stored.json), (first, second, r#"{"n":2}"#));
    let error = scene.refused([update(bridge(2), &json!({}), &[], first)]).await;
    assert!(matches!(error, TxError::Missing { object } if object == bridge(2)), "{error}");
}

pub async fn a_delete_may_need_a_version(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1)), plain(bridge(2))]).await;
    scene.make([update(bridge(1), &json!({}), &[], first)]).await;
    let stale = |n| Op::Delete { key: bridge(n), expected: Some(first) };
    let error = scene.refused([stale(1)]).await;
    assert!(matches!(error, TxError::Conflict { .. }), "{error}");
    scene.make([stale(2)]).await;
    scene.make([delete(bridge(1))]).await;
    assert_eq!(scene.get(bridge(1)).await, None);
    let error = scene.refused([delete(bridge(1))]).await;
    assert!(matches!(error, TxError::Missing { .. }), "{error}");
}

pub async fn a_check_guards_what_a_decision_read(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1))]).await;
    let guard = |expected| Op::Check { key: bridge(1), expected };
    scene.make([guard(first), plain(bridge(2))]).await;
    scene.make([update(bridge(1), &json!({}), &[], first)]).await;
    let error = scene.refused([guard(first), plain(bridge(3))]).await;
    assert!(matches!(error, TxError::Conflict { .. }), "{error}");
    assert_eq!(scene.get(bridge(3)).await, None);
    scene.make([delete(bridge(1))]).await;
    let error = scene.refused([guard(first)]).await;
    assert_eq!(error.remedy(), Remedy::Retry, "what was read is gone: decide again");
    scene.make([guard(Revision::ZERO), plain(bridge(3))]).await;
}

pub async fn a_transaction_happens_whole_or_not_at_all(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1)), port_of(port(1), bridge(1))]).await;
    scene
        .refused([
            update(port(1), &json!({"n": 2}), &[], first),
            plain(bridge(2)),
            delete(bridge(1)),
            plain(bridge(2)),
        ])
        .await;
    assert_eq!(scene.version(bridge(1)).await, first);
    assert_eq!(scene.version(port(1)).await, first);
    assert_eq!(scene.get(bridge(2)).await, None);
    let ports = scene.store.referrers(bridge(1), Class::Port).await.expect("reading works");
    assert_eq!(ports.len(), 1, "the index is as before as well");
    let next = scene.make([plain(bridge(2))]).await;
    assert!(next > first);
}

pub async fn later_operations_see_earlier_ones(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let made = update(bridge(1), &json!({"n": 2}), &[], Revision::ZERO);
    let first = scene.make([plain(bridge(1)), made]).await;
    assert_eq!(scene.json(bridge(1)).await, json!({"n": 2}));
    // Both expect the version before the transaction.
    let twice = [3, 4].map(|n| update(bridge(1), &json!({"n": n}), &[], first));
    let second = scene.make(twice).await;
    assert_eq!(scene.json(bridge(1)).await, json!({"n": 4}));
    scene.make([delete(bridge(1)), plain(bridge(1))]).await;
    assert!(scene.get(bridge(1)).await.expect("made again").created > second);
    scene.make([plain(bridge(2)), delete(bridge(2))]).await;
    assert_eq!(scene.get(bridge(2)).await, None);
}

pub async fn deletion_and_re_creation_are_told_apart(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1))]).await;
    scene.make([delete(bridge(1))]).await;
    let second = scene.make([plain(bridge(1))]).await;
    let stored = scene.get(bridge(1)).await.expect("made again");
    assert_eq!((stored.created, stored.version), (second, second));
    let error = scene.refused([update(bridge(1), &json!({}), &[], first)]).await;
    assert!(matches!(error, TxError::Conflict { .. }), "{error}");
}

pub async fn too_large_a_transaction_is_refused(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let many = |count: usize| (0..count as u128).map(|n| plain(bridge(n)));
    let error = scene.refused(many(Transaction::OPS_MAX + 1)).await;
    assert!(matches!(error, TxError::TooLarge { ops: 1001, .. }), "{error}");
    scene.make(many(Transaction::OPS_MAX)).await;
    let frame = json!({"x": ""}).to_string().len();
    let long = |len: usize| create(port(1), &json!({"x": "y".repeat(len - frame)}), &[]);
    let error = scene.refused([long(Transaction::BYTES_MAX + 1)]).await;
    assert!(matches!(error, TxError::TooLarge { ops: 1, .. }), "{error}");
    scene.make([long(Transaction::BYTES_MAX)]).await;
}

pub async fn a_document_must_be_an_object_that_holds_what_it_refers_to(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(port(1))]).await;
    let broken =
        |json: &str| Op::Create { key: bridge(1), json: json.to_owned(), references: Vec::new() };
    for json in ["", "{", "[]", "7", "{} {}"] {
        let error = scene.refused([broken(json)]).await;
        assert!(matches!(error, TxError::Invalid { .. }), "{json}: {error}");
    }
    let peer = [("peer_id", port(1), OnDelete::Clear)];
    let error = scene.refused([create(port(2), &json!({"peer": port(1).id}), &peer)]).await;
    assert!(matches!(error, TxError::Invalid { object, .. } if object == port(2)), "{error}");
}

pub async fn a_transaction_without_a_write_makes_no_revision(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let first = scene.make([plain(bridge(1))]).await;
    assert_eq!(scene.make([Op::Check { key: bridge(1), expected: first }]).await, first);
    assert_eq!(scene.make([]).await, first);
}
