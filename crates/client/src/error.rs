//! Why a request came to nothing, by who must act.

use mn_api_types::{Fault, Violation};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller: the server understood and refused.
    #[error("{}", sentence(message, violations))]
    Refused { status: u16, message: String, violations: Vec<Violation> },

    /// The caller: wrong user, password or project.
    #[error("{message}")]
    Unauthorized { message: String },

    /// Whoever runs the server: it failed on a request that may be fine.
    #[error("{message}")]
    ServerFailed { status: u16, message: String },

    /// Whoever runs the network or the server: nothing was sent, so nothing happened.
    #[error("{uri} cannot be reached: {reason}")]
    Unreachable { uri: String, reason: String },

    /// The caller: a write was sent and its answer lost, so it may have happened.
    #[error("no answer to {method} {uri}: {reason}; perhaps applied, look before trying again")]
    AnswerLost { method: &'static str, uri: String, reason: String },

    /// Whoever wrote the server or stands between: the answer is not what the API says.
    #[error("the answer of {uri} cannot be understood: {reason}")]
    Answer { uri: String, reason: String },

    /// Whoever runs the server: its version does not have this.
    #[error("the server offers no {what:?}")]
    NotOffered { what: String },
}

impl Error {
    /// Reads the body of an answer that is no success.
    pub(crate) fn from_answer(status: u16, body: &str) -> Self {
        let fault = serde_json::from_str::<Fault>(body).ok();
        let plain = (fault.is_none() && !body.is_empty()).then(|| body.to_owned());
        let Fault { message, violations, .. } = fault.unwrap_or_default();
        let message = message.or(plain).unwrap_or_else(|| reason_of(status).to_owned());
        match status {
            401 => Self::Unauthorized { message },
            500.. => Self::ServerFailed { status, message },
            _ => Self::Refused { status, message, violations },
        }
    }

    /// The status that the server answered with, when it answered.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::ServerFailed { status, .. } => Some(*status),
            Self::Unauthorized { .. } => Some(401),
            _ => None,
        }
    }

    /// The error as the API's error document, which scripts read.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let code = self.status().unwrap_or_default();
        match self {
            Self::Refused { message, violations, .. } => {
                let (message, violations) = (Some(message.clone()), violations.clone());
                Fault { message, code, violations }
            }
            other => Fault { message: Some(other.to_string()), code, violations: Vec::new() },
        }
    }
}

fn sentence(message: &str, violations: &[Violation]) -> String {
    let mut text = message.to_owned();
    // Our own server's message names them already; that of an older one does not.
    for Violation { property, message: wrong, .. } in violations {
        if !message.contains(wrong) {
            text.push_str(&format!("; {property}: {wrong}"));
        }
    }
    text
}

/// What a status without a body means. Some refusals of the API have none.
const fn reason_of(status: u16) -> &'static str {
    match status {
        400 => "bad request",
        401 => "authentication error",
        403 => "forbidden",
        404 => "there is no such object",
        405 => "the server does not do that to such an object",
        406 => "the server does not have it in this form",
        409 => "that is there already, or in use",
        413 => "the request is too large",
        415 => "the server does not take it in this form",
        500.. => "the server failed",
        _ => "the server refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_sentence_is_kept() {
        let body = r#"{"message":"No bridge with ID 7 exists.","code":400}"#;
        let error = Error::from_answer(400, body);
        assert_eq!(error.to_string(), "No bridge with ID 7 exists.");
        assert_eq!(error.fault(), serde_json::from_str(body).unwrap());
    }

    #[test]
    fn each_violation_names_its_field() {
        let body = r#"{"message":"Validation error(s) found","code":400,
            "violations":[{"property":"name","message":"is too long"}]}"#;
        let error = Error::from_answer(400, body);
        assert_eq!(error.to_string(), "Validation error(s) found; name: is too long");
    }

    #[test]
    fn a_status_without_a_body_still_says_something() {
        let error = Error::from_answer(409, "");
        assert_eq!(error.to_string(), "that is there already, or in use");
        assert_eq!(error.status(), Some(409));
    }

    #[test]
    fn who_must_act_follows_from_the_status() {
        assert!(matches!(Error::from_answer(401, ""), Error::Unauthorized { .. }));
        assert!(matches!(Error::from_answer(404, ""), Error::Refused { .. }));
        assert!(matches!(Error::from_answer(503, ""), Error::ServerFailed { .. }));
    }
}
