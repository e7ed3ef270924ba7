//! Packets that go up to the agent: who may ask, which worker answers, where they wait.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mn_flow::FlowKey;
use mn_packet::{EtherType, IpProtocol, Ipv4Header, Ipv6Header};
use mn_time::Instant;

use super::packet::Packet;
use crate::{Bell, DatapathError, Followed, Offload, Upcall, UpcallLimit, UpcallReason, Upcalls};

/// Packets that may wait for one worker; beyond it they are dropped and counted.
pub(super) const QUEUE_MAX: usize = 4096;
/// Segments that are told of and wait for one worker; beyond it they are counted.
const FOLLOWED_MAX: usize = 8192;

/// A port's share of new flows: a token bucket as one number, the theoretical arrival time of the
/// generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    limit: UpcallLimit,
    arrival_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn full(limit: UpcallLimit) -> Self {
        Self { limit, arrival_at: Instant::ZERO }
    }

    /// Takes one token; `false` if there is none. A bucket of rate 0 has none ever.
    pub fn take(&mut self, now: Instant) -> bool {
        let Some(period) = 1_000_000_000_u64.checked_div(u64::from(self.limit.rate)) else {
            return false;
        };
        let depth = period.saturating_mul(u64::from(self.limit.burst));
        let next = self.arrival_at.max(now) + Duration::from_nanos(period);
        if next.since(now) > Duration::from_nanos(depth) {
            return false;
        }
        self.arrival_at = next;
        true
    }
}

/// The worker a packet goes to, of `workers`: the same for both directions of a connection, its
/// fragments and the ICMP errors about it. So it is chosen by the two addresses alone, quoted ones
/// where there are any.
pub(super) fn worker_of(packet: &Packet, workers: usize) -> usize {
    let key = &packet.key;
    let (src, dst) = quoted_addresses(packet).unwrap_or(match packet.ip {
        None if key.eth_type != EtherType::ARP => (mac_bits(key, true), mac_bits(key, false)),
        _ => (key.nw_src, key.nw_dst),
    });
    crate::worker_of(src, dst, workers)
}

/// A MAC where an address is wanted.
fn mac_bits(key: &FlowKey, source: bool) -> Ipv6Addr {
    let [a, b, c, d, e, f] = if source { key.eth_src.0 } else { key.eth_dst.0 };
    Ipv6Addr::from_bits(u128::from(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
}

/// The addresses of the packet that an ICMP error quotes.
fn quoted_addresses(packet: &Packet) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let (ip, at) = packet.icmp()?;
    let is_error = match ip.protocol {
        IpProtocol::ICMP => matches!(packet.key.icmp_type(), 3 | 11 | 12),
        _ => matches!(packet.key.icmp_type(), 1..=4),
    };
    let quote = packet.frame.get(at + 8..ip.end).filter(|_| is_error)?;
    if ip.is_v4 {
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *quote.first_chunk::<{ Ipv4Header::LEN }>()?;
        let mapped = |octets: [u8; 4]| std::net::Ipv4Addr::from(octets).to_ipv6_mapped();
        Some((mapped([s0, s1, s2, s3]), mapped([d0, d1, d2, d3])))
    } else {
        let (_, addresses) = quote.first_chunk::<{ Ipv6Header::LEN }>()?.split_at(8);
        let (src, dst) = addresses.split_first_chunk::<16>()?;
        Some(((*src).into(), (*dst.first_chunk::<16>()?).into()))
    }
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub reason: UpcallReason,
    pub key: FlowKey,
    pub frame: Vec<u8>,
    pub offload: Offload,
    pub at: Instant,
}

/// The packets that wait for one worker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Contents>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Contents {
    packets: VecDeque<Waiting>,
    followed: Vec<Followed>,
    /// Segments there was no room for.
    untold: u64,
    /// Whoever waits is to go on without a packet.
    rung: bool,
}

impl Queue {
    /// Appends a packet; `false` if there is no room.
    pub fn push(&self, packet: Waiting) -> bool {
        let mut waiting = self.lock();
        let room = waiting.packets.len() < QUEUE_MAX;
        if room {
            waiting.packets.push_back(packet);
            self.arrived.notify_one();
        }
        room
    }

    /// Appends what a flow tells; `false` if there is no room. Wakes nobody.
    pub fn tell(&self, followed: Followed) -> bool {
        let mut contents = self.lock();
        let room = contents.followed.len() < FOLLOWED_MAX;
        if room {
            contents.followed.push(followed);
        } else {
            contents.untold += 1;
        }
        room
    }

    /// A thread that panicked in between left a queue that is whole: it changes in one step.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes at most `max` packets; waits up to `timeout` for the first.
    fn take(&self, max: usize, timeout: Duration) -> VecDeque<Waiting> {
        let waiting = self.lock();
        let empty = |waiting: &mut Contents| waiting.packets.is_empty() && !waiting.rung;
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.rung = false;
        let count = max.min(waiting.packets.len());
        waiting.packets.drain(..count).collect()
    }

    /// Ends the wait for a packet.
    fn ring(&self) {
        self.lock().rung = true;
        self.arrived.notify_one();
    }
}

/// One worker's end of a queue.
pub(super) struct Worker(pub Arc<Queue>);

impl Upcalls for Worker {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        each: &mut dyn FnMut(Upcall<'_>),
    ) -> Result<usize, DatapathError> {
        let taken = self.0.take(max, timeout);
        for Waiting { reason, key, frame, offload, at } in &taken {
            each(Upcall { reason: *reason, key: *key, frame, offload: *offload, at: *at });
        }
        Ok(taken.len())
    }

    fn followed(&mut self, each: &mut dyn FnMut(Followed)) -> u64 {
        // Not under the lock: whoever takes them may come back in.
        let (told, untold) = {
            let mut contents = self.0.lock();
            (std::mem::take(&mut contents.followed), std::mem::take(&mut contents.untold))
        };
        told.into_iter().for_each(each);
        untold
    }

    fn bell(&self) -> Bell {
        let queue = Arc::clone(&self.0);
        Bell::new(move || queue.ring())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_ends_the_wait_that_is_and_else_the_next_one() {
        let mut worker = Worker(Arc::default());
        let bell = worker.bell();
        let mut polled = |timeout| {
            let begun_at = std::time::Instant::now();
            let count = worker.poll(1, timeout, &mut |_| {}).unwrap();
            assert_eq!(count, 0);
            begun_at.elapsed()
        };
        bell.ring();
        let long = Duration::from_secs(10);
        assert!(polled(long) < long, "it was rung before");
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            bell.ring();
        });
        assert!(polled(long) < long, "it is rung meanwhile");
        thread.join().unwrap();
        let short = Duration::from_millis(5);
        assert!(polled(short) >= short, "a ring ends one wait");
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let mut bucket = TokenBucket::full(UpcallLimit { rate: 10, burst: 3 });
        let start = Instant::from_nanos(5_000_000_000);
        let taken = |bucket: &mut TokenBucket, at| (0..10).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 3);
        let mut none = TokenBucket::full(UpcallLimit { rate: 0, burst: 9 });
        assert!(!none.take(start));
    }
}
