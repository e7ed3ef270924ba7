//! One piece of state, as it goes between hosts and onto the disk.
//!
//! ```text
//! record  = kind(1) length of the body(1) body
//! body    = 1 key to(18) chain(16) rule(16)             made: the sender's own
//!         | 2 key to(18) chain(16) rule(16) owner(16)   a copy of another host's
//!         | 3 key to(18)                                ended
//!         | 4 key idle(4, milliseconds)                 used
//!         | 5 class(1) device(16)                       what do you know of this device?
//!         | 6 port(16) vlan(2) stage(1) protocol(1) src(16) dst(16) ports(4)
//!                                                       a tracked connection of your port
//!         | 7 key way(1) class(1)                       seen: a segment that ends or resumes it
//!         | 8 port(16) vlan(2) tracked(1) protocol(1) src(16) dst(16) ports(4) to(6) from(6)
//!                                                       left by your port: its answer comes back
//! key     = kind(1) class(1) device(16) protocol(1) src(16) dst(16) ports(4)
//! ```
//!
//! A key's kind is 0 where the source is translated and 1 where the destination is. In what was made
//! and in copies there is also 2, a destination that a load balancer chose, and 3, the member that it
//! keeps a client on: there a pool and its member stand in the place of a chain and its rule.
//! Numbers are little-endian.

use core::net::Ipv6Addr;
use core::time::Duration;

use mn_flow::{NatTag, TcpClass};
use mn_ids::{HostId, Id, PortId};
use mn_packet::{IpProtocol, Mac};
use mn_simulation::nat::{Endpoint, NatBinding, NatKey, NatKind, NatOrigin, NatTuple, Way};
use mn_topology::DeviceId;
use uuid::Uuid;

use crate::cause::Refused;

/// One piece of state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Record {
    /// The sender has made a translation, or has it still.
    Made(NatBinding),
    /// The sender keeps a copy of a translation that this host made.
    Copy { owner: HostId, binding: NatBinding },
    /// The sender's translation has ended.
    Ended { key: NatKey, to: Endpoint },
    /// A translation was used so long ago, by whoever has it.
    Used { key: NatKey, idle: Duration },
    /// The sender wants to be told all translations of this device.
    Ask(DeviceId),
    /// A tracked connection that a port of the receiver shares.
    Shared(Shared),
    /// A TCP segment came that ends, or resumes, the connection of a translation of the receiver.
    Seen { key: NatKey, way: Way, class: TcpClass },
    /// A packet that begins a translated connection leaves by a port of the receiver: its answer may
    /// come back there.
    Left(Left),
}

/// A packet as it leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Left {
    pub port: PortId,
    /// Its connection is tracked.
    pub tracked: bool,
    pub protocol: IpProtocol,
    /// IPv4-mapped for IPv4.
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// Of ICMP as flow keys have it: the type, and an echo's identifier.
    pub src_port: u16,
    pub dst_port: u16,
    pub eth_dst: Mac,
    pub eth_src: Mac,
    /// The number of the tag, if there is one.
    pub vlan: Option<u16>,
}

/// A tracked connection as a port sees it that did not see it begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shared {
    pub port: PortId,
    pub protocol: IpProtocol,
    /// Who began it, and to whom: IPv4-mapped for IPv4.
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// Of an echo the identifier, as both.
    pub src_port: u16,
    pub dst_port: u16,
    /// The number of the outer tag, if there is one.
    pub vlan: Option<u16>,
    pub stage: Stage,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    Begun,
    /// It was answered.
    Lasting,
    Over,
}

/// A record's kind and length.
const HEAD_LEN: usize = 2;
/// The longest record: a copy.
pub(crate) const RECORD_MAX: usize = HEAD_LEN + 55 + 18 + 48;

