//! The document that describes the API.

use axum::http::Method;
use serde_json::Value;

use crate::api::{Api, text};

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/midonet.json");

/// With `MIDONET_WRITE_OPENAPI=1` the file is written anew.
#[test]
fn the_document_in_the_repository_is_that_of_the_program() {
    let document = mn_cluster::rest::openapi();
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    text.push('\n');
    if std::env::var_os("MIDONET_WRITE_OPENAPI").is_some() {
        std::fs::create_dir_all(std::path::Path::new(CHECKED_IN).parent().unwrap()).unwrap();
        std::fs::write(CHECKED_IN, &text).unwrap();
    }
    let checked_in = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
    assert!(
        checked_in == text,
        "openapi/midonet.json is not what the program serves: run this test with MIDONET_WRITE_OPENAPI=1 and look at the difference"
    );
}

#[tokio::test]
async fn the_document_is_served() {
    let served = Api::new().get("/openapi.json").await;
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served, mn_cluster::rest::openapi());
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = mn_cluster::rest::openapi();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").map(text));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// What the document promises is there: no request it names is an unknown path or a verb not offered.
#[tokio::test]
async fn every_request_of_the_document_is_served() {
    let api = Api::new();
    let document = mn_cluster::rest::openapi();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let reply = api.call(method.clone(), &path, None).await;
            let unknown =
                reply.body["message"].as_str().is_some_and(|text| text.starts_with("resource"));
            assert!(reply.status != 405 && !unknown, "{method} {path}: {}", reply.body);
        }
    }
}
