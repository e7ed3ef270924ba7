//! Connections of the software engine.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};

use mn_flow::{Conn, DropCause, Fragment, PortNo, TcpClass, Zone};
use mn_packet::icmp::is_echo;
use mn_packet::{EtherType, IpProtocol, Ipv4Header, Ipv6Header};
use mn_time::Instant;

use super::packet::Packet;
use crate::connection::{Connection, Direction, Progress, Timeouts, Tuple, is_quoting};

/// A zone and the ends of a connection, the lesser first.
type Key = (Zone, Tuple);

/// The entries of all zones, and how many each port has.
#[derive(Debug, Default)]
pub(super) struct Connections {
    entries: HashMap<Key, Entry>,
    shares: BTreeMap<PortNo, usize>,
    /// The most entries of each port.
    pub maxima: BTreeMap<PortNo, u32>,
    /// The most entries of all.
    pub max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    forward: Tuple,
    progress: Progress,
    port: PortNo,
    made_at: Instant,
    used_at: Instant,
}

impl Entry {
    fn direction(&self, tuple: &Tuple) -> Direction {
        if self.forward == *tuple { Direction::Forward } else { Direction::Return }
    }

    fn connection(&self, zone: Zone) -> Connection {
        let Self { forward, progress, port, made_at, used_at } = *self;
        Connection { zone, tuple: forward, state: progress.state, port, made_at, used_at }
    }
}

fn key(zone: Zone, tuple: &Tuple) -> Key {
    (zone, (*tuple).min(tuple.reversed()))
}

impl Connections {
    /// What the table says of a packet that comes in; its connection has seen it.
    pub fn ask(&mut self, zone: Zone, packet: &Packet, now: Instant) -> Conn {
        let Some((tuple, related)) = tuple_of(packet) else { return Conn::None };
        let tcp = packet.key.class.tcp;
        let Some(entry) = self.entries.get_mut(&key(zone, &tuple)) else { return Conn::None };
        if !related && entry.progress.begins_anew(tcp) {
            return Conn::None;
        }
        let direction = entry.direction(&tuple);
        if !related {
            entry.progress.see(direction, tcp);
            entry.used_at = now;
        }
        match direction {
            Direction::Forward => Conn::Forward,
            Direction::Return => Conn::Return,
        }
    }

    /// Carries out a track action: whether the packet is one to be marked.
    pub fn track(
        &mut self,
        zone: Zone,
        port: PortNo,
        packet: &Packet,
        now: Instant,
    ) -> Result<bool, DropCause> {
        let Some((tuple, false)) = tuple_of(packet) else { return Ok(false) };
        if packet.key.conn == Conn::Return {
            return Ok(false);
        }
        if zone != Zone(0) && packet.key.conn == Conn::None {
            self.follow(zone, port, &tuple, packet.key.class.tcp, true, now)?;
        }
        Ok(true)
    }

    /// A packet is about to leave by a port.
    pub fn deliver(
        &mut self,
        zone: Zone,
        port: PortNo,
        packet: &Packet,
        now: Instant,
    ) -> Result<(), DropCause> {
        let seen = packet.zone == zone && !packet.rewritten;
        if zone == Zone(0) || seen || packet.is_later_fragment() {
            return Ok(());
        }
        let Some((tuple, false)) = tuple_of(packet) else { return Ok(()) };
        let tuple = if packet.rewritten { tuple_now(packet) } else { Some(tuple) };
        let Some(tuple) = tuple else { return Ok(()) };
        self.follow(zone, port, &tuple, packet.key.class.tcp, packet.track, now)
    }

