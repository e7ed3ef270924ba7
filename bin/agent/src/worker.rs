//! A packet worker: takes upcalls, decides, installs flows, sends packets on.
//!
//! It is a plain thread with its own shard of everything, so nothing on the path of a packet waits
//! for another thread. News of the world come by a channel and take effect between two packets.

mod adopt;
mod batch;
mod decide;
mod early;
mod expected;
mod fellows;
mod gateways;
mod install;
mod intake;
mod learn;
pub(crate) mod message;
pub(crate) mod nat;
mod news;
mod pairs;
pub(crate) mod peers;
pub(crate) mod report;
mod uses;
pub(crate) mod walk;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mn_agent_core::{
    Arriving, Block, Capacities, Copies, Duplicates, ErrorLimit, FlowTable, GroupTable, Intake,
    Lease, Leaving, LocalView, MacAges, NatOwner, NatShares, NatTable, NatTimeouts, Neighbors,
    Paths, Pending, PortLimit, PortLimits, RuleDrops, StateTables, Translation, limits,
};
use mn_datapath::{Datapath, Followed, InstalledFlow, Offload, Upcalls};
use mn_flow::{DropCause, FlowKey, GroupIndex, NatTag, PortNo, ScopedAddr, Tag, TcpClass};
use mn_ids::{ObjectKey, PortId, RouterId, RuleId};
use mn_simulation::nat::{NatKind, Way};
use mn_simulation::{Buffers, Entry};
use mn_time::Instant;
use mn_topology::snapshot::Snapshot;
use tokio::sync::mpsc;

use crate::clock;
use crate::exchange::Exchange;
use crate::health::HealthDoor;
use crate::nat_journal::{Kept, NatJournal};
use batch::Batch;
pub(crate) use decide::host_of;
use fellows::Fellows;
use gateways::Foreseen;
use intake::Asked;
use message::{Announcement, FromWorker, Reach, ToWorker};
use pairs::Pairs;
use peers::Telling;
use report::Report;

/// How long a worker waits for packets or messages before it looks at the clock.
const WAIT_FOR: Duration = Duration::from_millis(10);
/// How often the datapath hears that the agent lives; it waits a second (contracts §2).
const HEARTBEAT_EVERY: Duration = Duration::from_millis(200);
/// How often waiting packets and neighbours are looked at.
const TICK_EVERY: Duration = Duration::from_millis(50);
/// How often what was counted is published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Groups of all workers of one life of the agent; the next life uses the other half of the
/// datapath's table, since flows of this one may still name these.
const GROUPS_MAX: u32 = 2048;

/// What a worker is made of.
pub(crate) struct Setup {
    pub(crate) number: usize,
    pub(crate) workers: usize,
    /// Which life of this host's agent it is.
    pub(crate) life: u16,
    pub(crate) flows_max: usize,
    pub(crate) buckets: Capacities,
    pub(crate) limits: PortLimits,
    pub(crate) datapath: Arc<dyn Datapath>,
    pub(crate) local: Arc<LocalView>,
    pub(crate) from_control: Receiver<ToWorker>,
    pub(crate) to_control: mpsc::Sender<FromWorker>,
    pub(crate) report: Arc<Report>,
    pub(crate) rule_drops: Arc<Mutex<RuleDrops>>,
    pub(crate) neighbors: Arc<Neighbors>,
    /// The channels of all workers, this one's too.
    pub(crate) others: Vec<Sender<ToWorker>>,
    /// Translations of an earlier agent, and the worker that has each now.
    pub(crate) restored: Vec<(usize, Kept)>,
    pub(crate) timeouts: NatTimeouts,
    pub(crate) journal: NatJournal,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) health: HealthDoor,
}

/// A packet that waits.
#[derive(Debug)]
struct Parked {
    frame: Vec<u8>,
    offload: Offload,
    entry: Entry,
    install: bool,
    question: Option<Question>,
    reach: Reach,
    /// It has waited for another host's state.
    held: bool,
}

/// A packet of ours that asks for a neighbour: which one.
type Question = (RouterId, ScopedAddr);

