//! State between hosts: what this agent's workers tell other hosts, and what those tell them
//! (contracts §6, ADR 0017).
//!
//! A worker sends by itself, before it sends the packet. A thread of its own takes what comes,
//! acknowledges and repeats.

mod copies;
mod counts;
mod path;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use mn_agent_core::NatTimeouts;
use mn_datapath::{Bell, worker_of};
use mn_flowstate::{DATAGRAM_MAX, Epoch, Event, Peer, Record, Refused, ZoneKey};
use mn_ids::HostId;
use mn_simulation::nat::NatKey;
use mn_time::Instant;
use mn_topology::DeviceId;

pub(crate) use counts::Counts;
pub use path::{STATE_PORT, StatePath, UdpPath};

use crate::clock;
use crate::nat_journal;
use crate::worker::message::ToWorker;
use crate::worker::peers::Told;
use copies::Copies;

/// The longest wait of the thread.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Datagrams taken before what is due is sent.
const TAKEN_AT_ONCE: usize = 64;
/// Datagrams sent to one peer in one go.
const SENT_AT_ONCE: usize = 32;
/// How often copies are looked at for their age.
const EXPIRE_EVERY: Duration = Duration::from_secs(30);
/// A peer that could not tell everything is asked for it no more often than this.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// A host that shares a zone with this one.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) host: HostId,
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) key: ZoneKey,
}

/// The exchange of one agent.
pub(crate) struct Exchange {
    path: Arc<dyn StatePath>,
    own: HostId,
    epoch: Epoch,
    inner: Mutex<Inner>,
    /// Nothing wakes the thread before its time.
    sleeps: AtomicBool,
    workers: OnceLock<Vec<(Sender<ToWorker>, Bell)>>,
    pub(crate) counts: Counts,
}

#[derive(Default)]
struct Inner {
    peers: HashMap<HostId, Link>,
    by_address: HashMap<IpAddr, HostId>,
    locals: Vec<IpAddr>,
    /// Hosts by the numbers that workers know them by.
    numbers: Vec<HostId>,
    /// Devices whose translations this host wants to know.
    wanted: BTreeSet<DeviceId>,
    /// Copies that flows of this host use.
    used: Vec<(NatKey, Instant)>,
}

struct Link {
    peer: Peer,
    local: IpAddr,
    remote: IpAddr,
    asked_at: Option<Instant>,
}

impl Exchange {
    pub(crate) fn new(path: Arc<dyn StatePath>, own: HostId, epoch: Epoch) -> Self {
        Self {
            path,
            own,
            epoch,
            inner: Mutex::default(),
            sleeps: AtomicBool::new(false),
            workers: OnceLock::new(),
            counts: Counts::default(),
        }
    }

    /// Starts the thread, with what an earlier agent was told.
    pub(crate) fn start(
        self: &Arc<Self>,
        file: PathBuf,
        timeouts: NatTimeouts,
        workers: Vec<(Sender<ToWorker>, Bell)>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<()>> {
        let copies = Copies::open(file, nat_journal::boot_id(), timeouts, clock::now())?;
        drop(self.workers.set(workers));
        let held: Vec<_> = copies.all().copied().collect();
        for held in held {
            let owner = self.number(held.owner);
            self.tell_workers(&Told::Made { owner, host: held.owner, binding: held.binding });
        }
        let exchange = Arc::clone(self);
        let run = move || exchange.run(copies, &stop);
        std::thread::Builder::new().name("state".to_owned()).spawn(run)
    }

    /// Talks with these hosts and no others. Those that are new are asked for what they know.
    pub(crate) fn set_peers(&self, peers: Vec<Neighbour>) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let inner = &mut *inner;
        let mut locals: Vec<IpAddr> = peers.iter().map(|peer| peer.local).collect();
        locals.sort_unstable();
        locals.dedup();
        if let Err(error) = self.path.listen(&locals) {
            tracing::warn!(%error, "state messages cannot be received at every tunnel address");
        }
        inner.locals = locals;
        let mut before = std::mem::take(&mut inner.peers);
        inner.by_address.clear();
        for Neighbour { host, local, remote, key } in peers {
            let link = match before.remove(&host) {
                Some(mut link) => {
                    (link.local, link.remote) = (local, remote);
                    link.peer.set_key(key);
                    link
                }
                None => {
                    let mut peer = Peer::new(self.own, self.epoch, host, key);
                    inner.wanted.iter().for_each(|device| peer.tell(Record::Ask(*device)));
                    Link { peer, local, remote, asked_at: None }
                }
            };
            inner.by_address.insert(remote, host);
            inner.peers.insert(host, link);
        }
        self.path.wake();
    }

