//! Whatever is sent, the answer is a status that fits, and what was refused left nothing behind.

use axum::body::Body;
use axum::http::{Method, Request};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::api::{Api, text};
use crate::compression::gzip;

/// Any JSON at all, not deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_i64..300).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("80")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object with names of the schema and mostly values it allows.
fn object_of(document: &Value, schema: &Value) -> BoxedStrategy<Value> {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let settable = properties.into_iter().filter(|(_, schema)| schema["readOnly"] != true);
    let members: Vec<_> = settable
        .map(|(name, schema)| {
            let often = if schema["enum"].is_array() { 0.8 } else { 0.15 };
            let value = prop_oneof![9 => value_of(document, &schema), 1 => any_json()];
            (Just(name), prop::option::weighted(often, value))
        })
        .collect();
    let chosen = |members: Vec<(String, Option<Value>)>| {
        let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::Object(given.collect::<Map<_, _>>())
    };
    members.prop_map(chosen).boxed()
}

/// A value of a schema, also one at the edge of what it allows.
fn value_of(document: &Value, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return prop::sample::select(words.clone()).boxed();
    }
    if let Some(reference) = schema["$ref"].as_str().or(schema["anyOf"][0]["$ref"].as_str()) {
        let pointer = reference.strip_prefix('#').unwrap();
        return object_of(document, document.pointer(pointer).unwrap());
    }
    if schema["items"].is_object() {
        return prop::collection::vec(value_of(document, &schema["items"]), 0..3)
            .prop_map(Value::from)
            .boxed();
    }
    let texts: &[&str] = match schema["format"].as_str() {
        Some("ip") => {
            &["10.0.0.1", "10.0.0.255", "0.0.0.0", "2001:db8::1", "ff02::1", "::ffff:10.0.0.1"]
        }
        Some("ipv4") => &["10.0.0.1", "10.0.0.0", "255.255.255.255"],
        Some("cidr") => &["10.0.0.0/8", "2001:db8::/64", "::/0"],
        Some("mac") => {
            &["02:00:00:00:00:01", "02-00-00-00-00-05", "ff:ff:ff:ff:ff:ff", "0:0:0:0:0:0"]
        }
        Some("mac-mask") => &["ffff.ff00.0000", "0000.0000.0000"],
        Some("uuid") => {
            return prop_oneof![
                Just(json!("00000000-0000-0000-0000-000000000001")),
                any::<u128>()
                    .prop_map(|id| json!(mn_ids::PortId::from_uuid(uuid::Uuid::from_u128(id)))),
            ]
            .boxed();
        }
        _ => {
            &["10.0.0.1/24", "10.0.0.300/24", "2001:db8::1/129", "tap0", "", "a/b", "syn", "\u{0}"]
        }
    };
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(min), Some(max)) => {
            let common = [min, max, 1, 6, 24, 80, 4095].map(|number| number.clamp(min, max));
            prop_oneof![prop::sample::select(common.to_vec()), min..=max]
                .prop_map(Value::from)
                .boxed()
        }
        _ if schema["type"] == "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        _ => prop::sample::select(texts.to_vec()).prop_map(Value::from).boxed(),
    }
}

/// Every request that takes a body, with its variable parts filled in by things that are there.
fn requests(document: &Value, things: &[(&str, String)]) -> Vec<(Method, String, Value)> {
    let mut requests = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            let Some(reference) = content["schema"]["$ref"].as_str() else { continue };
            let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap().clone();
            let mut path = path.clone();
            for (start, id) in things {
                if path.starts_with(start) {
                    path = path.replace("{id}", id);
                }
            }
            let path =
                path.replace("{subnet}", "10.0.0.0_24").replace("{mac}", "02:00:00:00:00:05");
            let path = path.replace("{vlan}", "7");
            let pool = things.iter().find(|(start, _)| *start == "/pools/").expect("there is one");
            let path = path.replace("{pool}", &pool.1);
            requests.push((method.to_ascii_uppercase().parse().unwrap(), path, schema));
        }
    }
    requests
}

/// Something of every kind, so that requests get past the first question.
async fn things(api: &Api) -> Vec<(&'static str, String)> {
    let id = |value: &Value| text(&value["id"]).to_owned();
    let bridge = api.device("bridges", "b").await;
    let subnet = json!({"subnetPrefix": "10.0.0.0", "subnetLength": 24});
    let subnet = api.create(text(&bridge["dhcpSubnets"]), subnet).await;
    let dhcp = json!({"macAddr": "02:00:00:00:00:05", "ipAddr": "10.0.0.5", "name": "vm"});
    api.create(text(&subnet["hosts"]), dhcp).await;
    let balancer = api.create("/load_balancers", json!({})).await;
    let pool = api.create(text(&balancer["pools"]), json!({"lbMethod": "ROUND_ROBIN"})).await;
    let service = json!({"address": "10.0.0.1", "protocolPort": 80});
    let monitor = json!({"type": "TCP", "delay": 1, "timeout": 1, "maxRetries": 1});
    vec![
        ("/load_balancers/", id(&balancer)),
        ("/pools/", id(&pool)),
        ("/pool_members/", id(&api.create(text(&pool["poolMembers"]), service.clone()).await)),
        ("/vips/", id(&api.create(text(&pool["vips"]), service).await)),
        ("/health_monitors/", id(&api.create("/health_monitors", monitor).await)),
        ("/bridges/", id(&bridge)),
        ("/ports/", id(&api.bridge_port(&bridge).await)),
        ("/routers/", id(&api.device("routers", "r").await)),
        ("/chains/", id(&api.create("/chains", json!({})).await)),
        ("/hosts/", id(&api.host("h").await)),
        ("/port_groups/", id(&api.create("/port_groups", json!({})).await)),
        ("/ip_addr_groups/", id(&api.create("/ip_addr_groups", json!({"name": "g"})).await)),
        (
            "/tunnel_zones/",
            id(&api.create("/tunnel_zones", json!({"name": "z", "type": "gre"})).await),
        ),
    ]
}

