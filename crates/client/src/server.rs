//! Which server to talk to, as whom, and whom to believe.

use std::fmt;
use std::time::Duration;

/// A server and how to reach it.
#[derive(Clone, Debug)]
pub struct Server {
    /// The base URI, with or without a slash at the end: `http://127.0.0.1:8181/midonet-api`.
    pub base: String,
    /// Who is asking; nobody logs in without.
    pub credentials: Option<Credentials>,
    pub trust: Trust,
    /// How long one request may take in all.
    pub patience_for: Duration,
}

impl Server {
    /// How long a request may take unless said otherwise: the server gives up a read after 30 s.
    pub const PATIENCE_FOR: Duration = Duration::from_secs(35);

    /// A server that needs no login.
    #[must_use]
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            credentials: None,
            trust: Trust::WebRoots,
            patience_for: Self::PATIENCE_FOR,
        }
    }
}

/// What a login asks for.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
    /// The project to log in to; the server's own when absent.
    pub project: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// Which certificates of a TLS server are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those of the public authorities.
    #[default]
    WebRoots,
    /// Those signed by one of these, in PEM.
    Authorities(Vec<u8>),
    /// Any: for a laboratory only.
    Anybody,
}

/// The certificates to trust cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustError {
    #[error("the certificates to trust are no PEM: {0}")]
    NotPem(String),
    #[error("there is no certificate among the certificates to trust")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let secret = Credentials { user: "eve".into(), password: "hunter2".into(), project: None };
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
