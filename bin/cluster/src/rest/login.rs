//! Logging in: `Authorization: Basic` for a token (api-facts §1.2).

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use mn_api_types::{Media, MediaForm, Token};

use super::auth::{AuthError, Credentials, IssuedToken};
use super::dispatch::Context;
use super::problem::Problem;

/// Adds the resource, for any method: it never looked at that.
pub fn route(router: Router, root: &str, context: &Arc<Context>) -> Router {
    let context = context.clone();
    let serve = move |request: Request| {
        let context = context.clone();
        async move { login(&context, request.headers()).await }
    };
    router.route(&format!("{root}/login"), any(serve))
}

async fn login(context: &Context, headers: &HeaderMap) -> Response {
    match token(context, headers).await {
        Ok(issued) => answer(issued),
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn token(context: &Context, headers: &HeaderMap) -> Result<IssuedToken, AuthError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let header = text(AUTHORIZATION.as_str()).ok_or(AuthError::NoCredentials)?;
    let (user, password) = basic(header).ok_or(AuthError::NoCredentials)?;
    let project = text("x-auth-project").map(str::trim).filter(|project| !project.is_empty());
    let (user, password) = (user.as_str(), password.as_str());
    context.settings.auth.login(Credentials { user, password, project }).await
}

/// The Python client reads the cookie and nothing else.
fn answer(issued: IssuedToken) -> Response {
    let cookie = match &issued.expires {
        Some(expires) => format!("sessionId={}; Expires={expires}", issued.key),
        None => format!("sessionId={}", issued.key),
    };
    let content_type = format!("{};charset=UTF-8", Media::TOKEN.newest(MediaForm::One));
    let token = Token { key: Some(issued.key), expires: issued.expires };
    let body = serde_json::to_vec(&token).unwrap_or_default();
    ([(SET_COOKIE, cookie), (CONTENT_TYPE, content_type)], body).into_response()
}

/// Name and password of a `Basic` header (RFC 7617); a password with a colon is none, as of old.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(base64(encoded.trim())?).ok()?;
    let (user, password) = text.split_once(':')?;
    if password.contains(':') { None } else { Some((user.to_owned(), password.to_owned())) }
}

/// Decodes base 64 (RFC 4648 §4), with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut octets = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        bits = bits << 6 | u32::from(sextet(digit)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count & 0xff) as u8);
        }
        bits &= (1 << count) - 1;
    }
    (count < 6).then_some(octets)
}

const fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_the_rfc() {
        // RFC 4648 §10.
        let vectors =
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")];
        for (encoded, plain) in vectors {
            assert_eq!(base64(encoded).as_deref(), Some(plain.as_bytes()), "{encoded}");
        }
        assert_eq!(base64("Zm9v!"), None);
        assert_eq!(base64("Z"), None);
    }

    #[test]
    fn a_user_and_a_password_are_two_parts_exactly() {
        let parts = |text: &str| basic(text);
        // "admin:secret", "admin", "a:b:c"
        assert_eq!(parts("bAsIc YWRtaW46c2VjcmV0"), Some(("admin".into(), "secret".into())));
        assert_eq!(parts("Basic YWRtaW4="), None);
        assert_eq!(parts("Basic YTpiOmM="), None);
        assert_eq!(parts("Bearer YWRtaW46c2VjcmV0"), None);
    }
}
