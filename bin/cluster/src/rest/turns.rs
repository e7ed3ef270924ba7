//! Requests that write below one object take turns.
//!
//! They would overtake one another otherwise: each rule of a chain rewrites the chain, each binding
//! looks at all of its host's. The database refuses those that were overtaken, whichever node they
//! come by; taking turns on a node saves it most of that.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::Method;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

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
    pub async fn of_request(
        &self,
        endpoint: &Endpoint,
        path: &[(String, String)],
    ) -> Option<MutexGuard<'_, ()>> {
        if endpoint.method == Method::GET {
            return None;
        }
        let (_, id) = path.iter().find(|(name, _)| name == "id")?;
        Some(self.of_object(id.parse().ok()?).await)
    }

    /// Waits for the turn of an object. Whoever waits has no other turn, or two would wait for each
    /// other.
    pub async fn of_object(&self, id: Uuid) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let place = (hasher.finish() % PLACES as u64) as usize;
        self.0[place].lock().await
    }
}
