//! Bridges, routers, their ports, links and routes.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api::{Api, BASE, len, text};

#[tokio::test]
async fn a_bridge_is_made_read_changed_listed_and_deleted() {
    let api = Api::new();
    let bridge = api.create("/bridges", json!({"name": "net", "tenantId": "t1"})).await;
    let uri = text(&bridge["uri"]);
    assert_eq!(uri, format!("{BASE}/bridges/{}", text(&bridge["id"])));
    assert_eq!(bridge["adminStateUp"], true);
    assert_eq!(bridge["inboundFilterId"], Value::Null);
    assert_eq!(bridge["macPortTemplate"], format!("{uri}/mac_table/{{macAddress}}_{{portId}}"));

    let mut changed = bridge.clone();
    (changed["name"], changed["adminStateUp"]) = (json!("wire"), json!(false));
    changed["somethingElse"] = json!(1);
    api.put(uri, &changed).await;
    let read = api.get(uri).await;
    assert_eq!((&read["name"], &read["adminStateUp"]), (&json!("wire"), &json!(false)));

    api.create("/bridges", json!({"name": "other", "tenantId": "t2"})).await;
    assert_eq!(len(&api.get("/bridges").await), 2);
    let of_tenant = api.get("/bridges?tenant_id=t1").await;
    assert_eq!(of_tenant, json!([read]));

    api.delete(uri).await;
    api.refused(404, Method::GET, uri, json!({})).await;
    api.refused(404, Method::DELETE, uri, json!({})).await;
}

#[tokio::test]
async fn deleting_a_router_twice_succeeds_twice() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    api.delete(text(&router["uri"])).await;
    api.delete(text(&router["uri"])).await;
}

#[tokio::test]
async fn a_put_replaces_the_object_and_does_not_merge() {
    let api = Api::new();
    let router = api.create("/routers", json!({"name": "r", "asNumber": 65000})).await;
    api.put(text(&router["uri"]), &json!({})).await;
    let read = api.get(text(&router["uri"])).await;
    assert_eq!((&read["name"], &read["asNumber"]), (&Value::Null, &json!(0)));
    assert_eq!(read["id"], router["id"]);
}

#[tokio::test]
async fn a_router_port_gets_a_mac_a_number_and_local_routes_of_both_versions() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let body = json!({"type": "ExteriorRouter", "portSubnet": ["10.0.0.1/24", "2001:db8::1/64"]});
    let port = api.create(text(&router["ports"]), body).await;
    assert_eq!(port["type"], "Router");
    assert!(text(&port["portMac"]).starts_with("02:"));
    assert!(port["tunnelKey"].as_u64() > Some(0));
    let shown = (&port["portAddress"], &port["networkAddress"], &port["networkLength"]);
    assert_eq!(shown, (&json!("10.0.0.1"), &json!("10.0.0.0"), &json!(24)));
    assert_eq!(port["vlanId"], Value::Null);

    let routes = api.get(text(&router["routes"])).await;
    let mut local: Vec<String> = Vec::new();
    for route in routes.as_array().unwrap() {
        assert_eq!((&route["type"], &route["weight"]), (&json!("Local"), &json!(0)));
        assert_eq!(route["nextHopPort"], port["id"]);
        let (addr, len) = (text(&route["dstNetworkAddr"]), &route["dstNetworkLength"]);
        local.push(format!(
            "{}/{} {addr}/{len}",
            text(&route["srcNetworkAddr"]),
            route["srcNetworkLength"]
        ));
    }
    local.sort();
    assert_eq!(local, ["0.0.0.0/0 10.0.0.1/32", "::/0 2001:db8::1/128"]);
}

#[tokio::test]
async fn local_routes_follow_the_addresses_of_their_port() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let mut port = api.router_port(&router, "10.0.0.1/24").await;
    let mac = port["portMac"].clone();
    port["portSubnet"] = json!(["10.0.0.2/24", "10.0.0.3/24"]);
    api.put(text(&port["uri"]), &port).await;
    let routes = api.get(text(&router["routes"])).await;
    let routes = routes.as_array().unwrap();
    let mut local: Vec<_> = routes.iter().map(|route| text(&route["dstNetworkAddr"])).collect();
    local.sort();
    assert_eq!(local, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(api.get(text(&port["uri"])).await["portMac"], mac);

    api.delete(text(&port["uri"])).await;
    assert_eq!(api.get(text(&router["routes"])).await, json!([]));
}

