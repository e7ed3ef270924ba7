//! Load balancers and what belongs to them.

use axum::http::Method;
use mn_ids::HostId;
use mn_nsdb::{Entry, Op, Owner, Revision, TableId, TableKind, Transaction};
use serde_json::{Value, json};

use crate::api::{Api, len, text};

async fn balancer(api: &Api) -> Value {
    api.create("/load_balancers", json!({})).await
}

async fn pool(api: &Api, balancer: &Value) -> Value {
    api.create(text(&balancer["pools"]), json!({"lbMethod": "ROUND_ROBIN"})).await
}

async fn member(api: &Api, pool: &Value, address: &str) -> Value {
    let body = json!({"address": address, "protocolPort": 80});
    api.create(text(&pool["poolMembers"]), body).await
}

async fn vip(api: &Api, pool: &Value, address: &str) -> Value {
    let body = json!({"address": address, "protocolPort": 80});
    api.create(text(&pool["vips"]), body).await
}

/// With some fields changed.
fn with(object: &Value, changes: Value) -> Value {
    let mut object = object.clone();
    let members = object.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    object
}

fn ids(list: &Value) -> Vec<&str> {
    let mut ids: Vec<_> = list.as_array().unwrap().iter().map(|it| text(&it["id"])).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_router_has_one_load_balancer_and_a_load_balancer_one_router() {
    let api = Api::new();
    let (one, two) = (api.device("routers", "one").await, api.device("routers", "two").await);
    let (first, second) = (balancer(&api).await, balancer(&api).await);
    let attached = with(&one, json!({"loadBalancerId": first["id"]}));
    api.put(text(&one["uri"]), &attached).await;
    let shown = api.get(text(&first["uri"])).await;
    assert_eq!((&shown["routerId"], &shown["router"]), (&one["id"], &one["uri"]));
    assert_eq!(api.get(text(&one["uri"])).await["loadBalancer"], first["uri"]);

    let stolen = with(&two, json!({"loadBalancerId": first["id"]}));
    let fault = api.refused(409, Method::PUT, text(&two["uri"]), stolen).await;
    assert_eq!(fault["violations"][0]["property"], "loadBalancerId");
    let unknown = with(&two, json!({"loadBalancerId": two["id"]}));
    api.refused(404, Method::PUT, text(&two["uri"]), unknown).await;
    api.refused(409, Method::DELETE, text(&one["uri"]), json!({})).await;

    // Another one takes its place: the first is free for the other router.
    api.put(text(&one["uri"]), &with(&one, json!({"loadBalancerId": second["id"]}))).await;
    assert_eq!(api.get(text(&first["uri"])).await["routerId"], Value::Null);
    api.put(text(&two["uri"]), &with(&two, json!({"loadBalancerId": first["id"]}))).await;
    api.put(text(&one["uri"]), &one).await;
    assert_eq!(api.get(text(&second["uri"])).await["routerId"], Value::Null);
    api.delete(text(&one["uri"])).await;
    api.delete(text(&first["uri"])).await;
    assert_eq!(api.get(text(&two["uri"])).await["loadBalancerId"], Value::Null);
    api.delete(text(&two["uri"])).await;
    api.delete(text(&first["uri"])).await;
}

#[tokio::test]
async fn a_router_may_be_made_with_its_load_balancer() {
    let api = Api::new();
    let balancer = balancer(&api).await;
    let router = api.create("/routers", json!({"loadBalancerId": balancer["id"]})).await;
    assert_eq!(api.get(text(&balancer["uri"])).await["routerId"], router["id"]);
    let fault =
        api.refused(409, Method::POST, "/routers", json!({"loadBalancerId": balancer["id"]})).await;
    assert_eq!(fault["violations"][0]["value"], balancer["id"]);
    assert_eq!(len(&api.get("/routers").await), 1, "what was refused left nothing behind");
}

#[tokio::test]
async fn a_load_balancer_does_not_choose_its_router() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    api.refused_field(400, "/load_balancers", json!({"routerId": router["id"]}), "routerId").await;
    let balancer = balancer(&api).await;
    let moved = with(&balancer, json!({"routerId": router["id"]}));
    let fault = api.refused(400, Method::PUT, text(&balancer["uri"]), moved).await;
    assert_eq!(fault["violations"][0]["property"], "routerId");
    api.put(text(&balancer["uri"]), &with(&balancer, json!({"adminStateUp": false}))).await;
    assert_eq!(api.get(text(&balancer["uri"])).await["adminStateUp"], false);
    assert_eq!(api.status(Method::POST, text(&balancer["vips"]), Some(&json!({}))).await, 405);
}

