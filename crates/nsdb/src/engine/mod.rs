//! An engine that keeps everything in this process: the pure database in a tokio shell.

mod journal;
mod watch;

use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use mn_ids::{Class, HostId, ObjectKey};
use mn_time::Instant;
use tokio::sync::Notify;
use uuid::Uuid;

pub use journal::Journal;

use crate::database::{Commit, Database, Dump};
use crate::{
    Entry, ReadError, Revision, Session, SessionId, Store, Stored, TableId, Transaction, TxError,
    Watch,
};
use journal::{Stopped, Writer};
use watch::{Hub, LocalWatch};

/// A database in this process. Clones are handles of the same one.
///
/// A transaction is applied at once, and acknowledged when the journal has it; reads and watches
/// show nothing that a crash could take back.
///
/// Making one panics outside of a tokio runtime: sessions need timers.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Locked before the hub and the writer's queue, never after.
    database: RwLock<Database>,
    hub: Hub,
    /// `None`: memory only.
    writer: Option<Writer>,
    timers: Arc<Notify>,
    started_at: tokio::time::Instant,
}

impl Engine {
    /// An empty database that lives as long as its handles.
    #[must_use]
    pub fn memory() -> Self {
        Self::with(Database::new(Database::GRACE_FOR))
    }

    /// A database that lives as long as its handles. Times in it count from now.
    #[must_use]
    pub fn with(database: Database) -> Self {
        Self::start(database, None)
    }

    /// A database whose further commits go to a journal. Times in it count from now.
    ///
    /// # Errors
    ///
    /// The journal's thread cannot be started.
    pub fn with_journal(database: Database, journal: Box<dyn Journal>) -> std::io::Result<Self> {
        let writer = Writer::start(journal, database.revision())?;
        Ok(Self::start(database, Some(writer)))
    }

    fn start(database: Database, writer: Option<Writer>) -> Self {
        let shared = Arc::new(Shared {
            database: RwLock::new(database),
            hub: Hub::default(),
            writer,
            timers: Arc::new(Notify::new()),
            started_at: tokio::time::Instant::now(),
        });
        tokio::spawn(keep_time(Arc::downgrade(&shared), Arc::clone(&shared.timers)));
        Self { shared }
    }

    /// Finishes what waits to be written and frees the storage. Other handles fail from now on.
    pub async fn close(self) {
        let thread = self.shared.writer.as_ref().and_then(Writer::close);
        if let Some(thread) = thread {
            // A panic of the thread was reported where it happened, and there is nothing to save.
            drop(tokio::task::spawn_blocking(move || drop(thread.join())).await);
        }
    }

    /// Everything there is: for backups.
    ///
    /// # Errors
    ///
    /// [`ReadError::Storage`]: it cannot be made durable.
    pub async fn dump(&self) -> Result<Dump, ReadError> {
        self.read(Database::dump).await
    }

    /// Reads something, and waits until it lasts.
    async fn read<T>(&self, read: impl FnOnce(&Database) -> T) -> Result<T, ReadError> {
        let (value, revision) = {
            let database = self.shared.read();
            (read(&database), database.revision())
        };
        let failed = |stopped: Stopped| ReadError::Storage(stopped.into());
        self.shared.reached(revision).await.map_err(failed)?;
        Ok(value)
    }

    /// Does something, and waits until it lasts.
    async fn write<T>(
        &self,
        change: impl FnOnce(&mut Database, Instant) -> Result<(T, Commit), TxError>,
    ) -> Result<T, TxError> {
        let begun_at = tokio::time::Instant::now();
        let (value, revision) = self.shared.write(change)?;
        match self.shared.reached(revision).await {
            Ok(()) => Ok(value),
            Err(_) => Err(TxError::Undecided { waited: begun_at.elapsed() }),
        }
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().expect("nothing panics under this lock")
    }

    /// The time since the start, on the runtime's clock.
    fn now(&self) -> Instant {
        Instant::ZERO + self.started_at.elapsed()
    }

