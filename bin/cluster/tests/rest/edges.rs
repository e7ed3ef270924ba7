//! Media types, tokens, limits, and requests that make no sense.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request};
use mn_api_types::Tenant;
use mn_cluster::rest::{AuthError, AuthService, Credentials, IssuedToken, Settings};
use serde_json::{Value, json};

use crate::api::{Api, BASE, Reply, text};

const BRIDGE: &str = "application/vnd.org.midonet.Bridge-v4+json";

async fn send(api: &Api, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("/midonet-api{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn an_answer_has_the_type_the_client_asked_for() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let path = format!("/bridges/{}", text(&bridge["id"]));
    for (accept, content_type) in [
        (BRIDGE, BRIDGE),
        ("application/json", "application/json"),
        ("*/*", "application/vnd.org.midonet.Bridge-v5+json"),
        ("text/html, */*;q=0.1", "application/vnd.org.midonet.Bridge-v5+json"),
    ] {
        let reply = send(&api, "GET", &path, &[("accept", accept)], "").await;
        assert_eq!(reply.headers["content-type"], content_type, "{accept}");
    }
    let list = send(&api, "GET", "/bridges", &[], "").await;
    let collection = "application/vnd.org.midonet.collection.Bridge-v5+json";
    assert_eq!(list.headers["content-type"], collection);
    let wrong = send(&api, "GET", &path, &[("accept", "text/html")], "").await;
    assert_eq!((wrong.status.as_u16(), wrong.body), (406, Value::Null));
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_as_of_old() {
    let api = Api::new();
    let plain = [("content-type", "text/plain")];
    assert_eq!(send(&api, "POST", "/bridges", &plain, "{}").await.status, 406);
    let own = [("content-type", "application/vnd.org.midonet.Bridge-v4+json; charset=utf-8")];
    assert_eq!(send(&api, "POST", "/bridges", &own, "{}").await.status, 201);
    let zone = api.create("/tunnel_zones", json!({"name": "z", "type": "gre"})).await;
    let hosts = text(&zone["hosts"]).strip_prefix(BASE).unwrap();
    assert_eq!(send(&api, "POST", hosts, &plain, "{}").await.status, 415);
    let host = api.host("h").await;
    let old = [("content-type", "application/vnd.org.midonet.GreTunnelZoneHost-v1+json")];
    let body = json!({"hostId": host["id"], "ipAddress": "192.0.2.1"}).to_string();
    assert_eq!(send(&api, "POST", hosts, &old, &body).await.status, 201);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused_in_words() {
    let api = Api::new();
    let deep = "[".repeat(10_000);
    for body in ["", "{", "[]", "7", "null", "\"x\"", "{\"name\": \u{7}}", &deep] {
        let reply = send(&api, "POST", "/bridges", &[], body).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (400, &json!(400)), "{body:.20}");
        assert!(!text(&reply.body["message"]).is_empty());
    }
    assert_eq!(api.get("/bridges").await, json!([]));
}

#[tokio::test]
async fn a_wrong_field_is_named_with_its_value_and_the_reason() {
    let api = Api::new();
    for (body, property, value) in [
        (json!({"id": "not-a-uuid"}), "id", json!("not-a-uuid")),
        (json!({"name": 5}), "name", json!(5)),
        (json!({"name": "x".repeat(256)}), "name", json!("x".repeat(256))),
        (json!({"adminStateUp": "true"}), "adminStateUp", json!("true")),
        (json!({"inboundFilterId": "0"}), "inboundFilterId", json!("0")),
    ] {
        let fault = api.refused(400, Method::POST, "/bridges", body).await;
        let violation = &fault["violations"][0];
        assert_eq!((&violation["property"], &violation["value"]), (&json!(property), &value));
        assert!(text(&fault["message"]).contains(property), "{fault}");
    }
    let nobody = mn_ids::ChainId::random();
    let fault =
        api.refused(404, Method::POST, "/bridges", json!({"outboundFilterId": nobody})).await;
    assert_eq!(fault["violations"][0]["property"], "outboundFilterId");
    assert_eq!(fault["violations"][0]["value"], json!(nobody));
    assert_eq!(api.get("/bridges").await, json!([]));
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let api = Api::new();
    let id = mn_ids::BridgeId::random();
    api.create("/bridges", json!({"id": id, "name": "first"})).await;
    api.refused_field(409, "/bridges", json!({"id": id, "name": "second"}), "id").await;
    assert_eq!(api.get(&format!("/bridges/{id}")).await["name"], "first");
    let chain = api.create("/chains", json!({})).await;
    let rule = api.create(text(&chain["rules"]), json!({"type": "drop"})).await;
    let other = api.create("/chains", json!({})).await;
    let again = json!({"type": "drop", "id": rule["id"]});
    api.refused_field(409, text(&other["rules"]), again, "id").await;
}

#[tokio::test]
async fn a_port_that_cannot_be_made_leaves_nothing_behind() {
    let api = Api::new();
    let router = api.device("routers", "r").await;
    let ports = text(&router["ports"]);
    for (body, property) in [
        (json!({"portSubnet": ["10.0.0.1/24"]}), "type"),
        (json!({"type": "Bridge"}), "type"),
        (json!({"type": "Router", "portSubnet": ["10.0.0.1"]}), "portSubnet[0]"),
        (json!({"type": "Router", "portSubnet": ["10.0.0.1/33"]}), "portSubnet"),
        (json!({"type": "Router", "portSubnet": ["10.0.0.255/24"]}), "portSubnet"),
        (json!({"type": "Router", "portSubnet": ["10.0.0.1/24", "10.0.0.1/16"]}), "portSubnet"),
        (json!({"type": "Router", "portAddress": "10.0.0.1"}), "networkLength"),
        (json!({"type": "Router", "portMac": "01:00:5e:00:00:01"}), "portMac"),
        (json!({"type": "Router", "portMac": "aa:bb"}), "portMac"),
        (json!({"type": "Router", "raPrefixes": ["10.0.0.0/8"]}), "raPrefixes"),
        (json!({"type": "Router", "raInterval": 3}), "raInterval"),
        (json!({"type": "Router", "raInterval": 1801}), "raInterval"),
        (json!({"type": "Router", "interfaceName": "tap1"}), "hostId"),
    ] {
        api.refused_field(400, ports, body, property).await;
    }
    let filter = json!({"type": "Router", "portSubnet": ["10.0.0.1/24"], "inboundFilterId": mn_ids::ChainId::random()});
    api.refused_field(404, ports, filter, "inboundFilterId").await;
    assert_eq!(api.get(ports).await, json!([]));
    assert_eq!(api.get(text(&router["routes"])).await, json!([]));
}

#[tokio::test]
async fn a_strict_request_is_refused_for_a_name_that_is_none() {
    let api = Api::new();
    let wrong = json!({"nmae": "b", "tenantId": "t"});
    let fault = api.refused(400, Method::POST, "/bridges?strict=true", wrong.clone()).await;
    assert_eq!(fault["violations"][0]["property"], "nmae");
    assert!(text(&fault["message"]).contains("did you mean name?"), "{fault}");
    api.create("/bridges", wrong).await;
    let read_only = json!({"uri": "http://x"});
    api.refused(400, Method::POST, "/bridges?strict=true", read_only).await;
}

#[tokio::test]
async fn addresses_that_name_nothing_are_told_apart() {
    let api = Api::new();
    let nobody = mn_ids::BridgeId::random();
    for (status, method, path) in [
        (404, Method::GET, "/nothing".to_owned()),
        (404, Method::GET, "/bridges/x/y/z".to_owned()),
        (404, Method::GET, format!("/bridges/{nobody}")),
        (404, Method::GET, format!("/bridges/{nobody}/ports")),
        (404, Method::PUT, format!("/bridges/{nobody}")),
        (404, Method::POST, format!("/bridges/{nobody}/ports")),
        (400, Method::GET, "/bridges/not-a-uuid".to_owned()),
        (400, Method::GET, "/port_groups?port_id=x".to_owned()),
    ] {
        api.refused(status, method, &path, json!({})).await;
    }
    let reply = api.call(Method::POST, "/tenants", Some(&json!({}))).await;
    assert_eq!((reply.status.as_u16(), reply.body), (405, Value::Null));
    assert_eq!(api.status(Method::PUT, "/chains", None).await, 405);
    assert_eq!(api.status(Method::GET, "/bridges/%ff", None).await, 400);
}

#[tokio::test]
async fn bodies_and_headers_have_limits() {
    let api = Api::new();
    let long = json!({"name": "x".repeat(2 * 1024 * 1024)});
    api.refused(413, Method::POST, "/bridges", long.clone()).await;
    api.refused(413, Method::GET, "/bridges", long).await;
    let long = "x".repeat(40_000);
    let reply = send(&api, "GET", "/bridges", &[("x-long", &long)], "").await;
    assert_eq!(reply.status, 431);
}

#[tokio::test]
async fn browsers_of_other_origins_may_ask() {
    let api = Api::with(Settings { auth: Arc::new(Guard), ..Settings::default() });
    let reply = send(&api, "OPTIONS", "/bridges", &[], "").await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &Value::Null));
    let refused = send(&api, "GET", "/bridges", &[], "").await;
    for reply in [reply, refused] {
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
        assert_eq!(reply.headers["access-control-expose-headers"], "Location");
    }
}

