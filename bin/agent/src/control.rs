//! The control thread: one owner of what this agent knows and has done, between the state
//! database, the host's interfaces, the datapath and the packet workers.
//!
//! Every event ends the same way: the whole desired state is compared with the actual one, what
//! differs is done, and the workers get one piece of news.

mod advertise;
mod answer;
mod bandwidth;
mod groups;
mod health;
mod heard;
mod holdings;
mod inspectors;
mod load;
mod nat;
mod peers;
mod ports;
mod publish;
mod secrets;
mod walks;
mod watching;
mod zones;

pub(crate) use peers::MTU_UNKNOWN;
pub(crate) use publish::ActivePort;
pub(crate) use secrets::Secrets;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mn_agent_api::{HostReport, Request, Response};
use mn_agent_core::health::MemberKey;
use mn_agent_core::{
    Advertising, Attached, Duplicates, Inspectors, LocalView, MacAges, NeighborAges, Row,
    RowChange, StateTables, TableName, TunnelKeys, limits,
};
use mn_datapath::{Bell, BroadcastLimit, Datapath, DatapathError, PeerAddresses, UpcallLimit};
use mn_flow::{PeerIndex, PortNo, Tag, TunnelKey};
use mn_ids::{BridgeId, Class, HostId, PortGroupId, PortId, RuleId, TunnelZoneId};
use mn_nsdb::{Op, Session, SessionId, Store};
use mn_time::Instant;
use mn_topology::snapshot::Snapshot;
use mn_topology::{DeviceId, Health, Host, Port, PortGroup, TunnelZone};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock;
use crate::exchange::Exchange;
use crate::health::HealthDoor;
use crate::interfaces::Links;
use crate::leaser::LeaseAsk;
use crate::numbers::{KeptFlood, Numbers};
use crate::subscriptions::Subscriptions;
use crate::worker::message::{Announcement, FromWorker, News, ToWorker};
use crate::worker::report::Report;

/// How often recurring work is done.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Messages of workers that are taken in one go.
const MESSAGES_AT_ONCE: usize = 1024;
/// How long a retired key is told from one that never was.
const RETIRED_FOR: Duration = Duration::from_secs(600);
/// How long a stopping agent tries to end its session.
const GOODBYE_FOR: Duration = Duration::from_secs(1);
/// Between two tries to open a watch.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A question and where its answer goes.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Response>,
}

/// The program is on a port's interface, or could not be put there.
pub(crate) struct Guarded {
    pub(crate) interface: String,
    pub(crate) attached: Attached,
    pub(crate) done: Result<(), DatapathError>,
}

/// Everything that can happen to the control thread.
pub(crate) struct Events {
    pub(crate) sessions: mpsc::Receiver<Session>,
    pub(crate) workers: mpsc::Receiver<FromWorker>,
    pub(crate) links: watch::Receiver<Links>,
    pub(crate) guarded: mpsc::UnboundedReceiver<Guarded>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) verdicts: mpsc::UnboundedReceiver<Vec<(MemberKey, Health)>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// One worker as the control thread sees it.
pub(crate) struct WorkerHandle {
    pub(crate) sender: Sender<ToWorker>,
    /// Ends its wait for packets.
    pub(crate) bell: Bell,
    pub(crate) report: Arc<Report>,
}

/// What the control thread owns.
pub(crate) struct Control {
    pub(crate) host: Host,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) datapath: Arc<dyn Datapath>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) ops: mpsc::Sender<Op>,
    pub(crate) leases: mpsc::Sender<LeaseAsk>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) health: HealthDoor,
    pub(crate) secrets: Secrets,
    /// For telling of this host's present session.
    pub(crate) session_epoch: watch::Sender<Option<u64>>,
    pub(crate) active: watch::Sender<Vec<ActivePort>>,
    pub(crate) guarded: mpsc::UnboundedSender<Guarded>,
    pub(crate) upcall_limit: UpcallLimit,
    pub(crate) broadcast_limit: BroadcastLimit,
    /// The most tracked connections of one port.
    pub(crate) connections_max: u32,
    /// For saying that the session may be gone.
    pub(crate) doubt: Arc<Notify>,
    pub(crate) numbers: Numbers,
    pub(crate) keys: TunnelKeys,
    pub(crate) subscriptions: Subscriptions,
    /// For showing how much is held.
    pub(crate) objects: watch::Sender<Vec<(Class, usize)>>,
    pub(crate) state: State,
}

