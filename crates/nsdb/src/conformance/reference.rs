//! References and what deletion does to them.

use mn_ids::{Class, OnDelete};
use serde_json::json;

use super::Fixture;
use super::scene::{Scene, bridge, chain, create, delete, key, plain, port, port_of, update};
use crate::TxError;

pub async fn nothing_refers_to_what_is_not_there(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let error = scene.refused([port_of(port(1), bridge(1))]).await;
    let TxError::Dangling { from, field, to } = error else { panic!("{error}") };
    assert_eq!((from, field.as_str(), to), (port(1), "bridge_id", bridge(1)));
    assert_eq!(scene.get(port(1)).await, None);
    // The order does not matter: what counts is the end.
    let first = scene.make([port_of(port(1), bridge(1)), plain(bridge(1))]).await;
    let moved = json!({"bridge_id": bridge(2).id});
    let fields = [("bridge_id", bridge(2), OnDelete::Cascade)];
    let error = scene.refused([update(port(1), &moved, &fields, first)]).await;
    assert!(matches!(error, TxError::Dangling { .. }), "{error}");
    let error = scene.refused([delete(bridge(1)), port_of(port(2), bridge(1))]).await;
    assert!(matches!(error, TxError::Dangling { from, .. } if from == port(2)), "{error}");
    assert_eq!(scene.version(bridge(1)).await, first);
}

pub async fn clearing_empties_the_field_or_takes_the_element(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let (host, zone, group) =
        (key(Class::Host, 1), key(Class::TunnelZone, 1), key(Class::PortGroup, 1));
    let first = scene.make([plain(host), plain(port(1)), plain(port(3))]).await;
    scene
        .make([
            create(
                port(2),
                &json!({"peer_id": port(1).id, "n": 2}),
                &[("peer_id", port(1), OnDelete::Clear)],
            ),
            create(
                group,
                &json!({"port_ids": [port(1).id, port(3).id]}),
                &[("port_ids", port(1), OnDelete::Clear), ("port_ids", port(3), OnDelete::Clear)],
            ),
            create(
                zone,
                &json!({"members": [{"host_id": host.id, "addr": "10.0.0.1"}]}),
                &[("members.host_id", host, OnDelete::Clear)],
            ),
        ])
        .await;
    let cleared = scene.make([delete(port(1)), delete(host)]).await;
    assert_eq!(scene.json(port(2)).await, json!({"peer_id": null, "n": 2}));
    assert_eq!(scene.json(group).await, json!({"port_ids": [port(3).id]}));
    assert_eq!(scene.json(zone).await, json!({"members": []}));
    for object in [port(2), group, zone] {
        let stored = scene.get(object).await.expect("it stays");
        assert_eq!(stored.version, cleared, "a cleared object is a changed object");
        assert!(stored.created > first && stored.created < cleared);
    }
    // What was cleared no longer refers: a new object of that name is nobody's peer.
    scene.make([plain(port(1))]).await;
    scene.make([delete(port(1))]).await;
    assert_eq!(scene.version(port(2)).await, cleared);
}

pub async fn a_removed_element_takes_its_other_references_along(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let (one, two) = (key(Class::PortGroup, 1), key(Class::PortGroup, 2));
    scene.make([plain(chain(1)), plain(one), plain(two)]).await;
    let rules = json!({"rules": [
        {"action": {"chain_id": chain(1).id}, "condition": {"group": {"is": one.id}}},
        {"action": {"chain_id": chain(1).id}, "condition": {"group": {"is": two.id}}},
        {"action": {}, "condition": {"group": {"not": two.id}}},
    ]});
    let fields = [
        ("rules.action.chain_id", chain(1), OnDelete::Clear),
        ("rules.condition.group", one, OnDelete::Refuse),
        ("rules.condition.group", two, OnDelete::Refuse),
    ];
    scene.make([create(chain(2), &rules, &fields)]).await;
    scene.refused([delete(one)]).await;
    scene.make([delete(chain(1))]).await;
    let left = json!({"rules": [{"action": {}, "condition": {"group": {"not": two.id}}}]});
    assert_eq!(scene.json(chain(2)).await, left);
    scene.make([delete(one)]).await;
    let error = scene.refused([delete(two)]).await;
    assert!(matches!(error, TxError::InUse { user, .. } if user == chain(2)), "{error}");
}