#[tokio::test]
async fn what_a_load_balancer_has_is_listed_at_each_of_its_places_and_goes_with_it() {
    let api = Api::new();
    let balancer = balancer(&api).await;
    let pool = pool(&api, &balancer).await;
    let member = member(&api, &pool, "10.0.0.1").await;
    let vip = vip(&api, &pool, "203.0.113.2").await;
    assert_eq!((&vip["loadBalancerId"], &vip["pool"]), (&balancer["id"], &pool["uri"]));
    assert_eq!((&member["weight"], &member["status"]), (&json!(1), &json!("ACTIVE")));
    let nested = format!("{}/{}/pool_members", text(&balancer["pools"]), text(&pool["id"]));
    for (path, expected) in [
        ("/pools", &pool),
        (text(&balancer["pools"]), &pool),
        ("/pool_members", &member),
        (text(&pool["poolMembers"]), &member),
        (&nested, &member),
        ("/vips", &vip),
        (text(&pool["vips"]), &vip),
        (text(&balancer["vips"]), &vip),
    ] {
        assert_eq!(api.get(path).await, json!([expected]), "{path}");
    }
    api.delete(text(&balancer["uri"])).await;
    for path in ["/load_balancers", "/pools", "/pool_members", "/vips"] {
        assert_eq!(api.get(path).await, json!([]), "{path}");
    }
    for gone in [&balancer, &pool, &member, &vip] {
        api.delete(text(&gone["uri"])).await;
        assert_eq!(api.status(Method::GET, text(&gone["uri"]), None).await, 404);
    }
    assert_eq!(api.status(Method::GET, text(&pool["poolMembers"]), None).await, 404);
}

#[tokio::test]
async fn fields_of_load_balancing_are_checked_one_by_one() {
    let api = Api::new();
    let pool = pool(&api, &balancer(&api).await).await;
    let (members, vips) = (text(&pool["poolMembers"]), text(&pool["vips"]));
    api.refused_field(400, "/pools", json!({}), "lbMethod").await;
    api.refused_field(400, "/pools", json!({"lbMethod": "RANDOM"}), "lbMethod").await;
    let udp = json!({"lbMethod": "ROUND_ROBIN", "protocol": "SCTP"});
    api.refused_field(400, "/pools", udp, "protocol").await;
    for (path, body, field) in [
        (members, json!({"protocolPort": 80}), "address"),
        (members, json!({"address": "10.0.0", "protocolPort": 80}), "address"),
        (members, json!({"address": "224.0.0.1", "protocolPort": 80}), "address"),
        (members, json!({"address": "10.0.0.1"}), "protocolPort"),
        (members, json!({"address": "10.0.0.1", "protocolPort": 65536}), "protocolPort"),
        (members, json!({"address": "10.0.0.1", "protocolPort": 80, "weight": 0}), "weight"),
        (members, json!({"address": "10.0.0.1", "protocolPort": 80, "weight": -1}), "weight"),
        ("/pool_members", json!({"address": "10.0.0.1", "protocolPort": 80}), "poolId"),
        (vips, json!({"address": "10.0.0.1", "protocolPort": 0}), "protocolPort"),
        (vips, json!({"address": "::", "protocolPort": 80}), "address"),
        ("/vips", json!({"address": "10.0.0.1", "protocolPort": 80}), "poolId"),
    ] {
        api.refused_field(400, path, body, field).await;
    }
    let vip = |more: Value| with(&json!({"address": "10.0.0.1", "protocolPort": 80}), more);
    let cookie = vip(json!({"sessionPersistence": "COOKIE"}));
    api.refused_field(400, vips, cookie, "sessionPersistence").await;
    api.refused_field(400, vips, vip(json!({"connectionLimit": 0})), "connectionLimit").await;
    // A pool that is not there is 400 for a VIP and 404 for a member.
    let nowhere = json!({"poolId": "00000000-0000-0000-0000-000000000001"});
    api.refused_field(400, "/vips", vip(nowhere.clone()), "poolId").await;
    api.refused_field(404, "/pool_members", vip(nowhere), "poolId").await;
    assert_eq!((api.get(members).await, api.get(vips).await), (json!([]), json!([])));
}

