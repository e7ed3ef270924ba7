//! Writes to the state tables, off the packet path.

use std::sync::Arc;
use std::time::Duration;

use mn_nsdb::{Op, Remedy, Store, Transaction};
use tokio::sync::mpsc;

/// Operations of one transaction.
const BATCH_MAX: usize = 200;
/// Between two tries while the state database cannot be reached.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Writes what comes, in order, as many operations a transaction as wait, until the channel
/// closes. Every operation is such that doing it twice is doing it once.
pub(crate) async fn write(store: Arc<dyn Store>, mut ops: mpsc::Receiver<Op>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while ops.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let all = std::mem::take(&mut batch);
        if !commit(&store, &all).await && all.len() > 1 {
            // One of them cannot be done (its device is gone, say): the others can.
            for op in all {
                commit(&store, &[op]).await;
            }
        }
    }
}

/// Whether it could be done; waits while the state database cannot be reached.
async fn commit(store: &Arc<dyn Store>, ops: &[Op]) -> bool {
    loop {
        match store.transact(Transaction { ops: ops.to_vec() }).await {
            Ok(_) => return true,
            Err(error) => match error.remedy() {
                Remedy::RetryLater | Remedy::ReadBack | Remedy::Retry => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Remedy::ChangeRequest | Remedy::Reconnect | Remedy::Repair => {
                    if ops.len() == 1 {
                        tracing::warn!(%error, op = ?ops[0], "a state table cannot be written");
                    }
                    return false;
                }
            },
        }
    }
}