impl Record {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend([self.kind(), 0]);
        match self {
            Self::Made(binding) => put_binding(out, binding),
            Self::Copy { owner, binding } => {
                put_binding(out, binding);
                out.extend(owner.uuid().as_bytes());
            }
            Self::Ended { key, to } => {
                put_key(out, key);
                put_end(out, to);
            }
            Self::Used { key, idle } => {
                put_key(out, key);
                let idle = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
                out.extend(idle.to_le_bytes());
            }
            Self::Ask(device) => put_device(out, *device),
            Self::Shared(shared) => put_shared(out, shared),
            Self::Seen { key, way, class } => {
                put_key(out, key);
                out.extend([u8::from(*way == Way::Back), *class as u8]);
            }
            Self::Left(left) => put_left(out, left),
        }
        out[begin + 1] = u8::try_from(out.len() - begin - HEAD_LEN).unwrap_or(u8::MAX);
    }

    /// Reads one record off the front.
    ///
    /// # Errors
    ///
    /// [`Refused::Malformed`]: a kind that is not known, or a body that is not as long as its kind.
    pub fn take(from: &mut &[u8]) -> Result<Self, Refused> {
        let malformed = Refused::Malformed;
        let (&[kind, len], rest) = from.split_first_chunk::<HEAD_LEN>().ok_or(malformed)?;
        let (mut body, rest) = rest.split_at_checked(usize::from(len)).ok_or(malformed)?;
        let record = read(kind, &mut body).ok_or(malformed)?;
        if !body.is_empty() {
            return Err(malformed);
        }
        *from = rest;
        Ok(record)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Made(_) => 1,
            Self::Copy { .. } => 2,
            Self::Ended { .. } => 3,
            Self::Used { .. } => 4,
            Self::Ask(_) => 5,
            Self::Shared(_) => 6,
            Self::Seen { .. } => 7,
            Self::Left(_) => 8,
        }
    }

    /// What it is about, where a later record about the same overrules an earlier one: the
    /// translation, and the answers that it claims.
    pub(crate) fn subjects(&self) -> Option<(NatTag, Option<NatTag>)> {
        match self {
            Self::Made(binding) | Self::Copy { binding, .. } => {
                Some((binding.tag(), Some(binding.answer_tag())))
            }
            // Its answers may be another's by now: that is not for an end to say.
            Self::Ended { key, .. } => Some((key.tag(Way::Forward), None)),
            Self::Used { .. }
            | Self::Ask(_)
            | Self::Shared(_)
            | Self::Seen { .. }
            | Self::Left(_) => None,
        }
    }
}

fn read(kind: u8, body: &mut &[u8]) -> Option<Record> {
    Some(match kind {
        1 => Record::Made(take_binding(body)?),
        2 => {
            let binding = take_binding(body)?;
            Record::Copy { owner: Id::from_uuid(uuid(body)?), binding }
        }
        3 => Record::Ended { key: take_key(body)?, to: end(body)? },
        4 => {
            let key = take_key(body)?;
            let idle = u32::from_le_bytes(chunk(body)?);
            Record::Used { key, idle: Duration::from_millis(idle.into()) }
        }
        5 => Record::Ask(device(body)?),
        6 => Record::Shared(take_shared(body)?),
        7 => take_seen(body)?,
        8 => Record::Left(take_left(body)?),
        _ => return None,
    })
}

/// The number that stands for no tag: one with the bit that no VLAN has.
const UNTAGGED: u16 = 0x1000;

fn put_shared(out: &mut Vec<u8>, shared: &Shared) {
    out.extend(shared.port.uuid().as_bytes());
    put_vlan(out, shared.vlan);
    out.extend([shared.stage as u8, shared.protocol.0]);
    out.extend(shared.src.octets());
    out.extend(shared.dst.octets());
    out.extend(shared.src_port.to_le_bytes());
    out.extend(shared.dst_port.to_le_bytes());
}