/// What it knows and has done.
pub(crate) struct State {
    epoch: Option<u64>,
    session: Option<SessionId>,
    /// When the state database was last known to be reachable; `None`: it is now.
    stale_since: Option<Instant>,
    revision: u64,
    snapshot: Arc<Snapshot>,
    tables: StateTables,
    ages: MacAges,
    neighbor_ages: NeighborAges,
    duplicates: Duplicates,
    local: LocalView,
    links: Links,
    /// Ports bound to this host, once they are known.
    bound: BTreeMap<PortId, Port>,
    bound_known: bool,
    /// The state database has this host's object.
    host_known: bool,
    zones: BTreeMap<TunnelZoneId, TunnelZone>,
    /// Stateful port groups.
    groups: BTreeMap<PortGroupId, PortGroup>,
    groups_changed: bool,
    zones_known: bool,
    attached: BTreeMap<String, Attached>,
    /// What the datapath was told of how much ports carry.
    bandwidths: bandwidth::Told,
    /// What the next news are about and the datapath is told right after.
    to_serve: Vec<(String, Attached)>,
    /// What could not be attached, and is tried again a little later.
    refused: BTreeMap<String, Attached>,
    port_keys: BTreeMap<PortId, TunnelKey>,
    peers: BTreeMap<PeerIndex, PeerAddresses>,
    /// The interfaces with our tunnel addresses, once the datapath was told.
    underlays: Option<Vec<u32>>,
    /// What each host last said fits a tunnel from it.
    reported_mtus: BTreeMap<HostId, u32>,
    /// Hosts that have a session, with its epoch, when the state database was last heard of.
    reporting: BTreeMap<HostId, u64>,
    /// From when on that tells who lives.
    reporting_from: Instant,
    floods: BTreeMap<BridgeId, KeptFlood>,
    retiring: Vec<(Instant, TunnelKey)>,
    retired: Vec<(Instant, TunnelKey)>,
    /// What the state database has been told.
    told_places: BTreeMap<PortId, TunnelKey>,
    told_floods: BTreeMap<BridgeId, KeptFlood>,
    told_report: Option<HostReport>,
    /// Ports and bridges whose entries are of no use any more, whoever wrote them.
    gone_places: BTreeSet<PortId>,
    gone_floods: BTreeSet<BridgeId>,
    /// Ports whose connections are of no use any more.
    gone_numbers: BTreeSet<PortNo>,
    news: PendingNews,
    /// Ports that came here, and until when announcing them makes sense.
    unannounced: Vec<(PortId, Instant)>,
    /// Frames to be sent once the workers know the port.
    announcements: Vec<Announcement>,
    advertising: Advertising,
    inspectors: Inspectors,
    walks: walks::PendingWalks,
    healths: health::Healths,
    /// When it was last looked what this host's ports need.
    needs_noted: Instant,
    /// Rules whose ports the workers were told to have ready.
    prepared: HashSet<(DeviceId, RuleId)>,
}

/// What the next news are going to say.
#[derive(Default)]
struct PendingNews {
    forgotten: Vec<TableName>,
    rows: Vec<RowChange>,
    complete: Vec<TableName>,
    tags: Vec<Tag>,
    /// The snapshot or the local view is another.
    changed: bool,
}

impl State {
    pub(crate) fn new(host: HostId, now: Instant) -> Self {
        Self {
            epoch: None,
            session: None,
            stale_since: Some(now),
            revision: 0,
            snapshot: Arc::default(),
            tables: StateTables::default(),
            ages: MacAges::default(),
            neighbor_ages: NeighborAges::default(),
            duplicates: Duplicates::default(),
            local: LocalView::new(host, MTU_UNKNOWN),
            links: Links::new(),
            bound: BTreeMap::new(),
            bound_known: false,
            host_known: false,
            zones: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_changed: false,
            zones_known: false,
            attached: BTreeMap::new(),
            bandwidths: BTreeMap::new(),
            to_serve: Vec::new(),
            refused: BTreeMap::new(),
            port_keys: BTreeMap::new(),
            peers: BTreeMap::new(),
            underlays: None,
            reported_mtus: BTreeMap::new(),
            reporting: BTreeMap::new(),
            reporting_from: now + limits::DOUBT_FOR,
            floods: BTreeMap::new(),
            retiring: Vec::new(),
            retired: Vec::new(),
            told_places: BTreeMap::new(),
            told_floods: BTreeMap::new(),
            told_report: None,
            gone_places: BTreeSet::new(),
            gone_floods: BTreeSet::new(),
            gone_numbers: BTreeSet::new(),
            news: PendingNews::default(),
            unannounced: Vec::new(),
            announcements: Vec::new(),
            inspectors: Inspectors::default(),
            advertising: Advertising::new(host.uuid().as_u128() as u64),
            walks: walks::PendingWalks::default(),
            healths: health::Healths::default(),
            needs_noted: now,
            prepared: HashSet::new(),
        }
    }
}

