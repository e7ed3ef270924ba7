//! Errors as HTTP clients see them. The only file that knows statuses of errors.

use std::fmt::Display;

use axum::http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mn_api_types::{Fault, Media, MediaError, MediaForm, Violation};
use mn_ids::ObjectKey;
use mn_nsdb::{ReadError, Remedy, TxError};
use mn_topology::{Invalid, NotLinkable};
use serde_json::Value;
use uuid::Uuid;

use super::auth::AuthError;
use super::walks::WalkError;

/// A request that is not answered as asked.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    message: Option<String>,
    violations: Vec<Violation>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The object that another request wrote meanwhile: reading and deciding again may help.
    overtaken_at: Option<Uuid>,
    /// Nothing but the status is sent, as clients know it (api-facts §1.4).
    bare: bool,
}

/// What a login is answered with that does not succeed (api-facts §1.2; the two blanks are real).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic  realm=\"BASIC_AUTH_REALM\"");
/// Seconds after which to try again (api-facts §1.4: without a hyphen).
const RETRY_AFTER: (HeaderName, HeaderValue) =
    (HeaderName::from_static("retryafter"), HeaderValue::from_static("3"));

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: Some(message.into()),
            violations: Vec::new(),
            headers: Vec::new(),
            overtaken_at: None,
            bare: false,
        }
    }

    /// The request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Fields of the body that cannot be taken.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        // The message has everything too: the Python client prints nothing else.
        let told: Vec<_> = violations.iter().map(tell).collect();
        let message = format!("Validation error(s) found: {}", told.join("; "));
        Self { violations, ..Self::bad_request(message) }
    }

    /// One field of the body that cannot be taken.
    pub fn field(property: &str, value: impl Into<Value>, reason: impl Into<String>) -> Self {
        let (property, message) = (property.to_owned(), reason.into());
        Self::invalid(vec![Violation { property, message, value: value.into() }])
    }

    /// A required field is not there.
    pub fn required(property: &str) -> Self {
        Self::field(property, Value::Null, "is required")
    }

    /// There is no such thing.
    pub fn missing(what: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} does not exist"))
    }

    /// There is no such object.
    pub fn no_object(key: impl Into<ObjectKey>) -> Self {
        let key = key.into();
        Self::missing(format_args!("{} {}", key.class.name().replace('_', " "), key.id))
    }

    /// It contradicts what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// It contradicts what is there in one field.
    pub fn taken(property: &str, value: impl Into<Value>, reason: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, ..Self::field(property, value, reason) }
    }

    /// What it is about is in a state in which this is not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// The media type is not the resource's: 406 for `Accept`, and of old for `Content-Type`.
    pub fn not_acceptable(error: &MediaError) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, error.to_string())
    }

    /// The media type of the body is not the resource's.
    pub fn unsupported_media(error: &MediaError) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
    }

    /// The body is longer than the server takes.
    pub fn body_too_large(bytes_max: usize) -> Self {
        let message = format!("the body is longer than {bytes_max} octets");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// The headers are longer than the server takes.
    pub fn headers_too_large(bytes_max: usize) -> Self {
        let message = format!("the headers are longer than {bytes_max} octets");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message)
    }

    /// No answer within the time a request may take.
    pub fn timed_out() -> Self {
        let message = "no answer in time: it may have been done, read before repeating it";
        Self::unavailable(message)
    }

    /// A field refers to something that is not there.
    pub fn dangling(property: &str, id: Uuid, kind: &str) -> Self {
        let field = Self::field(property, id.to_string(), format!("there is no such {kind}"));
        Self { status: StatusCode::NOT_FOUND, ..field }
    }

    /// Something needed is not there now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let headers = vec![RETRY_AFTER];
        Self { headers, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The operators asked for nothing to be changed now (`BK-*`).
    pub fn read_only() -> Self {
        Self::unavailable(
            "the API is read-only: system-state availability is READONLY until somebody sets it to READWRITE",
        )
    }

    /// Somebody else changed the object between two reads: to be decided again.
    pub fn overtaken(object: impl Into<ObjectKey>) -> Self {
        let object = object.into();
        let message = format!("{object} changed meanwhile");
        Self { overtaken_at: Some(object.id), ..Self::conflict(message) }
    }

    /// The same with nothing but its status.
    pub fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// Where another request came first, if the request should be tried again from the beginning.
    pub const fn overtaken_at(&self) -> Option<Uuid> {
        self.overtaken_at
    }
}

fn tell(violation: &Violation) -> String {
    let Violation { property, message, value } = violation;
    let property = if property.is_empty() { "the body" } else { property };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let short: String = value.chars().take(VALUE_SHOWN_MAX).collect();
    if short == "null" {
        format!("{property} {message}")
    } else {
        format!("{property} {short}: {message}")
    }
}