fn put_left(out: &mut Vec<u8>, left: &Left) {
    out.extend(left.port.uuid().as_bytes());
    put_vlan(out, left.vlan);
    out.extend([u8::from(left.tracked), left.protocol.0]);
    out.extend(left.src.octets());
    out.extend(left.dst.octets());
    out.extend(left.src_port.to_le_bytes());
    out.extend(left.dst_port.to_le_bytes());
    out.extend(left.eth_dst.0);
    out.extend(left.eth_src.0);
}

fn take_left(body: &mut &[u8]) -> Option<Left> {
    let port = Id::from_uuid(uuid(body)?);
    let vlan = take_vlan(body)?;
    let [tracked @ 0..=1, protocol] = chunk(body)? else { return None };
    let (src, dst) = (chunk::<16>(body)?.into(), chunk::<16>(body)?.into());
    let src_port = u16::from_le_bytes(chunk(body)?);
    let dst_port = u16::from_le_bytes(chunk(body)?);
    let (eth_dst, eth_src) = (Mac(chunk(body)?), Mac(chunk(body)?));
    let (tracked, protocol) = (tracked == 1, IpProtocol(protocol));
    Some(Left { port, tracked, protocol, src, dst, src_port, dst_port, eth_dst, eth_src, vlan })
}

fn take_seen(body: &mut &[u8]) -> Option<Record> {
    let key = take_key(body)?;
    let [way, class] = chunk(body)?;
    let way = match way {
        0 => Way::Forward,
        1 => Way::Back,
        _ => return None,
    };
    let class = match class {
        0 => TcpClass::Other,
        1 => TcpClass::Syn,
        2 => TcpClass::Fin,
        3 => TcpClass::Rst,
        _ => return None,
    };
    Some(Record::Seen { key, way, class })
}

fn put_vlan(out: &mut Vec<u8>, vlan: Option<u16>) {
    out.extend(vlan.unwrap_or(UNTAGGED).to_le_bytes());
}

fn take_vlan(body: &mut &[u8]) -> Option<Option<u16>> {
    match u16::from_le_bytes(chunk(body)?) {
        UNTAGGED => Some(None),
        vlan @ ..UNTAGGED => Some(Some(vlan)),
        _ => None,
    }
}

fn take_shared(body: &mut &[u8]) -> Option<Shared> {
    let port = Id::from_uuid(uuid(body)?);
    let vlan = take_vlan(body)?;
    let [stage, protocol] = chunk(body)?;
    let stage = match stage {
        0 => Stage::Begun,
        1 => Stage::Lasting,
        2 => Stage::Over,
        _ => return None,
    };
    let (src, dst) = (chunk::<16>(body)?.into(), chunk::<16>(body)?.into());
    let src_port = u16::from_le_bytes(chunk(body)?);
    let dst_port = u16::from_le_bytes(chunk(body)?);
    Some(Shared { port, protocol: IpProtocol(protocol), src, dst, src_port, dst_port, vlan, stage })
}

/// The kinds of keys that say who made a translation.
const BALANCED: u8 = 2;
const CLIENT: u8 = 3;

/// Appends a translation: its key, what it becomes, and who says so.
pub fn put_binding(out: &mut Vec<u8>, binding: &NatBinding) {
    let (kind, at, in_it) = match binding.by {
        NatOrigin::Rule { chain, rule } => (kind_of(&binding.key), chain.uuid(), rule.uuid()),
        NatOrigin::Pool { pool, member } => (BALANCED, pool.uuid(), member.uuid()),
        NatOrigin::Client { pool, member } => (CLIENT, pool.uuid(), member.uuid()),
    };
    put_key_of(out, kind, &binding.key);
    put_end(out, &binding.to);
    out.extend(at.as_bytes());
    out.extend(in_it.as_bytes());
}

fn put_end(out: &mut Vec<u8>, end: &Endpoint) {
    out.extend(end.addr.octets());
    out.extend(end.port.to_le_bytes());
}

fn put_device(out: &mut Vec<u8>, device: DeviceId) {
    let (class, id) = match device {
        DeviceId::Bridge(id) => (0, id.uuid()),
        DeviceId::Router(id) => (1, id.uuid()),
    };
    out.push(class);
    out.extend(id.as_bytes());
}

