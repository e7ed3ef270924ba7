//! Where commits are made to last, and how far that has come.

use std::error::Error;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use tokio::sync::watch;

use crate::Revision;
use crate::database::Commit;

/// Storage that keeps commits.
pub trait Journal: Send {
    /// Keeps commits, in their order, all or none. When this returns they survive a crash of the
    /// machine.
    ///
    /// # Errors
    ///
    /// Whatever the storage says. The journal is not used again.
    fn append(&mut self, commits: &[Commit]) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// The journal cannot be relied upon any more, or was closed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Stopped(Arc<str>);

/// Hands commits to the journal's own thread, which takes all that wait in one go: concurrent
/// transactions share the cost of one synchronization with the disk.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    progress: watch::Receiver<Progress>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

/// Bounded by the callers, each of whom waits for its own commit.
#[derive(Debug, Default)]
struct Waiting {
    commits: Vec<Commit>,
    closed: bool,
}

/// How far the journal has come.
#[derive(Clone, Debug)]
struct Progress {
    revision: Revision,
    stopped: Option<Stopped>,
}

impl Writer {
    /// Starts the thread. Everything up to `revision` is in the journal already.
    pub(super) fn start(journal: Box<dyn Journal>, revision: Revision) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (sender, progress) = watch::channel(Progress { revision, stopped: None });
        let taken = Arc::clone(&queue);
        let run = move || write_all(journal, &taken, &sender);
        let thread = thread::Builder::new().name("nsdb-journal".to_owned()).spawn(run)?;
        Ok(Self { queue, progress, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a commit. The order of calls is the order in the journal.
    pub(super) fn push(&self, commit: Commit) {
        self.queue.lock().commits.push(commit);
        self.queue.bell.notify_one();
    }

    /// Fails where nothing can be written any more.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        self.progress.borrow().stopped.clone().map_or(Ok(()), Err)
    }

    /// Waits until a revision lasts.
    pub(super) async fn reached(&self, revision: Revision) -> Result<(), Stopped> {
        let mut progress = self.progress.clone();
        let over = |at: &Progress| at.revision >= revision || at.stopped.is_some();
        let at = progress.wait_for(over).await.map_err(|_| Stopped("the journal ended".into()))?;
        if at.revision >= revision { Ok(()) } else { at.stopped.clone().map_or(Ok(()), Err) }
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn stopped(&self) {
        let mut progress = self.progress.clone();
        // The thread is gone: stopped as well.
        drop(progress.wait_for(|at| at.stopped.is_some()).await);
    }

    /// Lets the thread finish what waits and drop the journal; returns it, to be joined.
    pub(super) fn close(&self) -> Option<thread::JoinHandle<()>> {
        self.queue.lock().closed = true;
        self.queue.bell.notify_one();
        self.thread.lock().expect("only taken from").take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }

    /// Takes everything that waits; waits for something. `None`: closed and empty.
    fn take(&self) -> Option<Vec<Commit>> {
        let idle = |waiting: &mut Waiting| waiting.commits.is_empty() && !waiting.closed;
        let waiting = self.bell.wait_while(self.lock(), idle);
        let mut waiting = waiting.expect("nothing panics under this lock");
        let commits = mem::take(&mut waiting.commits);
        (!commits.is_empty()).then_some(commits)
    }
}

/// What the thread does.
fn write_all(mut journal: Box<dyn Journal>, queue: &Queue, progress: &watch::Sender<Progress>) {
    while let Some(commits) = queue.take() {
        if let Err(error) = journal.append(&commits) {
            tracing::error!(%error, "the state database's journal failed; nothing is written any more");
            let reason = Stopped(error.to_string().into());
            progress.send_modify(|at| at.stopped = Some(reason));
            return;
        }
        let last = commits.last().map(|commit| commit.revision);
        progress.send_modify(|at| at.revision = last.unwrap_or(at.revision));
    }
    // Its file is free before anybody hears of the end.
    drop(journal);
    progress.send_modify(|at| at.stopped = Some(Stopped("the database was closed".into())));
}