#[tokio::test]
async fn an_address_may_be_given_the_old_way() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let body = json!({"type": "Router", "portAddress": "192.168.1.1", "networkAddress": "192.168.1.0",
        "networkLength": "24", "portMac": "02-00-00-00-00-01"});
    let port = api.create(text(&router["ports"]), body).await;
    assert_eq!(port["portSubnet"], json!(["192.168.1.1/24"]));
    assert_eq!(port["portMac"], "02:00:00:00:00:01");
}

#[tokio::test]
async fn router_advertisements_are_shown_only_where_they_are_set() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let silent = api.router_port(&router, "2001:db8::1/64").await;
    assert!(silent.get("raMode").is_none() && silent.get("raPrefixes").is_none());
    assert!(silent.get("raInterval").is_none());
    let body = json!({"type": "Router", "portSubnet": ["2001:db8:1::1/64"], "raMode": "slaac",
        "raPrefixes": ["2001:db8:1::/64"], "raInterval": 30});
    let port = api.create(text(&router["ports"]), body).await;
    assert_eq!(
        (&port["raMode"], &port["raPrefixes"], &port["raInterval"]),
        (&json!("slaac"), &json!(["2001:db8:1::/64"]), &json!(30))
    );
}

#[tokio::test]
async fn a_link_has_two_ends_and_is_undone_at_either() {
    let api = Api::new();
    let (bridge, router) = (api.device("bridges", "b").await, api.device("routers", "r").await);
    let (a, b) = (api.bridge_port(&bridge).await, api.router_port(&router, "10.0.0.1/24").await);
    // As the old client does it: its whole port, with the peer added.
    let mut body = a.clone();
    (body["portId"], body["peerId"]) = (a["id"].clone(), b["id"].clone());
    let link = api.create(text(&a["link"]), body.clone()).await;
    assert_eq!((&link["portId"], &link["peerId"]), (&a["id"], &b["id"]));
    assert_eq!(api.get(text(&b["uri"])).await["peerId"], a["id"]);
    assert_eq!(api.get(text(&bridge["peerPorts"])).await[0]["id"], b["id"]);

    let fault = api.refused(409, Method::POST, text(&a["link"]), body).await;
    assert!(text(&fault["message"]).starts_with("Ports are not linkable"), "{fault}");

    api.delete(text(&b["link"])).await;
    assert_eq!(api.get(text(&a["uri"])).await["peerId"], Value::Null);
    api.delete(text(&b["link"])).await;
}

#[tokio::test]
async fn impossible_peers_are_refused() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let (a, b) = (api.bridge_port(&bridge).await, api.bridge_port(&bridge).await);
    let link = text(&a["link"]);
    api.refused(409, Method::POST, link, json!({"peerId": a["id"]})).await;
    api.refused(409, Method::POST, link, json!({"peerId": b["id"]})).await;
    let nobody = mn_ids::PortId::random();
    api.refused(404, Method::POST, link, json!({"peerId": nobody})).await;
    api.refused_field(400, link, json!({}), "peerId").await;
    assert_eq!(api.get(text(&a["uri"])).await["peerId"], Value::Null);
}

#[tokio::test]
async fn deleting_a_port_frees_its_peer() {
    let api = Api::new();
    let (left, right) = (api.device("bridges", "l").await, api.device("bridges", "r").await);
    let (a, b) = (api.bridge_port(&left).await, api.bridge_port(&right).await);
    api.create(text(&a["link"]), json!({"peerId": b["id"]})).await;
    api.delete(text(&a["uri"])).await;
    assert_eq!(api.get(text(&b["uri"])).await["peerId"], Value::Null);
}

