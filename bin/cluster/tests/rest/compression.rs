//! gzip in both directions.

use std::io::{Read, Write};

use axum::body::Body;
use axum::http::{Method, Request};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::api::{Api, len};

pub fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

fn post(encoding: &str, body: Vec<u8>) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri("/midonet-api/bridges")
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_long_answer_is_compressed_for_those_who_accept_it_and_a_short_one_is_not() {
    let api = Api::new();
    for number in 0..20 {
        api.device("bridges", &format!("b{number}")).await;
    }
    let plain = api.get("/bridges").await;
    let ask = |path: &str, accepted: &str| {
        let request = Request::builder().uri(format!("/midonet-api{path}"));
        request.header("host", "api.test").header("accept-encoding", accepted).body(Body::empty())
    };
    let long = api.octets(ask("/bridges", "gzip, deflate").unwrap()).await;
    assert_eq!(long.0["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(long.1.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plain);
    assert!(long.1.len() * 4 < text.len(), "{} of {}", long.1.len(), text.len());

    for (path, accepted) in
        [("/bridges", "identity"), ("/bridges", "br"), ("/system_state", "gzip")]
    {
        let (headers, octets) = api.octets(ask(path, accepted).unwrap()).await;
        assert!(!headers.contains_key("content-encoding"), "{path} {accepted}");
        assert!(serde_json::from_slice::<Value>(&octets).is_ok());
    }
}

#[tokio::test]
async fn a_compressed_body_is_taken_as_the_one_that_is_in_it() {
    let api = Api::new();
    let body = json!({"name": "squeezed"}).to_string();
    let reply = api.send(post("gzip", gzip(body.as_bytes()))).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(api.get("/bridges").await[0]["name"], "squeezed");
}

#[tokio::test]
async fn a_small_body_that_grows_beyond_the_limit_is_refused_as_too_large() {
    let api = Api::new();
    // 64 MiB of blanks, about 64 KiB compressed; then twice compressed, a few hundred octets.
    let mut body = vec![b' '; 64 << 20];
    body.extend_from_slice(br#"{"name": "bomb"}"#);
    let bomb = gzip(&body);
    assert!(bomb.len() < 512 * 1024, "{}", bomb.len());
    let reply = api.send(post("gzip", bomb.clone())).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (413, &json!(413)));
    let reply = api.send(post("gzip, gzip", gzip(&bomb))).await;
    assert_eq!(reply.status, 415);
    assert_eq!(len(&api.get("/bridges").await), 0);
}

#[tokio::test]
async fn a_body_that_is_not_compressed_as_it_says_is_refused() {
    let api = Api::new();
    let body = br#"{"name": "b"}"#;
    let whole = gzip(body);
    for wrong in [body.to_vec(), whole[..whole.len() - 9].to_vec(), Vec::new()] {
        let reply = api.send(post("gzip", wrong)).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (400, &json!(400)));
    }
    let reply = api.send(post("br", body.to_vec())).await;
    assert_eq!(reply.status, 415);
    assert_eq!(len(&api.get("/bridges").await), 0);
}