    /// Sees the packet in its connection, or makes that.
    fn follow(
        &mut self,
        zone: Zone,
        port: PortNo,
        tuple: &Tuple,
        tcp: TcpClass,
        make: bool,
        now: Instant,
    ) -> Result<(), DropCause> {
        let key = key(zone, tuple);
        let begun = Entry {
            forward: *tuple,
            progress: Progress::begin(tuple.protocol, tcp),
            port,
            made_at: now,
            used_at: now,
        };
        match self.entries.get_mut(&key) {
            Some(entry) if !entry.progress.begins_anew(tcp) => {
                entry.progress.see(entry.direction(tuple), tcp);
                entry.used_at = now;
            }
            _ if !make => {}
            Some(entry) => *entry = Entry { port: entry.port, ..begun },
            None => {
                let share = self.shares.entry(port).or_default();
                let max = self.maxima.get(&port).copied().unwrap_or(0) as usize;
                if max > 0 && *share >= max {
                    return Err(DropCause::ConnectionLimit);
                }
                if self.entries.len() >= self.max {
                    return Err(DropCause::ConnectionTable);
                }
                *share += 1;
                self.entries.insert(key, begun);
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = Connection> {
        self.entries.iter().map(|((zone, _), entry)| entry.connection(*zone))
    }

    pub fn get(&self, zone: Zone, tuple: &Tuple) -> Option<Connection> {
        self.entries.get(&key(zone, tuple)).map(|entry| entry.connection(zone))
    }

    /// How many count as a port's.
    pub fn share(&self, port: PortNo) -> usize {
        self.shares.get(&port).copied().unwrap_or(0)
    }

    /// Removes those that are over.
    pub fn age(&mut self, timeouts: &Timeouts, now: Instant) -> usize {
        self.remove(&|connection| timeouts.is_over(connection, now))
    }

    pub fn remove(&mut self, is_one: &dyn Fn(&Connection) -> bool) -> usize {
        let removed = self.entries.extract_if(|(zone, _), entry| is_one(&entry.connection(*zone)));
        let mut count = 0;
        for (_, entry) in removed {
            count += 1;
            if let Some(share) = self.shares.get_mut(&entry.port) {
                *share -= 1;
            }
        }
        count
    }
}

/// The tuple a packet's connection is found by, and whether that is of the packet it quotes; `None`
/// for one that belongs to none: what is for many, or resolves addresses, or has no ports.
fn tuple_of(packet: &Packet) -> Option<(Tuple, bool)> {
    let key = &packet.key;
    let ip = packet.ip?;
    if let Some(tuple) = Tuple::of(key) {
        return Some((tuple, false));
    }
    let own_icmp = if ip.is_v4 { IpProtocol::ICMP } else { IpProtocol::ICMPV6 };
    let quotes = key.nw_proto == own_icmp && is_quoting(own_icmp, key.icmp_type());
    if !quotes || key.eth_dst.is_multicast() || key.class.fragment == Fragment::Later {
        return None;
    }
    let vlan = key.vlan.is_present().then(|| key.vlan.wire() & 0xfff);
    Some((quoted(packet, vlan)?, true))
}

/// The tuple of the packet that an ICMP error quotes, turned round. IPv6 extension headers are not
/// walked.
fn quoted(packet: &Packet, vlan: Option<u16>) -> Option<Tuple> {
    let ip = packet.ip?;
    let quote = packet.frame.get(ip.transport_at? + 8..ip.end)?;
    let (src, dst, protocol, transport, own_icmp) = if ip.is_v4 {
        let head = quote.first_chunk::<{ Ipv4Header::LEN }>()?;
        let [vihl, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            *head;
        let is_later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
        if vihl >> 4 != 4 || vihl & 0xf < 5 || is_later {
            return None;
        }
        let mapped = |octets: [u8; 4]| Ipv4Addr::from(octets).to_ipv6_mapped();
        let (src, dst) = (mapped([s0, s1, s2, s3]), mapped([d0, d1, d2, d3]));
        let transport = quote.get(usize::from(vihl & 0xf) * 4..);
        (src, dst, IpProtocol(protocol), transport, IpProtocol::ICMP)
    } else {
        let (head, transport) = quote.split_first_chunk::<{ Ipv6Header::LEN }>()?;
        if head[0] >> 4 != 6 {
            return None;
        }
        let (src, dst) = (head[8..].first_chunk::<16>()?, head[24..].first_chunk::<16>()?);
        let (src, dst) = (Ipv6Addr::from(*src), Ipv6Addr::from(*dst));
        (src, dst, IpProtocol(head[6]), Some(transport), IpProtocol::ICMPV6)
    };
    let (mut src_port, mut dst_port) = (0, 0);
    if protocol.has_ports() {
        let [s0, s1, d0, d1] = *transport?.first_chunk::<4>()?;
        (src_port, dst_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    } else if protocol == own_icmp {
        let [ty, _, _, _, id0, id1, ..] = *transport?.first_chunk::<8>()?;
        if is_echo(protocol, ty) {
            src_port = u16::from_be_bytes([id0, id1]);
            dst_port = src_port;
        }
    }
    Some(Tuple { src, dst, src_port, dst_port, protocol, vlan }.reversed())
}

/// The tuple of a packet after its headers were changed.
fn tuple_now(packet: &Packet) -> Option<Tuple> {
    let ip = packet.ip?;
    let network = packet.frame.get(packet.network_at..)?;
    let (src, dst) = if ip.is_v4 {
        let addr = |at: usize| -> Option<Ipv6Addr> {
            let octets = network.get(at..)?.first_chunk::<4>()?;
            Some(Ipv4Addr::from(*octets).to_ipv6_mapped())
        };
        (addr(12)?, addr(16)?)
    } else {
        let addr = |at: usize| Some(Ipv6Addr::from(*network.get(at..)?.first_chunk::<16>()?));
        (addr(8)?, addr(24)?)
    };
    let protocol = packet.key.nw_proto;
    let vlan = EtherType(packet.word(12)).is_tag().then(|| packet.word(14) & 0xfff);
    let mut now = Tuple { src, dst, src_port: 0, dst_port: 0, protocol, vlan };
    let at = ip.transport_at?;
    let own_icmp = if ip.is_v4 { IpProtocol::ICMP } else { IpProtocol::ICMPV6 };
    if protocol.has_ports() {
        (now.src_port, now.dst_port) = (packet.word(at), packet.word(at + 2));
    } else if protocol == own_icmp && is_echo(protocol, packet.key.icmp_type()) {
        (now.src_port, now.dst_port) = (packet.word(at + 4), packet.word(at + 4));
    }
    Some(now)
}
