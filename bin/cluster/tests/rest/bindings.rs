//! Hosts, tunnel zones and bindings.

use std::time::Duration;

use axum::http::Method;
use mn_ids::{HostId, ObjectKey};
use mn_nsdb::{Entry, Op, Owner, Revision, TableId, TableKind, Transaction};
use serde_json::{Value, json};

use crate::api::{Api, len, text};

#[tokio::test]
async fn a_tunnel_zone_has_members_with_addresses() {
    let api = Api::new();
    let zone = api.create("/tunnel_zones", json!({"name": "z", "type": "vxlan"})).await;
    let host = api.host("h1").await;
    let member = json!({"hostId": host["id"], "ipAddress": "192.0.2.1"});
    let made = api.create(text(&zone["hosts"]), member.clone()).await;
    assert_eq!((&made["tunnelZoneId"], &made["ipAddress"]), (&zone["id"], &json!("192.0.2.1")));
    assert_eq!(api.status(Method::POST, text(&zone["hosts"]), Some(&member)).await, 409);
    let nobody = json!({"hostId": HostId::random(), "ipAddress": "192.0.2.2"});
    api.refused_field(404, text(&zone["hosts"]), nobody, "hostId").await;
    let other = api.host("h2").await;
    let same = json!({"hostId": other["id"], "ipAddress": "192.0.2.1"});
    api.refused_field(400, text(&zone["hosts"]), same, "ipAddress").await;
    assert_eq!(len(&api.get(text(&zone["hosts"])).await), 1);

    api.put(text(&zone["uri"]), &json!({"name": "z", "type": "vxlan"})).await;
    assert_eq!(len(&api.get(text(&zone["hosts"])).await), 1);
    api.refused_field(409, "/tunnel_zones", json!({"name": "z", "type": "gre"}), "name").await;
    api.refused_field(400, "/tunnel_zones", json!({"name": "y", "type": "ip"}), "type").await;
    api.refused_field(400, "/tunnel_zones", json!({"name": "", "type": "gre"}), "name").await;

    api.delete(text(&made["uri"])).await;
    assert_eq!(api.status(Method::DELETE, text(&made["uri"]), None).await, 404);
    api.delete(text(&zone["uri"])).await;
}

#[tokio::test]
async fn a_port_is_bound_to_one_interface_and_an_interface_to_one_port() {
    let api = Api::new();
    let host = api.host("h1").await;
    let bridge = api.device("bridges", "b").await;
    let (a, b) = (api.bridge_port(&bridge).await, api.bridge_port(&bridge).await);
    let bindings = text(&host["ports"]);
    let binding = json!({"portId": a["id"], "interfaceName": "tap1"});
    // The host is in no tunnel zone: it carries local traffic.
    let made = api.create(bindings, binding.clone()).await;
    assert_eq!(made["interfaceName"], "tap1");
    let read = api.get(text(&a["uri"])).await;
    assert_eq!((&read["hostId"], &read["interfaceName"]), (&host["id"], &json!("tap1")));
    assert_eq!(read["hostInterfacePort"], made["uri"]);

    api.refused_field(409, bindings, binding, "portId").await;
    let taken = json!({"portId": b["id"], "interfaceName": "tap1"});
    api.refused_field(409, bindings, taken, "interfaceName").await;
    let long = json!({"portId": b["id"], "interfaceName": "an-interface-name"});
    api.refused_field(400, bindings, long, "interfaceName").await;
    api.refused_field(400, bindings, json!({"portId": b["id"]}), "interfaceName").await;
    api.refused(409, Method::POST, text(&a["link"]), json!({"peerId": b["id"]})).await;
    assert_eq!(api.get(text(&b["uri"])).await["hostId"], Value::Null);

    api.delete(text(&made["uri"])).await;
    assert_eq!(api.get(text(&a["uri"])).await["hostId"], Value::Null);
    assert_eq!(api.status(Method::DELETE, text(&made["uri"]), None).await, 404);
    api.create(bindings, json!({"portId": b["id"], "interfaceName": "tap1"})).await;
    assert_eq!(len(&api.get(bindings).await), 1);
}