#[tokio::test]
async fn addresses_are_those_of_the_proxy_the_client_came_by() {
    let api = Api::new();
    let headers = [
        ("host", "inner:8181"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "cloud.example"),
    ];
    let reply = send(&api, "POST", "/bridges", &headers, "{}").await;
    let location = reply.headers["location"].to_str().unwrap();
    assert!(location.starts_with("https://cloud.example/midonet-api/bridges/"), "{location}");
}

#[tokio::test]
async fn the_application_says_where_everything_is() {
    let api = Api::new();
    for path in ["", "/"] {
        let root = api.get(path).await;
        assert_eq!((&root["uri"], &root["version"]), (&json!(format!("{BASE}/")), &json!("v5.0")));
        assert_eq!(root["tunnelZones"], format!("{BASE}/tunnel_zones"));
        assert_eq!(root["ruleTemplate"], format!("{BASE}/rules/{{id}}"));
        assert!(root.get("rules").is_none());
    }
    let state = api.get("/system_state").await;
    assert_eq!((&state["state"], &state["availability"]), (&json!("ACTIVE"), &json!("READWRITE")));
    assert_eq!(state["information"], Value::Null);
    let tenants = api.get("/tenants").await;
    assert_eq!(tenants[0]["bridges"], format!("{BASE}/bridges?tenant_id=admin"));
    assert_eq!(api.get("/tenants/admin").await, tenants[0]);
    assert_eq!(api.status(Method::GET, "/tenants/nobody", None).await, 404);
}