/// Of a longer value the message shows this many characters.
const VALUE_SHOWN_MAX: usize = 100;

impl From<TxError> for Problem {
    fn from(error: TxError) -> Self {
        match &error {
            TxError::Conflict { object, .. } => {
                let overtaken_at = Some(object.id);
                Self { overtaken_at, ..Self::conflict(error.to_string()) }
            }
            TxError::Exists { object } => {
                Self::taken("id", object.id.to_string(), error.to_string())
            }
            TxError::Missing { object } => Self::no_object(*object),
            TxError::Dangling { field, to, .. } => {
                let kind = to.class.name().replace('_', " ");
                Self::dangling(&api_name(field), to.id, &kind)
            }
            TxError::InUse { .. } => Self::conflict(error.to_string()),
            TxError::TooLarge { .. } => Self::bad_request(error.to_string()),
            _ => Self::of_database(&error, error.remedy()),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let remedy = match &error {
            ReadError::Unavailable(_) => Remedy::RetryLater,
            ReadError::Corrupt(_) | ReadError::Storage(_) => Remedy::Repair,
        };
        Self::of_database(&error, remedy)
    }
}

impl Problem {
    /// The client learns what it can act on; the log has the rest.
    fn of_database(error: &(dyn std::error::Error + 'static), remedy: Remedy) -> Self {
        tracing::error!(error, "the state database did not do what the REST API asked for");
        match remedy {
            Remedy::ReadBack => Self::timed_out(),
            Remedy::RetryLater | Remedy::Reconnect => Self::unavailable(error.to_string()),
            Remedy::Retry | Remedy::ChangeRequest | Remedy::Repair => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "this could not be done")
            }
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::field(&api_name(invalid.field), invalid.value, invalid.reason)
    }
}

impl From<NotLinkable> for Problem {
    fn from(error: NotLinkable) -> Self {
        Self::conflict(format!("Ports are not linkable: {error}."))
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let refused = Self::new(StatusCode::UNAUTHORIZED, error.to_string());
        match error {
            AuthError::NoCredentials | AuthError::Wrong | AuthError::UnknownToken => {
                Self { headers: vec![(WWW_AUTHENTICATE, CHALLENGE)], ..refused }
            }
            AuthError::NotAdmin => Self { message: None, ..refused },
            AuthError::Unavailable(_) => refused,
        }
    }
}

impl From<WalkError> for Problem {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Missing(key) => Self::no_object(key),
            WalkError::Invalid { property, value, reason } => Self::field(&property, value, reason),
            WalkError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

/// The API's name of a stored field: mostly the same words in the API's spelling.
fn api_name(stored: &str) -> String {
    let last = stored.rsplit('.').next().unwrap_or(stored);
    match (stored, last) {
        ("rules.action.chain_id", _) => "jumpChainId".to_owned(),
        ("members.addr", _) => "ipAddress".to_owned(),
        ("hosts.mac", _) => "macAddr".to_owned(),
        ("mac", _) => "portMac".to_owned(),
        ("addresses", _) => "portSubnet".to_owned(),
        ("gateway", _) => "nextHopGateway".to_owned(),
        ("src", _) => "srcNetworkAddr".to_owned(),
        ("nw_src", _) => "nwSrcAddress".to_owned(),
        ("nw_dst", _) => "nwDstAddress".to_owned(),
        ("port_ids", _) => "portId".to_owned(),
        (_, last) => camel_case(last),
    }
}

/// `inbound_filter_id` as `inboundFilterId`.
fn camel_case(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.status.as_u16();
        let mut response = if self.bare {
            self.status.into_response()
        } else {
            let fault = Fault { message: self.message, code, violations: self.violations };
            let body = serde_json::to_vec(&fault).unwrap_or_default();
            (self.status, [(CONTENT_TYPE, Media::ERROR.newest(MediaForm::One))], body)
                .into_response()
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lost_answer_never_says_that_nothing_happened() {
        let lost = Problem::from(TxError::Undecided { waited: Duration::from_secs(5) });
        assert!(lost.message.unwrap().contains("may have been done"));
        assert_eq!(lost.status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn clients_learn_nothing_they_cannot_change() {
        let corrupt = Problem::from(ReadError::Corrupt("page 17".to_owned()));
        assert_eq!(corrupt.message.as_deref(), Some("this could not be done"));
    }

    #[test]
    fn stored_names_are_told_as_the_api_spells_them() {
        assert_eq!(api_name("inbound_filter_id"), "inboundFilterId");
        assert_eq!(api_name("rules.condition.in_ports"), "inPorts");
        assert_eq!(api_name("members.host_id"), "hostId");
    }
}
