//! Why a command came to nothing, as the guides print it.

use mn_api_types::{Fault, Violation};
use mn_client::Error;

use crate::words::Unmatched;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The user: no command goes on like this.
    #[error("Syntax error at: ...{rest}")]
    Syntax { rest: String },
    #[error(transparent)]
    Quote(#[from] Unmatched),
    /// The user: something is missing at the end.
    #[error("Missing arguments, incomplete command")]
    Incomplete,
    /// The user: the command is understood and makes no sense.
    #[error("User error: {0}")]
    User(String),
    /// The user: there is no value that means "none" for this.
    #[error("Internal error: Field {0} cannot be cleared.")]
    NotCleared(&'static str),
    #[error("Invalid credential. Wrong username/password.\nBye.")]
    Credentials,
    #[error("Connection to MidoNet API server refused.\n{0}\nBye.")]
    Unreachable(String),
    /// Whoever the server's sentence says.
    #[error("Internal error: {}", spaced(&.0.fault()))]
    Server(Error),
}

impl Refusal {
    /// Whether there is no use in going on.
    #[must_use]
    pub const fn ends_the_session(&self) -> bool {
        matches!(self, Self::Credentials | Self::Unreachable(_))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthorized { .. } => Self::Credentials,
            Error::Unreachable { .. } => Self::Unreachable(error.to_string()),
            other => Self::Server(other),
        }
    }
}

/// The error document in the order and with the blanks that the guides show.
fn spaced(fault: &Fault) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let message = fault.message.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let mut text = format!("{{\"message\": {message}, \"code\": {}", fault.code);
    let violation = |v: &Violation| {
        let (property, message) = (quoted(&v.property), quoted(&v.message));
        format!("{{\"property\": {property}, \"message\": {message}, \"value\": {}}}", v.value)
    };
    if !fault.violations.is_empty() {
        let list: Vec<_> = fault.violations.iter().map(violation).collect();
        text.push_str(&format!(", \"violations\": [{}]", list.join(", ")));
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_refusal_is_printed_as_the_guides_print_it() {
        let refused = Error::Refused {
            status: 400,
            message: "No bridge with ID 9082e813-38f1-4795-8844-8fc35ec00000 exists.".to_owned(),
            violations: Vec::new(),
        };
        let want = r#"Internal error: {"message": "No bridge with ID 9082e813-38f1-4795-8844-8fc35ec00000 exists.", "code": 400}"#;
        assert_eq!(Refusal::from(refused).to_string(), want);
    }
}
