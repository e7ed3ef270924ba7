//! Tracked connections: the programs make and follow them, the agent removes them.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use mn_datapath_abi::limits::PORTS_MAX;
use mn_datapath_abi::{Connection as Entry, ConnectionKey, Plain, Share, Zone as ZoneEntry};
use mn_flow::{PortNo, Zone};
use mn_packet::IpProtocol;
use mn_time::Instant;

use super::open::system;
use super::sys::{self, BatchCursor, Shared};
use crate::DatapathError;
use crate::connection::{Aged, ConnState, Connection, Timeouts, Tuple};

/// Entries read by one system call.
const BATCH: u32 = 4096;
/// The bit of a key's `vlan` that says there is a tag.
const VLAN_PRESENT: u16 = 0x1000;

/// The tables of connections.
pub struct Connections {
    entries: OwnedFd,
    zones: Shared<ZoneEntry>,
    shares: Shared<Share>,
    /// Where ageing goes on.
    cursor: BatchCursor,
}

/// The maps of [`Connections`].
pub struct ConnectionMaps<'a> {
    pub connections: BorrowedFd<'a>,
    pub zones: BorrowedFd<'a>,
    pub shares: BorrowedFd<'a>,
}

impl Connections {
    pub fn open(maps: &ConnectionMaps<'_>) -> Result<Self, DatapathError> {
        Ok(Self {
            entries: maps.connections.try_clone_to_owned().map_err(system("dup"))?,
            zones: Shared::map(maps.zones).map_err(system("mmap of zones"))?,
            shares: Shared::map(maps.shares).map_err(system("mmap of shares"))?,
            cursor: None,
        })
    }

    /// Sets the most connections of a port.
    pub fn set_max(&self, port: PortNo, max: u32) {
        if (port.0 as usize) < PORTS_MAX {
            self.shares.half(port.0 as usize, Share::MAX_AT).store(max, Release);
        }
    }

    /// How many connections a port has and may have.
    pub fn share(&self, port: PortNo) -> Share {
        if (port.0 as usize) < PORTS_MAX {
            self.shares.read(port.0 as usize)
        } else {
            Share::default()
        }
    }

    pub fn get(&self, zone: Zone, tuple: &Tuple) -> Result<Option<Connection>, DatapathError> {
        let key = key_of(zone, tuple);
        Ok(self.read(&key)?.and_then(|entry| connection(&key, &entry)))
    }

    fn read(&self, key: &ConnectionKey) -> Result<Option<Entry>, DatapathError> {
        let mut value = [0; size_of::<Entry>()];
        let there = sys::map_lookup(self.entries.as_fd(), key.octets(), &mut value)
            .map_err(system("bpf"))?;
        Ok(Entry::from_octets(&value).filter(|_| there))
    }

    /// A batch of connections from the cursor on, and where the next one begins.
    pub fn some(
        &self,
        cursor: BatchCursor,
    ) -> Result<(Vec<Connection>, BatchCursor), DatapathError> {
        let (entries, next) = self.batch(cursor)?;
        let some = entries.iter().filter_map(|(key, entry)| connection(key, entry)).collect();
        Ok((some, next))
    }

    fn batch(
        &self,
        cursor: BatchCursor,
    ) -> Result<(Vec<(ConnectionKey, Entry)>, BatchCursor), DatapathError> {
        let room = BATCH as usize;
        let mut keys = vec![0; room * size_of::<ConnectionKey>()];
        let mut values = vec![0; room * size_of::<Entry>()];
        let (count, next) =
            sys::map_lookup_batch(self.entries.as_fd(), cursor, (&mut keys, &mut values), BATCH)
                .map_err(system("bpf"))?;
        let keys = keys.chunks_exact(size_of::<ConnectionKey>()).map(ConnectionKey::from_octets);
        let values = values.chunks_exact(size_of::<Entry>()).map(Entry::from_octets);
        let both = keys.zip(values).take(count).filter_map(|(key, value)| key.zip(value));
        Ok((both.collect(), next))
    }

    /// See [`crate::Datapath::age_connections`].
    pub fn age(
        &mut self,
        now: Instant,
        timeouts: &Timeouts,
        at_once: usize,
    ) -> Result<Aged, DatapathError> {
        let mut aged = Aged::default();
        while aged.looked_at < at_once && !aged.whole {
            let (entries, next) = self.batch(self.cursor)?;
            aged.looked_at += entries.len();
            let is_over = |it: &Connection| timeouts.is_over(it, now);
            aged.removed += self.remove(&entries, &is_over)?;
            self.cursor = next;
            aged.whole = next.is_none();
        }
        Ok(aged)
    }

