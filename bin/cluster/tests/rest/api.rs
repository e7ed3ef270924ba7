//! A client that speaks to the router in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use mn_cluster::rest::{Settings, router};
use mn_ids::HostId;
use mn_nsdb::{Engine, Store};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The API over a database of its own.
#[derive(Clone)]
pub struct Api {
    pub store: Arc<dyn Store>,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where there was no body.
    pub body: Value,
}

pub const BASE: &str = "http://api.test/midonet-api";

impl Api {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        Self::over(Engine::memory(), settings)
    }

    pub fn over(store: impl Store + 'static, settings: Settings) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        Self { router: router(store.clone(), settings), store }
    }

    /// Another node over the same database, that knows nothing yet.
    pub fn restarted(&self) -> Self {
        let router = router(self.store.clone(), Settings::default());
        Self { store: self.store.clone(), router }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("the body is in memory");
        let body = match bytes.as_ref() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).expect("every body is JSON"),
        };
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request and takes the answer's body as it is.
    pub async fn octets(&self, request: Request<Body>) -> (HeaderMap, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("the body is in memory");
        (parts.headers, bytes.to_vec())
    }

    /// Sends JSON to a path below the API, or to an address it gave.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let path = path.strip_prefix(BASE).unwrap_or(path);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("/midonet-api{path}"))
            .header("host", "api.test")
            .header("content-type", "application/json");
        self.send(request.body(body).expect("the path is a path")).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let reply = self.call(Method::GET, path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "GET {path}: {}", reply.body);
        reply.body
    }

    /// Makes something and reads it where the answer says it is.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        let reply = self.call(Method::POST, path, Some(&body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "POST {path} {body}: {}", reply.body);
        let location = reply.headers["location"].to_str().expect("an address is text");
        assert!(location.starts_with(BASE), "{location}");
        self.get(location).await
    }

    pub async fn put(&self, path: &str, body: &Value) {
        let reply = self.call(Method::PUT, path, Some(body)).await;
        assert!(reply.status.is_success(), "PUT {path} {body}: {}", reply.body);
    }

    pub async fn delete(&self, path: &str) {
        let reply = self.call(Method::DELETE, path, None).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "DELETE {path}: {}", reply.body);
    }

    pub async fn status(&self, method: Method, path: &str, body: Option<&Value>) -> u16 {
        self.call(method, path, body).await.status.as_u16()
    }

    /// Sends what must be refused, and checks that the answer is an error as clients know it.
    pub async fn refused(&self, status: u16, method: Method, path: &str, body: Value) -> Value {
        let reply = self.call(method, path, Some(&body)).await;
        assert_eq!(reply.status.as_u16(), status, "{path} {body}: {}", reply.body);
        assert_eq!(reply.body["code"], status, "{path}");
        assert_eq!(reply.headers["content-type"], "application/vnd.org.midonet.Error-v1+json");
        reply.body
    }

    /// Sends what must be refused because of one field.
    pub async fn refused_field(&self, status: u16, path: &str, body: Value, property: &str) {
        let fault = self.refused(status, Method::POST, path, body.clone()).await;
        assert_eq!(fault["violations"][0]["property"], property, "{path} {body}: {fault}");
        let message = fault["violations"][0]["message"].as_str().expect("a reason");
        assert!(!message.is_empty());
    }

    /// A bridge or router.
    pub async fn device(&self, collection: &str, name: &str) -> Value {
        self.create(&format!("/{collection}"), json!({"name": name})).await
    }

    pub async fn bridge_port(&self, bridge: &Value) -> Value {
        self.create(text(&bridge["ports"]), json!({"type": "Bridge"})).await
    }

    pub async fn router_port(&self, router: &Value, address: &str) -> Value {
        let body = json!({"type": "Router", "portSubnet": [address]});
        self.create(text(&router["ports"]), body).await
    }

    pub async fn host(&self, name: &str) -> Value {
        self.create("/hosts", json!({"id": HostId::random(), "name": name})).await
    }
}

/// The text of a value that is one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// How many a list has.
pub fn len(value: &Value) -> usize {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).len()
}
