//! An agent: its threads and tasks, wired.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mn_agent_core::health::MemberKey;
use mn_agent_core::{
    Block, Capacities, LocalView, NatTimeouts, Neighbors, Patience, PortLimits, Pressure,
    RuleDrops, TunnelKeys, limits,
};
use mn_datapath::{BroadcastLimit, Datapath, DatapathError, Timeouts, UpcallLimit};
use mn_ids::HostId;
use mn_nsdb::Store;
use mn_simulation::nat::{Endpoint, NatBinding, NatKind};
use mn_time::Duration;
use mn_topology::{DeviceId, Health, Host};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use crate::clock;
use crate::control::{ActivePort, Control, Events, Secrets, State, WorkerHandle};
use crate::exchange::{Exchange, StatePath};
use crate::handle::Handle;
use crate::health::HealthDoor;
use crate::interfaces::Links;
use crate::leaser::{LeaseAsk, Leaser};
use crate::nat_journal::{self, Kept, NatJournal};
use crate::numbers::Numbers;
use crate::presses::Presses;
use crate::session;
use crate::subscriptions::Subscriptions;
use crate::sweep::Sweeper;
use crate::worker::message::{FromWorker, ToWorker};
use crate::worker::report::Report;
use crate::worker::{Setup, Worker};
use crate::writer;

/// Messages from workers that may wait.
const MESSAGES_MAX: usize = 1 << 15;
/// Writes that may wait for the state database.
const WRITES_MAX: usize = 1 << 16;
/// Wishes for ports that may wait.
const LEASES_MAX: usize = 1024;
/// Questions that may wait.
const ASKS_MAX: usize = 64;

/// What an agent is made of.
pub struct Parts {
    /// The directory of its id and state.
    pub root: PathBuf,
    /// The host's name.
    pub name: String,
    pub store: Arc<dyn Store>,
    /// Opened for as many workers as `workers`.
    pub datapath: Arc<dyn Datapath>,
    pub links: watch::Receiver<Links>,
    pub workers: usize,
    pub flows_max: usize,
    pub upcall_limit: UpcallLimit,
    /// The token buckets of packets that wait for a decision.
    pub buckets: Capacities,
    /// What one port may have.
    pub limits: PortLimits,
    /// How long neighbours of routers are believed.
    pub patience: Patience,
    pub connections: Connections,
    /// What was loaded and nothing has needed for this long is given up.
    pub unused_for: Duration,
    /// What carries state between hosts.
    pub state_path: Arc<dyn StatePath>,
}

/// How connections are tracked.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// The most of one port; 0: no limit.
    pub port_max: u32,
    pub timeouts: Timeouts,
    pub translations: NatTimeouts,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            port_max: limits::CONNECTIONS_PER_PORT,
            timeouts: Timeouts::default(),
            translations: NatTimeouts::default(),
        }
    }
}

/// An agent that runs until it is stopped or dropped.
pub struct Agent {
    handle: Handle,
    host: HostId,
    stop_control: watch::Sender<bool>,
    stop_workers: Arc<AtomicBool>,
    failed: watch::Receiver<bool>,
    threads: Vec<JoinHandle<()>>,
    control: Option<tokio::task::JoinHandle<()>>,
    tasks: Vec<AbortHandle>,
}

