//! Blocks of ports, and who has which of them to which destination (agent-facts §14, Leases).
//!
//! A port serves many connections, as long as they go to different destinations: what is unique is
//! the answer's tuple (RFC 4787 §4.1 forbids no more). So one bit is kept per port *and
//! destination*, 64 to a word, and a free one is found by looking at words.

use std::net::Ipv6Addr;

use hashbrown::HashMap;
use mn_ids::RuleId;
use mn_packet::IpProtocol;
use mn_simulation::nat::{Endpoint, NatTuple, SourceChoice, SourceWanted, addresses, source_ports};
use mn_time::Instant;
use mn_topology::{DeviceId, NatTarget};
use smallvec::SmallVec;

use crate::limits;

/// 64 neighbouring ports of an address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Block {
    pub addr: Ipv6Addr,
    /// Which 64 of the 65,536: its first port divided by 64.
    pub number: u16,
}

/// Blocks that a device may translate to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    pub device: DeviceId,
    pub blocks: Vec<Block>,
}

/// Ports are running short: so many more blocks are wanted for a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    pub device: DeviceId,
    pub rule: RuleId,
    pub targets: Vec<NatTarget>,
    pub blocks: usize,
}

/// The ports that one worker may give away.
#[derive(Debug, Default)]
pub struct NatPorts {
    pools: Vec<Pool>,
    by_device: HashMap<DeviceId, Vec<u32>>,
    uses: HashMap<Destination, Uses>,
    /// Rules for which blocks were asked for, or denied until a time.
    asked: HashMap<(DeviceId, RuleId), Asked>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Waiting,
    Denied(Instant),
}

/// The blocks of one address of a device. A block keeps its place while it is leased.
#[derive(Debug)]
struct Pool {
    addr: Ipv6Addr,
    blocks: Vec<Option<Leased>>,
    /// Where each of the address's blocks is, plus one; 0: it is not leased.
    places: Vec<u16>,
    leased: u32,
}

/// Blocks of an address.
const BLOCKS: usize = 65_536 / 64;

#[derive(Clone, Copy, Debug)]
struct Leased {
    number: u16,
    /// Connections that have one of its ports.
    used: u32,
    idle_since: Instant,
}

/// Where connections of one pool go to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Destination {
    pool: u32,
    protocol: IpProtocol,
    addr: Ipv6Addr,
    port: u16,
}

/// Which ports are in use to one destination.
#[derive(Debug, Default)]
struct Uses {
    /// A word for each place of the pool's blocks.
    words: SmallVec<[u64; 2]>,
    used: u32,
    /// Every word before this one is full.
    full: u32,
}

impl NatPorts {
    /// Takes over blocks that were leased to this host for this worker. Those it has stay as they
    /// are.
    pub fn add(&mut self, lease: &Lease, now: Instant) {
        for block in &lease.blocks {
            let pool = self.pool_or_new(lease.device, block.addr);
            self.pools[pool as usize].add(block.number, now);
        }
    }

    /// An answer to a [`Need`]: blocks came, or there are none to be had for now.
    pub fn answered(&mut self, device: DeviceId, rule: RuleId, denied_until: Option<Instant>) {
        match denied_until {
            Some(until) => drop(self.asked.insert((device, rule), Asked::Denied(until))),
            None => drop(self.asked.remove(&(device, rule))),
        }
    }

    /// Forgets denials that are old: blocks may be asked for again.
    pub fn tick(&mut self, now: Instant) {
        self.asked.retain(|_, asked| !matches!(asked, Asked::Denied(until) if *until <= now));
    }

    /// Notes that blocks are needed for a rule; `None` where they were asked for already.
    pub fn need(&mut self, device: DeviceId, rule: RuleId, targets: &[NatTarget]) -> Option<Need> {
        if self.asked.contains_key(&(device, rule)) {
            return None;
        }
        self.asked.insert((device, rule), Asked::Waiting);
        let blocks = self.count(device, targets).clamp(1, limits::NAT_BLOCKS_AT_ONCE);
        Some(Need { device, rule, targets: targets.to_vec(), blocks })
    }

    /// Whether the ports to where `tuple` goes are half used, so that more should be leased.
    #[must_use]
    pub fn is_low(&self, device: DeviceId, tuple: &NatTuple, targets: &[NatTarget]) -> bool {
        let (mut used, mut all) = (0, 0);
        for index in self.matching(device, targets) {
            let pool = &self.pools[index as usize];
            all += pool.leased * 64;
            used += self.uses.get(&destination(index, tuple)).map_or(0, |uses| uses.used);
        }
        used * 2 >= all
    }

