//! Policies of service quality and their rules.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Api, len, text};

async fn policy(api: &Api, body: Value) -> Value {
    api.create("/qos_policies", body).await
}

#[tokio::test]
async fn a_policy_is_made_read_changed_and_deleted_and_its_users_are_free_of_it() {
    let api = Api::new();
    let body =
        json!({"name": "gold", "description": "for voice", "shared": true, "tenant_id": "t"});
    let gold = policy(&api, body.clone()).await;
    for (name, sent) in body.as_object().unwrap() {
        assert_eq!(&gold[name], sent, "{name}");
    }
    assert_eq!(gold["rules"], Value::Null);
    let bridge = api.device("bridges", "b").await;
    let port = api.bridge_port(&bridge).await;
    for user in [&bridge, &port] {
        let mut named = user.clone();
        named["qosPolicyId"] = gold["id"].clone();
        api.put(text(&user["uri"]), &named).await;
        assert_eq!(api.get(text(&user["uri"])).await["qosPolicyId"], gold["id"]);
        named["qosPolicyId"] = bridge["id"].clone();
        let path = text(&user["uri"]);
        let fault = api.refused(404, Method::PUT, path, named).await;
        assert_eq!(fault["violations"][0]["property"], "qosPolicyId");
    }
    let mut other = gold.clone();
    other["name"] = json!("silver");
    api.put(text(&gold["uri"]), &other).await;
    assert_eq!(api.get("/qos_policies").await[0]["name"], "silver");

    let mark = api.create(text(&gold["dscpRules"]), json!({"dscpMark": 46})).await;
    api.delete(text(&gold["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&mark["uri"]), None).await, 404);
    for user in [&bridge, &port] {
        assert_eq!(api.get(text(&user["uri"])).await["qosPolicyId"], Value::Null);
    }
}

#[tokio::test]
async fn rules_of_each_kind_are_made_listed_changed_and_deleted_by_themselves() {
    let api = Api::new();
    let gold = policy(&api, json!({"name": "gold"})).await;
    let (limits, marks) = (text(&gold["bwLimitRules"]), text(&gold["dscpRules"]));
    // Old clients write numbers as text.
    let limit = api.create(limits, json!({"maxKbps": "1000", "maxBurstKb": 800})).await;
    assert_eq!((&limit["maxKbps"], &limit["maxBurstKb"]), (&json!(1000), &json!(800)));
    assert_eq!((&limit["policyId"], &limit["direction"]), (&gold["id"], &Value::Null));
    let down = api.create(limits, json!({"maxKbps": 500, "direction": "ingress"})).await;
    assert_eq!((&down["maxBurstKb"], &down["direction"]), (&Value::Null, &json!("ingress")));
    let mark = api.create(marks, json!({"dscpMark": 46})).await;
    assert_eq!((len(&api.get(limits).await), len(&api.get(marks).await)), (2, 1));

    let mut slower = limit.clone();
    slower["maxKbps"] = json!(10);
    slower["maxBurstKb"] = json!(0);
    api.put(text(&limit["uri"]), &slower).await;
    let read = api.get(text(&limit["uri"])).await;
    assert_eq!((&read["maxKbps"], &read["maxBurstKb"]), (&json!(10), &Value::Null));

    // A rule is found under its own kind only.
    let wrong = format!("/qos_dscp_rules/{}", text(&limit["id"]));
    assert_eq!(api.status(Method::GET, &wrong, None).await, 404);
    api.delete(&wrong).await;
    assert_eq!(len(&api.get(limits).await), 2);
    api.delete(text(&limit["uri"])).await;
    api.delete(text(&limit["uri"])).await;
    assert_eq!(api.get(limits).await[0]["id"], down["id"]);
    assert_eq!(api.get(text(&mark["uri"])).await["dscpMark"], 46);
}

#[tokio::test]
async fn rules_that_come_with_a_policy_replace_those_it_had_and_without_any_they_stay() {
    let api = Api::new();
    let rules = json!([
        {"type": "bandwidth_limit", "max_kbps": 1000, "max_burst_kbps": 100},
        {"type": "dscp_marking", "dscp_mark": 10},
    ]);
    let gold = policy(&api, json!({"name": "gold", "rules": rules})).await;
    let limits = text(&gold["bwLimitRules"]);
    let limit = api.get(limits).await[0].clone();
    assert_eq!((&limit["maxKbps"], &limit["maxBurstKb"]), (&json!(1000), &json!(100)));
    api.put(text(&gold["uri"]), &gold).await;
    assert_eq!(len(&api.get(limits).await), 1, "null: they stay");

    // One is changed, one left out, one new.
    let mut other = gold.clone();
    other["rules"] = json!([
        {"id": limit["id"], "type": "bandwidth_limit", "max_kbps": 2000},
        {"type": "bandwidth_limit", "max_kbps": 5, "direction": "ingress"},
    ]);
    api.put(text(&gold["uri"]), &other).await;
    let now = api.get(limits).await;
    assert_eq!((&now[0]["id"], &now[0]["maxKbps"]), (&limit["id"], &json!(2000)));
    assert_eq!((&now[1]["maxKbps"], len(&now)), (&json!(5), 2));
    assert_eq!(len(&api.get(text(&gold["dscpRules"])).await), 0);
    other["rules"] = json!([]);
    api.put(text(&gold["uri"]), &other).await;
    assert_eq!(len(&api.get(limits).await), 0);
}

#[tokio::test]
async fn what_no_policy_can_say_is_refused() {
    let api = Api::new();
    let gold = policy(&api, json!({})).await;
    let (limits, marks) = (text(&gold["bwLimitRules"]), text(&gold["dscpRules"]));
    api.refused_field(400, limits, json!({}), "maxKbps").await;
    api.refused_field(400, limits, json!({"maxKbps": 0}), "maxKbps").await;
    let large = json!({"maxKbps": 1, "maxBurstKb": 2_147_483_648_u32});
    api.refused_field(400, limits, large, "maxBurstKb").await;
    api.refused_field(400, limits, json!({"maxKbps": 1, "direction": "up"}), "direction").await;
    api.refused_field(400, marks, json!({}), "dscpMark").await;
    api.refused_field(400, marks, json!({"dscpMark": 64}), "dscpMark").await;
    let nowhere = format!("/qos_policies/{}/qos_dscp_rules", mn_ids::QosPolicyId::random());
    let fault = api.status(Method::POST, &nowhere, Some(&json!({"dscpMark": 1}))).await;
    assert_eq!(fault, 404);
    let mark = api.create(marks, json!({"dscpMark": 1})).await;
    let again = json!({"id": mark["id"], "maxKbps": 1});
    api.refused_field(409, limits, again, "id").await;
    let rules = json!([{"type": "dscp_marking"}]);
    api.refused_field(400, "/qos_policies", json!({"rules": rules}), "rules.dscp_mark").await;
    let rules = json!([{"max_kbps": 1}]);
    api.refused_field(400, "/qos_policies", json!({"rules": rules}), "rules.type").await;

    // A rule is one policy's, and stays there.
    let taken = json!({"rules": [{"id": mark["id"], "type": "dscp_marking", "dscp_mark": 1}]});
    api.refused_field(409, "/qos_policies", taken.clone(), "rules.id").await;
    api.put(text(&gold["uri"]), &taken).await;
    let silver = policy(&api, json!({})).await;
    let fault = api.refused(409, Method::PUT, text(&silver["uri"]), taken).await;
    assert_eq!(fault["violations"][0]["property"], "rules.id");
    let moved = json!({"dscpMark": 2, "policyId": silver["id"]});
    api.refused_field(400, marks, moved.clone(), "policyId").await;
    let fault = api.refused(400, Method::PUT, text(&mark["uri"]), moved).await;
    assert_eq!(fault["violations"][0]["property"], "policyId");
    assert_eq!(api.get(marks).await, json!([mark]));
    assert_eq!(len(&api.get(limits).await), 0);
}