#[tokio::test]
async fn a_read_only_system_serves_reads_and_takes_no_change_until_it_is_set_back() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let state = api.get("/system_state").await;
    // As clients do: the whole document with one field changed.
    let mut closed = state.clone();
    closed["availability"] = json!("READONLY");
    api.put("/system_state", &closed).await;
    assert_eq!(api.get("/system_state").await, closed);

    let uri = text(&bridge["uri"]);
    let attempts = [
        (Method::POST, "/bridges", json!({"name": "c"})),
        (Method::PUT, uri, json!({"name": "c"})),
        (Method::DELETE, uri, Value::Null),
        (Method::POST, text(&bridge["ports"]), json!({"type": "Bridge"})),
    ];
    for (method, path, body) in attempts {
        let fault = api.refused(503, method, path, body).await;
        assert!(text(&fault["message"]).contains("READONLY"), "{fault}");
    }
    assert_eq!(api.get("/bridges").await, json!([bridge]));

    api.put("/system_state", &json!({"state": "UPGRADE"})).await;
    let still = api.get("/system_state").await;
    assert_eq!((&still["state"], &still["availability"]), (&json!("UPGRADE"), &json!("READONLY")));
    api.put("/system_state", &state).await;
    api.device("bridges", "c").await;
    let wrong = json!({"availability": "SOMETIMES"});
    api.refused(400, Method::PUT, "/system_state", wrong).await;
    assert_eq!(api.get("/system_state").await, state);
}

/// Knows one user and one token.
struct Guard;

#[async_trait]
impl AuthService for Guard {
    async fn login(&self, credentials: Credentials<'_>) -> Result<IssuedToken, AuthError> {
        match (credentials.user, credentials.password, credentials.project) {
            ("admin", "secret", Some("cloud")) => {
                let expires = Some("Sat, 21 Nov 2026 12:00:00 GMT".to_owned());
                Ok(IssuedToken { key: "t0k3n".to_owned(), expires })
            }
            ("guest", ..) => Err(AuthError::Unavailable("the door is closed".to_owned())),
            _ => Err(AuthError::Wrong),
        }
    }

    async fn authorize(&self, token: Option<&str>) -> Result<(), AuthError> {
        match token {
            Some("t0k3n") => Ok(()),
            Some("user") => Err(AuthError::NotAdmin),
            _ => Err(AuthError::UnknownToken),
        }
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, AuthError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_token_is_had_by_logging_in_and_opens_the_rest() {
    let api = Api::with(Settings { auth: Arc::new(Guard), ..Settings::default() });
    // "admin:secret"
    let credentials = [("authorization", "Basic YWRtaW46c2VjcmV0"), ("x-auth-project", "cloud")];
    let reply = send(&api, "POST", "/login", &credentials, "{}").await;
    assert_eq!(reply.body, json!({"key": "t0k3n", "expires": "Sat, 21 Nov 2026 12:00:00 GMT"}));
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    assert_eq!(cookie, "sessionId=t0k3n; Expires=Sat, 21 Nov 2026 12:00:00 GMT");
    let token = "application/vnd.org.midonet.Token-v1+json;charset=UTF-8";
    assert_eq!(reply.headers["content-type"], token);

    assert_eq!(send(&api, "GET", "/bridges", &[("x-auth-token", "t0k3n")], "").await.status, 200);
    for (headers, challenged) in [
        (vec![], true),
        (vec![("x-auth-token", "other")], true),
        (vec![("x-auth-token", "user")], false),
    ] {
        let reply = send(&api, "GET", "/bridges", &headers, "").await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (401, &json!(401)));
        assert_eq!(reply.headers.contains_key("www-authenticate"), challenged, "{headers:?}");
    }
    let user = send(&api, "GET", "/bridges", &[("x-auth-token", "user")], "").await;
    assert_eq!(user.body["message"], Value::Null);
}

#[tokio::test]
async fn a_login_that_fails_is_challenged() {
    let api = Api::with(Settings { auth: Arc::new(Guard), ..Settings::default() });
    for header in ["", "Basic", "Basic !!!", "Bearer YWRtaW46c2VjcmV0", "Basic YWRtaW46d3Jvbmc="] {
        let reply = send(&api, "POST", "/login", &[("authorization", header)], "{}").await;
        assert_eq!(reply.status, 401, "{header}");
        assert_eq!(reply.headers["www-authenticate"], "Basic  realm=\"BASIC_AUTH_REALM\"");
    }
}
