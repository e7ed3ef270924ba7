//! Chains and rules.

use axum::http::Method;
use mn_cluster::rest::Settings;
use serde_json::{Value, json};

use crate::api::{Api, len, text};

async fn chain(api: &Api, name: &str) -> Value {
    api.create("/chains", json!({"name": name, "tenantId": "t"})).await
}

async fn positions(api: &Api, chain: &Value) -> Vec<(u64, String)> {
    let rules = api.get(text(&chain["rules"])).await;
    let rules = rules.as_array().unwrap();
    rules
        .iter()
        .map(|rule| (rule["position"].as_u64().unwrap(), text(&rule["type"]).to_owned()))
        .collect()
}

#[tokio::test]
async fn rules_stand_where_they_are_put() {
    let api = Api::new();
    let chain = chain(&api, "c").await;
    let rules = text(&chain["rules"]);
    api.create(rules, json!({"type": "drop"})).await;
    let head = api.create(rules, json!({"type": "accept"})).await;
    assert_eq!(head["position"], 1);
    api.create(rules, json!({"type": "return", "position": "3"})).await;
    let second = api.create(rules, json!({"type": "continue", "position": 2})).await;
    api.create(rules, json!({"type": "reject", "position": 0})).await;
    let order: Vec<_> = ["reject", "accept", "continue", "drop", "return"]
        .iter()
        .map(|s| (*s).to_owned())
        .collect();
    assert_eq!(positions(&api, &chain).await, (1..=5).zip(order).collect::<Vec<_>>());
    api.refused_field(400, rules, json!({"type": "drop", "position": 7}), "position").await;

    api.delete(text(&second["uri"])).await;
    assert_eq!(api.status(Method::DELETE, text(&second["uri"]), None).await, 404);
    assert_eq!(positions(&api, &chain).await.len(), 4);
    let read = api.get(text(&head["uri"])).await;
    assert_eq!((&read["position"], &read["chainId"]), (&json!(2), &chain["id"]));
}

#[tokio::test]
async fn a_condition_is_read_back_as_it_was_sent() {
    let api = Api::new();
    let chain = chain(&api, "c").await;
    let bridge = api.device("bridges", "b").await;
    let port = api.bridge_port(&bridge).await;
    let group = api.create("/port_groups", json!({"name": "g"})).await;
    let addrs = api.create("/ip_addr_groups", json!({"name": "a"})).await;
    let condition = json!({
        "condInvert": true, "matchForwardFlow": true, "matchReturnFlow": true,
        "matchValidFlow": false,
        "inPorts": [port["id"]], "invInPorts": true, "outPorts": [port["id"]],
        "portGroup": group["id"], "inPortGroup": group["id"], "invInPortGroup": true,
        "outPortGroup": group["id"], "ipAddrGroupSrc": addrs["id"], "ipAddrGroupDst": addrs["id"],
        "invIpAddrGroupDst": true, "traversedDevice": bridge["id"], "vlan": 7,
        "dlType": 2048, "invDlType": true, "dlSrc": "02:00:00:00:00:01", "dlSrcMask": "ffff.ff00.0000",
        "dlDst": "02:00:00:00:00:02", "invDlDst": true, "nwTos": 16, "nwProto": 6, "invNwTos": true,
        "nwSrcAddress": "10.0.0.0", "nwSrcLength": 8, "invNwSrc": true,
        "nwDstAddress": "10.1.2.3", "nwDstLength": 32, "tpSrc": {"start": 1024, "end": 65535},
        "tpDst": {"start": 80, "end": 90}, "invTpDst": true, "fragmentPolicy": "unfragmented",
        "icmpDataSrcIpAddress": "10.0.0.0", "icmpDataSrcIpLength": 8, "matchNwDstRewritten": true,
    });
    let mut body = condition.clone();
    (body["type"], body["meterName"]) = (json!("accept"), json!("web"));
    let rule = api.create(text(&chain["rules"]), body).await;
    for (name, sent) in condition.as_object().unwrap() {
        assert_eq!(&rule[name], sent, "{name}");
    }
    assert_eq!(rule["dlDstMask"], Value::Null);
    assert_eq!(rule["meterName"], "web");
}

