//! What the API can be told.

use std::sync::Arc;
use std::time::Duration;

use super::auth::{AuthService, MockAuth};
use super::walks::WalkService;

/// What the API can be told.
#[derive(Clone)]
pub struct Settings {
    /// The path of the API: `/midonet-api`.
    pub root: String,
    /// The scheme of the listener, `http` or `https`: part of every address sent.
    pub scheme: &'static str,
    /// The longest body taken, in octets.
    pub body_bytes_max: usize,
    /// The longest headers taken, all together, in octets.
    pub header_bytes_max: usize,
    /// How long a request may take.
    pub request_for: Duration,
    pub auth: Arc<dyn AuthService>,
    /// Who walks packets; `None`: walks are refused as unavailable.
    pub walks: Option<Arc<dyn WalkService>>,
}

impl Default for Settings {
    /// As the guide has it, with the mock provider.
    fn default() -> Self {
        Self {
            root: "/midonet-api".to_owned(),
            scheme: "http",
            body_bytes_max: 1024 * 1024,
            header_bytes_max: 32 * 1024,
            request_for: Duration::from_secs(30),
            auth: Arc::new(MockAuth),
            walks: None,
        }
    }
}
