//! Watches of a database in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Shared;
use crate::database::Commit;
use crate::watchers::{WatcherId, Watchers};
use crate::{Batch, ReadError, Selector, Watch, WatchEvent};

/// The watchers and how each is woken.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<Listening>);

#[derive(Debug, Default)]
struct Listening {
    watchers: Watchers,
    bells: HashMap<WatcherId, Arc<Notify>>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Queues a commit's changes and wakes those who watch them.
    pub(super) fn publish(&self, commit: &Commit) {
        let mut listening = self.lock();
        for id in listening.watchers.publish(commit) {
            if let Some(bell) = listening.bells.get(&id) {
                bell.notify_one();
            }
        }
    }
}

/// One watcher.
#[derive(Debug)]
pub(super) struct LocalWatch {
    shared: Arc<Shared>,
    id: WatcherId,
    bell: Arc<Notify>,
}

impl LocalWatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let bell = Arc::new(Notify::new());
        let mut listening = shared.hub.lock();
        let id = listening.watchers.open();
        listening.bells.insert(id, Arc::clone(&bell));
        drop(listening);
        Self { shared, id, bell }
    }

    /// The next batch that a crash cannot take back; waits for it. `None`: there will be none.
    async fn batch(&self) -> Option<Batch> {
        loop {
            let next_at = self.shared.hub.lock().watchers.next_at(self.id);
            match next_at {
                Some(revision) => {
                    self.shared.reached(revision).await.ok()?;
                    return self.shared.hub.lock().watchers.pop(self.id);
                }
                None => tokio::select! {
                    biased;
                    () = self.bell.notified() => {}
                    () = self.shared.stopped() => return None,
                },
            }
        }
    }
}

#[async_trait]
impl Watch for LocalWatch {
    async fn add(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        // No commit comes between the picture and the first change after it.
        let database = self.shared.read();
        self.shared.hub.lock().watchers.add(self.id, selectors, &database);
        self.bell.notify_one();
        Ok(())
    }

    async fn remove(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        let database = self.shared.read();
        self.shared.hub.lock().watchers.remove(self.id, selectors, &database);
        self.bell.notify_one();
        Ok(())
    }

    async fn next(&mut self) -> Option<WatchEvent> {
        self.batch().await.map(WatchEvent::Batch)
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        let mut listening = self.shared.hub.lock();
        listening.watchers.close(self.id);
        listening.bells.remove(&self.id);
    }
}
