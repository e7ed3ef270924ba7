//! Insertions of inspecting machines.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Api, len, text};

const MACHINE: &str = "02:00:00:00:00:01";

async fn ports(api: &Api) -> [Value; 3] {
    let bridge = api.device("bridges", "b").await;
    [api.bridge_port(&bridge).await, api.bridge_port(&bridge).await, api.bridge_port(&bridge).await]
}

fn insertion(port: &Value, service: &Value) -> Value {
    json!({"portId": port["id"], "srvPortId": service["id"], "mac": MACHINE, "vlan": 10,
        "position": 1, "failOpen": true})
}

#[tokio::test]
async fn an_insertion_is_made_read_changed_listed_and_deleted() {
    let api = Api::new();
    let [vm, one, two] = ports(&api).await;
    let made = api.create("/l2insertions", insertion(&vm, &one)).await;
    assert_eq!(
        (&made["mac"], &made["vlan"], &made["failOpen"]),
        (&json!(MACHINE), &json!(10), &json!(true))
    );
    assert_eq!((&made["heartbeat"], &made["status"]), (&json!(false), &Value::Null));
    api.create("/l2insertions", insertion(&vm, &two)).await;
    let mut changed = made.clone();
    (changed["position"], changed["heartbeat"]) = (json!(7), json!(true));
    api.put(text(&made["uri"]), &changed).await;
    assert_eq!(api.get(text(&made["uri"])).await, changed);
    let list = |query: String| {
        let api = &api;
        async move { api.get(&format!("/l2insertions{query}")).await }
    };
    assert_eq!(len(&list(String::new()).await), 2);
    assert_eq!(len(&list(format!("?port={}", text(&vm["id"]))).await), 2);
    assert_eq!(list(format!("?srv_port={}", text(&one["id"]))).await, json!([changed]));
    assert_eq!(len(&api.get(text(&vm["uri"])).await["insertionIds"]), 2);
    assert_eq!(api.get(text(&one["uri"])).await["insertionIds"], json!([]));
    // A port that is changed keeps its insertions.
    api.put(text(&vm["uri"]), &api.get(text(&vm["uri"])).await).await;
    api.refused_field(409, "/l2insertions", insertion(&one, &vm), "portId").await;
    api.delete(text(&made["uri"])).await;
    api.refused(404, Method::DELETE, text(&made["uri"]), json!({})).await;
    // With a port goes what is inserted there.
    api.delete(text(&two["uri"])).await;
    assert_eq!(list(String::new()).await, json!([]));
    api.create("/l2insertions", insertion(&one, &vm)).await;
}

#[tokio::test]
async fn insertions_that_cannot_be_are_refused() {
    let api = Api::new();
    let [vm, one, two] = ports(&api).await;
    let with = |field: &str, value: Value| {
        let mut wrong = insertion(&vm, &one);
        wrong[field] = value;
        wrong
    };
    for (field, value) in [
        ("portId", Value::Null),
        ("srvPortId", Value::Null),
        ("mac", Value::Null),
        ("mac", json!("01:00:00:00:00:01")),
        ("vlan", json!(4095)),
        ("srvPortId", vm["id"].clone()),
    ] {
        api.refused_field(400, "/l2insertions", with(field, value), field).await;
    }
    let nowhere = with("portId", json!(mn_ids::PortId::random()));
    api.refused_field(404, "/l2insertions", nowhere, "portId").await;
    let made = api.create("/l2insertions", insertion(&vm, &one)).await;
    // Twice by one machine; an inspector inspected; a protected port that inspects.
    api.refused_field(409, "/l2insertions", insertion(&vm, &one), "srvPortId").await;
    api.refused_field(409, "/l2insertions", insertion(&one, &two), "portId").await;
    api.refused_field(409, "/l2insertions", insertion(&two, &vm), "srvPortId").await;
    // Nobody knows whose a frame is that comes back: the same tag and MAC, or no tag.
    let mut untagged = insertion(&two, &one);
    untagged["vlan"] = json!(0);
    api.refused_field(409, "/l2insertions", insertion(&two, &one), "vlan").await;
    api.refused_field(409, "/l2insertions", untagged, "vlan").await;
    let mut other = insertion(&two, &one);
    other["vlan"] = json!(11);
    let other = api.create("/l2insertions", other).await;
    for vlan in [0, 10] {
        let mut same = other.clone();
        same["vlan"] = json!(vlan);
        let refused = api.refused(409, Method::PUT, text(&other["uri"]), same).await;
        assert_eq!(refused["violations"][0]["property"], "vlan");
    }
    let mut apart = other.clone();
    (apart["vlan"], apart["mac"]) = (json!(10), json!("02:00:00:00:00:02"));
    api.put(text(&other["uri"]), &apart).await;
    api.delete(text(&other["uri"])).await;
    let mut alone = made.clone();
    alone["vlan"] = json!(0);
    api.put(text(&made["uri"]), &alone).await;
    api.refused_field(409, "/l2insertions", insertion(&two, &one), "vlan").await;
    for filter in ["port", "srv_port"] {
        let path = format!("/l2insertions?{filter}=nonsense");
        assert_eq!(api.status(Method::GET, &path, None).await, 400);
    }
    let mut moved = made.clone();
    moved["srvPortId"] = two["id"].clone();
    let refused = api.refused(400, Method::PUT, text(&made["uri"]), moved).await;
    assert_eq!(refused["violations"][0]["property"], "srvPortId");
}