    /// Removes all that this is said of.
    pub fn forget(&self, is_one: &dyn Fn(&Connection) -> bool) -> Result<usize, DatapathError> {
        let (mut removed, mut cursor) = (0, None);
        loop {
            let (entries, next) = self.batch(cursor)?;
            removed += self.remove(&entries, is_one)?;
            if next.is_none() {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    /// Removes those of some entries that this is said of. A packet may have come since they were
    /// read, so each is read again.
    fn remove(
        &self,
        entries: &[(ConnectionKey, Entry)],
        is_one: &dyn Fn(&Connection) -> bool,
    ) -> Result<usize, DatapathError> {
        // An entry that is not ours to read is of no use to anyone.
        let goes = |key: &ConnectionKey, entry: &Entry| {
            connection(key, entry).is_none_or(|it| is_one(&it))
        };
        let mut removed = 0;
        for (key, _) in entries.iter().filter(|(key, entry)| goes(key, entry)) {
            let Some(entry) = self.read(key)?.filter(|entry| goes(key, entry)) else { continue };
            if sys::map_delete(self.entries.as_fd(), key.octets()).map_err(system("bpf"))? {
                self.uncount(key, &entry);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn uncount(&self, key: &ConnectionKey, entry: &Entry) {
        let less = |count: &AtomicU32| {
            let _ = count.fetch_update(AcqRel, Acquire, |now| now.checked_sub(1));
        };
        if (key.zone as usize) < self.zones.len() {
            less(self.zones.half(key.zone as usize, ZoneEntry::CONNECTIONS_AT));
        }
        if (entry.port as usize) < self.shares.len() {
            less(self.shares.half(entry.port as usize, Share::CONNECTIONS_AT));
        }
    }
}

/// An end of a connection in the order of the programs: address as two words, then port.
fn rank(addr: Ipv6Addr, port: u16) -> (u64, u64, u16) {
    let octets = addr.octets();
    let word = |at: usize| octets[at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    (word(0), word(8), u16::from_ne_bytes(port.to_be_bytes()))
}

fn key_of(zone: Zone, tuple: &Tuple) -> ConnectionKey {
    let from_low = rank(tuple.src, tuple.src_port) <= rank(tuple.dst, tuple.dst_port);
    let sorted = if from_low { *tuple } else { tuple.reversed() };
    ConnectionKey {
        zone: zone.0,
        vlan: tuple.vlan.map_or(0, |vlan| vlan | VLAN_PRESENT),
        proto: tuple.protocol.0,
        zero: 0,
        low: sorted.src.octets(),
        high: sorted.dst.octets(),
        low_port: sorted.src_port.to_be_bytes(),
        high_port: sorted.dst_port.to_be_bytes(),
        zero2: 0,
    }
}

/// `None` where the state is none of ours.
fn connection(key: &ConnectionKey, entry: &Entry) -> Option<Connection> {
    let sorted = Tuple {
        src: key.low.into(),
        dst: key.high.into(),
        src_port: u16::from_be_bytes(key.low_port),
        dst_port: u16::from_be_bytes(key.high_port),
        protocol: IpProtocol(key.proto),
        vlan: (key.vlan & VLAN_PRESENT != 0).then_some(key.vlan & 0xfff),
    };
    Some(Connection {
        zone: Zone(key.zone),
        tuple: if entry.flags & Entry::FORWARD_LOW != 0 { sorted } else { sorted.reversed() },
        state: ConnState::from_code(entry.state)?,
        port: PortNo(entry.port),
        made_at: Instant::from_nanos(entry.made_at),
        used_at: Instant::from_nanos(entry.used_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key_and_the_entry_says_which_is_forward() {
        let tuple = Tuple {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            src_port: 40000,
            dst_port: 80,
            protocol: IpProtocol::TCP,
            vlan: Some(7),
        };
        let key = key_of(Zone(3), &tuple);
        assert_eq!(key_of(Zone(3), &tuple.reversed()), key);
        let low = key.low == tuple.src.octets();
        let flags = if low { Entry::FORWARD_LOW } else { 0 };
        let entry = Entry { state: ConnState::SynSent as u8, flags, ..Entry::default() };
        assert_eq!(connection(&key, &entry).map(|it| it.tuple), Some(tuple));
        assert_eq!(connection(&key, &Entry::default()), None);
    }
}