    /// Applies a change and tells watchers and journal, in the order of revisions.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Database, Instant) -> Result<(T, Commit), TxError>,
    ) -> Result<(T, Revision), TxError> {
        if let Some(writer) = &self.writer {
            writer.check().map_err(|stopped| TxError::Storage(stopped.into()))?;
        }
        let mut database = self.database.write().expect("nothing panics under this lock");
        let (value, commit) = change(&mut database, self.now())?;
        let revision = commit.revision;
        if !commit.writes.is_empty() {
            self.hub.publish(&commit);
            if let Some(writer) = &self.writer {
                writer.push(commit);
            }
        }
        drop(database);
        Ok((value, revision))
    }

    async fn reached(&self, revision: Revision) -> Result<(), Stopped> {
        match &self.writer {
            Some(writer) => writer.reached(revision).await,
            None => Ok(()),
        }
    }

    /// Waits for the end of the journal; for ever where there is none.
    async fn stopped(&self) {
        match &self.writer {
            Some(writer) => writer.stopped().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.timers.notify_one();
    }
}

/// Ends sessions and grace times when they are over, until the database is gone.
async fn keep_time(shared: Weak<Shared>, timers: Arc<Notify>) {
    loop {
        let wakes_at = {
            let Some(shared) = shared.upgrade() else { return };
            let wakes_at = shared.read().wakes_at();
            wakes_at.map(|at| shared.started_at + at.since(Instant::ZERO))
        };
        match wakes_at {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = timers.notified() => continue,
            },
            None => {
                timers.notified().await;
                continue;
            }
        }
        let Some(shared) = shared.upgrade() else { return };
        let expired = shared.write(|database, now| Ok(((), database.expire(now))));
        if expired.is_err() {
            // Nothing can be stored any more: nobody's entries may go either.
            return;
        }
    }
}

#[async_trait]
impl Store for Engine {
    async fn get(&self, key: ObjectKey) -> Result<Option<Stored>, ReadError> {
        self.read(|database| database.get(key).cloned()).await
    }

    async fn list(&self, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.read(|database| database.list(class).cloned().collect()).await
    }

    async fn referrers(&self, to: ObjectKey, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.read(|database| database.referrers(to, class).cloned().collect()).await
    }

    async fn entries(&self, table: TableId) -> Result<Vec<Entry>, ReadError> {
        self.read(|database| database.entries(table).cloned().collect()).await
    }

    async fn entries_at(&self, table: TableId, key: &str) -> Result<Vec<Entry>, ReadError> {
        self.read(|database| database.entries_at(table, key).cloned().collect()).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Revision, TxError> {
        self.write(|database, _| {
            let commit = database.transact(transaction)?;
            Ok((commit.revision, commit))
        })
        .await
    }

    async fn next_number(&self, sequence: &str) -> Result<u64, TxError> {
        self.write(|database, _| Ok(database.next_number(sequence))).await
    }

    async fn watch(&self) -> Result<Box<dyn Watch>, ReadError> {
        Ok(Box::new(LocalWatch::new(Arc::clone(&self.shared))))
    }

    async fn open_session(&self, host: HostId, ttl: Duration) -> Result<Session, TxError> {
        let id = SessionId(Uuid::new_v4());
        let open = |database: &mut Database, now| Ok(database.open_session(id, host, ttl, now));
        let session = self.write(open).await?;
        self.shared.timers.notify_one();
        Ok(session)
    }

    async fn renew_session(&self, session: SessionId) -> Result<(), TxError> {
        // The task that keeps time wakes at the old end, and finds that there is a new one.
        self.write(|database, now| {
            database.renew_session(session, now)?;
            Ok(((), Commit { revision: Revision::ZERO, ..Commit::default() }))
        })
        .await
    }

    async fn close_session(&self, session: SessionId) -> Result<(), TxError> {
        let close = |database: &mut Database, now| Ok(((), database.close_session(session, now)?));
        self.write(close).await?;
        self.shared.timers.notify_one();
        Ok(())
    }

    async fn sessions(&self) -> Result<Vec<Session>, ReadError> {
        self.read(|database| database.sessions().copied().collect()).await
    }
}
