//! What happens to a packet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mn_flow::{
    Action, Cookie, DropCause, GroupIndex, PeerIndex, PortNo, Rewrite, TcpClass, TunnelKey,
    TunnelOrigin, Zone,
};
use mn_packet::IpProtocol;
use mn_time::Instant;

use super::bandwidth::OctetBucket;
use super::connections::Connections;
use super::flow_table::FlowTable;
use super::fragments::Fragments;
use super::packet::{Ip, Packet, unread_load};
use super::send::Sent;
use super::upcall::{Queue, TokenBucket, Waiting, worker_of};
use crate::{
    Counters, Delivery, Followed, Interface, Offload, Output, PeerAddresses, PortCounters,
    Tracking, UpcallReason,
};

/// Older than this, and the agent counts as dead.
pub(super) const HEARTBEAT_MAX: Duration = Duration::from_secs(1);
/// Frames that are kept until somebody takes them; then the oldest are forgotten.
const SENT_MAX: usize = 1 << 16;
/// The most tracked connections.
const CONNECTIONS_MAX: usize = 1 << 20;

/// The engine. See the module.
#[derive(Debug)]
pub struct Software {
    state: Mutex<State>,
    pub(super) queues: Vec<Arc<Queue>>,
}

/// All that the engine knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub now: Instant,
    pub heartbeat_at: Option<Instant>,
    pub ports: BTreeMap<PortNo, Port>,
    pub counters: BTreeMap<PortNo, PortCounters>,
    pub peers: BTreeMap<PeerIndex, PeerAddresses>,
    pub members: BTreeSet<IpAddr>,
    pub keys: BTreeMap<TunnelKey, Delivery>,
    pub groups: BTreeMap<GroupIndex, Vec<Output>>,
    pub flows: FlowTable,
    pub connections: Connections,
    fragments: Fragments,
    pub drops: BTreeMap<(PortNo, DropCause), u64>,
    pub meters: BTreeMap<u32, Counters>,
    /// For sampled copies.
    chance: u64,
    sent: VecDeque<Sent>,
    queues: Vec<Arc<Queue>>,
}

/// An attached interface.
#[derive(Debug)]
pub(super) struct Port {
    pub interface: Interface,
    pub bucket: TokenBucket,
    pub tracking: Tracking,
    /// Of frames to several receivers, where there is a limit.
    pub broadcasts: Option<TokenBucket>,
    /// Of octets: of those that its interface sends, and of those that it gets.
    pub bandwidth: [OctetBucket; 2],
}

/// An action says that the packet goes no further.
struct Stop(DropCause);

