//! The suite over the engine that keeps everything in memory.

use std::sync::Arc;

use async_trait::async_trait;
use mn_nsdb::conformance::{Fixture, GRACE_FOR};
use mn_nsdb::database::Database;
use mn_nsdb::{Engine, Store};

struct Memory(Engine);

#[async_trait]
impl Fixture for Memory {
    async fn start() -> Self {
        Self(Engine::with(Database::new(GRACE_FOR)))
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    /// As a restart is for the engines that build on it: by way of a dump.
    async fn restart(&mut self) -> bool {
        let dump = self.0.dump().await.expect("reading works");
        let database =
            Database::load(dump, GRACE_FOR, mn_time::Instant::ZERO).expect("a dump loads");
        self.0 = Engine::with(database);
        true
    }
}

mn_nsdb::conformance!(Memory);
