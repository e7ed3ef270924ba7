//! Reads from the datapath when each flow was last used: idle flows leave.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mn_agent_core::{RuleDrops, dropping_rule, limits};
use mn_datapath::{Datapath, Timeouts};
use mn_flow::Cookie;
use mn_time::Instant;

use crate::clock;
use crate::presses::Presses;
use crate::worker::message::ToWorker;

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(5);
/// How long the thread sleeps before it looks whether it is to stop.
const NAP: Duration = Duration::from_millis(100);
/// Flows told to a worker in one message.
const CHUNK: usize = 4096;

/// The sweeping thread's means.
pub(crate) struct Sweeper {
    pub(crate) datapath: Arc<dyn Datapath>,
    pub(crate) workers: Vec<Sender<ToWorker>>,
    pub(crate) rule_drops: Arc<Mutex<RuleDrops>>,
    /// How long connections stay without a packet.
    pub(crate) timeouts: Timeouts,
    /// Who says which ports run into limits.
    pub(crate) presses: Presses,
}

impl Sweeper {
    /// Sweeps until told to stop.
    pub(crate) fn start(mut self, stop: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
        let sweep = move || {
            let mut last = clock::now();
            let mut aged = last;
            self.presses.begin();
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(NAP);
                let now = clock::now();
                if aged + limits::AGE_EVERY <= now {
                    self.age_connections(now);
                    self.presses.say(now);
                    aged = now;
                }
                if last + EVERY <= now {
                    self.sweep(last);
                    last = now;
                }
            }
        };
        std::thread::Builder::new().name("sweep".to_owned()).spawn(sweep)
    }

    fn sweep(&self, since: Instant) {
        let mut chunks: Vec<Vec<(Cookie, Instant)>> = vec![Vec::new(); self.workers.len()];
        if let Ok(mut drops) = self.rule_drops.lock() {
            drops.begin_sweep();
        }
        let read = self.datapath.flows(&mut |flow| {
            if flow.used_at < since {
                return;
            }
            if let Some(rule) = dropping_rule(&flow.spec.actions)
                && let Ok(mut drops) = self.rule_drops.lock()
            {
                drops.note(flow.spec.cookie, rule, flow.counters.packets);
            }
            let worker = usize::from(flow.spec.cookie.worker());
            if let Some(chunk) = chunks.get_mut(worker) {
                chunk.push((flow.spec.cookie, flow.used_at));
                if chunk.len() >= CHUNK {
                    self.tell(worker, std::mem::take(chunk));
                }
            }
        });
        if let Err(error) = read {
            tracing::error!(%error, "the use of flows cannot be read");
        }
        for (worker, chunk) in chunks.into_iter().enumerate() {
            self.tell(worker, chunk);
        }
    }

    /// Removes connections that are over: some at a time, so that packets are not kept from the
    /// table for long.
    fn age_connections(&self, now: Instant) {
        let aged = self.datapath.age_connections(now, &self.timeouts, limits::AGE_AT_ONCE);
        if let Err(error) = aged {
            tracing::error!(%error, "connections cannot be looked at for their age");
        }
    }

    fn tell(&self, worker: usize, uses: Vec<(Cookie, Instant)>) {
        if !uses.is_empty() {
            // A worker that ended has said so.
            drop(self.workers[worker].send(ToWorker::Uses(uses)));
        }
    }
}