/// An agent that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the agent's directory cannot be used")]
    Root(#[source] io::Error),
    #[error("the datapath cannot be used")]
    Datapath(#[from] DatapathError),
    #[error("a packet worker's thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Agent {
    /// Starts an agent on the current tokio runtime. It registers its host, adopts what an earlier
    /// agent left, and works with what it knows until the state database can be reached.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let host = session::host_id(&parts.root).map_err(StartError::Root)?;
        let numbers = Numbers::open(&parts.root).map_err(StartError::Root)?;
        let forwarding = Forwarding::start(&parts, host, &numbers)?;
        Ok(Self::take_control(parts, host, numbers, forwarding))
    }

    /// Starts what decides for the workers that run by now.
    fn take_control(parts: Parts, id: HostId, numbers: Numbers, forwarding: Forwarding) -> Self {
        let (session_sender, sessions) = mpsc::channel(1);
        let (ops, writes) = mpsc::channel(WRITES_MAX);
        let (asks_sender, asks) = mpsc::channel(ASKS_MAX);
        let (leases, lease_asks) = mpsc::channel(LEASES_MAX);
        let (session_epoch, epoch) = watch::channel(None);
        let (stop_control, stop) = watch::channel(false);
        let (objects_sender, objects) = watch::channel(Vec::new());
        let (guarded_sender, guarded) = mpsc::unbounded_channel();
        let Forwarding { workers, threads, from_workers, leaser, rule_drops, failed, .. } =
            forwarding;
        let (stop_workers, (active, ports)) = (forwarding.stop, forwarding.active);
        let host = Host::new(id, parts.name);
        let doubt = Arc::new(Notify::new());
        let (store, known_as) = (Arc::clone(&parts.store), host.clone());
        let sessions_kept = session::keep(store, known_as, session_sender, Arc::clone(&doubt));
        let tasks = vec![
            tokio::spawn(sessions_kept).abort_handle(),
            tokio::spawn(writer::write(Arc::clone(&parts.store), writes)).abort_handle(),
            tokio::spawn(leaser.run(epoch, lease_asks)).abort_handle(),
        ];
        let handle = Handle {
            asks: asks_sender,
            datapath: Arc::clone(&parts.datapath),
            reports: forwarding.reports,
            rule_drops,
            ports,
            objects,
            exchange: Arc::clone(&forwarding.exchange),
            health: Arc::clone(&forwarding.health.report),
        };
        let control = Control {
            host,
            store: parts.store,
            datapath: parts.datapath,
            workers,
            ops,
            leases,
            exchange: forwarding.exchange,
            health: forwarding.health,
            secrets: Secrets::default(),
            session_epoch,
            active,
            guarded: guarded_sender,
            upcall_limit: parts.upcall_limit,
            broadcast_limit: BroadcastLimit {
                rate: parts.limits.broadcasts,
                burst: parts.limits.broadcasts.div_ceil(2),
            },
            connections_max: parts.connections.port_max,
            doubt,
            keys: TunnelKeys::starting_at(numbers.key_limit(), numbers.keys().collect::<Vec<_>>()),
            numbers,
            subscriptions: Subscriptions::of_host(id, parts.unused_for),
            objects: objects_sender,
            state: State::new(id, clock::now()),
        };
        let links = parts.links;
        let verdicts = forwarding.verdicts;
        let events =
            Events { sessions, workers: from_workers, links, guarded, asks, verdicts, stop };
        let control = Some(tokio::spawn(control.run(events)));
        Self { handle, host: id, stop_control, stop_workers, failed, threads, control, tasks }
    }

    /// For asking it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The host it is on.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.host
    }

    /// Returns when a packet worker has ended in a panic: the agent is of no use any more, and
    /// whoever watches over it should start another, which adopts everything.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // All workers ended as they were told to.
            std::future::pending().await
        }
    }

    /// Stops it. The datapath goes on with what it has.
    pub async fn stop(mut self) {
        self.stop_control.send_replace(true);
        if let Some(control) = self.control.take() {
            drop(control.await);
        }
        self.stop_workers.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the agent ended in a panic");
                }
            }
        });
        drop(joined.await);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop_workers.store(true, Ordering::Relaxed);
        for task in &self.tasks {
            task.abort();
        }
        if let Some(control) = &self.control {
            control.abort();
        }
    }
}

/// What decides about packets and carries it out, in threads of its own.
struct Forwarding {
    workers: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    from_workers: mpsc::Receiver<FromWorker>,
    leaser: Starting,
    exchange: Arc<Exchange>,
    health: HealthDoor,
    verdicts: mpsc::UnboundedReceiver<Vec<(MemberKey, Health)>>,
    rule_drops: Arc<Mutex<RuleDrops>>,
    reports: Arc<[Arc<Report>]>,
    /// For showing the ports that are active, and who is shown them.
    active: (watch::Sender<Vec<ActivePort>>, watch::Receiver<Vec<ActivePort>>),
    failed: watch::Receiver<bool>,
    stop: Arc<AtomicBool>,
}