/// The way a question went.
#[derive(Debug)]
struct Path {
    port: PortId,
    /// What it depended on.
    tags: Box<[Tag]>,
}

/// A packet of our own.
#[derive(Debug)]
struct Own {
    entry: Entry,
    frame: Vec<u8>,
    question: Option<Question>,
    reach: Reach,
}

/// One worker's state.
pub(crate) struct Worker {
    number: usize,
    datapath: Arc<dyn Datapath>,
    from_control: Receiver<ToWorker>,
    to_control: mpsc::Sender<FromWorker>,
    report: Arc<Report>,
    rule_drops: Arc<Mutex<RuleDrops>>,
    snapshot: Arc<Snapshot>,
    local: Arc<LocalView>,
    tables: StateTables,
    neighbors: Arc<Neighbors>,
    macs: MacAges,
    translations: NatTable,
    /// Ways of connections whose flows left.
    paths: Paths,
    /// What flows told of segments, and what one of them carries. Of no use between two calls.
    followed: (Vec<Followed>, Vec<NatTag>),
    journal: NatJournal,
    exchange: Arc<Exchange>,
    /// Who hears answers to checks.
    health: HealthDoor,
    /// Connections that other hosts know.
    fellows: Fellows,
    /// Which hosts know which translations of this worker.
    telling: Telling,
    /// Addresses that rules with memory translate to, first and last of each range.
    nat_addresses: Vec<(u128, u128)>,
    others: Vec<Sender<ToWorker>>,
    errors: ErrorLimit,
    flows: FlowTable,
    groups: GroupTable,
    /// Packets that nobody has looked at yet.
    intake: Intake<Asked>,
    /// The packet at hand.
    frame: Vec<u8>,
    pending: Pending<Parked>,
    arriving: Arriving,
    /// Copies of floods for ports that are not in their place yet.
    copies: Copies<Parked>,
    /// Questions of this worker that have no answer yet.
    questions: HashMap<Question, Path>,
    buffers: Buffers,
    translation: Translation,
    /// That of the packet at hand, while that of its answer is made. Of no use between two calls.
    opening: Translation,
    pairs: Pairs,
    foreseen: Foreseen,
    /// Addresses of routers that machines claim.
    duplicates: Duplicates,
    /// Flows to be activated once the packets that came for them are sent.
    installs: Batch,
    /// Flows on their way out of the datapath. Empty between two calls.
    leaving: Vec<Leaving>,
    /// An answer to the packet at hand had no budget left.
    unanswered: bool,
    /// Packets of our own to be sent.
    outbox: VecDeque<Own>,
    /// Flows whose packets may go on.
    released: Vec<FlowKey>,
    /// What was asked for since the last news.
    asked: HashSet<ObjectKey>,
    asked_places: HashSet<PortId>,
    adopting: VecDeque<InstalledFlow>,
    adopting_since: Instant,
    /// Nothing more can be adopted before the next news.
    adoption_waits: bool,
    /// Some news came: it is known what is attached here. Before that no packet can be judged.
    ready: bool,
    drops: HashMap<(PortNo, DropCause), u64>,
    limits: PortLimits,
    /// Which port's connections have the ports that this worker gave away.
    nat_shares: NatShares,
    /// How often ports ran into limits for which nothing is dropped.
    pressed: HashMap<(PortNo, PortLimit), u64>,
    /// Packets that rules dropped here since the last time this was added up.
    dropped_by: HashMap<RuleId, u64>,
    seed: u64,
    last: Times,
}

/// What a worker begins with: translations whose packets it may see, and the ports of its own.
fn restored(worker: usize, all: &[(usize, Kept)], timeouts: NatTimeouts) -> NatTable {
    let (mut table, now) = (NatTable::new(timeouts), clock::now());
    for (owner, Kept { binding, ended }) in all {
        let owner = if *owner == worker {
            NatOwner::Own
        } else {
            NatOwner::Worker(u8::try_from(*owner).unwrap_or(u8::MAX))
        };
        if owner == NatOwner::Own && binding.key.kind == NatKind::Source {
            let block = Block { addr: binding.to.addr, number: binding.to.port / 64 };
            table.ports.add(&Lease { device: binding.key.device, blocks: vec![block] }, now);
        }
        table.insert(*binding, owner, now, &mut Vec::new());
        table.note_established(&binding.key);
        if *ended {
            table.see(&binding.key, Way::Back, TcpClass::Rst, now, &mut Vec::new());
        }
    }
    table
}

