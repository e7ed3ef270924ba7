//! The watch of the state database.

use mn_nsdb::{ReadError, Watch, WatchEvent};

use super::Control;

impl Control {
    /// A new watch, of all that is to be watched. What was given up has ended with the one before.
    pub(super) async fn open_watch(&mut self) -> Option<Box<dyn Watch>> {
        let mut watch = match self.store.watch().await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::debug!(%error, "no watch can be opened yet");
                return None;
            }
        };
        let (all, ended) = self.subscriptions.start_over();
        self.take_ended(&ended);
        match watch.add(&all).await {
            Ok(()) => Some(watch),
            Err(error) => {
                tracing::debug!(%error, "nothing can be watched yet");
                None
            }
        }
    }

    /// Tells the watch what to show and what to show no more.
    pub(super) async fn tell_watch(&mut self, watch: &mut dyn Watch) -> Result<(), ReadError> {
        let (old, new) = (self.subscriptions.take_old(), self.subscriptions.take_new());
        if !old.is_empty() {
            watch.remove(&old).await?;
        }
        if !new.is_empty() {
            watch.add(&new).await?;
        }
        Ok(())
    }
}

/// The next event of a watch, if there is one.
pub(super) async fn next(watch: &mut Option<Box<dyn Watch>>) -> Option<WatchEvent> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