    /// Listens again where it could not: the address may be there by now.
    pub(crate) fn listen_again(&self) {
        if let Ok(inner) = self.inner.lock()
            && !inner.locals.is_empty()
        {
            drop(self.path.listen(&inner.locals));
        }
    }

    /// Wants to know the translations of these devices, and no others, from every peer; those it
    /// asked for already only where `again`.
    pub(crate) fn want(&self, devices: BTreeSet<DeviceId>, again: &BTreeSet<DeviceId>) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let inner = &mut *inner;
        let ask: Vec<DeviceId> = devices
            .iter()
            .filter(|device| again.contains(device) || !inner.wanted.contains(device))
            .copied()
            .collect();
        inner.wanted = devices;
        for link in inner.peers.values_mut() {
            ask.iter().for_each(|device| link.peer.tell(Record::Ask(*device)));
        }
        if !ask.is_empty() {
            self.path.wake();
        }
    }

    /// Tells hosts, at once: what is sent after this comes after it, if nothing gets lost.
    pub(crate) fn tell(&self, hosts: &[HostId], records: &[Record], now: Instant) {
        let Ok(mut inner) = self.inner.lock() else { return };
        for host in hosts {
            let Some(link) = inner.peers.get_mut(host) else { continue };
            // What is expected is of no use later.
            let away = link.peer.is_away();
            let useful = |record: &&Record| !(away && matches!(record, Record::Left(_)));
            for record in records.iter().filter(useful) {
                link.peer.tell(*record);
                self.counts.told.add(1);
            }
            self.send_due(link, now);
        }
        // The thread repeats what is not acknowledged.
        if self.sleeps.load(Ordering::Relaxed) {
            self.path.wake();
        }
    }

    /// A flow of this host used another's translation: its owner is told, and if that is not
    /// there, everybody.
    pub(crate) fn used(&self, owner: u16, key: NatKey, used_at: Instant, now: Instant) {
        let record = Record::Used { key, idle: now.since(used_at) };
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.used.push((key, used_at));
        let owner = inner.numbers.get(usize::from(owner)).copied();
        let there = |link: &&mut Link| !link.peer.is_away();
        if let Some(link) = owner.and_then(|owner| inner.peers.get_mut(&owner)).filter(there) {
            link.peer.tell(record);
        } else {
            inner.peers.values_mut().for_each(|link| link.peer.tell(record));
        }
    }

    /// Tells the host that made a translation what it does not see itself. It is in no hurry.
    pub(crate) fn tell_maker(&self, maker: u16, record: Record) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let Some(maker) = inner.numbers.get(usize::from(maker)).copied() else { return };
        if let Some(link) = inner.peers.get_mut(&maker) {
            link.peer.tell(record);
            self.counts.told.add(1);
        }
    }

    /// Whether any host may be telling this one something.
    pub(crate) fn has_peers(&self) -> bool {
        self.inner.lock().is_ok_and(|inner| !inner.peers.is_empty())
    }

    fn run(&self, mut copies: Copies, stop: &AtomicBool) {
        // Longer than any datagram of ours, to see which are too long.
        let mut buffer = [0; DATAGRAM_MAX + 1];
        let mut expired_at = clock::now();
        while !stop.load(Ordering::Relaxed) {
            self.sleeps.store(true, Ordering::Relaxed);
            let mut wait = self.wait(clock::now());
            for _ in 0..TAKEN_AT_ONCE {
                match self.path.receive(wait, &mut buffer) {
                    Ok(Some((from, len))) => self.take(from, &buffer[..len], &mut copies),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "state messages cannot be received");
                        std::thread::sleep(WAIT_MAX);
                        break;
                    }
                }
                wait = Duration::ZERO;
            }
            self.sleeps.store(false, Ordering::Relaxed);
            let now = clock::now();
            if expired_at + EXPIRE_EVERY <= now {
                expired_at = now;
                copies.expire(now);
            }
            // What is acknowledged is on disk.
            copies.flush();
            self.send_all(&mut copies, now);
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let Ok(inner) = self.inner.lock() else { return WAIT_MAX };
        let due = inner.peers.values().filter_map(|link| link.peer.next_due()).min();
        due.map_or(WAIT_MAX, |due| due.since(now).min(WAIT_MAX))
    }

    fn send_all(&self, copies: &mut Copies, now: Instant) {
        let Ok(mut inner) = self.inner.lock() else { return };
        for (key, used_at) in inner.used.drain(..) {
            copies.note_use(&key, used_at);
        }
        let (mut owed, mut dropped) = (0, 0);
        for link in inner.peers.values_mut() {
            self.send_due(link, now);
            owed += link.peer.owed();
            dropped += link.peer.dropped();
        }
        self.counts.owed.set(owed);
        self.counts.dropped.set(usize::try_from(dropped).unwrap_or(usize::MAX));
        self.counts.copies.set(copies.len());
    }

    fn send_due(&self, link: &mut Link, now: Instant) {
        for _ in 0..SENT_AT_ONCE {
            let Some(datagram) = link.peer.poll(now) else { return };
            match self.path.send(link.local, link.remote, &datagram) {
                Ok(()) => self.counts.sent.add(1),
                Err(_) => self.counts.unsent.add(1),
            }
        }
    }

    fn take(&self, from: IpAddr, datagram: &[u8], copies: &mut Copies) {
        self.counts.received.add(1);
        let (now, mut events) = (clock::now(), Vec::new());
        let taken = self.inner.lock().map_err(|_| Refused::Stranger).and_then(|mut inner| {
            let host = *inner.by_address.get(&from).ok_or(Refused::Stranger)?;
            let link = inner.peers.get_mut(&host).ok_or(Refused::Stranger)?;
            link.peer.receive(datagram, &mut events).map(|received| (host, received))
        });
        let (host, received) = match taken {
            Ok(taken) => taken,
            Err(cause) => {
                tracing::debug!(%from, %cause, "a state message is dropped");
                return self.counts.refuse(cause);
            }
        };
        self.counts.repeated.add(received.repeated);
        for event in events {
            match event {
                Event::Began => tracing::debug!(%host, "another agent is heard"),
                Event::Lost => self.ask_all(host, now),
                Event::Record(record) => self.take_record(host, &record, copies, now),
            }
        }
    }

    /// A peer could not tell everything.
    fn ask_all(&self, host: HostId, now: Instant) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let inner = &mut *inner;
        let Some(link) = inner.peers.get_mut(&host) else { return };
        if link.asked_at.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return;
        }
        link.asked_at = Some(now);
        inner.wanted.iter().for_each(|device| link.peer.tell(Record::Ask(*device)));
    }

    fn take_record(&self, host: HostId, record: &Record, copies: &mut Copies, now: Instant) {
        self.counts.taken.add(1);
        match *record {
            Record::Made(binding) => {
                if copies.put(host, binding, now) {
                    let owner = self.number(host);
                    self.tell_workers(&Told::Made { owner, host, binding });
                }
            }
            Record::Copy { owner: host, binding } => {
                // What its owner said itself is newer.
                if host != self.own
                    && !copies.contains(&binding.key)
                    && copies.put(host, binding, now)
                {
                    let owner = self.number(host);
                    self.tell_workers(&Told::Made { owner, host, binding });
                }
            }
            Record::Ended { key, to } => {
                if copies.remove(host, &key, to) {
                    self.tell_workers(&Told::Ended { owner: self.number(host), key });
                }
            }
            Record::Used { key, idle } => {
                let idle = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
                let used_at = Instant::from_nanos(now.nanos().saturating_sub(idle));
                copies.note_use(&key, used_at);
                self.tell_workers(&Told::Used { key, used_at });
            }
            Record::Shared(shared) => {
                self.tell_worker_of(shared.src, shared.dst, &Told::Shared(shared));
            }
            Record::Seen { key, way, class } => {
                self.tell_workers(&Told::Seen { key, way, class });
            }
            Record::Left(left) => self.tell_worker_of(left.src, left.dst, &Told::Left(left)),
            Record::Ask(device) => {
                let known = copies.of(device).filter(|held| held.owner != host);
                let records: Vec<Record> = known
                    .map(|held| Record::Copy { owner: held.owner, binding: held.binding })
                    .collect();
                self.tell(&[host], &records, now);
                self.tell_workers(&Told::Ask { host, device });
            }
        }
    }

    /// The number workers know a host by.
    fn number(&self, host: HostId) -> u16 {
        let Ok(mut inner) = self.inner.lock() else { return u16::MAX };
        let at = inner.numbers.iter().position(|other| *other == host).unwrap_or_else(|| {
            inner.numbers.push(host);
            inner.numbers.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn tell_workers(&self, told: &Told) {
        self.workers.get().into_iter().flatten().for_each(|worker| tell(worker, told));
    }

    /// Tells the worker that packets between these addresses come to.
    fn tell_worker_of(&self, src: Ipv6Addr, dst: Ipv6Addr, told: &Told) {
        let workers = self.workers.get().map_or(&[][..], Vec::as_slice);
        let worker = workers.get(worker_of(src, dst, workers.len()));
        worker.into_iter().for_each(|worker| tell(worker, told));
    }
}

fn tell((sender, bell): &(Sender<ToWorker>, Bell), told: &Told) {
    // One that ended says so itself.
    drop(sender.send(ToWorker::Told(*told)));
    bell.ring();
}
