//! Absolute addresses of resources.

use std::fmt::Display;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use mn_ids::Id;

/// The part of every address that depends on how the client came here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Links {
    /// Without a slash at the end.
    base: String,
}

impl Links {
    /// From the request: what a proxy says of the client's view, else the `Host` header.
    ///
    /// `root` is the path of the API, `scheme` that of the listener.
    pub fn of_request(headers: &HeaderMap, scheme: &str, root: &str) -> Self {
        let forwarded = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
        };
        let told = forwarded("x-forwarded-proto").map(str::to_ascii_lowercase);
        let scheme = match told.as_deref() {
            Some("http") => "http",
            Some("https") => "https",
            _ => scheme,
        };
        let authority = |text: &str| text.parse::<Authority>().ok().map(|host| host.to_string());
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(authority);
        let seen = forwarded("x-forwarded-host").and_then(authority).map(|host| {
            let port = forwarded("x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
            with_port(host, port, scheme)
        });
        let host = seen.or(host).unwrap_or_else(|| "localhost".to_owned());
        Self { base: format!("{scheme}://{host}{}", root.trim_end_matches('/')) }
    }

    /// The address of the API itself, with a slash at the end.
    pub fn root(&self) -> String {
        format!("{}/", self.base)
    }

    /// The address of a path below the API: `/bridges`.
    pub fn to(&self, path: impl Display) -> String {
        format!("{}{path}", self.base)
    }

    /// The address of an object: `/bridges/ID`.
    pub fn object<K>(&self, collection: &str, id: Id<K>) -> String {
        self.to(format_args!("/{collection}/{id}"))
    }

    /// The address of an object, if there is one.
    pub fn maybe<K>(&self, collection: &str, id: Option<Id<K>>) -> Option<String> {
        id.map(|id| self.object(collection, id))
    }
}

/// A host with the port the proxy names, unless it has one or the port goes without saying.
fn with_port(host: String, port: Option<u16>, scheme: &str) -> String {
    let default = if scheme == "https" { 443 } else { 80 };
    let has_port = host.parse::<Authority>().is_ok_and(|host| host.port().is_some());
    match port {
        Some(port) if !has_port && port != default => format!("{host}:{port}"),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Links::of_request(&map, "http", "/midonet-api").root()
    }

    #[test]
    fn addresses_are_those_the_client_uses() {
        assert_eq!(base(&[("host", "api:8181")]), "http://api:8181/midonet-api/");
        assert_eq!(base(&[]), "http://localhost/midonet-api/");
        let proxied = [
            ("host", "10.0.0.5:8181"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "cloud.example, inner"),
            ("x-forwarded-port", "8443"),
        ];
        assert_eq!(base(&proxied), "https://cloud.example:8443/midonet-api/");
        let nonsense =
            [("host", "api"), ("x-forwarded-host", "a b\u{7f}"), ("x-forwarded-proto", "gopher")];
        assert_eq!(base(&nonsense[..1]), "http://api/midonet-api/");
    }
}
