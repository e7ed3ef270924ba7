//! A thread that waits for the kernel, so that no worker has to: for grace periods.

use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError, Weak};

use super::flow_table::FlowTable;
use super::sys;

/// Keeps a flow table in places until it is dropped.
pub fn start(flows: Weak<Mutex<FlowTable>>, woken: Receiver<()>) -> std::io::Result<()> {
    std::thread::Builder::new().name("mn-keeper".into()).spawn(move || {
        // The table holds the other end.
        while woken.recv().is_ok() {
            let Some(flows) = flows.upgrade() else { return };
            keep(&flows);
        }
    })?;
    Ok(())
}

fn keep(flows: &Mutex<FlowTable>) {
    let lock = || flows.lock().unwrap_or_else(PoisonError::into_inner);
    let more = lock().more();
    if let Some(more) = more {
        let made = more.lock().unwrap_or_else(PoisonError::into_inner).prepare();
        if let Err(error) = made {
            // Whoever needs a place tries again and fails with it.
            tracing::warn!(%error, "cannot add room for flows");
        }
    }
    let resting = lock().take_resting();
    if resting.is_empty() {
        return;
    }
    match sys::grace_period() {
        Ok(()) => lock().give_rested(resting),
        // Never used again: better than a flow written while a program reads it.
        Err(error) => tracing::error!(%error, "places of flows are lost"),
    }
}
