//! Requests that write below one object take turns.
//!
//! They would overtake one another otherwise: each rule of a chain rewrites the chain, each binding
//! looks at all of its host's. The database refuses those that were overtaken, whichever node they
//! come by; taking turns on a node saves it most of that.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::Method;
use tokio::sync::{Mutex, MutexGuard};

use super::endpoint::Endpoint;

/// How many may write at once. Two objects may share a place.
const PLACES: usize = 64;

/// The places where requests wait.
pub struct Turns([Mutex<()>; PLACES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl Turns {
    /// Waits for the turn of a request, and keeps it until the guard is dropped. Reading, and writing
    /// what is not below an object, goes on at once.
    pub async fn take(
        &self,
        endpoint: &Endpoint,
        path: &[(String, String)],
    ) -> Option<MutexGuard<'_, ()>> {
        if endpoint.method == Method::GET {
            return None;
        }
        let (_, id) = path.iter().find(|(name, _)| name == "id")?;
        let mut hasher = DefaultHasher::new();
        id.to_ascii_lowercase().hash(&mut hasher);
        let place = hasher.finish() % PLACES as u64;
        Some(self.0.get(usize::try_from(place).ok()?)?.lock().await)
    }
}
