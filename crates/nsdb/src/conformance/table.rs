//! State tables.

use mn_ids::{Class, HostId, ObjectKey};
use uuid::Uuid;

use super::Fixture;
use super::scene::{Scene, bridge, delete, entries, key, plain, port, put};
use crate::{Op, Owner, Remedy, Selector, TableId, TableKind, TxError, winner};

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

fn macs(bridge: ObjectKey) -> TableId {
    TableId::of(TableKind::Mac, bridge)
}

pub(super) const fn host(n: u128) -> HostId {
    HostId::from_uuid(Uuid::from_u128(n))
}

/// Opens a session; the owner of what is written in it.
pub(super) async fn live(scene: &Scene, host: HostId) -> Owner {
    let session = scene.store.open_session(host, LONG).await.expect("a session opens");
    Owner::Host { id: host, epoch: session.epoch }
}

pub async fn every_owner_has_an_entry_of_its_own(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1))]).await;
    let (one, two) = (live(&scene, host(1)).await, live(&scene, host(2)).await);
    let (mut watch, _) = scene.watch(&[Selector::Table(macs(bridge(1)))]).await;
    let write = async |value: &str, owner| {
        scene.make([put(macs(bridge(1)), "0/mac", value, owner)]).await;
    };
    let winning = async || {
        let all = scene.store.entries(macs(bridge(1))).await.expect("reading works");
        winner(&all).map(|entry| entry.value.clone())
    };
    write("of host 1", one).await;
    write("by hand", Owner::Persistent).await;
    assert_eq!(winning().await.as_deref(), Some("of host 1"), "learned goes before persistent");
    write("of host 2", two).await;
    assert_eq!(winning().await.as_deref(), Some("of host 2"), "the later one");
    write("of host 1 again", one).await;
    assert_eq!(winning().await.as_deref(), Some("of host 1 again"));
    assert_eq!(scene.entries(macs(bridge(1))).await.len(), 3, "also those that lose");
    let at =
        async |key| scene.store.entries_at(macs(bridge(1)), key).await.expect("it can be read");
    let all = scene.store.entries(macs(bridge(1))).await.expect("reading works");
    assert_eq!(at("0/mac").await, all);
    assert_eq!((at("0/ma").await, at("0/mac2").await), (Vec::new(), Vec::new()));
    let remove = |owner| Op::RemoveEntry { table: macs(bridge(1)), key: "0/mac".into(), owner };
    scene.make([remove(one), remove(two), remove(two)]).await;
    assert_eq!(winning().await.as_deref(), Some("by hand"));
    for _ in 0..4 {
        assert_eq!(entries(&watch.batch().await).len(), 1);
    }
    let gone = [("0/mac".to_owned(), one, None), ("0/mac".to_owned(), two, None)];
    assert_eq!(entries(&watch.batch().await), gone);
}

pub async fn a_lease_is_one_host_s_until_it_gives_it_back(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1))]).await;
    let (one, two) = (live(&scene, host(1)).await, live(&scene, host(2)).await);
    let ports = TableId::of(TableKind::BridgePorts, bridge(1));
    let (mine, other) = ("203.0.113.2/7", "203.0.113.2/8");
    scene.make([put(ports, mine, "{}", one)]).await;
    let error = scene.refused([put(ports, other, "{}", two), put(ports, mine, "{}", two)]).await;
    assert_eq!(error.remedy(), Remedy::ChangeRequest);
    let TxError::Taken { device, key, by } = error else { panic!("{error}") };
    assert_eq!((device, key.as_str(), by), (bridge(1).id, mine, host(1)));
    assert_eq!(scene.entries(ports).await.len(), 1, "the other block is not taken either");
    // Its owner may say so again, also in its next life.
    scene.make([put(ports, mine, "{}", one)]).await;
    let one = live(&scene, host(1)).await;
    scene.make([put(ports, mine, "{}", one)]).await;
    assert_eq!(scene.entries(ports).await.len(), 1);
    scene.make([Op::RemoveEntry { table: ports, key: mine.into(), owner: one }]).await;
    scene.make([put(ports, mine, "{}", two)]).await;
}

pub async fn a_table_goes_with_its_device(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1)), plain(bridge(2))]).await;
    let owner = live(&scene, host(1)).await;
    let groups = TableId::of(TableKind::FloodGroup, bridge(1));
    scene
        .make([
            put(macs(bridge(1)), "0/a", "x", owner),
            put(macs(bridge(1)), "0/b", "x", Owner::Persistent),
            put(macs(bridge(2)), "0/a", "x", owner),
            put(groups, "0/h", "x", owner),
        ])
        .await;
    let (mut watch, _) = scene.watch(&[Selector::Table(macs(bridge(1)))]).await;
    scene.make([delete(bridge(1))]).await;
    assert_eq!(entries(&watch.batch().await).len(), 2);
    assert_eq!(scene.entries(macs(bridge(1))).await, []);
    assert_eq!(scene.entries(groups).await, []);
    assert_eq!(scene.entries(macs(bridge(2))).await.len(), 1);
    scene.make([plain(bridge(1))]).await;
    assert_eq!(scene.entries(macs(bridge(1))).await, [], "another bridge starts anew");
}

pub async fn an_entry_needs_its_subject(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let router = key(Class::Router, 1);
    scene.make([plain(router)]).await;
    let error = scene.refused([put(macs(bridge(1)), "0/a", "x", Owner::Persistent)]).await;
    assert!(matches!(error, TxError::Missing { object } if object == bridge(1)), "{error}");
    // A router has no MAC table.
    let error = scene.refused([put(macs(router), "0/a", "x", Owner::Persistent)]).await;
    assert!(matches!(error, TxError::Missing { .. }), "{error}");
    let reports = TableId::global(TableKind::HostReport);
    for no_host in [host(1).to_string(), "nonsense".to_owned()] {
        let error = scene.refused([put(reports, &no_host, "{}", Owner::Persistent)]).await;
        assert!(matches!(error, TxError::Missing { .. }), "{error}");
    }
    let owner = live(&scene, host(1)).await;
    scene.make([plain(host(1).into()), put(reports, &host(1).to_string(), "{}", owner)]).await;
}

pub async fn a_port_s_location_goes_with_the_port(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let table = TableId::global(TableKind::Location);
    scene.make([plain(port(1)), plain(port(2))]).await;
    let owner = live(&scene, host(1)).await;
    scene.make([1, 2].map(|n| put(table, &port(n).id.to_string(), "{}", owner))).await;
    scene.make([delete(port(1))]).await;
    let left = [(port(2).id.to_string(), "{}".to_owned(), owner)];
    assert_eq!(scene.entries(table).await, left);
}

pub async fn entries_need_a_live_session(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    scene.make([plain(bridge(1))]).await;
    let write = |owner| [put(macs(bridge(1)), "0/a", "x", owner)];
    let first = Owner::Host { id: host(1), epoch: 1 };
    let error = scene.refused(write(first)).await;
    assert_eq!(error.remedy(), Remedy::Reconnect);
    assert_eq!(live(&scene, host(1)).await, first);
    scene.make(write(first)).await;
    let second = live(&scene, host(1)).await;
    let error = scene.refused(write(first)).await;
    let TxError::Stale { host: stale, epoch } = error else { panic!("{error}") };
    assert_eq!((stale, epoch), (host(1), 1));
    scene.make(write(second)).await;
}
