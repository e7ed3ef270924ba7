//! VLANs of bridges' ports.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Api, text};

async fn port(api: &Api, bridge: &Value, vlan: u16) -> Value {
    api.create(text(&bridge["ports"]), json!({"type": "Bridge", "vlanId": vlan})).await
}

#[tokio::test]
async fn a_vlan_of_a_bridge_leads_to_one_other_bridge() {
    let api = Api::new();
    let trunks = api.device("bridges", "trunks").await;
    let (red, green) = (api.device("bridges", "red").await, api.device("bridges", "green").await);
    let (seven, again) = (port(&api, &trunks, 7).await, port(&api, &trunks, 7).await);
    let (to_red, to_green) = (api.bridge_port(&red).await, api.bridge_port(&green).await);
    api.create(text(&seven["link"]), json!({"peerId": to_red["id"]})).await;
    // From either end, and with the port itself.
    api.refused_field(409, text(&again["link"]), json!({"peerId": to_green["id"]}), "vlanId").await;
    api.refused_field(409, text(&to_green["link"]), json!({"peerId": again["id"]}), "vlanId").await;
    let third = json!({"type": "Bridge", "vlanId": 7, "peerId": to_green["id"]});
    api.refused_field(409, text(&trunks["ports"]), third, "vlanId").await;
    let fourth = json!({"type": "Bridge", "peerId": again["id"]});
    api.refused_field(409, text(&green["ports"]), fourth, "vlanId").await;
    // Another VLAN is free, and cannot be made that one.
    let eight = port(&api, &trunks, 8).await;
    api.create(text(&eight["link"]), json!({"peerId": to_green["id"]})).await;
    let mut moved = api.get(text(&eight["uri"])).await;
    moved["vlanId"] = json!(7);
    let refused = api.refused(409, Method::PUT, text(&eight["uri"]), moved.clone()).await;
    assert_eq!(refused["violations"][0]["property"], "vlanId");
    assert_eq!(api.get(text(&eight["uri"])).await["vlanId"], 8);
    // When it leads nowhere any more it is free.
    api.delete(text(&seven["link"])).await;
    api.put(text(&eight["uri"]), &moved).await;
    assert_eq!(api.get(text(&eight["uri"])).await["vlanId"], 7);
}

#[tokio::test]
async fn machines_at_access_ports_share_a_vlan() {
    let api = Api::new();
    let (trunks, host) = (api.device("bridges", "trunks").await, api.host("h1").await);
    for interface in ["tap1", "tap2"] {
        let port = port(&api, &trunks, 7).await;
        let binding = json!({"portId": port["id"], "interfaceName": interface});
        api.create(&format!("{}/ports", text(&host["uri"])), binding).await;
    }
    let link = port(&api, &trunks, 7).await;
    let red = api.device("bridges", "red").await;
    let to_red = api.bridge_port(&red).await;
    api.create(text(&link["link"]), json!({"peerId": to_red["id"]})).await;
}