impl Forwarding {
    /// Starts workers and sweeper; the flows of an earlier agent are handed to the workers.
    fn start(parts: &Parts, host: HostId, numbers: &Numbers) -> Result<Self, StartError> {
        let (worker_sender, from_workers) = mpsc::channel(MESSAGES_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let (failure, failed) = watch::channel(false);
        let rule_drops: Arc<Mutex<RuleDrops>> = Arc::default();
        let path = Arc::clone(&parts.state_path);
        let exchange = Arc::new(Exchange::new(path, host, numbers.epoch()));
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let (health, health_thread) = HealthDoor::new(verdict_sender);
        let crew = Crew {
            life: numbers.life(),
            host,
            worker_sender,
            failure,
            rule_drops: Arc::clone(&rule_drops),
            neighbors: Arc::new(Neighbors::new(parts.patience, host)),
            exchange: Arc::clone(&exchange),
            health: health.clone(),
        };
        let (leaser, receivers) = Starting::of(parts, host);
        let (workers, mut threads) = start_workers(parts, &crew, &leaser, receivers, &stop)?;
        let reports: Arc<[Arc<Report>]> =
            workers.iter().map(|worker| Arc::clone(&worker.report)).collect();
        let active = watch::channel(Vec::new());
        let presses = presses(parts, &reports, &active.1);
        let sweeper = sweeper(parts, &workers, &rule_drops, presses);
        threads.push(sweeper.start(Arc::clone(&stop)).map_err(StartError::Thread)?);
        let sender = (workers[0].sender.clone(), workers[0].bell.clone());
        let thread = health_thread.start(sender, Arc::clone(&stop));
        threads.push(thread.map_err(StartError::Thread)?);
        adopt_flows(&*parts.datapath, &workers)?;
        Ok(Self {
            workers,
            threads,
            from_workers,
            leaser,
            exchange,
            health,
            verdicts,
            rule_drops,
            reports,
            active,
            failed,
            stop,
        })
    }
}

/// What all workers of one agent have in common.
struct Crew {
    life: u16,
    host: HostId,
    worker_sender: mpsc::Sender<FromWorker>,
    failure: watch::Sender<bool>,
    rule_drops: Arc<Mutex<RuleDrops>>,
    neighbors: Arc<Neighbors>,
    exchange: Arc<Exchange>,
    health: HealthDoor,
}

/// Starts the workers, each with its share of what an earlier agent translated.
fn start_workers(
    parts: &Parts,
    crew: &Crew,
    leaser: &Starting,
    receivers: Vec<std::sync::mpsc::Receiver<ToWorker>>,
    stop: &Arc<AtomicBool>,
) -> Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>), StartError> {
    let (mut workers, mut threads): (Vec<WorkerHandle>, _) = (Vec::new(), Vec::new());
    let boot = nat_journal::boot_id();
    for (number, from_control) in receivers.into_iter().enumerate() {
        let own = leaser.translations.iter().filter(|(owner, _)| *owner == number);
        let own = own.map(|(_, kept)| (&kept.binding, kept.ended));
        let journal = NatJournal::create(&parts.root, number, boot, own);
        let channels = Channels {
            from_control,
            all: leaser.senders.clone(),
            restored: leaser.translations.clone(),
            journal: journal.map_err(StartError::Root)?,
        };
        let (worker, thread) = start_worker(parts, number, crew, channels, stop)?;
        workers.push(worker);
        threads.push(thread);
    }
    // Only now is what they say in the files of this one.
    nat_journal::remove_beyond(&parts.root, workers.len());
    let told = workers.iter().map(|it| (it.sender.clone(), it.bell.clone())).collect();
    let (file, timeouts) = (parts.root.join("peers.log"), parts.connections.translations);
    let thread = crew.exchange.start(file, timeouts, told, Arc::clone(stop));
    threads.push(thread.map_err(StartError::Root)?);
    Ok((workers, threads))
}

/// What the leaser is made of.
struct Starting {
    store: Arc<dyn Store>,
    host: HostId,
    senders: Vec<std::sync::mpsc::Sender<ToWorker>>,
    translations: Vec<(usize, Kept)>,
}

impl Starting {
    /// With a channel to each worker, whose other ends come too.
    fn of(parts: &Parts, host: HostId) -> (Self, Vec<std::sync::mpsc::Receiver<ToWorker>>) {
        let channels = (0..parts.workers).map(|_| std::sync::mpsc::channel());
        let (senders, receivers) = channels.unzip();
        let (store, translations) = (Arc::clone(&parts.store), restore(parts));
        (Self { store, host, senders, translations }, receivers)
    }

    async fn run(self, epoch: watch::Receiver<Option<u64>>, asks: mpsc::Receiver<LeaseAsk>) {
        let Self { store, host, senders: workers, translations } = self;
        let held = held(&translations);
        // There may be very many, and the leaser runs as long as the agent.
        drop(translations);
        Leaser { store, host, workers, epoch, held, claimed: 0 }.run(asks).await;
    }
}

/// What one worker hears by, and what it begins with.
struct Channels {
    from_control: std::sync::mpsc::Receiver<ToWorker>,
    all: Vec<std::sync::mpsc::Sender<ToWorker>>,
    restored: Vec<(usize, Kept)>,
    journal: NatJournal,
}

/// The translations of an earlier agent and the worker that is to have each: all of one block of
/// ports go to one worker.
fn restore(parts: &Parts) -> Vec<(usize, Kept)> {
    let kept = nat_journal::read_all(&parts.root, nat_journal::boot_id());
    let owner = |binding: &NatBinding| usize::from(binding.to.port / 64) % parts.workers.max(1);
    kept.into_iter().map(|kept| (owner(&kept.binding), kept)).collect()
}