/// When recurring work was last done.
#[derive(Default)]
struct Times {
    heartbeat: Instant,
    tick: Instant,
    publish: Instant,
    uses: Instant,
}

impl Worker {
    pub(crate) fn new(setup: Setup) -> Self {
        let half = u32::from(setup.life % 2) * GROUPS_MAX;
        // Index 0 is left out: a zeroed entry shall name no group.
        let groups =
            (half + 1..half + GROUPS_MAX).skip(setup.number).step_by(setup.workers).map(GroupIndex);
        let worker = u8::try_from(setup.number).unwrap_or(u8::MAX);
        Self {
            number: setup.number,
            datapath: setup.datapath,
            from_control: setup.from_control,
            to_control: setup.to_control,
            report: setup.report,
            rule_drops: setup.rule_drops,
            snapshot: Arc::default(),
            local: setup.local,
            tables: StateTables::default(),
            neighbors: setup.neighbors,
            macs: MacAges::new(setup.limits.macs),
            translations: restored(setup.number, &setup.restored, setup.timeouts),
            paths: Paths::default(),
            followed: Default::default(),
            journal: setup.journal,
            exchange: setup.exchange,
            health: setup.health,
            fellows: Fellows::default(),
            telling: Telling::new(setup.timeouts),
            nat_addresses: Vec::new(),
            others: setup.others,
            errors: ErrorLimit::default(),
            flows: FlowTable::new(worker, setup.life, setup.flows_max),
            groups: GroupTable::new(groups),
            intake: Intake::new(setup.buckets),
            frame: Vec::new(),
            pending: Pending::new(limits::PENDING_MAX),
            arriving: Arriving::default(),
            copies: Copies::new(limits::COPIES_MAX),
            questions: HashMap::new(),
            buffers: Buffers::default(),
            translation: Translation::default(),
            opening: Translation::default(),
            pairs: Pairs::default(),
            foreseen: Foreseen::default(),
            duplicates: Duplicates::default(),
            installs: Batch::default(),
            leaving: Vec::new(),
            unanswered: false,
            outbox: VecDeque::new(),
            released: Vec::new(),
            asked: HashSet::new(),
            asked_places: HashSet::new(),
            adopting: VecDeque::new(),
            adopting_since: Instant::default(),
            adoption_waits: true,
            ready: false,
            drops: HashMap::new(),
            limits: setup.limits,
            nat_shares: NatShares::default(),
            pressed: HashMap::new(),
            dropped_by: HashMap::new(),
            seed: u64::from(setup.life) << 32 | setup.number as u64,
            last: Times::default(),
        }
    }

    /// Works until told to stop, or until the datapath's ring fails.
    pub(crate) fn run(mut self, mut upcalls: Box<dyn Upcalls>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.take_messages();
            // What other hosts told while this thread had no time is known by now.
            self.release_held(clock::now());
            self.beat(clock::now());
            if !self.ready {
                // Its packets stay in the ring meanwhile.
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            let wait = match (self.busy(), self.pending.is_empty()) {
                (true, _) => Duration::ZERO,
                // Some waits are as short as the longest of this thread's.
                (false, false) => WAIT_FOR / 10,
                (false, true) => WAIT_FOR,
            };
            self.take_in(&mut *upcalls, wait);
            self.take_followed(&mut *upcalls, clock::now());
            self.serve(&mut *upcalls);
            self.settle(clock::now());
        }
    }

    /// Whether there is work besides packets.
    fn busy(&self) -> bool {
        !self.adopting.is_empty() && !self.adoption_waits
            || !self.released.is_empty()
            || !self.outbox.is_empty()
            || !self.intake.is_empty()
    }

