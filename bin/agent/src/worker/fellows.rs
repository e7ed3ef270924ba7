//! Tracked connections that other hosts are to know: those of ports in a stateful port group, whose
//! answers may come in by another of its ports (`PG-02`).
//!
//! The packet that begins such a connection always comes up, so that the others are told before it
//! goes out (contracts §6). They play what they are told to their own datapath, as if they had seen
//! it: so the kernel alone says what a connection is and when it is over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv6Addr;

use mn_agent_core::{Wait, limits};
use mn_datapath::{ConnState, Offload, Tuple};
use mn_flow::{Action, Conn, FlowKey, VirtualAction, Zone};
use mn_flowstate::{Record, Shared, Stage};
use mn_ids::{HostId, PortId};
use mn_packet::icmp::icmp_of;
use mn_packet::{
    EthernetHeader, IcmpHeader, IpProtocol, Mac, TcpFlags, TcpHeader, UdpHeader, VlanTag,
    eth_type_of, from_v6, ip_packet,
};
use mn_simulation::Entry;
use mn_time::Instant;
use mn_topology::DeviceId;
use mn_topology::snapshot::Lookup;

use super::Worker;
use super::decide::{Arrival, host_of};

/// Who is to know a connection: a host, and the connection as its port sees it.
type Hearer = (HostId, Shared);

/// A connection that others were told of.
#[derive(Debug)]
struct Told {
    hearers: Box<[Hearer]>,
    stage: Stage,
    /// When it was last seen to be used.
    used_at: Instant,
}

/// The connections that this worker has told others of, by what they are found by where they began.
#[derive(Debug, Default)]
pub(super) struct Fellows {
    told: HashMap<(Zone, Tuple), Told>,
    /// When each is looked at next; in order, as all wait for the same time.
    looks: VecDeque<(Instant, (Zone, Tuple))>,
}

impl Worker {
    /// The hosts that are to know the connection which the packet at hand is of, each with the
    /// connection as its port would see it; or what has to be loaded before that is known.
    pub(super) fn hearers(&mut self, arrival: &Arrival<'_>) -> Result<Vec<Hearer>, Wait> {
        let local = &self.local;
        if local.fellows.is_empty() || !self.buffers.actions.contains(&VirtualAction::Track) {
            return Ok(Vec::new());
        }
        let (Some(tuple), Entry::Ingress(entered)) = (Tuple::of(&arrival.key), arrival.entry)
        else {
            return Ok(Vec::new());
        };
        let mut ports = vec![(entered, tuple)];
        ports.extend(left_by(&arrival.key, &self.buffers.actions));
        let (mut hearers, mut missing) = (Vec::new(), Vec::new());
        for (port, tuple) in ports {
            for fellow in local.fellows.get(&port).into_iter().flatten() {
                if matches!(self.snapshot.port(*fellow), Lookup::NotLoaded) {
                    missing.push((*fellow).into());
                } else if let Some(host) = host_of(&self.snapshot, *fellow) {
                    hearers.push((host, shared(*fellow, &tuple)));
                }
            }
        }
        self.want_loaded(missing)?;
        Ok(hearers)
    }

    /// Tells the hearers of the connection at hand, before its packet goes out.
    pub(super) fn tell_hearers(&mut self, key: &FlowKey, hearers: Vec<Hearer>, now: Instant) {
        let Some(tuple) = Tuple::of(key).filter(|_| !hearers.is_empty()) else { return };
        self.say_shared(hearers.iter().copied(), now);
        let Some(zone) = self.local.zones.get(&key.in_port).copied() else { return };
        let told = Told { hearers: hearers.into(), stage: Stage::Begun, used_at: now };
        if self.fellows.told.len() >= limits::SHARED_MAX {
            return;
        }
        if self.fellows.told.insert((zone, tuple), told).is_none() {
            self.fellows.looks.push_back((now + limits::SHARED_EVERY, (zone, tuple)));
        }
    }

    /// Tells each host of its connections, all in one go; those of ports here are played.
    fn say_shared(&self, told: impl IntoIterator<Item = Hearer>, now: Instant) {
        let mut records: BTreeMap<HostId, Vec<Record>> = BTreeMap::new();
        for (host, shared) in told {
            if host == self.local.host {
                self.play(&shared);
            } else {
                records.entry(host).or_default().push(Record::Shared(shared));
            }
        }
        for (host, records) in records {
            self.exchange.tell(&[host], &records, now);
        }
    }

