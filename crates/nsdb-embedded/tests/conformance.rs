//! The suite over the engine that keeps everything in a file.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mn_nsdb::conformance::{Fixture, GRACE_FOR};
use mn_nsdb::{Engine, Store};
use tempfile::TempDir;

struct Embedded {
    directory: TempDir,
    engine: Option<Engine>,
}

fn open(path: PathBuf) -> Engine {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(&path).expect("the file opens");
    let backend = redb::backends::FileBackend::new(file).expect("the file can be locked");
    mn_nsdb_embedded::open_on(backend, &path, GRACE_FOR).expect("the database opens")
}

#[async_trait]
impl Fixture for Embedded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = Some(open(directory.path().join("nsdb")));
        Self { directory, engine }
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.engine.clone().expect("it runs"))
    }

    async fn restart(&mut self) -> bool {
        self.engine.take().expect("it runs").close().await;
        self.engine = Some(open(self.directory.path().join("nsdb")));
        true
    }
}

mn_nsdb::conformance!(Embedded);