pub async fn cascades_go_all_the_way(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let route = |n| key(Class::Route, n);
    let route_of = |n, port: mn_ids::ObjectKey| {
        let json = json!({"next_hop_port_id": port.id});
        create(route(n), &json, &[("next_hop_port_id", port, OnDelete::Cascade)])
    };
    let peer = json!({"peer_id": port(1).id});
    scene
        .make([
            plain(bridge(1)),
            port_of(port(1), bridge(1)),
            port_of(port(2), bridge(1)),
            create(port(3), &peer, &[("peer_id", port(1), OnDelete::Clear)]),
            route_of(1, port(1)),
            route_of(2, port(2)),
            route_of(3, port(3)),
        ])
        .await;
    // A port that the cascade reached first counts as there.
    scene.make([delete(bridge(1)), delete(port(2))]).await;
    for gone in [bridge(1), port(1), port(2), route(1), route(2)] {
        assert_eq!(scene.get(gone).await, None, "{gone}");
    }
    assert_eq!(scene.json(port(3)).await, json!({"peer_id": null}));
    assert!(scene.get(route(3)).await.is_some());
}

pub async fn a_refusal_keeps_everything(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let host = key(Class::Host, 1);
    let bound = json!({"bridge_id": bridge(1).id, "host_id": host.id});
    let fields = [("bridge_id", bridge(1), OnDelete::Cascade), ("host_id", host, OnDelete::Refuse)];
    let first = scene.make([plain(host), plain(bridge(1)), create(port(1), &bound, &fields)]).await;
    let error = scene.refused([plain(bridge(2)), delete(host)]).await;
    let TxError::InUse { object, user, field } = error else { panic!("{error}") };
    assert_eq!((object, user, field.as_str()), (host, port(1), "host_id"));
    assert_eq!(scene.version(host).await, first);
    assert_eq!(scene.version(port(1)).await, first);
    assert_eq!(scene.get(bridge(2)).await, None);
    // The port goes with its bridge, and the reference with the port.
    scene.make([delete(bridge(1)), delete(host)]).await;
}

pub async fn a_refusal_is_decided_at_the_end(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let host = key(Class::Host, 1);
    let bound = |n| {
        let json = json!({"host_id": host.id});
        create(port(n), &json, &[("host_id", host, OnDelete::Refuse)])
    };
    let first = scene.make([plain(host), bound(1), bound(2)]).await;
    let unbound = update(port(1), &json!({}), &[], first);
    scene.make([delete(host), unbound, delete(port(2))]).await;
    assert_eq!(scene.get(host).await, None);
    let second = scene.make([plain(host), bound(2)]).await;
    // Made anew in the same transaction: the reference holds.
    scene.make([delete(host), plain(host)]).await;
    assert_eq!(scene.version(port(2)).await, second);
    scene.refused([delete(host)]).await;
}

pub async fn referrers_are_found_by_class(fixture: impl Fixture) {
    let scene = Scene::of(&fixture).await;
    let subnet = key(Class::DhcpSubnet, 1);
    let json = json!({"bridge_id": bridge(1).id});
    let first = scene
        .make([
            plain(bridge(1)),
            plain(bridge(2)),
            port_of(port(2), bridge(1)),
            port_of(port(1), bridge(1)),
            port_of(port(3), bridge(2)),
            create(subnet, &json, &[("bridge_id", bridge(1), OnDelete::Cascade)]),
        ])
        .await;
    let keys = async |to, class| -> Vec<_> {
        let found = scene.store.referrers(to, class).await.expect("reading works");
        found.into_iter().map(|stored| stored.key).collect()
    };
    assert_eq!(keys(bridge(1), Class::Port).await, [port(1), port(2)]);
    assert_eq!(keys(bridge(1), Class::DhcpSubnet).await, [subnet]);
    assert_eq!(keys(bridge(3), Class::Port).await, []);
    let moved = json!({"bridge_id": bridge(2).id});
    let fields = [("bridge_id", bridge(2), OnDelete::Cascade)];
    scene.make([update(port(1), &moved, &fields, first)]).await;
    assert_eq!(keys(bridge(1), Class::Port).await, [port(2)]);
    assert_eq!(keys(bridge(2), Class::Port).await, [port(1), port(3)]);
}
