//! The thread that checks members of pools: the clock and the channels around
//! [`mn_agent_core::health::Checker`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mn_agent_core::health::{Assigned, Awaited, Checker, MemberKey, Told};
use mn_datapath::Bell;
use mn_ids::Id;
use mn_simulation::{CheckKey, Entry};
use mn_topology::Health;
use tokio::sync::mpsc;

use crate::clock;
use crate::worker::message::{Announcement, Reach, ToWorker};
use crate::worker::report::Count;

/// Messages that may wait: answers beyond that are lost, as on a wire.
const MESSAGES_MAX: usize = 8192;
/// How long the thread waits before it looks whether it is to stop.
const WAIT_FOR: Duration = Duration::from_millis(500);

/// To the thread.
#[derive(Debug)]
enum ToHealth {
    /// These members, and no others, are to be checked.
    Assign(BTreeMap<MemberKey, Assigned>),
    /// A frame of a check's conversation.
    Heard(CheckKey, Vec<u8>),
}

/// What others have of the thread.
#[derive(Clone, Debug)]
pub(crate) struct HealthDoor {
    pub(crate) awaited: Arc<Awaited>,
    pub(crate) report: Arc<HealthReport>,
    sender: SyncSender<ToHealth>,
}

/// The thread's numbers.
#[derive(Debug, Default)]
pub(crate) struct HealthReport {
    pub(crate) members: Count,
    pub(crate) passed: Count,
    pub(crate) failed: Count,
}

/// The thread's own end.
pub(crate) struct HealthThread {
    receiver: Receiver<ToHealth>,
    checker: Checker,
    report: Arc<HealthReport>,
    verdicts: mpsc::UnboundedSender<Vec<(MemberKey, Health)>>,
}

impl HealthDoor {
    /// A door, and the thread behind it, which tells its verdicts by `verdicts`.
    pub(crate) fn new(
        verdicts: mpsc::UnboundedSender<Vec<(MemberKey, Health)>>,
    ) -> (Self, HealthThread) {
        let (sender, receiver) = sync_channel(MESSAGES_MAX);
        let (awaited, report) = (Arc::<Awaited>::default(), Arc::<HealthReport>::default());
        let seed = Id::<mn_ids::Host>::random().uuid().as_u128() as u64;
        let checker = Checker::new(Arc::clone(&awaited), seed);
        let thread = HealthThread { receiver, checker, report: Arc::clone(&report), verdicts };
        (Self { awaited, report, sender }, thread)
    }

    /// Has these members checked, and no others; whether that was taken.
    pub(crate) fn assign(&self, assigned: BTreeMap<MemberKey, Assigned>) -> bool {
        self.sender.try_send(ToHealth::Assign(assigned)).is_ok()
    }

    /// Hands on a member's answer.
    pub(crate) fn hear(&self, key: CheckKey, frame: Vec<u8>) {
        match self.sender.try_send(ToHealth::Heard(key, frame)) {
            // It is as if the wire had lost it; or the agent stops.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl HealthThread {
    /// Starts it; frames are sent by the worker with this channel.
    pub(crate) fn start(
        mut self,
        worker: (std::sync::mpsc::Sender<ToWorker>, Bell),
        stop: Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("health".to_owned()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut told = Told::default();
                if !self.take(&mut told) {
                    return;
                }
                self.checker.tick(clock::now(), &mut told);
                self.tell(told, &worker);
            }
        })
    }

    /// Waits for messages until something is due, and takes as many as may wait: more that come
    /// meanwhile do not keep it from its checks. False: nobody sends any more.
    fn take(&mut self, told: &mut Told) -> bool {
        let due = self.checker.due_at().map_or(WAIT_FOR, |at| at.since(clock::now()));
        let mut next = self.receiver.recv_timeout(due.min(WAIT_FOR));
        for _ in 0..MESSAGES_MAX {
            match next {
                Ok(ToHealth::Assign(assigned)) => {
                    self.checker.assign(&assigned, clock::now(), told);
                    self.report.members.set(self.checker.members());
                }
                Ok(ToHealth::Heard(key, frame)) => self.checker.hear(&key, &frame, told),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            next = self.receiver.recv_timeout(Duration::ZERO);
        }
        true
    }

    fn tell(&self, told: Told, (worker, bell): &(std::sync::mpsc::Sender<ToWorker>, Bell)) {
        self.report.passed.add(told.passed);
        self.report.failed.add(told.failed);
        let any = !told.frames.is_empty();
        for (router, frame) in told.frames {
            let own = Announcement { entry: Entry::Router(router), frame, reach: Reach::All };
            // A worker that has ended says so itself.
            drop(worker.send(ToWorker::Send(own)));
        }
        if any {
            bell.ring();
        }
        if !told.verdicts.is_empty() {
            drop(self.verdicts.send(told.verdicts));
        }
    }
}
