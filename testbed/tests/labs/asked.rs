//! What an agent says when it is asked over its socket.

use mn_testbed::{Host, Outcome};
use serde_json::{Value, json};

/// The answer to a request without arguments, or to `flows`, of which no more than one is listed.
pub fn ask(host: &Host, request: &str) -> Outcome<Value> {
    host.ask(&json!({ "request": request, "limit": 1 }))
}

/// A number of an answer.
pub fn number(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or_else(|| panic!("no {field} in {answer}"))
}
