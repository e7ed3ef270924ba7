//! The host's place in the state database: its object and its sign of life.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mn_ids::{HostId, Object};
use mn_nsdb::{Op, Session, Store, Transaction, TxError};
use mn_topology::{AnyObject, Host};
use tokio::sync::{Notify, mpsc};

/// How long a session lives without a sign.
const TTL: Duration = Duration::from_secs(30);
/// How often a sign is given.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Between two tries while the state database cannot be reached.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The host's identity: made once, kept in a file under the agent's root.
pub(crate) fn host_id(root: &Path) -> io::Result<HostId> {
    let path = root.join("host_id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            let said = format!("{} holds no host id: {text:?}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, said)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = HostId::random();
            fs::write(&path, format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

/// Registers the host and keeps its session alive for ever; tells of each session it opens. Who
/// has `doubt` that the session is still there makes it look at once.
pub(crate) async fn keep(
    store: Arc<dyn Store>,
    host: Host,
    opened: mpsc::Sender<Session>,
    doubt: Arc<Notify>,
) {
    loop {
        match open(&store, &host).await {
            Ok(session) => {
                tracing::info!(host = %host.id, epoch = session.epoch, "registered");
                if opened.send(session).await.is_err() {
                    return;
                }
                renew(&store, session, &doubt).await;
            }
            Err(error) => tracing::warn!(%error, "this host cannot be registered yet"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn open(store: &Arc<dyn Store>, host: &Host) -> Result<Session, TxError> {
    ensure_host(store, host).await?;
    store.open_session(host.id, TTL).await
}

/// Creates the host's object where there is none.
async fn ensure_host(store: &Arc<dyn Store>, host: &Host) -> Result<(), TxError> {
    let object = AnyObject::from(host.clone());
    let op = Op::Create { key: host.key(), json: object.encode(), references: object.references() };
    match store.transact(Transaction { ops: vec![op] }).await {
        Ok(_) | Err(TxError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives signs of life until the session has ended.
async fn renew(store: &Arc<dyn Store>, session: Session, doubt: &Notify) {
    loop {
        // Woken early or not, it looks.
        drop(tokio::time::timeout(RENEW_EVERY, doubt.notified()).await);
        match store.renew_session(session.id).await {
            Ok(()) => {}
            Err(TxError::NoSession(_)) => {
                tracing::warn!(epoch = session.epoch, "the session has ended");
                return;
            }
            Err(error) => tracing::debug!(%error, "no sign of life could be given"),
        }
    }
}