    /// Whether there is any block for these targets.
    #[must_use]
    pub fn has_any(&self, device: DeviceId, targets: &[NatTarget]) -> bool {
        self.count(device, targets) > 0
    }

    /// How many blocks there are for these targets.
    fn count(&self, device: DeviceId, targets: &[NatTarget]) -> usize {
        let matching = self.matching(device, targets);
        matching.map(|index| self.pools[index as usize].leased as usize).sum()
    }

    /// A port that no connection to the same destination has.
    #[must_use]
    pub fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        let device = wanted.key.device;
        let Some(indices) = self.by_device.get(&device) else { return self.none(wanted) };
        let tuple = &wanted.key.tuple;
        // Connections of one machine begin at the same address (RFC 4787 REQ-2).
        let begin = tuple.src.to_bits();
        let begin = (begin ^ begin >> 64) as usize ^ (begin >> 32) as usize;
        for target in wanted.targets {
            for nth in 0..indices.len() {
                let index = indices[begin.wrapping_add(nth) % indices.len()];
                let pool = &self.pools[index as usize];
                if pool.is_of(target)
                    && let Some(port) = self.free_in(index, tuple, target, wanted.seed)
                {
                    return SourceChoice::Is(Endpoint { addr: pool.addr, port });
                }
            }
        }
        self.none(wanted)
    }

    fn none(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        match self.asked.get(&(wanted.key.device, wanted.rule)) {
            Some(Asked::Denied(_)) => SourceChoice::Exhausted,
            Some(Asked::Waiting) | None => SourceChoice::NoLease,
        }
    }

    fn free_in(&self, index: u32, tuple: &NatTuple, target: &NatTarget, seed: u64) -> Option<u16> {
        let pool = &self.pools[index as usize];
        let uses = self.uses.get(&destination(index, tuple));
        let first = uses.map_or(0, |uses| uses.full as usize);
        for (place, block) in pool.blocks.iter().enumerate().skip(first) {
            let Some(block) = block else { continue };
            let taken = uses.and_then(|uses| uses.words.get(place)).copied().unwrap_or(0);
            let free = within(block.number, target) & !taken;
            if free != 0 {
                // Any of them: a port is not to be guessed (RFC 6056).
                let turn = (seed ^ u64::from(tuple.src_port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let turn = (turn >> 58) as u32;
                let bit = (free.rotate_right(turn).trailing_zeros() + turn) % 64;
                return Some(block.number * 64 + bit as u16);
            }
        }
        None
    }

    /// Notes that a connection has a port. A port of a block that is not here is not noted.
    pub fn take(&mut self, device: DeviceId, tuple: &NatTuple, end: Endpoint) {
        let Some((index, place)) = self.place(device, end) else { return };
        let uses = self.uses.entry(destination(index, tuple)).or_default();
        if uses.words.len() <= place {
            uses.words.resize(place + 1, 0);
        }
        let bit = 1 << (end.port % 64);
        if uses.words[place] & bit != 0 {
            return;
        }
        uses.words[place] |= bit;
        uses.used += 1;
        while uses.words.get(uses.full as usize) == Some(&u64::MAX) {
            uses.full += 1;
        }
        if let Some(block) = &mut self.pools[index as usize].blocks[place] {
            block.used += 1;
        }
    }

    /// Notes that a connection has its port no longer.
    pub fn release(&mut self, device: DeviceId, tuple: &NatTuple, end: Endpoint, now: Instant) {
        let Some((index, place)) = self.place(device, end) else { return };
        let key = destination(index, tuple);
        let Some(uses) = self.uses.get_mut(&key) else { return };
        let bit = 1 << (end.port % 64);
        let Some(word) = uses.words.get_mut(place).filter(|word| **word & bit != 0) else { return };
        *word &= !bit;
        uses.used -= 1;
        uses.full = uses.full.min(place as u32);
        if uses.used == 0 {
            self.uses.remove(&key);
        }
        if let Some(block) = &mut self.pools[index as usize].blocks[place] {
            block.used -= 1;
            block.idle_since = now;
        }
    }

    /// Takes out blocks that nobody has used for long; of each device one stays, so that the next
    /// connection need not wait.
    pub fn give_back(&mut self, now: Instant) -> Vec<Lease> {
        let mut left = Vec::new();
        for (device, indices) in &self.by_device {
            let mut stay: u32 = indices.iter().map(|at| self.pools[*at as usize].leased).sum();
            let mut blocks = Vec::new();
            for index in indices {
                let pool = &mut self.pools[*index as usize];
                for place in (0..pool.blocks.len()).rev() {
                    let idle = |block: &Leased| {
                        block.used == 0 && block.idle_since + limits::NAT_BLOCK_IDLE_FOR <= now
                    };
                    if stay > 1
                        && pool.blocks[place].as_ref().is_some_and(idle)
                        && let Some(number) = pool.take_out(place)
                    {
                        stay -= 1;
                        blocks.push(Block { addr: pool.addr, number });
                    }
                }
            }
            if !blocks.is_empty() {
                left.push(Lease { device: *device, blocks });
            }
        }
        left
    }

    /// Takes out a block that this host has lost, whoever uses it.
    pub fn lose(&mut self, device: DeviceId, block: Block) {
        let end = Endpoint { addr: block.addr, port: block.number * 64 };
        let Some((index, place)) = self.place(device, end) else { return };
        self.pools[index as usize].take_out(place);
        for (key, uses) in &mut self.uses {
            if key.pool == index
                && let Some(word) = uses.words.get_mut(place)
            {
                uses.used -= word.count_ones();
                *word = 0;
                uses.full = uses.full.min(place as u32);
            }
        }
        self.uses.retain(|_, uses| uses.used > 0);
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pools.iter().map(|pool| pool.leased as usize).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pool_or_new(&mut self, device: DeviceId, addr: Ipv6Addr) -> u32 {
        let indices = self.by_device.entry(device).or_default();
        let there = indices.iter().find(|index| self.pools[**index as usize].addr == addr);
        if let Some(there) = there {
            return *there;
        }
        let index = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        self.pools.push(Pool::new(addr));
        indices.push(index);
        index
    }

    fn place(&self, device: DeviceId, end: Endpoint) -> Option<(u32, usize)> {
        let indices = self.by_device.get(&device)?;
        let index = *indices.iter().find(|it| self.pools[**it as usize].addr == end.addr)?;
        Some((index, self.pools[index as usize].place_of(end.port / 64)?))
    }

    fn matching<'a>(
        &'a self,
        device: DeviceId,
        targets: &'a [NatTarget],
    ) -> impl Iterator<Item = u32> + 'a {
        let indices = self.by_device.get(&device).map_or(&[][..], Vec::as_slice);
        let fits =
            |index: &u32| targets.iter().any(|target| self.pools[*index as usize].is_of(target));
        indices.iter().copied().filter(fits)
    }
}