impl Control {
    /// Works until told to stop.
    pub(crate) async fn run(mut self, mut events: Events) {
        self.take_links(&mut events.links);
        self.adopt_ports();
        self.settle();
        let mut tick = tokio::time::interval(TICK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watch = None;
        let mut open_at = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(open_at), if watch.is_none() => {
                    watch = self.open_watch().await;
                    open_at = tokio::time::Instant::now() + RETRY_AFTER;
                }
                event = watching::next(&mut watch) => match event {
                    Some(event) => self.take_event(event),
                    None => watch = None,
                },
                Some(session) = events.sessions.recv() => self.registered(session),
                Some(message) = events.workers.recv() => {
                    self.take_message(message);
                    // More of a swarm, before everything is compared again.
                    for _ in 0..MESSAGES_AT_ONCE {
                        let Ok(message) = events.workers.try_recv() else { break };
                        self.take_message(message);
                    }
                }
                Some(guarded) = events.guarded.recv() => self.take_guarded(guarded),
                Ok(()) = events.links.changed() => self.take_links(&mut events.links),
                Some(ask) = events.asks.recv() => self.answer(ask),
                Some(verdicts) = events.verdicts.recv() => self.take_verdicts(verdicts),
                _ = tick.tick() => self.tick(),
                _ = events.stop.changed() => return self.say_goodbye().await,
            }
            self.settle();
            if let Some(open) = &mut watch
                && let Err(error) = self.tell_watch(open.as_mut()).await
            {
                tracing::warn!(%error, "a watch was lost");
                watch = None;
            }
        }
    }

    /// Ends the session, so that everybody sees at once that this agent is not alive. Where its
    /// ports are stays true.
    async fn say_goodbye(self) {
        let Some(session) = self.state.session else { return };
        let closed = tokio::time::timeout(GOODBYE_FOR, self.store.close_session(session)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::info!("the session could not be ended; it ends by itself");
        }
    }

    /// Brings everything in line with what is known now, and tells the workers.
    fn settle(&mut self) {
        self.reconcile_groups();
        self.reconcile_peers();
        self.reconcile_exchange();
        self.reconcile_underlays();
        self.reconcile_ports();
        self.reconcile_zones();
        self.reconcile_floods();
        self.preload();
        self.look_after_members();
        self.announce();
        self.advertise();
        self.watch_inspectors();
        self.publish();
        let changed = self.state.news.changed;
        self.send_news();
        self.serve_ports();
        self.send_announcements();
        if changed {
            self.reconcile_bandwidths();
            self.prepare_ports();
        }
        self.go_on_with_walks();
    }

    fn send_news(&mut self) {
        let news = std::mem::take(&mut self.state.news);
        if news.changed || !news.rows.is_empty() || !news.complete.is_empty() {
            let news = Arc::new(News {
                snapshot: Arc::clone(&self.state.snapshot),
                local: Arc::new(self.state.local.clone()),
                forgotten: news.forgotten,
                rows: news.rows,
                complete: news.complete,
                tags: news.tags,
            });
            self.tell_workers(|| ToWorker::News(Arc::clone(&news)));
            self.state.walks.ask_again();
        }
    }

    /// Sends what ports that came here announce, and what routers advertise: the worker and the
    /// datapath know the ports by now.
    fn send_announcements(&mut self) {
        for announcement in std::mem::take(&mut self.state.announcements) {
            self.tell(0, ToWorker::Send(announcement));
        }
    }

    fn tell_workers(&self, message: impl Fn() -> ToWorker) {
        for worker in 0..self.workers.len() {
            self.tell(worker, message());
        }
    }

    fn tell(&self, worker: usize, message: ToWorker) {
        let WorkerHandle { sender, bell, .. } = &self.workers[worker];
        if sender.send(message).is_err() {
            tracing::error!(worker, "a packet worker has ended");
        }
        bell.ring();
    }

    fn take_links(&mut self, links: &mut watch::Receiver<Links>) {
        self.state.links = links.borrow_and_update().clone();
    }

    fn take_message(&mut self, message: FromWorker) {
        match message {
            FromWorker::Load(keys) => {
                for key in keys {
                    self.subscriptions.object(key);
                }
            }
            FromWorker::Places(ports) => {
                for port in ports {
                    self.subscriptions.place(port);
                }
            }
            FromWorker::InUse { macs, held } => self.take_uses(macs, held),
            FromWorker::Walked(walked) => self.take_walked(*walked),
            FromWorker::Heard { worker, heard } => self.take_heard(worker, heard),
            FromWorker::Ports { worker, need } => self.ask_leaser(LeaseAsk::Need { worker, need }),
            FromWorker::GiveBack(lease) => self.ask_leaser(LeaseAsk::GiveBack(lease)),
            FromWorker::Heartbeat(insertion) => self.take_heartbeat(insertion),
            FromWorker::MacHeld(place) => tracing::warn!(
                bridge = %place.bridge,
                mac = %place.mac,
                event = "mac-held",
                "a MAC moves more than five times a second; it is held where it is"
            ),
        }
    }

    fn tick(&mut self) {
        let now = clock::now();
        self.note_alive(now);
        self.give_up_unused(now);
        self.exchange.listen_again();
        self.state.refused.clear();
        for (place, _) in self.state.ages.expire(now) {
            self.write(&Row::Mac(place, None));
            let bridge = place.bridge;
            for addr in self.state.tables.addresses_of(bridge, place.mac) {
                self.write(&Row::BridgeNeighbor { bridge, addr, mac: None });
            }
            self.state.tables.unlearn_mac(place, &mut Vec::new());
            self.tell_workers(|| ToWorker::Unlearn(place));
        }
        for (router, addr) in self.state.neighbor_ages.expire(now) {
            self.write(&Row::Neighbor { router, addr, value: None });
        }
        let due = |(at, _): &mut (Instant, TunnelKey)| *at <= now;
        for (_, key) in self.state.retiring.extract_if(.., due).collect::<Vec<_>>() {
            self.retire(key);
        }
        let over = |(at, _): &mut (Instant, TunnelKey)| *at <= now;
        for (_, key) in self.state.retired.extract_if(.., over).collect::<Vec<_>>() {
            if let Err(error) = self.datapath.set_key(key, None) {
                tracing::warn!(%error, %key, "a tunnel key cannot be forgotten");
            }
        }
    }

    /// Shows the workers whose agents live. A session may look alive for as long as sessions
    /// live by themselves after the state database was away.
    fn note_alive(&mut self, now: Instant) {
        let told = self.state.stale_since.is_none() && self.state.reporting_from <= now;
        let alive: HashSet<HostId> =
            if told { self.state.reporting.keys().copied().collect() } else { HashSet::new() };
        if self.state.local.alive != alive {
            self.state.local.alive = alive;
            self.state.healths.note_change();
            self.state.news.changed = true;
        }
    }

    fn registered(&mut self, session: Session) {
        self.state.epoch = Some(session.epoch);
        self.state.session = Some(session.id);
        self.session_epoch.send_replace(Some(session.epoch));
        // Said again under the new epoch: what was said before may be lost.
        self.state.told_places.clear();
        self.state.told_floods.clear();
        self.state.told_report = None;
        self.state.healths.say_again();
        self.state.inspectors.say_again();
    }

    /// The bridge a port belongs to, if that is known.
    fn bridge_of(&self, port: PortId) -> Option<BridgeId> {
        use mn_topology::snapshot::Lookup;
        let device = match self.state.bound.get(&port) {
            Some(port) => port.device(),
            None => match self.state.snapshot.port(port) {
                Lookup::Loaded(port) => port.device(),
                Lookup::Absent | Lookup::NotLoaded => return None,
            },
        };
        if let DeviceId::Bridge(bridge) = device { Some(bridge) } else { None }
    }
}