    pub(super) fn take_messages(&mut self) {
        while let Ok(message) = self.from_control.try_recv() {
            let now = clock::now();
            match message {
                ToWorker::News(news) => self.take_news(&news, now),
                ToWorker::Heard(heard) => self.take_heard(heard, now),
                ToWorker::Unlearn(place) => self.unlearn(place, now),
                ToWorker::Uses(uses) => {
                    for (cookie, used_at) in uses {
                        self.flows.note_use(cookie, used_at);
                    }
                }
                ToWorker::Adopt(flows, since) => {
                    self.adopting.extend(flows);
                    self.adopting_since = since;
                }
                ToWorker::Send(Announcement { entry, frame, reach }) => {
                    self.outbox.push_back(Own { entry, frame, question: None, reach });
                }
                ToWorker::Translated { from, told } => self.take_translated(from, told, now),
                ToWorker::Told(told) => self.take_told(told, now),
                ToWorker::Ports(leased) => self.take_ports(&leased, now),
                ToWorker::Walk(asked) => self.walk(*asked),
                ToWorker::PortsLost(lost) => self.lose_ports(&lost, now),
                ToWorker::Prepare { device, rule, targets } => {
                    self.note_targets(&targets);
                    self.prepare_ports(device, rule, &targets);
                }
            }
        }
    }

    /// Finishes what the packets of one batch began: packets that were released, packets of our
    /// own, then the flows.
    fn settle(&mut self, now: Instant) {
        self.go_on_with_released(now);
        self.send_outbox(now);
        self.activate();
        self.adopt_some(now);
        self.tick(now);
    }

    fn beat(&mut self, now: Instant) {
        if self.number == 0 && self.last.heartbeat + HEARTBEAT_EVERY <= now {
            self.last.heartbeat = now;
            if let Err(error) = self.datapath.heartbeat(now) {
                tracing::error!(%error, "the datapath does not hear that the agent lives");
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.last.tick + TICK_EVERY > now {
            return;
        }
        self.last.tick = now;
        for (router, port, addr, effect) in self.neighbors.tick(now) {
            self.neighbor_effect(router, port, addr, effect, now);
        }
        for refused in self.pending.expire(now).into_iter().chain(self.copies.expire(now)) {
            self.count_drop(refused.packet.entry, refused.cause);
        }
        self.expire(now);
        if self.last.publish + PUBLISH_EVERY <= now {
            self.last.publish = now;
            self.age_translations(now);
            self.follow_shared(now);
            self.publish();
            self.note_uses(now);
            self.forget_paths();
            if self.foreseen.take_due() {
                self.foresee_questions(now);
            }
        }
        self.settle_waiting(now);
    }

    /// Sends what a tick released without waiting for the next batch.
    fn settle_waiting(&mut self, now: Instant) {
        self.go_on_with_released(now);
        self.send_outbox(now);
        self.activate();
    }

    fn publish(&mut self) {
        self.report.flows.set(self.flows.len());
        self.report.waiting.set(self.pending.len() + self.copies.len());
        self.report.unverified.set(self.adopting.len());
        if let Ok(mut drops) = self.report.drops.lock() {
            drops.clone_from(&self.drops);
        }
        if let Ok(mut pressed) = self.report.pressed.lock() {
            pressed.clone_from(&self.pressed);
        }
        if !self.dropped_by.is_empty()
            && let Ok(mut drops) = self.rule_drops.lock()
        {
            for (rule, packets) in self.dropped_by.drain() {
                drops.add(rule, packets);
            }
        }
    }

    fn tell_control(&self, message: FromWorker) {
        if self.to_control.try_send(message).is_err() {
            self.report.unheard.add(1);
        }
    }

    /// A port ran into a limit.
    fn press(&mut self, port: PortNo, limit: PortLimit) {
        *self.pressed.entry((port, limit)).or_default() += 1;
    }

    fn count_drop(&mut self, entry: Entry, cause: DropCause) {
        let number = match entry {
            Entry::Ingress(port) | Entry::Egress(port) => self.local.ports.get(&port).copied(),
            Entry::Router(_) => None,
        };
        let number = number.unwrap_or(PortNo::NONE);
        *self.drops.entry((number, cause)).or_default() += 1;
    }
}