impl Pool {
    fn new(addr: Ipv6Addr) -> Self {
        Self { addr, blocks: Vec::new(), places: vec![0; BLOCKS], leased: 0 }
    }

    /// Where a block is.
    fn place_of(&self, number: u16) -> Option<usize> {
        usize::from(*self.places.get(usize::from(number))?).checked_sub(1)
    }

    /// Adds a block that is not there yet.
    fn add(&mut self, number: u16, now: Instant) {
        if usize::from(number) >= BLOCKS || self.place_of(number).is_some() {
            return;
        }
        let free = self.blocks.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.blocks.push(None);
            self.blocks.len() - 1
        });
        self.blocks[place] = Some(Leased { number, used: 0, idle_since: now });
        // There are no more blocks than numbers.
        self.places[usize::from(number)] = place as u16 + 1;
        self.leased += 1;
    }

    /// Takes out what is at a place; its number.
    fn take_out(&mut self, place: usize) -> Option<u16> {
        let number = self.blocks.get_mut(place)?.take()?.number;
        self.places[usize::from(number)] = 0;
        self.leased -= 1;
        Some(number)
    }

    fn is_of(&self, target: &NatTarget) -> bool {
        let (first, last) = addresses(target);
        (first..=last).contains(&self.addr.to_bits())
    }
}

/// The ports of a block that a target has, as bits.
fn within(block: u16, target: &NatTarget) -> u64 {
    let (first, last) = source_ports(target);
    let begin = block * 64;
    let end = begin | 63;
    if last < begin || first > end {
        return 0;
    }
    let low = first.max(begin) - begin;
    let high = last.min(end) - begin;
    u64::MAX >> (63 - (high - low)) << low
}

fn destination(pool: u32, tuple: &NatTuple) -> Destination {
    Destination { pool, protocol: tuple.protocol, addr: tuple.dst, port: tuple.dst_port }
}
