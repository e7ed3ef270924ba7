//! What comes up: for each worker a ring of packets, and one of what its flows tell.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aya::maps::{Map, MapData, RingBuf};
use mn_datapath_abi::{Followed as AbiFollowed, Plain, UpcallHeader};
use mn_flow::{Class, Cookie, DropCause, PortNo};
use mn_packet::{IpProtocol, Layers};
use mn_time::Instant;

use super::drops::Drops;
use super::open::{chain, system};
use super::sleep::Sleep;
use super::sys::Shared;
use super::{key, sys};
use crate::{Bell, DatapathError, Followed, Offload, Upcall, UpcallReason, Upcalls};

/// A record this old was written for an agent that has died: contracts §2.
const STALE: Duration = Duration::from_millis(200);

/// The maps that workers' rings are in.
pub struct Rings {
    pub upcalls: OwnedFd,
    pub followed: OwnedFd,
    pub untold: OwnedFd,
    pub bells: OwnedFd,
}

/// A worker's rings.
pub struct Ring {
    ring: RingBuf<MapData>,
    followed: RingBuf<MapData>,
    worker: usize,
    /// What the latter had no room for, and how much of that was said.
    untold: Shared<u64>,
    untold_said: u64,
    drops: Drops,
    opened_at: Instant,
    sleep: Sleep,
}

impl Ring {
    /// Opens the rings of a worker.
    pub fn open(maps: &Rings, drops: Drops, worker: usize) -> Result<Self, DatapathError> {
        let untold = Shared::<u64>::map(maps.untold.as_fd()).map_err(system("mmap"))?;
        let own = |rings: &OwnedFd| {
            ring_of(rings.as_fd(), worker)?
                .ok_or_else(|| DatapathError::Missing(format!("the ring of worker {worker}")))
        };
        Ok(Self {
            ring: own(&maps.upcalls)?,
            followed: own(&maps.followed)?,
            worker,
            untold_said: untold.word(worker, 0).load(Relaxed),
            untold,
            drops,
            opened_at: Instant::from_nanos(sys::monotonic_now()),
            sleep: Sleep::open(maps.bells.as_fd(), worker)?,
        })
    }
}

/// A worker's ring of those in a map; `None` where it has none.
pub fn ring_of(
    rings: BorrowedFd<'_>,
    worker: usize,
) -> Result<Option<RingBuf<MapData>>, DatapathError> {
    let number = u32::try_from(worker).unwrap_or(u32::MAX);
    let mut id = [0; 4];
    if !sys::map_lookup(rings, number.octets(), &mut id).map_err(system("bpf"))? {
        return Ok(None);
    }
    let load = |error: &dyn std::error::Error| DatapathError::Load(chain(error));
    let data = MapData::from_id(u32::from_ne_bytes(id)).map_err(|error| load(&error))?;
    let map = Map::from_map_data(data).map_err(|error| load(&error))?;
    RingBuf::try_from(map).map(Some).map_err(|error| load(&error))
}

impl Upcalls for Ring {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        each: &mut dyn FnMut(Upcall<'_>),
    ) -> Result<usize, DatapathError> {
        let count = self.drain(max, each);
        if count > 0 || timeout.is_zero() {
            return Ok(count);
        }
        self.sleep.announce();
        // What came before that has woken nobody.
        let mut count = self.drain(max, each);
        if count == 0 {
            let waited = self.sleep.wait(self.ring.as_fd(), timeout);
            self.sleep.end();
            waited?;
            count = self.drain(max, each);
        } else {
            self.sleep.end();
        }
        Ok(count)
    }

    fn followed(&mut self, each: &mut dyn FnMut(Followed)) -> u64 {
        while let Some(record) = self.followed.next() {
            let Some(followed) = AbiFollowed::from_octets(&record) else { continue };
            let Some(class) = Class::from_octet(followed.class) else { continue };
            each(Followed { cookie: Cookie(followed.cookie), class: class.tcp });
        }
        let untold = self.untold.word(self.worker, 0).load(Relaxed);
        untold.wrapping_sub(std::mem::replace(&mut self.untold_said, untold))
    }

    fn bell(&self) -> Bell {
        self.sleep.bell()
    }
}

impl Ring {
    fn drain(&mut self, max: usize, each: &mut dyn FnMut(Upcall<'_>)) -> usize {
        let mut count = 0;
        let mut stale: Vec<u32> = Vec::new();
        while count < max {
            let opened_at = self.opened_at;
            let Some(record) = self.ring.next() else { break };
            let Some(header) = UpcallHeader::from_octets(&record) else { continue };
            let at = Instant::from_nanos(header.at);
            if at < opened_at && opened_at.since(at) > STALE {
                stale.push(header.key.in_port);
                continue;
            }
            let frame = record.get(size_of::<UpcallHeader>()..).unwrap_or_default();
            let Some(frame) = frame.get(..header.len as usize) else { continue };
            let Some(key) = key::from_abi(&header.key) else { continue };
            each(Upcall {
                reason: reason(header.reason),
                key,
                frame,
                offload: Offload {
                    gso_size: header.gso_size,
                    checksum_partial: has_partial_checksum(frame),
                },
                at,
            });
            count += 1;
        }
        for port in stale {
            self.drops.count(PortNo(port), DropCause::AgentDown, 1);
        }
        count
    }
}

const fn reason(code: u8) -> UpcallReason {
    match code {
        1 => UpcallReason::Ttl,
        2 => UpcallReason::TooBig,
        3 => UpcallReason::Copy,
        4 => UpcallReason::Answer,
        _ => UpcallReason::Miss,
    }
}

/// Whether the transport checksum is the sum of the pseudo-header alone, left to a device to
/// finish. A finished checksum is equal to it for one packet in 65,535; finishing it once more is
/// then the same sum.
fn has_partial_checksum(frame: &[u8]) -> bool {
    let Ok(layers) = Layers::of(frame) else { return false };
    let Some(ip) = layers.ip() else { return false };
    if ip.is_later_fragment() {
        return false;
    }
    let at = match ip.protocol {
        IpProtocol::TCP => 16,
        IpProtocol::UDP => 6,
        _ => return false,
    };
    let Some(&[high, low]) = ip.payload.get(at..at + 2) else { return false };
    let (src, dst) = ip.addresses_v6();
    let len = u32::try_from(ip.payload.len()).unwrap_or(0);
    let pairs = |octets: &[u8; 16]| -> u32 {
        octets.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
    };
    let addresses = |v6: std::net::Ipv6Addr| match v6.to_ipv4_mapped() {
        // The mapping's ffff is no part of an IPv4 pseudo-header.
        Some(v4) => {
            let [a, b, c, d] = v4.octets();
            u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]))
        }
        None => pairs(&v6.octets()),
    };
    let mut sum = addresses(src) + addresses(dst) + u32::from(ip.protocol.0);
    sum += (len >> 16) + (len & 0xffff);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == u32::from(u16::from_be_bytes([high, low]))
}