/// The blocks of ports that these translations have.
fn held(translations: &[(usize, Kept)]) -> HashMap<(DeviceId, Block), usize> {
    let all = translations.iter().map(|(worker, kept)| (worker, kept.binding));
    let sources = all.filter(|(_, it)| it.key.kind == NatKind::Source);
    let block = |to: Endpoint| Block { addr: to.addr, number: to.port / 64 };
    sources.map(|(worker, it)| ((it.key.device, block(it.to)), *worker)).collect()
}

fn start_worker(
    parts: &Parts,
    number: usize,
    crew: &Crew,
    channels: Channels,
    stop: &Arc<AtomicBool>,
) -> Result<(WorkerHandle, JoinHandle<()>), StartError> {
    let sender = channels.all[number].clone();
    let report = Arc::new(Report::default());
    let worker = Worker::new(Setup {
        number,
        workers: parts.workers,
        life: crew.life,
        flows_max: parts.flows_max / parts.workers.max(1),
        buckets: parts.buckets.share(u32::try_from(parts.workers).unwrap_or(1)),
        limits: parts.limits.share(u32::try_from(parts.workers).unwrap_or(1)),
        datapath: Arc::clone(&parts.datapath),
        local: Arc::new(LocalView::new(crew.host, crate::control::MTU_UNKNOWN)),
        from_control: channels.from_control,
        to_control: crew.worker_sender.clone(),
        report: Arc::clone(&report),
        rule_drops: Arc::clone(&crew.rule_drops),
        neighbors: Arc::clone(&crew.neighbors),
        others: channels.all,
        restored: channels.restored,
        timeouts: parts.connections.translations,
        journal: channels.journal,
        exchange: Arc::clone(&crew.exchange),
        health: crew.health.clone(),
    });
    let upcalls = parts.datapath.upcalls(number)?;
    let bell = upcalls.bell();
    let stop = Arc::clone(stop);
    let alarm = Alarm(crew.failure.clone());
    let thread = std::thread::Builder::new()
        .name(format!("packets-{number}"))
        .spawn(move || {
            let _alarm = alarm;
            pin(number);
            worker.run(upcalls, &stop);
        })
        .map_err(StartError::Thread)?;
    Ok((WorkerHandle { sender, bell, report }, thread))
}

fn presses(
    parts: &Parts,
    reports: &Arc<[Arc<Report>]>,
    ports: &watch::Receiver<Vec<ActivePort>>,
) -> Presses {
    Presses {
        datapath: Arc::clone(&parts.datapath),
        reports: Arc::clone(reports),
        ports: ports.clone(),
        limits: parts.limits,
        connections: parts.connections.port_max,
        buckets: parts.buckets,
        pressure: Pressure::default(),
        no_room: 0,
    }
}

fn sweeper(
    parts: &Parts,
    workers: &[WorkerHandle],
    rule_drops: &Arc<Mutex<RuleDrops>>,
    presses: Presses,
) -> Sweeper {
    Sweeper {
        datapath: Arc::clone(&parts.datapath),
        workers: workers.iter().map(|worker| worker.sender.clone()).collect(),
        rule_drops: Arc::clone(rule_drops),
        timeouts: parts.connections.timeouts,
        presses,
    }
}

/// Says so when a worker panics.
struct Alarm(watch::Sender<bool>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

/// Keeps the thread on one processor of those it may use, so that its state stays in that one's
/// cache.
fn pin(number: usize) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else { return };
    let cpus: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    if cpus.len() < 2 {
        return;
    }
    let mut own = CpuSet::new();
    let pinned = own.set(cpus[number % cpus.len()]).and_then(|()| sched_setaffinity(this, &own));
    if let Err(error) = pinned {
        tracing::debug!(%error, number, "a packet worker is not pinned");
    }
}

/// Hands the flows of an earlier agent to the workers, in equal shares.
fn adopt_flows(datapath: &dyn Datapath, workers: &[WorkerHandle]) -> Result<(), DatapathError> {
    let mut shares: HashMap<usize, Vec<_>> = HashMap::new();
    let (mut next, since) = (0, clock::now());
    datapath.flows(&mut |flow| {
        shares.entry(next % workers.len()).or_default().push(flow);
        next += 1;
    })?;
    for (worker, flows) in shares {
        let report = &workers[worker].report;
        report.unverified.set(flows.len());
        // The worker was started a moment ago; one that ended says so itself.
        drop(workers[worker].sender.send(ToWorker::Adopt(flows, since)));
    }
    Ok(())
}
