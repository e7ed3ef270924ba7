//! What an agent says when it is asked, over its socket or for its metrics.

use mn_testbed::{Host, Http, Outcome};
use serde_json::{Value, json};

/// The answer to a request without arguments, or to one that lists things, of which no more than one
/// is listed.
pub fn ask(host: &Host, request: &str) -> Outcome<Value> {
    host.ask(&json!({ "request": request, "limit": 1 }))
}

/// A number of an answer.
pub fn number(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or_else(|| panic!("no {field} in {answer}"))
}

/// A number of the answer to such a request.
pub fn says(host: &Host, request: &str, field: &str) -> Outcome<u64> {
    Ok(number(&ask(host, request)?, field))
}

/// A number of the metrics that an agent tells at an address; those of all labels that fit are added
/// up.
pub fn metric(host: &Host, at: &str, name: &str, label: &str) -> Outcome<f64> {
    let server = at.parse().expect("a constant address");
    let text = Http::new(host.namespace.clone(), server, "").send("GET", "/metrics", None)?.body;
    let fits = |line: &&str| line.starts_with(name) && line.contains(label);
    let value = |line: &str| line.rsplit(' ').next().and_then(|it| it.trim().parse::<f64>().ok());
    Ok(text.lines().filter(fits).filter_map(value).sum())
}