#[tokio::test]
async fn of_requests_for_one_interface_one_succeeds() {
    let api = Api::new();
    let host = api.host("h1").await;
    let bridge = api.device("bridges", "b").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let port = api.bridge_port(&bridge).await;
        let (api, host) = (api.clone(), host.clone());
        requests.spawn(async move {
            let binding = json!({"portId": port["id"], "interfaceName": "tap1"});
            api.status(Method::POST, text(&host["ports"]), Some(&binding)).await
        });
    }
    let mut statuses = requests.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 409), "{statuses:?}");
    assert_eq!(len(&api.get(text(&host["ports"])).await), 1);
}

#[tokio::test]
async fn a_linked_port_cannot_be_bound() {
    let api = Api::new();
    let host = api.host("h1").await;
    let (left, right) = (api.device("bridges", "l").await, api.device("bridges", "r").await);
    let (a, b) = (api.bridge_port(&left).await, api.bridge_port(&right).await);
    api.create(text(&a["link"]), json!({"peerId": b["id"]})).await;
    let binding = json!({"portId": a["id"], "interfaceName": "tap1"});
    api.refused_field(409, text(&host["ports"]), binding, "portId").await;
}

#[tokio::test]
async fn a_put_of_a_port_makes_a_binding_or_a_link_but_undoes_none() {
    let api = Api::new();
    let host = api.host("h1").await;
    let (left, right) = (api.device("bridges", "l").await, api.device("bridges", "r").await);
    let (a, b) = (api.bridge_port(&left).await, api.bridge_port(&right).await);
    let c = api.bridge_port(&left).await;
    let mut linked = a.clone();
    linked["peerId"] = b["id"].clone();
    api.put(text(&a["uri"]), &linked).await;
    assert_eq!(api.get(text(&b["uri"])).await["peerId"], a["id"]);
    api.put(text(&a["uri"]), &a).await;
    assert_eq!(api.get(text(&a["uri"])).await["peerId"], b["id"]);

    let mut bound = c.clone();
    (bound["hostId"], bound["interfaceName"]) = (host["id"].clone(), json!("tap1"));
    api.put(text(&c["uri"]), &bound).await;
    api.put(text(&c["uri"]), &c).await;
    assert_eq!(api.get(text(&host["ports"])).await[0]["portId"], c["id"]);
    let mut taken = c.clone();
    (taken["id"], taken["hostId"], taken["interfaceName"]) =
        (Value::Null, host["id"].clone(), json!("tap1"));
    api.refused_field(409, text(&left["ports"]), taken, "interfaceName").await;
}

#[tokio::test]
async fn a_host_shows_its_life_its_interfaces_and_its_active_ports() {
    let api = Api::new();
    let host = api.host("h1").await;
    let port = api.bridge_port(&api.device("bridges", "b").await).await;
    assert_eq!((&host["alive"], &host["hostInterfaces"]), (&json!(false), &json!([])));
    assert_eq!(host["containerLimit"], -1);

    let id: HostId = text(&host["id"]).parse().unwrap();
    let session = api.store.open_session(id, Duration::from_secs(60)).await.unwrap();
    let report = json!({"host": id, "name": "h1", "version": "1", "epoch": session.epoch,
        "interfaces": [{"name": "eth0", "ifindex": 2, "mac": "02:00:00:00:00:01", "mtu": 1500, "up": true,
            "link": false, "kind": "Physical", "endpoint": "PHYSICAL", "addresses": ["192.0.2.1"]}],
        "active_ports": [port["id"]]});
    let entry = Entry {
        key: id.to_string(),
        value: report.to_string(),
        owner: Owner::Host { id, epoch: session.epoch },
        revision: Revision::ZERO,
    };
    let table = TableId::global(TableKind::HostReport);
    let ops = vec![Op::PutEntry { table, entry }];
    api.store.transact(Transaction { ops }).await.unwrap();

    let read = api.get(text(&host["uri"])).await;
    assert_eq!((&read["alive"], &read["addresses"]), (&json!(true), &json!(["192.0.2.1"])));
    let interface = api.get(&format!("{}/eth0", text(&host["interfaces"]))).await;
    assert_eq!(
        (&interface["type"], &interface["endpoint"]),
        (&json!("Physical"), &json!("PHYSICAL"))
    );
    assert_eq!((&interface["status"], &interface["mtu"]), (&json!(1), &json!(1500)));
    assert_eq!(api.get(text(&port["uri"])).await["active"], false);
    let binding = json!({"portId": port["id"], "interfaceName": "tap1"});
    let binding = api.create(text(&host["ports"]), binding).await;
    assert_eq!(api.get(text(&port["uri"])).await["active"], true);
    assert_eq!(
        api.status(Method::GET, &format!("{}/no", text(&host["interfaces"])), None).await,
        404
    );

    // An agent that is alive keeps its host.
    api.refused(403, Method::DELETE, text(&host["uri"]), json!({})).await;
    api.delete(text(&binding["uri"])).await;
    api.store.close_session(session.id).await.unwrap();
    assert_eq!(api.status(Method::DELETE, text(&host["uri"]), None).await, 200);
    assert_eq!(api.store.get(ObjectKey::from(id)).await.unwrap(), None);
}