fn gzipped(method: Method, path: &str, body: &Value) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/midonet-api{path}"))
        .header("host", "api.test")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    request.body(Body::from(gzip(body.to_string().as_bytes()))).unwrap()
}

const STATUSES: &[u16] = &[200, 201, 204, 400, 404, 409, 503];

#[test]
fn no_json_at_all_makes_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let document = mn_cluster::rest::openapi();
    let (api, requests) = runtime.block_on(async {
        let api = Api::new();
        let things = things(&api).await;
        (api, requests(&document, &things))
    });
    assert!(requests.len() > 25, "{}", requests.len());
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<u16, u32>::new());
    for (method, path, schema) in requests {
        let body = prop_oneof![4 => object_of(&document, &schema), 1 => any_json()];
        // A runner counts its cases over all its runs: each request has its own.
        let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
        let sent = TestRunner::new(config).run(&(body, any::<bool>()), |(body, compressed)| {
            let reply = runtime.block_on(async {
                if compressed {
                    api.send(gzipped(method.clone(), &path, &body)).await
                } else {
                    api.call(method.clone(), &path, Some(&body)).await
                }
            });
            let status = reply.status.as_u16();
            *seen.borrow_mut().entry(status).or_default() += 1;
            prop_assert!(
                STATUSES.contains(&status),
                "{method} {path} {body}: {status} {}",
                reply.body
            );
            if status >= 400 && !reply.body.is_null() {
                prop_assert_eq!(&reply.body["code"], &json!(status));
                prop_assert!(reply.body["message"].is_string());
            }
            Ok(())
        });
        if let Err(error) = sent {
            panic!("{error}");
        }
        // One of the requests closes the API for all that come later.
        let open = json!({"availability": "READWRITE"});
        runtime.block_on(api.put("/system_state", &open));
    }
    // The requests were not all of one sort.
    let seen = seen.into_inner();
    assert!([201, 204, 400, 404].iter().all(|status| seen.get(status) > Some(&20)), "{seen:?}");
    // Everything that was taken can be read.
    for list in [
        "bridges",
        "routers",
        "ports",
        "chains",
        "hosts",
        "port_groups",
        "ip_addr_groups",
        "tunnel_zones",
        "load_balancers",
        "pools",
        "pool_members",
        "vips",
        "health_monitors",
    ] {
        runtime.block_on(api.get(&format!("/{list}")));
    }
}

#[test]
fn no_path_and_no_octets_make_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let document = mn_cluster::rest::openapi();
    let (api, things) = runtime.block_on(async {
        let api = Api::new();
        let things = things(&api).await;
        (api, things)
    });
    let known: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let part = prop_oneof![
        "[ -~&&[^/?#%{}\"<>\\\\^`|]]{0,20}",
        Just("00000000-0000-0000-0000-000000000001".to_owned()),
        Just("02-00-00-00-00-01_00000000-0000-0000-0000-000000000001".to_owned()),
        Just("10.0.0.0_24".to_owned()),
        Just("%00%ff%2f..".to_owned()),
        prop::sample::select(things).prop_map(|(_, id)| id),
    ];
    let method = prop::sample::select(vec![Method::GET, Method::POST, Method::PUT, Method::DELETE]);
    let octets = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        // The head of a gzip stream, and then anything.
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|rest| [
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            rest.as_slice()
        ]
        .concat()),
    ];
    let encoding = prop::option::of(prop::sample::select(vec!["gzip", "identity", "br", "\u{7f}"]));
    let parts = prop::collection::vec(part, 4);
    let request = (method, prop::sample::select(known), parts, octets, encoding);
    let config = Config { cases: 3000, failure_persistence: None, ..Config::default() };
    let sent = TestRunner::new(config).run(&request, |(method, path, parts, octets, encoding)| {
        let filled = path.split('/').scan(parts.into_iter(), |parts, place| {
            Some(if place.starts_with('{') { parts.next()? } else { place.to_owned() })
        });
        let path = filled.collect::<Vec<_>>().join("/").replace(' ', "%20");
        let mut request = Request::builder().method(method).uri(format!("/midonet-api{path}"));
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let Ok(request) = request.body(Body::from(octets)) else { return Ok(()) };
        let reply = runtime.block_on(api.send(request));
        let status = reply.status.as_u16();
        prop_assert!(
            [405, 415].contains(&status) || STATUSES.contains(&status),
            "{path}: {status} {}",
            reply.body
        );
        Ok(())
    });
    if let Err(error) = sent {
        panic!("{error}");
    }
}