#[tokio::test]
async fn deleting_a_router_takes_its_ports_and_routes() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let port = api.router_port(&router, "10.0.0.1/24").await;
    let route = api.get(text(&router["routes"])).await[0].clone();
    api.delete(text(&router["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&port["uri"]), None).await, 404);
    assert_eq!(api.status(Method::GET, text(&route["uri"]), None).await, 404);
}

#[tokio::test]
async fn routes_of_every_type_are_kept_as_they_are_sent() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let port = api.router_port(&router, "10.0.0.1/24").await;
    let v4 = |kind: &str| {
        json!({"type": kind, "srcNetworkAddr": "0.0.0.0", "srcNetworkLength": 0,
            "dstNetworkAddr": "10.9.0.0", "dstNetworkLength": "16", "weight": "100",
            "nextHopPort": port["id"], "nextHopGateway": "10.0.0.254"})
    };
    let normal = api.create(text(&router["routes"]), v4("Normal")).await;
    assert_eq!((&normal["weight"], &normal["nextHopGateway"]), (&json!(100), &json!("10.0.0.254")));
    assert_eq!(normal["learned"], false);
    for kind in ["BlackHole", "Reject"] {
        let route = api.create(text(&router["routes"]), v4(kind)).await;
        assert_eq!((&route["type"], &route["nextHopPort"]), (&json!(kind), &Value::Null));
    }
    let v6 = json!({"type": "Normal", "srcNetworkAddr": "::", "srcNetworkLength": 0,
        "dstNetworkAddr": "2001:db8::", "dstNetworkLength": 48, "nextHopPort": port["id"]});
    let route = api.create(text(&router["routes"]), v6).await;
    assert_eq!(route["dstNetworkLength"], 48);
    api.delete(text(&route["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&route["uri"]), None).await, 404);
}

#[tokio::test]
async fn a_router_says_how_it_chooses_and_a_route_what_it_leads_through() {
    let api = Api::new();
    let plain = api.device("routers", "r").await;
    assert!(plain.get("ecmpMode").is_none(), "what old clients do not know is not there");
    let body = json!({"name": "s", "ecmpMode": "symmetric"});
    let router = api.create("/routers", body).await;
    assert_eq!(router["ecmpMode"], "symmetric");
    api.refused_field(400, "/routers", json!({"ecmpMode": "fair"}), "ecmpMode").await;
    let port = api.router_port(&router, "10.0.0.1/24").await;
    let route = |path: Value| {
        json!({"type": "Normal", "srcNetworkAddr": "0.0.0.0", "dstNetworkAddr": "10.9.0.0",
            "dstNetworkLength": 16, "nextHopPort": port["id"], "path": path})
    };
    let routes = text(&router["routes"]);
    assert_eq!(api.create(routes, route(json!("fw1"))).await["path"], "fw1");
    assert!(api.create(routes, route(Value::Null)).await.get("path").is_none());
    api.refused_field(400, routes, route(json!("")), "path").await;
    let mut back = router.clone();
    back["ecmpMode"] = Value::Null;
    api.put(text(&router["uri"]), &back).await;
    assert!(api.get(text(&router["uri"])).await.get("ecmpMode").is_none());
}

#[tokio::test]
async fn a_route_needs_a_port_of_its_router() {
    let api = Api::new();
    let (router, other) = (api.device("routers", "r").await, api.device("routers", "o").await);
    let foreign = api.router_port(&other, "10.0.0.1/24").await;
    let base = json!({"type": "Normal", "srcNetworkAddr": "0.0.0.0", "dstNetworkAddr": "10.9.0.0",
        "dstNetworkLength": 16});
    let routes = text(&router["routes"]);
    api.refused_field(400, routes, base.clone(), "nextHopPort").await;
    let mut wrong = base.clone();
    wrong["nextHopPort"] = foreign["id"].clone();
    api.refused_field(400, routes, wrong, "nextHopPort").await;
    for (field, value, property) in [
        ("dstNetworkLength", json!(33), "dstNetworkLength"),
        ("dstNetworkAddr", json!("10.9"), "dstNetworkAddr"),
        ("srcNetworkAddr", json!("::"), "srcNetworkAddr"),
        ("weight", json!(-1), "weight"),
        ("type", json!("normal"), "type"),
    ] {
        let mut wrong = base.clone();
        wrong["type"] = json!("BlackHole");
        wrong[field] = value;
        api.refused_field(400, routes, wrong, property).await;
    }
    assert_eq!(api.get(routes).await, json!([]));
}

#[tokio::test]
async fn the_tables_of_a_bridge_take_entries_that_stay() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let port = api.bridge_port(&bridge).await;
    let macs = text(&bridge["macTable"]);
    let entry =
        api.create(macs, json!({"macAddr": "02:00:00:00:00:07", "portId": port["id"]})).await;
    assert!(
        text(&entry["uri"])
            .ends_with(&format!("/mac_table/02-00-00-00-00-07_{}", text(&port["id"])))
    );
    let tagged = format!("{}/vlans/7/mac_table", text(&bridge["uri"]));
    assert_eq!(api.status(Method::GET, &tagged, None).await, 404);
    let entry7 =
        api.create(&tagged, json!({"macAddr": "02:00:00:00:00:08", "portId": port["id"]})).await;
    assert_eq!(entry7["vlanId"], 7);
    assert_eq!(len(&api.get(macs).await), 2);
    assert_eq!(api.get(&tagged).await, json!([entry7]));
    api.delete(text(&entry["uri"])).await;
    api.delete(text(&entry["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&entry["uri"]), None).await, 404);
    api.delete(text(&port["uri"])).await;
    assert_eq!(api.get(macs).await, json!([]));

    let arp = text(&bridge["arpTable"]);
    let entry = api.create(arp, json!({"ip": "10.0.0.9", "mac": "02:00:00:00:00:09"})).await;
    assert_eq!(api.get(arp).await, json!([entry]));
    api.delete(text(&entry["uri"])).await;
    assert_eq!(api.get(arp).await, json!([]));
}

#[tokio::test]
async fn a_dhcp_subnet_has_hosts_and_options() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let body = json!({"subnetPrefix": "10.0.0.0", "subnetLength": 24, "defaultGateway": "10.0.0.1",
        "dnsServerAddrs": ["8.8.8.8"], "interfaceMTU": "1450",
        "opt121Routes": [{"destinationPrefix": "10.9.0.0", "destinationLength": 16, "gatewayAddr": "10.0.0.2"}]});
    let subnet = api.create(text(&bridge["dhcpSubnets"]), body.clone()).await;
    assert!(text(&subnet["uri"]).ends_with("/dhcp/10.0.0.0_24"));
    assert_eq!((&subnet["interfaceMTU"], &subnet["enabled"]), (&json!(1450), &json!(true)));
    assert_eq!(subnet["opt121Routes"], body["opt121Routes"]);
    api.refused_field(409, text(&bridge["dhcpSubnets"]), body, "subnetPrefix").await;

    let hosts = text(&subnet["hosts"]);
    let host = json!({"macAddr": "02:00:00:00:00:05", "ipAddr": "10.0.0.5", "name": "vm5",
        "extraDhcpOpts": [{"optName": "26", "optValue": "1400"}]});
    let made = api.create(hosts, host.clone()).await;
    assert_eq!(made["extraDhcpOpts"], host["extraDhcpOpts"]);
    api.refused_field(409, hosts, host, "macAddr").await;
    let mut subnet = subnet.clone();
    subnet["enabled"] = json!(false);
    api.put(text(&subnet["uri"]), &subnet).await;
    assert_eq!(api.get(hosts).await, json!([made]));
    assert_eq!(api.get(text(&subnet["uri"])).await["enabled"], false);
    api.delete(text(&made["uri"])).await;
    api.delete(text(&subnet["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&subnet["uri"]), None).await, 404);
}

#[tokio::test]
async fn a_dhcpv6_subnet_has_hosts_that_are_known_by_duid_or_mac() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let list = text(&bridge["dhcpSubnet6s"]);
    let body =
        json!({"prefix": "fd00:1::", "prefixLength": 64, "dnsServerAddrs": ["2001:db8::53"]});
    let subnet = api.create(list, body.clone()).await;
    assert!(text(&subnet["uri"]).ends_with("/dhcpV6/fd00:1::_64"));
    assert_eq!(subnet["dnsServerAddrs"], body["dnsServerAddrs"]);
    api.refused_field(409, list, body, "prefix").await;
    api.refused_field(400, list, json!({"prefix": "10.0.0.0", "prefixLength": 8}), "prefix").await;
    let long = json!({"prefix": "fd00:2::", "prefixLength": 129});
    api.refused_field(400, list, long, "prefixLength").await;

    let hosts = text(&subnet["hosts"]);
    let host = json!({"clientId": "00:03:00:01:02:00:00:00:00:05", "fixedAddress": "fd00:1::5", "name": "vm5"});
    let made = api.create(hosts, host.clone()).await;
    assert!(text(&made["uri"]).ends_with("/hostsV6/00-03-00-01-02-00-00-00-00-05"));
    api.refused_field(409, hosts, host, "clientId").await;
    let outside =
        json!({"clientId": "02-00-00-00-00-06", "fixedAddress": "fd00:2::6", "name": "vm6"});
    api.refused_field(400, hosts, outside, "fixedAddress").await;
    let wrong = json!({"clientId": "vm6", "fixedAddress": "fd00:1::6", "name": "vm6"});
    api.refused_field(400, hosts, wrong, "clientId").await;
    let mut changed = made.clone();
    changed["fixedAddress"] = json!("fd00:1::7");
    api.put(text(&made["uri"]), &changed).await;
    assert_eq!(api.get(hosts).await, json!([changed]));
    api.put(text(&bridge["uri"]), &bridge).await;
    assert_eq!(api.get(list).await[0]["uri"], subnet["uri"]);
    api.delete(text(&made["uri"])).await;
    api.delete(text(&subnet["uri"])).await;
    assert_eq!(api.get(list).await, json!([]));
}