#[tokio::test]
async fn unbinding_takes_back_what_a_dead_agent_said_of_the_port() {
    let api = Api::new();
    let host = api.host("h1").await;
    let port = api.bridge_port(&api.device("bridges", "b").await).await;
    let binding = json!({"portId": port["id"], "interfaceName": "tap1"});
    let binding = api.create(text(&host["ports"]), binding).await;
    let id: HostId = text(&host["id"]).parse().unwrap();
    let session = api.store.open_session(id, Duration::from_secs(60)).await.unwrap();
    let place = json!({"host": id, "tunnel_key": 7, "epoch": session.epoch});
    let entry = Entry {
        key: text(&port["id"]).to_owned(),
        value: place.to_string(),
        owner: Owner::Host { id, epoch: session.epoch },
        revision: Revision::ZERO,
    };
    let table = TableId::global(TableKind::Location);
    let ops = vec![Op::PutEntry { table, entry }];
    api.store.transact(Transaction { ops }).await.unwrap();
    // Of a living agent it is the agent's to take back.
    api.delete(text(&binding["uri"])).await;
    let again = json!({"portId": port["id"], "interfaceName": "tap1"});
    let binding = api.create(text(&host["ports"]), again).await;
    api.store.close_session(session.id).await.unwrap();
    assert_eq!(api.store.entries(table).await.unwrap().len(), 1);
    api.delete(text(&binding["uri"])).await;
    assert_eq!(api.store.entries(table).await.unwrap(), []);
}

#[tokio::test]
async fn a_host_with_ports_is_not_deleted_and_leaves_its_zones_when_it_is() {
    let api = Api::new();
    let host = api.host("h1").await;
    let zone = api.create("/tunnel_zones", json!({"name": "z", "type": "gre"})).await;
    api.create(text(&zone["hosts"]), json!({"hostId": host["id"], "ipAddress": "192.0.2.1"})).await;
    let port = api.bridge_port(&api.device("bridges", "b").await).await;
    let binding = json!({"portId": port["id"], "interfaceName": "tap1"});
    let binding = api.create(text(&host["ports"]), binding).await;
    api.refused(403, Method::DELETE, text(&host["uri"]), json!({})).await;
    api.delete(text(&binding["uri"])).await;
    assert_eq!(api.status(Method::DELETE, text(&host["uri"]), None).await, 200);
    assert_eq!(api.get(text(&zone["hosts"])).await, json!([]));
}

#[tokio::test]
async fn only_the_tunables_of_a_host_change_and_each_must_be_given() {
    let api = Api::new();
    let host = api.host("h1").await;
    let mut changed = host.clone();
    (changed["name"], changed["floodingProxyWeight"]) = (json!("other"), json!("7"));
    assert_eq!(api.status(Method::PUT, text(&host["uri"]), Some(&changed)).await, 200);
    let read = api.get(text(&host["uri"])).await;
    assert_eq!((&read["name"], &read["floodingProxyWeight"]), (&json!("h1"), &json!(7)));
    changed["containerWeight"] = Value::Null;
    let fault = api.refused(400, Method::PUT, text(&host["uri"]), changed).await;
    assert_eq!(fault["violations"][0]["property"], "containerWeight");
}
