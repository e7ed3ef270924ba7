//! A state database at the end of a cable that can be pulled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mn_ids::{Class, HostId, ObjectKey};
use mn_nsdb::{
    Entry, ReadError, Revision, Selector, Session, SessionId, Store, Stored, TableId, Transaction,
    TxError, Watch, WatchEvent,
};
use tokio::sync::watch;

/// The agents' way to the store.
pub struct Cable {
    inner: Arc<dyn Store>,
    pulled: watch::Sender<bool>,
}

impl Cable {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, pulled: watch::channel(false).0 }
    }

    pub fn pull(&self) {
        self.pulled.send_replace(true);
    }

    pub fn plug(&self) {
        self.pulled.send_replace(false);
    }

    fn read(&self) -> Result<&dyn Store, ReadError> {
        if *self.pulled.borrow() {
            return Err(ReadError::Unavailable("the cable is pulled".into()));
        }
        Ok(&*self.inner)
    }

    fn write(&self) -> Result<&dyn Store, TxError> {
        if *self.pulled.borrow() {
            return Err(TxError::Unavailable("the cable is pulled".into()));
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Store for Cable {
    async fn get(&self, key: ObjectKey) -> Result<Option<Stored>, ReadError> {
        self.read()?.get(key).await
    }

    async fn list(&self, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.read()?.list(class).await
    }

    async fn referrers(&self, to: ObjectKey, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.read()?.referrers(to, class).await
    }

    async fn entries(&self, table: TableId) -> Result<Vec<Entry>, ReadError> {
        self.read()?.entries(table).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Revision, TxError> {
        self.write()?.transact(transaction).await
    }

    async fn next_number(&self, sequence: &str) -> Result<u64, TxError> {
        self.write()?.next_number(sequence).await
    }

    async fn watch(&self) -> Result<Box<dyn Watch>, ReadError> {
        let inner = self.read()?.watch().await?;
        let pulled = self.pulled.subscribe();
        Ok(Box::new(CableWatch { inner, pulled, told: false }))
    }

    async fn open_session(&self, host: HostId, ttl: Duration) -> Result<Session, TxError> {
        self.write()?.open_session(host, ttl).await
    }

    async fn renew_session(&self, session: SessionId) -> Result<(), TxError> {
        self.write()?.renew_session(session).await
    }

    async fn close_session(&self, session: SessionId) -> Result<(), TxError> {
        self.write()?.close_session(session).await
    }

    async fn sessions(&self) -> Result<Vec<Session>, ReadError> {
        self.read()?.sessions().await
    }
}

struct CableWatch {
    inner: Box<dyn Watch>,
    pulled: watch::Receiver<bool>,
    /// Whether the listener knows that the cable is pulled.
    told: bool,
}

#[async_trait]
impl Watch for CableWatch {
    async fn add(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        self.inner.add(selectors).await
    }

    async fn remove(&mut self, selectors: &[Selector]) -> Result<(), ReadError> {
        self.inner.remove(selectors).await
    }

    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            let pulled = *self.pulled.borrow_and_update();
            if pulled != self.told {
                self.told = pulled;
                let event = if pulled { WatchEvent::Disconnected } else { WatchEvent::Reconnected };
                return Some(event);
            }
            if pulled {
                self.pulled.changed().await.ok()?;
                continue;
            }
            tokio::select! {
                event = self.inner.next() => return event,
                changed = self.pulled.changed() => changed.ok()?,
            }
        }
    }
}
