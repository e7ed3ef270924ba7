//! Packet walks over REST.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::Method;
use mn_api_types::walk::{Dropped, Named, Step, Verdict, VerdictKind, Walk, WalkRequest};
use mn_cluster::rest::{Settings, WalkError, WalkService};
use mn_ids::PortId;
use serde_json::{Value, json};

use crate::api::Api;

/// Drops every packet of one port, and knows no other port.
struct Wall(PortId);

#[async_trait]
impl WalkService for Wall {
    async fn walk(&self, request: WalkRequest) -> Result<Walk, WalkError> {
        let port = request.from_port.unwrap_or(self.0);
        if port != self.0 {
            return Err(WalkError::Missing(port.into()));
        }
        let cause = "no-route".to_owned();
        let dropped = Dropped { cause: cause.clone(), ..Dropped::default() };
        let verdict =
            Verdict { kind: VerdictKind::Dropped, drop_cause: Some(cause), ..Verdict::default() };
        let host = Named { kind: "host".to_owned(), ..Named::default() };
        let steps = vec![Step::Dropped(dropped)];
        Ok(Walk { simulated_by: Some(host), steps, verdict, ..Walk::default() })
    }
}

#[tokio::test]
async fn a_walk_is_asked_for_and_told() {
    let port = PortId::random();
    let api = Api::with(Settings { walks: Some(Arc::new(Wall(port))), ..Settings::default() });
    let request =
        json!({"fromPort": port, "dstAddr": "10.0.0.2", "protocol": "6", "dstPort": "80"});
    let reply = api.call(Method::POST, "/walks", Some(&request)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/vnd.org.midonet.Walk-v1+json");
    assert_eq!(reply.body["steps"][0]["step"], "drop");
    assert_eq!(reply.body["verdict"]["kind"], "dropped");
    assert_eq!(reply.body["flow"], Value::Null);

    let stranger = json!({"fromPort": PortId::random(), "dstAddr": "10.0.0.2"});
    api.refused(404, Method::POST, "/walks", stranger).await;
    api.refused_field(400, "/walks", json!({"dstAddr": "10.0.0.2"}), "fromPort").await;
    api.refused_field(400, "/walks", json!({"fromPort": port}), "toPort").await;
}

#[tokio::test]
async fn where_nobody_walks_packets_that_is_said() {
    let api = Api::new();
    let request = json!({"fromPort": PortId::random(), "dstAddr": "10.0.0.2"});
    let reply = api.call(Method::POST, "/walks", Some(&request)).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["retryafter"], "3");
}