#[tokio::test]
async fn every_type_of_rule_is_kept() {
    let api = Api::new();
    let (chain, target) = (chain(&api, "c").await, chain(&api, "target").await);
    let rules = text(&chain["rules"]);
    let jump = api.create(rules, json!({"type": "jump", "jumpChainId": target["id"]})).await;
    assert_eq!(jump["jumpChainName"], "target");
    let targets = json!([{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.9", "portFrom": 1024, "portTo": 65535}]);
    for kind in ["snat", "dnat"] {
        let rule = json!({"type": kind, "flowAction": "accept", "natTargets": targets});
        let rule = api.create(rules, rule).await;
        assert_eq!((&rule["natTargets"], &rule["flowAction"]), (&targets, &json!("accept")));
        assert_eq!(rule["fragmentPolicy"], "unfragmented");
    }
    for kind in ["rev_snat", "rev_dnat"] {
        api.create(rules, json!({"type": kind, "flowAction": "return"})).await;
        api.refused_field(400, rules, json!({"type": kind}), "flowAction").await;
    }
    let port = api.bridge_port(&api.device("bridges", "b").await).await;
    let rule = json!({"type": "l2_transform", "flowAction": "redirect", "pushVlan": 3, "popVlan": true,
        "targetPortId": port["id"], "ingress": true, "failOpen": true});
    let rule = api.create(rules, rule).await;
    assert_eq!((&rule["pushVlan"], &rule["targetPortId"]), (&json!(3), &port["id"]));
    assert_eq!(len(&api.get(rules).await), 6);
}

#[tokio::test]
async fn the_fragment_policy_follows_from_what_a_rule_reads() {
    let api = Api::new();
    let chain = chain(&api, "c").await;
    let rules = text(&chain["rules"]);
    let one = json!([{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.1"}]);
    let cases = [
        (json!({"type": "drop"}), "any"),
        (json!({"type": "drop", "tpDst": {"start": 80, "end": 80}}), "header"),
        (json!({"type": "dnat", "flowAction": "accept", "natTargets": one}), "any"),
    ];
    for (body, policy) in cases {
        assert_eq!(api.create(rules, body).await["fragmentPolicy"], policy);
    }
    let ports = json!({"type": "drop", "tpDst": {"start": 80}, "fragmentPolicy": "any"});
    api.refused_field(400, rules, ports, "fragmentPolicy").await;
    let many = json!([{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.2"}]);
    let nat = json!({"type": "snat", "flowAction": "accept", "natTargets": many, "fragmentPolicy": "header"});
    api.refused_field(400, rules, nat, "fragmentPolicy").await;
}

#[tokio::test]
async fn a_loop_of_jumps_is_refused_when_it_would_close() {
    let api = Api::new();
    let (a, b, c) = (chain(&api, "a").await, chain(&api, "b").await, chain(&api, "c").await);
    let jump = |to: &Value| json!({"type": "jump", "jumpChainId": to["id"]});
    api.refused_field(400, text(&a["rules"]), jump(&a), "jumpChainId").await;
    api.create(text(&a["rules"]), jump(&b)).await;
    api.create(text(&a["rules"]), jump(&c)).await;
    api.create(text(&b["rules"]), jump(&c)).await;
    api.refused_field(400, text(&c["rules"]), jump(&a), "jumpChainId").await;
    assert_eq!(api.get(text(&c["rules"])).await, json!([]));
    api.refused_field(
        404,
        text(&c["rules"]),
        jump(&json!({"id": mn_ids::ChainId::random()})),
        "jumpChainId",
    )
    .await;
}

#[tokio::test]
async fn of_two_jumps_that_close_a_loop_together_one_is_refused() {
    let api = Api::new();
    for _ in 0..20 {
        let (a, b) = (chain(&api, "a").await, chain(&api, "b").await);
        let (to_a, to_b) = (
            json!({"type": "jump", "jumpChainId": a["id"]}),
            json!({"type": "jump", "jumpChainId": b["id"]}),
        );
        let statuses = tokio::join!(
            api.status(Method::POST, text(&a["rules"]), Some(&to_b)),
            api.status(Method::POST, text(&b["rules"]), Some(&to_a)),
        );
        assert!(matches!(statuses, (201, 400) | (400, 201)), "{statuses:?}");
    }
}

#[tokio::test]
async fn deleting_a_chain_takes_jumps_to_it_and_frees_devices() {
    let api = Api::new();
    let (chain_, target) = (chain(&api, "c").await, chain(&api, "target").await);
    let rules = text(&chain_["rules"]);
    api.create(rules, json!({"type": "drop"})).await;
    api.create(rules, json!({"type": "jump", "jumpChainId": target["id"]})).await;
    let bridge = api.create("/bridges", json!({"inboundFilterId": target["id"]})).await;
    assert_eq!(bridge["inboundFilter"], target["uri"]);
    api.delete(text(&target["uri"])).await;
    assert_eq!(positions(&api, &chain_).await, [(1, "drop".to_owned())]);
    assert_eq!(api.get(text(&bridge["uri"])).await["inboundFilterId"], Value::Null);
}

#[tokio::test]
async fn what_a_rule_names_cannot_be_deleted() {
    let api = Api::new();
    let chain = chain(&api, "c").await;
    let group = api.create("/ip_addr_groups", json!({"name": "g"})).await;
    let rule = api
        .create(text(&chain["rules"]), json!({"type": "drop", "ipAddrGroupSrc": group["id"]}))
        .await;
    api.refused(409, Method::DELETE, text(&group["uri"]), json!({})).await;
    api.delete(text(&rule["uri"])).await;
    api.delete(text(&group["uri"])).await;
}

#[tokio::test]
async fn a_wrong_rule_is_refused_with_the_field_that_is_wrong() {
    let api = Api::new();
    let chain = chain(&api, "c").await;
    let rules = text(&chain["rules"]);
    for (body, property) in [
        (json!({}), "type"),
        (json!({"type": "fly"}), "type"),
        (json!({"type": "jump"}), "jumpChainId"),
        (json!({"type": "dnat", "flowAction": "accept"}), "natTargets"),
        (
            json!({"type": "dnat", "flowAction": "accept", "natTargets": [{}]}),
            "natTargets[0].addressFrom",
        ),
        (json!({"type": "drop", "nwSrcAddress": "10.0.0.0", "nwSrcLength": 40}), "nwSrcLength"),
        (json!({"type": "drop", "nwSrcAddress": "10.0.0"}), "nwSrcAddress"),
        (
            json!({"type": "drop", "nwSrcAddress": "10.0.0.1", "nwDstAddress": "::1"}),
            "nwDstAddress",
        ),
        (json!({"type": "drop", "dlSrc": "02:00"}), "dlSrc"),
        (json!({"type": "drop", "dlSrcMask": "ffff.0000"}), "dlSrcMask"),
        (json!({"type": "drop", "dlType": 1}), "dlType"),
        (json!({"type": "drop", "nwProto": 256}), "nwProto"),
        (json!({"type": "drop", "tpDst": {"start": 90, "end": 80}}), "tpDst"),
        (json!({"type": "drop", "tpDst": {"start": 65536}}), "tpDst.start"),
        (json!({"type": "drop", "vlan": 4095}), "vlan"),
        (json!({"type": "drop", "inPorts": ["x"]}), "inPorts[0]"),
        (json!({"type": "drop", "condInvert": "no"}), "condInvert"),
        (json!({"type": "rev_snat", "flowAction": "redirect"}), "flowAction"),
    ] {
        api.refused_field(400, rules, body, property).await;
    }
    let nobody = json!({"type": "drop", "inPorts": [mn_ids::PortId::random()]});
    api.refused_field(404, rules, nobody, "inPorts").await;
    let nowhere = json!({"type": "drop", "traversedDevice": mn_ids::BridgeId::random()});
    api.refused_field(404, rules, nowhere, "traversedDevice").await;
    assert_eq!(api.get(rules).await, json!([]));
}

/// On disk, where a commit takes its time and the others overtake it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_come_and_go_all_at_once_all_do() {
    let directory = tempfile::tempdir().unwrap();
    let engine = mn_nsdb_embedded::open(&directory.path().join("nsdb")).unwrap();
    let api = Api::over(engine, Settings::default());
    let chain = chain(&api, "c").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (api, rules) = (api.clone(), text(&chain["rules"]).to_owned());
        requests.spawn(async move {
            api.status(Method::POST, &rules, Some(&json!({"type": "drop"}))).await
        });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    let made = api.get(text(&chain["rules"])).await;
    assert_eq!(len(&made), 50);
    let mut requests = tokio::task::JoinSet::new();
    for rule in made.as_array().unwrap().clone() {
        let api = api.clone();
        requests.spawn(async move { api.status(Method::DELETE, text(&rule["uri"]), None).await });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    assert_eq!(api.get(text(&chain["rules"])).await, json!([]));
}