#[tokio::test]
async fn a_pool_is_of_one_ip_version_and_of_one_protocol() {
    let api = Api::new();
    let pool = pool(&api, &balancer(&api).await).await;
    let first = member(&api, &pool, "2001:db8::1").await;
    let (members, vips) = (text(&pool["poolMembers"]), text(&pool["vips"]));
    let v4 = json!({"address": "10.0.0.1", "protocolPort": 80});
    api.refused_field(400, members, v4.clone(), "address").await;
    api.refused_field(400, vips, v4.clone(), "address").await;
    vip(&api, &pool, "2001:db8:1::1").await;
    // When the last of a version is gone the next decides again.
    api.delete(text(&first["uri"])).await;
    api.refused_field(400, members, v4.clone(), "address").await;
    api.delete(text(&api.get(vips).await[0]["uri"])).await;
    api.create(members, v4).await;

    api.put(text(&pool["uri"]), &with(&pool, json!({"protocol": "UDP"}))).await;
    assert_eq!(api.get(text(&pool["uri"])).await["protocol"], "TCP", "it stays as it was made");
}

#[tokio::test]
async fn one_address_and_port_of_a_load_balancer_is_one_vips() {
    let api = Api::new();
    let balancer = balancer(&api).await;
    let (one, two) = (pool(&api, &balancer).await, pool(&api, &balancer).await);
    let first = vip(&api, &one, "203.0.113.2").await;
    let same = json!({"address": "203.0.113.2", "protocolPort": 80});
    api.refused_field(409, text(&two["vips"]), same.clone(), "protocolPort").await;
    let other =
        api.create(text(&two["vips"]), json!({"address": "203.0.113.2", "protocolPort": 81})).await;
    let clash = with(&other, json!({"protocolPort": 80}));
    api.refused(409, Method::PUT, text(&other["uri"]), clash).await;
    // It is no other than itself, UDP is another, and so is another load balancer.
    api.put(text(&first["uri"]), &with(&first, json!({"sessionPersistence": "SOURCE_IP"}))).await;
    let udp = json!({"lbMethod": "ROUND_ROBIN", "protocol": "UDP"});
    let udp = api.create(text(&balancer["pools"]), udp).await;
    api.create(text(&udp["vips"]), same).await;
    vip(&api, &pool(&api, &self::balancer(&api).await).await, "203.0.113.2").await;
}