/// Appends a translation's key.
pub fn put_key(out: &mut Vec<u8>, key: &NatKey) {
    put_key_of(out, kind_of(key), key);
}

const fn kind_of(key: &NatKey) -> u8 {
    match key.kind {
        NatKind::Source => 0,
        NatKind::Destination => 1,
    }
}

fn put_key_of(out: &mut Vec<u8>, kind: u8, key: &NatKey) {
    let NatTuple { protocol, src, dst, src_port, dst_port } = key.tuple;
    out.push(kind);
    put_device(out, key.device);
    out.push(protocol.0);
    out.extend(src.octets());
    out.extend(dst.octets());
    out.extend(src_port.to_le_bytes());
    out.extend(dst_port.to_le_bytes());
}

/// The next octets.
pub(crate) fn chunk<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*chunk)
}

fn uuid(from: &mut &[u8]) -> Option<Uuid> {
    chunk(from).map(Uuid::from_bytes)
}

/// Reads a translation off the front; `None` where there is none.
pub fn take_binding(from: &mut &[u8]) -> Option<NatBinding> {
    let [kind] = chunk(from)?;
    let (key, to) = (take_key_of(kind.min(1), from)?, end(from)?);
    let (at, in_it) = (uuid(from)?, uuid(from)?);
    let (pool, member) = (Id::from_uuid(at), Id::from_uuid(in_it));
    let by = match kind {
        0 | 1 => NatOrigin::Rule { chain: Id::from_uuid(at), rule: Id::from_uuid(in_it) },
        BALANCED => NatOrigin::Pool { pool, member },
        CLIENT => NatOrigin::Client { pool, member },
        _ => return None,
    };
    Some(NatBinding { key, to, by })
}

fn end(from: &mut &[u8]) -> Option<Endpoint> {
    let addr = chunk::<16>(from)?.into();
    Some(Endpoint { addr, port: u16::from_le_bytes(chunk(from)?) })
}

fn device(from: &mut &[u8]) -> Option<DeviceId> {
    let [class] = chunk(from)?;
    let id = uuid(from)?;
    match class {
        0 => Some(DeviceId::Bridge(Id::from_uuid(id))),
        1 => Some(DeviceId::Router(Id::from_uuid(id))),
        _ => None,
    }
}

/// Reads a translation's key off the front; `None` where there is none.
pub fn take_key(from: &mut &[u8]) -> Option<NatKey> {
    let [kind] = chunk(from)?;
    take_key_of(kind, from)
}