impl Software {
    /// A datapath with nothing attached whose upcalls so many workers take, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let queues: Vec<_> = (0..workers.max(1)).map(|_| Arc::default()).collect();
        let mut state = State { queues: queues.clone(), ..State::default() };
        state.connections.max = CONNECTIONS_MAX;
        Self { state: Mutex::new(state), queues }
    }

    /// A frame comes in by a port, tags in line.
    pub fn receive(&self, port: PortNo, frame: &[u8], offload: Offload) {
        self.state().receive(port, frame, offload);
    }

    /// A frame comes out of a tunnel.
    pub fn receive_tunnelled(&self, origin: TunnelOrigin, frame: &[u8], offload: Offload) {
        self.state().receive_tunnelled(origin, frame, offload);
    }

    /// What went out since it was asked last, in order.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Sent> {
        self.state().sent.drain(..).collect()
    }

    /// The addresses of a peer.
    #[must_use]
    pub fn peer(&self, peer: PeerIndex) -> Option<PeerAddresses> {
        self.state().peers.get(&peer).copied()
    }

    /// The time of its clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// Moves its clock on.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state();
        state.now = state.now + duration;
    }

    /// Forgets the first fragments it has seen; of how many datagrams those were.
    pub fn forget_fragments(&self) -> usize {
        self.state().fragments.forget()
    }

    /// A thread that panicked in between may have left a packet half way, and every table whole.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A frame from an interface: counted, read, looked up, sent through its flow's actions.
    fn receive(&mut self, port: PortNo, frame: &[u8], offload: Offload) {
        let Some(zone) = self.ports.get(&port).map(|port| port.tracking.zone) else {
            return self.drop(PortNo::NONE, DropCause::PortGone, 1);
        };
        let Some(mut packet) = self.read(port, frame, offload, None) else { return };
        let now = self.now;
        let bucket = self.ports.get_mut(&port).map(|port| &mut port.bandwidth[0]);
        if bucket.is_some_and(|bucket| !bucket.take(packet.load().octets, now)) {
            return self.drop(port, DropCause::BandwidthSent, packet.load().packets);
        }
        if packet.key.eth_dst.is_multicast() && !self.may_broadcast(port) {
            return self.drop(port, DropCause::BroadcastLimit, packet.load().packets);
        }
        self.fragments.follow(&mut packet, self.now);
        if zone != Zone(0) {
            packet.key.conn = self.connections.ask(zone, &packet, self.now);
            packet.zone = zone;
        }
        let key = packet.key;
        let Some(flow) = self.flows.lookup(&key) else {
            return self.ask(&packet, UpcallReason::Miss);
        };
        let (actions, cookie) = (flow.spec.actions.clone(), flow.spec.cookie);
        if let Some(reason) = self.why_up(&packet, &actions) {
            return self.ask(&packet, reason);
        }
        if actions.first() == Some(&Action::Follow) {
            self.follow(cookie, &packet);
        }
        let now = self.now;
        if let Some(flow) = self.flows.lookup(&key) {
            flow.counters.add(packet.load());
            flow.used_at = now;
        }
        self.act(packet, &actions);
    }

    /// Tells of a segment that begins or ends a connection, and of the flow's first other one.
    fn follow(&mut self, cookie: Cookie, packet: &Packet) {
        let segment = |ip: &Ip| ip.protocol == IpProtocol::TCP && ip.transport_at.is_some();
        let class = packet.key.class.tcp;
        let other = class == TcpClass::Other;
        if !packet.ip.as_ref().is_some_and(segment) || other && !self.flows.is_to_tell(cookie) {
            return;
        }
        let queue = self.queues.get(usize::from(cookie.worker()));
        let told = queue.is_some_and(|it| it.tell(Followed { cookie, class }));
        if told && other {
            self.flows.note_told(cookie);
        }
    }

    fn may_broadcast(&mut self, port: PortNo) -> bool {
        let now = self.now;
        let bucket = self.ports.get_mut(&port).and_then(|port| port.broadcasts.as_mut());
        bucket.is_none_or(|bucket| bucket.take(now))
    }

    /// Why a packet may not pass through its flow's actions; `None` if it may. Spent hops and size
    /// are a router's causes, so a list that takes no hops off has neither.
    fn why_up(&self, packet: &Packet, actions: &[Action]) -> Option<UpcallReason> {
        let answers = |it: &Action| matches!(it, Action::Rewrite(Rewrite::Answer { .. }));
        if actions.iter().any(answers) && !packet.is_question() {
            return Some(UpcallReason::Answer);
        }
        let hops = actions.iter().filter(|it| **it == Action::Rewrite(Rewrite::DecTtl)).count();
        if hops == 0 {
            return None;
        }
        if packet.hops().is_some_and(|left| usize::from(left) <= hops) {
            return Some(UpcallReason::Ttl);
        }
        let exceeds = |action: &Action| match *action {
            Action::Output(port) => self.exceeds(packet, Output::Port(port)),
            Action::Tunnel { peer, key } => self.exceeds(packet, Output::Tunnel { peer, key }),
            _ => false,
        };
        actions.iter().any(exceeds).then_some(UpcallReason::TooBig)
    }

    /// A frame from another host: delivered by its key alone, without flows and without asking
    /// anybody, so that it works while no agent is alive.
    fn receive_tunnelled(&mut self, origin: TunnelOrigin, frame: &[u8], offload: Offload) {
        let Some(mut packet) = self.read(PortNo::TUNNEL, frame, offload, Some(origin)) else {
            return;
        };
        packet.track = origin.vni & TunnelKey::MARK != 0;
        let cause = match self.delivery(origin) {
            Ok(Delivery::Port(port)) => return self.send(&packet, Output::Port(port)),
            Ok(Delivery::Ports(ports)) => {
                return ports.iter().for_each(|port| self.send(&packet, Output::Port(*port)));
            }
            Ok(Delivery::Retired) => DropCause::TunnelRetiredKey,
            Err(cause) => cause,
        };
        self.drop(PortNo::TUNNEL, cause, packet.load().packets);
    }

    fn delivery(&self, origin: TunnelOrigin) -> Result<Delivery, DropCause> {
        if !self.members.contains(&origin.src) {
            return Err(DropCause::TunnelNotMember);
        }
        let (key, _mark) = TunnelKey::from_vni(origin.vni).ok_or(DropCause::TunnelUnknownKey)?;
        self.keys.get(&key).cloned().ok_or(DropCause::TunnelUnknownKey)
    }

    /// Counts and reads a frame that came in; one that cannot be read is dropped.
    fn read(
        &mut self,
        port: PortNo,
        frame: &[u8],
        offload: Offload,
        tunnel: Option<TunnelOrigin>,
    ) -> Option<Packet> {
        let packet = Packet::read(frame, offload, port, tunnel);
        let load = packet.as_ref().map_or_else(|_| unread_load(frame), Packet::load);
        self.counters.entry(port).or_default().rx.add(load);
        packet.map_err(|cause| self.drop(port, cause, load.packets)).ok()
    }

    /// A frame of ours. Hops are not judged: who made the list has.
    pub fn execute(&mut self, frame: &[u8], offload: Offload, actions: &[Action]) {
        match Packet::read(frame, offload, PortNo::NONE, None) {
            Ok(packet) => self.act(packet, actions),
            Err(cause) => self.drop(PortNo::NONE, cause, 1),
        }
    }

    /// Carries out a list of actions, in order. One that does not fit the packet ends it.
    fn act(&mut self, mut packet: Packet, actions: &[Action]) {
        for action in actions {
            if let Err(Stop(cause)) = self.step(&mut packet, *action) {
                return self.drop(packet.key.in_port, cause, packet.load().packets);
            }
        }
    }

    fn step(&mut self, packet: &mut Packet, action: Action) -> Result<(), Stop> {
        match action {
            Action::Rewrite(rewrite) => {
                packet.rewrite(rewrite).map_err(|_| Stop(DropCause::ActionFailed))?;
            }
            Action::Output(port) => self.send(packet, Output::Port(port)),
            Action::Tunnel { peer, key } => self.send(packet, Output::Tunnel { peer, key }),
            Action::Outputs(group) => {
                for output in self.groups.get(&group).cloned().unwrap_or_default() {
                    self.send(packet, output);
                }
            }
            Action::Track { zone, port } => {
                if self.connections.track(zone, port, packet, self.now).map_err(Stop)? {
                    (packet.zone, packet.track) = (zone, true);
                }
            }
            Action::Follow => {}
            Action::Meter(index) => self.meters.entry(index).or_default().add(packet.load()),
            Action::Copy { one_in } => self.copy(packet, one_in),
            Action::Drop { cause, rule: _ } => return Err(Stop(cause)),
        }
        Ok(())
    }

    /// Asks the agent about a packet, or counts why not.
    fn ask(&mut self, packet: &Packet, reason: UpcallReason) {
        if let Err(cause) = self.upcall(packet, reason) {
            self.drop(packet.key.in_port, cause, packet.load().packets);
        }
    }

    /// Sends a copy up, as the packet is by now, for one in so many. A copy that is lost is no
    /// dropped packet.
    fn copy(&mut self, packet: &Packet, one_in: u32) {
        // Knuth's MMIX generator: any will do.
        self.chance =
            self.chance.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        if one_in <= 1 || (self.chance >> 33).is_multiple_of(u64::from(one_in)) {
            let _lost = self.upcall(packet, UpcallReason::Copy);
        }
    }

    fn upcall(&mut self, packet: &Packet, reason: UpcallReason) -> Result<(), DropCause> {
        let port = self.ports.get_mut(&packet.key.in_port).ok_or(DropCause::PortGone)?;
        let alive = self.heartbeat_at.is_some_and(|at| self.now.since(at) <= HEARTBEAT_MAX);
        if !alive {
            return Err(DropCause::AgentDown);
        }
        if !port.bucket.take(self.now) {
            return Err(DropCause::UpcallLimit);
        }
        let waiting = Waiting {
            reason,
            key: packet.key,
            frame: packet.frame.clone(),
            offload: packet.offload,
            at: self.now,
        };
        let queue = &self.queues[worker_of(packet, self.queues.len())];
        queue.push(waiting).then_some(()).ok_or(DropCause::UpcallQueue)
    }

    /// Counts packets that go nowhere, by the port they came in by.
    pub fn drop(&mut self, port: PortNo, cause: DropCause, packets: u64) {
        self.counters.entry(port).or_default().rx_dropped += packets;
        *self.drops.entry((port, cause)).or_default() += packets;
    }

    /// Notes a frame that goes out.
    pub fn log(&mut self, sent: Sent) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// What a port has carried, be it nothing.
    pub fn port_counters(&self, port: PortNo) -> PortCounters {
        self.counters.get(&port).copied().unwrap_or_default()
    }
}

impl Counters {
    /// Adds what another packet carries.
    pub(super) const fn add(&mut self, load: Self) {
        self.packets += load.packets;
        self.octets += load.octets;
    }
}