#[tokio::test]
async fn several_addresses_follow_their_pool_to_another_load_balancer() {
    let api = Api::new();
    let (from, to) = (balancer(&api).await, balancer(&api).await);
    let pool = pool(&api, &from).await;
    let one = vip(&api, &pool, "203.0.113.2").await;
    let two = vip(&api, &pool, "203.0.113.3").await;
    api.put(text(&pool["uri"]), &with(&pool, json!({"loadBalancerId": to["id"]}))).await;
    assert_eq!(api.get(text(&from["vips"])).await, json!([]));
    let mut expected = [text(&one["id"]), text(&two["id"])];
    expected.sort_unstable();
    assert_eq!(ids(&api.get(text(&to["vips"])).await), expected);
    api.put(text(&pool["uri"]), &with(&pool, json!({"loadBalancerId": null}))).await;
    assert_eq!(api.get(text(&to["vips"])).await, json!([]));
    // Not to where another has one of the addresses, nor with one of them twice.
    let back = with(&pool, json!({"loadBalancerId": from["id"]}));
    let other = self::pool(&api, &from).await;
    let same = vip(&api, &other, "203.0.113.3").await;
    let fault = api.refused(409, Method::PUT, text(&pool["uri"]), back.clone()).await;
    assert_eq!(fault["violations"][0]["property"], "protocolPort");
    api.delete(text(&same["uri"])).await;
    let twice = vip(&api, &pool, "203.0.113.3").await;
    api.refused(409, Method::PUT, text(&pool["uri"]), back.clone()).await;
    api.delete(text(&twice["uri"])).await;
    api.put(text(&pool["uri"]), &back).await;
    assert_eq!(len(&api.get(text(&from["vips"])).await), 2);
    api.put(text(&pool["uri"]), &with(&pool, json!({"loadBalancerId": null}))).await;
    assert_eq!(api.get(text(&one["uri"])).await["loadBalancer"], Value::Null);
    api.delete(text(&to["uri"])).await;
    assert_eq!(len(&api.get(text(&pool["vips"])).await), 2, "they belong to the pool");
}

#[tokio::test]
async fn a_member_is_drained_and_weighed_but_stays_where_it_is() {
    let api = Api::new();
    let balancer = balancer(&api).await;
    let (one, two) = (pool(&api, &balancer).await, pool(&api, &balancer).await);
    let member = member(&api, &one, "10.0.0.1").await;
    let sent = json!({
        "poolId": one["id"], "address": "10.0.0.9", "protocolPort": 9, "status": "INACTIVE",
        "weight": "7", "adminStateUp": false,
    });
    api.put(text(&member["uri"]), &sent).await;
    let expected = with(&member, json!({"weight": 7, "adminStateUp": false}));
    assert_eq!(api.get(text(&member["uri"])).await, expected);
    api.put(text(&member["uri"]), &with(&member, json!({"poolId": two["id"]}))).await;
    assert_eq!(ids(&api.get(text(&two["poolMembers"])).await), [text(&member["id"])]);
    assert_eq!(api.get(text(&one["poolMembers"])).await, json!([]));
}

#[tokio::test]
async fn a_monitor_is_made_down_and_serves_any_number_of_pools() {
    let api = Api::new();
    let balancer = balancer(&api).await;
    let tcp = json!({"type": "TCP", "delay": 100, "timeout": 500, "maxRetries": "50"});
    let monitor = api.create("/health_monitors", tcp).await;
    assert_eq!((&monitor["adminStateUp"], &monitor["maxRetries"]), (&json!(false), &json!(50)));
    assert_eq!(monitor.get("urlPath"), None, "only where it is set");
    let (one, two) = (pool(&api, &balancer).await, pool(&api, &balancer).await);
    for pool in [&one, &two] {
        let monitored = with(pool, json!({"healthMonitorId": monitor["id"]}));
        api.put(text(&pool["uri"]), &monitored).await;
    }
    let mut both = [text(&one["id"]), text(&two["id"])];
    both.sort_unstable();
    assert_eq!(ids(&api.get(text(&monitor["pools"])).await), both);
    let by_query = api.get(&format!("/pools?hm_id={}", text(&monitor["id"]))).await;
    assert_eq!(ids(&by_query), both);
    assert_eq!(api.status(Method::GET, "/pools?hm_id=x", None).await, 400);
    api.put(text(&monitor["uri"]), &with(&monitor, json!({"adminStateUp": true}))).await;
    assert_eq!(api.get(text(&monitor["uri"])).await["adminStateUp"], true);
    api.put(text(&one["uri"]), &one).await;
    assert_eq!(ids(&api.get(text(&monitor["pools"])).await), [text(&two["id"])]);
    api.delete(text(&monitor["uri"])).await;
    assert_eq!(api.get(text(&two["uri"])).await["healthMonitor"], Value::Null);
}