fn take_key_of(kind: u8, from: &mut &[u8]) -> Option<NatKey> {
    let kind = match kind {
        0 => NatKind::Source,
        1 => NatKind::Destination,
        _ => return None,
    };
    let device = device(from)?;
    let [protocol] = chunk(from)?;
    let (src, dst) = (chunk::<16>(from)?.into(), chunk::<16>(from)?.into());
    let src_port = u16::from_le_bytes(chunk(from)?);
    let dst_port = u16::from_le_bytes(chunk(from)?);
    let tuple = NatTuple { protocol: IpProtocol(protocol), src, dst, src_port, dst_port };
    Some(NatKey { kind, device, tuple })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A translation that a number tells from others; its answers have this port.
    pub(crate) fn binding(number: u32, port: u16) -> NatBinding {
        let [_, a, b, c] = number.to_be_bytes();
        let tuple = NatTuple {
            protocol: IpProtocol::TCP,
            src: std::net::Ipv4Addr::new(10, a, b, c).to_ipv6_mapped(),
            dst: "2001:db8::1".parse().unwrap(),
            src_port: 1,
            dst_port: 80,
        };
        let kind = if number.is_multiple_of(2) { NatKind::Source } else { NatKind::Destination };
        NatBinding {
            key: NatKey { kind, device: device(), tuple },
            to: Endpoint { addr: "::ffff:203.0.113.2".parse().unwrap(), port },
            by: NatOrigin::Rule {
                chain: Id::from_uuid(Uuid::from_u128(8)),
                rule: Id::from_uuid(Uuid::from_u128(9)),
            },
        }
    }

    /// Those of a load balancer.
    fn balanced() -> [NatBinding; 2] {
        let (pool, member) = (Id::from_uuid(Uuid::from_u128(5)), Id::from_uuid(Uuid::from_u128(6)));
        let by = [NatOrigin::Pool { pool, member }, NatOrigin::Client { pool, member }];
        by.map(|by| NatBinding { by, ..binding(5, 7000) })
    }

    fn device() -> DeviceId {
        DeviceId::Router(Id::from_uuid(Uuid::from_u128(7)))
    }

    fn all() -> Vec<Record> {
        let binding = binding(5, 7000);
        let idle = Duration::from_millis(70_000);
        let [connection, client] = balanced();
        vec![
            Record::Made(binding),
            Record::Made(connection),
            Record::Copy { owner: Id::from_uuid(Uuid::from_u128(3)), binding: client },
            Record::Copy { owner: Id::from_uuid(Uuid::from_u128(3)), binding },
            Record::Ended { key: binding.key, to: binding.to },
            Record::Used { key: binding.key, idle },
            Record::Ask(device()),
            Record::Ask(DeviceId::Bridge(Id::from_uuid(Uuid::from_u128(6)))),
            Record::Shared(shared(Some(7), Stage::Begun)),
            Record::Shared(shared(None, Stage::Lasting)),
            Record::Shared(shared(None, Stage::Over)),
            Record::Seen { key: binding.key, way: Way::Back, class: TcpClass::Fin },
            Record::Seen { key: binding.key, way: Way::Forward, class: TcpClass::Syn },
            Record::Left(left(Some(7), false)),
            Record::Left(left(None, true)),
        ]
    }

    fn left(vlan: Option<u16>, tracked: bool) -> Left {
        let Shared { port, protocol, src, dst, src_port, dst_port, .. } =
            shared(vlan, Stage::Begun);
        let (eth_dst, eth_src) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        Left { port, tracked, protocol, src, dst, src_port, dst_port, eth_dst, eth_src, vlan }
    }

    fn shared(vlan: Option<u16>, stage: Stage) -> Shared {
        Shared {
            port: Id::from_uuid(Uuid::from_u128(4)),
            protocol: IpProtocol::TCP,
            src: "::ffff:10.0.0.1".parse().unwrap(),
            dst: "::ffff:203.0.113.1".parse().unwrap(),
            src_port: 40000,
            dst_port: 80,
            vlan,
            stage,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_and_cut_short_it_is_none() {
        for record in all() {
            let mut octets = Vec::new();
            record.put(&mut octets);
            assert!(octets.len() <= RECORD_MAX);
            let mut rest = &octets[..];
            assert_eq!(Record::take(&mut rest), Ok(record));
            assert!(rest.is_empty());
            for len in 0..octets.len() {
                assert_eq!(Record::take(&mut &octets[..len]), Err(Refused::Malformed));
            }
            octets[1] += 1;
            octets.push(0);
            assert_eq!(Record::take(&mut &octets[..]), Err(Refused::Malformed), "too long a body");
        }
    }

    proptest! {
        #[test]
        fn whatever_octets_come_a_record_that_is_read_is_what_they_say(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0_u8..10,
            len in prop::sample::select(vec![17_u8, 56, 57, 59, 68, 73, 105, 121]),
        ) {
            let mut octets = octets;
            if octets.len() > 2 {
                (octets[0], octets[1]) = (kind, len);
            }
            let mut rest = &octets[..];
            if let Ok(record) = Record::take(&mut rest) {
                let mut again = Vec::new();
                record.put(&mut again);
                prop_assert_eq!(&again[..], &octets[..octets.len() - rest.len()]);
            }
        }
    }
}