    /// Tells what has become of connections that others know.
    pub(super) fn follow_shared(&mut self, now: Instant) {
        let mut news = Vec::new();
        while let Some((_, key)) = self.fellows.looks.pop_front_if(|(at, _)| *at <= now) {
            let Some(mut told) = self.fellows.told.remove(&key) else { continue };
            let found = match self.datapath.connection(key.0, &key.1) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "a shared connection cannot be looked at");
                    continue;
                }
            };
            let stage = found.as_ref().map_or(Stage::Over, |it| stage_of(it.state));
            let used_at = found.map_or(told.used_at, |it| it.used_at);
            // What lasts for long by itself needs no reminder.
            let reminds = key.1.protocol != IpProtocol::TCP && used_at > told.used_at;
            if stage != told.stage || reminds {
                let hearers = told.hearers.iter();
                news.extend(hearers.map(|(host, shared)| (*host, Shared { stage, ..*shared })));
            }
            if stage != Stage::Over {
                (told.stage, told.used_at) = (stage, used_at);
                self.fellows.told.insert(key, told);
                self.fellows.looks.push_back((now + limits::SHARED_EVERY, key));
            }
        }
        self.say_shared(news, now);
    }

    /// Tells a host of all connections that a device there shares: it may be new to it.
    pub(super) fn tell_shared(&mut self, host: HostId, device: DeviceId, now: Instant) {
        let is_of = |port: PortId| match self.snapshot.port(port) {
            Lookup::Loaded(port) => port.device() == device,
            Lookup::Absent | Lookup::NotLoaded => false,
        };
        let mut records = Vec::new();
        for told in self.fellows.told.values_mut() {
            for (at, shared) in &mut told.hearers {
                if is_of(shared.port) && host_of(&self.snapshot, shared.port) == Some(host) {
                    *at = host;
                    records.push(Record::Shared(Shared { stage: told.stage, ..*shared }));
                }
            }
        }
        self.exchange.tell(&[host], &records, now);
    }

    /// Plays a connection of another port, or host, to the datapath.
    pub(super) fn play(&self, shared: &Shared) {
        let Some(number) = self.local.ports.get(&shared.port).copied() else { return };
        let Some(zone) = self.local.zones.get(&number).copied() else { return };
        let actions = [Action::Track { zone, port: number }];
        for frame in frames(shared) {
            if let Err(error) = self.datapath.execute(&frame, Offload::default(), &actions) {
                tracing::warn!(%error, "another host's connection cannot be entered");
            }
        }
    }
}

/// The ports by which a tracked packet leaves, and what its connection is found by there.
fn left_by(key: &FlowKey, actions: &[VirtualAction]) -> Vec<(PortId, Tuple)> {
    let (mut left, mut tracked, mut ports) =
        (FlowKey { conn: Conn::None, ..*key }, false, Vec::new());
    for action in actions {
        match *action {
            VirtualAction::Rewrite(rewrite) => rewrite.apply(&mut left),
            VirtualAction::Track => tracked = true,
            VirtualAction::Deliver(port) => {
                if std::mem::take(&mut tracked) {
                    ports.extend(Tuple::of(&left).map(|tuple| (port, tuple)));
                }
            }
            VirtualAction::Meter(_) | VirtualAction::Copy => {}
        }
    }
    ports
}

fn shared(port: PortId, tuple: &Tuple) -> Shared {
    let Tuple { src, dst, src_port, dst_port, protocol, vlan } = *tuple;
    Shared { port, protocol, src, dst, src_port, dst_port, vlan, stage: Stage::Begun }
}

const fn stage_of(state: ConnState) -> Stage {
    match state {
        ConnState::SynSent | ConnState::SynReceived | ConnState::PickedUp | ConnState::UdpNew => {
            Stage::Begun
        }
        ConnState::TimeWait | ConnState::Closed => Stage::Over,
        ConnState::Established
        | ConnState::FinWait
        | ConnState::UdpStream
        | ConnState::Icmp
        | ConnState::Other => Stage::Lasting,
    }
}

/// Packets that bring a connection to its stage.
fn frames(shared: &Shared) -> Vec<Vec<u8>> {
    let forth =
        |flags| frame(shared, (shared.src, shared.src_port), (shared.dst, shared.dst_port), flags);
    let back =
        |flags| frame(shared, (shared.dst, shared.dst_port), (shared.src, shared.src_port), flags);
    match shared.stage {
        Stage::Begun => vec![forth(TcpFlags::SYN)],
        // An answer alone would begin a connection the other way round, where none is there.
        Stage::Lasting => vec![forth(TcpFlags::ACK), back(TcpFlags::ACK), forth(TcpFlags::ACK)],
        Stage::Over if shared.protocol == IpProtocol::TCP => vec![forth(TcpFlags::RST)],
        // Others end by their time.
        Stage::Over => Vec::new(),
    }
}

fn frame(
    shared: &Shared,
    (src, src_port): (Ipv6Addr, u16),
    (dst, dst_port): (Ipv6Addr, u16),
    flags: TcpFlags,
) -> Vec<u8> {
    let (src, dst) = (from_v6(src), from_v6(dst));
    let message = match shared.protocol {
        IpProtocol::TCP => {
            TcpHeader { src: src_port, dst: dst_port, flags, ..TcpHeader::default() }.segment(
                src,
                dst,
                &[],
            )
        }
        IpProtocol::UDP => UdpHeader { src: src_port, dst: dst_port }.datagram(src, dst, &[]),
        protocol if protocol == icmp_of(src) => {
            let ty =
                if src.is_ipv4() { IcmpHeader::ECHO_REQUEST } else { IcmpHeader::V6_ECHO_REQUEST };
            let [a, b] = src_port.to_be_bytes();
            IcmpHeader { ty, code: 0, rest: [a, b, 0, 0] }.message(src, dst, &[])
        }
        _ => Vec::new(),
    };
    let tag = shared.vlan.map_or(VlanTag::NONE, |vlan| VlanTag::from_wire(vlan & 0xfff));
    let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let header = EthernetHeader { vlan: tag, ..EthernetHeader::untagged(a, b, eth_type_of(src)) };
    header.frame(&ip_packet(src, dst, 64, shared.protocol, &message))
}