#[tokio::test]
async fn a_monitor_of_pages_says_which_and_what_is_a_good_answer() {
    let api = Api::new();
    let http = |more: Value| {
        with(&json!({"type": "HTTP", "delay": 5, "timeout": 2, "maxRetries": 3}), more)
    };
    let plain = api.create("/health_monitors", http(json!({}))).await;
    assert_eq!((text(&plain["urlPath"]), text(&plain["expectedCodes"])), ("/", "200"));
    let full = json!({"urlPath": "/ready?deep=1", "expectedCodes": "200,301-304"});
    let full = api.create("/health_monitors", http(full)).await;
    assert_eq!(text(&full["expectedCodes"]), "200,301-304");
    for (more, field) in [
        (json!({"urlPath": "ready"}), "urlPath"),
        (json!({"expectedCodes": "0-999"}), "expectedCodes"),
        (json!({"delay": 0}), "delay"),
        (json!({"timeout": 0}), "timeout"),
        (json!({"maxRetries": null}), "maxRetries"),
        (json!({"type": null}), "type"),
        (json!({"type": "PING"}), "type"),
        (json!({"type": "TCP", "urlPath": "/"}), "urlPath"),
        (json!({"type": "UDP", "expectedCodes": "200"}), "expectedCodes"),
    ] {
        api.refused_field(400, "/health_monitors", http(more), field).await;
    }
}

/// Says of a member what an agent's checks would.
async fn judge(api: &Api, member: &Value, status: &str) {
    let host = text(&api.host("h").await["id"]).parse::<HostId>().unwrap();
    let session = api.store.open_session(host, std::time::Duration::from_secs(60)).await.unwrap();
    let pool: mn_ids::PoolId = text(&member["poolId"]).parse().unwrap();
    let entry = Entry {
        key: text(&member["id"]).to_owned(),
        value: json!({ "status": status }).to_string(),
        owner: Owner::Host { id: host, epoch: session.epoch },
        revision: Revision::ZERO,
    };
    let table = TableId::of(TableKind::MemberHealth, pool);
    let ops = vec![Op::PutEntry { table, entry }];
    api.store.transact(Transaction { ops }).await.unwrap();
}

#[tokio::test]
async fn a_members_status_is_the_last_that_any_host_says_of_it() {
    let api = Api::new();
    let pool = pool(&api, &balancer(&api).await).await;
    let member = member(&api, &pool, "10.0.0.1").await;
    let status = async || text(&api.get(text(&member["uri"])).await["status"]).to_owned();
    judge(&api, &member, "INACTIVE").await;
    assert_eq!(status().await, "ACTIVE", "nobody checks it");
    let monitor = json!({"type": "TCP", "delay": 1, "timeout": 1, "maxRetries": 1});
    let monitor = api.create("/health_monitors", monitor).await;
    api.put(text(&pool["uri"]), &with(&pool, json!({"healthMonitorId": monitor["id"]}))).await;
    assert_eq!(status().await, "INACTIVE");
    judge(&api, &member, "ACTIVE").await;
    assert_eq!(status().await, "ACTIVE");
    assert_eq!(text(&api.get("/pool_members").await[0]["status"]), "ACTIVE");
    let silent = self::member(&api, &pool, "10.0.0.2").await;
    assert_eq!(text(&silent["status"]), "NO_MONITOR");
    api.put(text(&member["uri"]), &with(&member, json!({"adminStateUp": false}))).await;
    assert_eq!(status().await, "INACTIVE");
    // An agent that speaks otherwise says nothing.
    api.put(text(&member["uri"]), &member).await;
    judge(&api, &member, "SLEEPY").await;
    assert_eq!(status().await, "NO_MONITOR");
    api.delete(text(&pool["uri"])).await;
    assert_eq!(api.status(Method::GET, text(&member["uri"]), None).await, 404);
}
