//! Port groups and IP address groups.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Api, len, text};

#[tokio::test]
async fn a_port_group_has_members_and_a_port_knows_its_groups() {
    let api = Api::new();
    let port = api.bridge_port(&api.device("bridges", "b").await).await;
    let group =
        api.create("/port_groups", json!({"name": "g", "tenantId": "t", "stateful": true})).await;
    let member = json!({"portId": port["id"]});
    let made = api.create(text(&group["ports"]), member.clone()).await;
    assert_eq!((&made["portGroupId"], &made["portId"]), (&group["id"], &port["id"]));
    let again = api.call(Method::POST, text(&group["ports"]), Some(&member)).await;
    assert_eq!((again.status.as_u16(), again.body), (409, Value::Null));
    assert_eq!(api.get(text(&port["portGroups"])).await, json!([made]));
    let of_port = format!("/port_groups?port_id={}&tenant_id=t", text(&port["id"]));
    assert_eq!(len(&api.get(&of_port).await), 1);
    assert_eq!(len(&api.get("/port_groups?tenant_id=x").await), 0);

    api.put(text(&group["uri"]), &json!({"name": "renamed"})).await;
    assert_eq!(api.get(text(&group["ports"])).await, json!([made]));
    let stranger = api.bridge_port(&api.device("bridges", "b2").await).await;
    let stranger = format!("{}/{}", text(&group["ports"]), text(&stranger["id"]));
    assert_eq!(api.status(Method::DELETE, &stranger, None).await, 404);
    api.delete(text(&port["uri"])).await;
    assert_eq!(api.get(text(&group["ports"])).await, json!([]));
    api.delete(text(&made["uri"])).await;
}

#[tokio::test]
async fn an_address_group_takes_each_address_once_in_both_versions() {
    let api = Api::new();
    let group = api.create("/ip_addr_groups", json!({"name": "g"})).await;
    let addrs = text(&group["addrs"]);
    let v4 = api.create(addrs, json!({"addr": "10.0.0.1", "version": 4})).await;
    let v6 = api.create(addrs, json!({"addr": "2001:db8::1", "version": "6"})).await;
    assert!(text(&v6["uri"]).ends_with("/versions/6/ip_addrs/2001%3Adb8%3A%3A1"), "{v6}");
    api.refused_field(409, addrs, json!({"addr": "10.0.0.1"}), "addr").await;
    api.refused_field(400, addrs, json!({"addr": "10.0.0.2", "version": 6}), "version").await;
    api.refused_field(400, addrs, json!({"addr": "10.0.0"}), "addr").await;
    assert_eq!(len(&api.get(text(&group["uri"])).await["ipAddrPorts"]), 2);
    api.delete(text(&v4["uri"])).await;
    api.delete(text(&v4["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&v4["uri"]), None).await, 404);
    assert_eq!(api.get(addrs).await, json!([v6]));
    api.refused_field(400, "/ip_addr_groups", json!({}), "name").await;
}
