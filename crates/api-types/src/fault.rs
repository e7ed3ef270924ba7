//! Errors as clients get them.

use serde::{Deserialize, Serialize};

/// The body of every error (`Error-v1`).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Fault {
    /// A sentence for people.
    pub message: Option<String>,
    /// The HTTP status.
    pub code: u16,
    /// What is wrong in the body that was sent, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
}

/// A field that cannot be taken as it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Violation {
    /// The path of the field: `natTargets[0].addressFrom`.
    pub property: String,
    /// What is wrong with it.
    pub message: String,
    /// What was sent; null where nothing was.
    #[serde(default)]
    pub value: serde_json::Value,
}
