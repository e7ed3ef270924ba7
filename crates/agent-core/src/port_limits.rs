//! What one port may have of what all ports share, and who runs into it.

use hashbrown::HashMap;
use mn_flow::{DropCause, NatTag, PortNo};
use mn_time::{Duration, Instant};

use crate::by_port::ByPort;
use crate::limits;

/// Something of which one port may not have all.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PortLimit {
    /// Packets that wait for a decision: the token buckets.
    Upcalls,
    /// Flows of packets that come in by it.
    Flows,
    /// Tracked connections that count as its.
    Connections,
    /// Ports that its connections are translated to.
    NatPorts,
    /// MACs that are behind it.
    Macs,
    /// Broadcast and multicast frames a second.
    Broadcasts,
}

impl PortLimit {
    /// Every limit.
    pub const ALL: [Self; 6] = [
        Self::Upcalls,
        Self::Flows,
        Self::Connections,
        Self::NatPorts,
        Self::Macs,
        Self::Broadcasts,
    ];

    /// Its name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upcalls => "upcalls",
            Self::Flows => "flows",
            Self::Connections => "connections",
            Self::NatPorts => "nat-ports",
            Self::Macs => "macs",
            Self::Broadcasts => "broadcasts",
        }
    }

    /// The limit for which packets are dropped with this cause.
    #[must_use]
    pub const fn of(cause: DropCause) -> Option<Self> {
        match cause {
            DropCause::UpcallLimit => Some(Self::Upcalls),
            DropCause::ConnectionLimit => Some(Self::Connections),
            DropCause::NatPortLimit => Some(Self::NatPorts),
            DropCause::BroadcastLimit => Some(Self::Broadcasts),
            _ => None,
        }
    }
}

/// How much of each; 0: as much as there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortLimits {
    pub flows: u32,
    pub nat_ports: u32,
    pub macs: u32,
    /// Frames a second.
    pub broadcasts: u32,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            flows: limits::FLOWS_PER_PORT,
            nat_ports: limits::NAT_PORTS_PER_PORT,
            macs: limits::MACS_PER_PORT,
            broadcasts: limits::BROADCASTS_PER_PORT,
        }
    }
}

impl PortLimits {
    /// What each of so many workers allows, that all of them allow about as much.
    #[must_use]
    pub const fn share(self, workers: u32) -> Self {
        let workers = if workers == 0 { 1 } else { workers };
        Self {
            flows: self.flows.div_ceil(workers),
            nat_ports: self.nat_ports.div_ceil(workers),
            // A worker learns what other workers learned.
            ..self
        }
    }
}

/// Whether one more is within a limit.
#[must_use]
pub const fn is_within(has: u32, max: u32) -> bool {
    max == 0 || has < max
}

/// For which port each port of a translation was taken.
#[derive(Debug, Default)]
pub struct NatShares {
    takers: HashMap<NatTag, PortNo>,
    counts: PortCounts,
}

/// A count for each port.
#[derive(Debug, Default)]
pub(crate) struct PortCounts(ByPort<u32>);

impl PortCounts {
    pub(crate) fn more(&mut self, port: PortNo) {
        if let Some(count) = self.0.entry(port) {
            *count += 1;
        }
    }

    pub(crate) fn less(&mut self, port: PortNo) {
        if let Some(count) = self.0.get_mut(port) {
            *count = count.saturating_sub(1);
        }
    }

    pub(crate) fn of(&self, port: PortNo) -> u32 {
        self.0.get(port).copied().unwrap_or(0)
    }
}

impl NatShares {
    /// Notes that a translation was made for a port's packet.
    pub fn take(&mut self, tag: NatTag, port: PortNo) {
        if let Some(before) = self.takers.insert(tag, port) {
            self.counts.less(before);
        }
        self.counts.more(port);
    }

    /// Notes that a translation ended.
    pub fn release(&mut self, tag: NatTag) {
        if let Some(port) = self.takers.remove(&tag) {
            self.counts.less(port);
        }
    }

    /// How many a port has.
    #[must_use]
    pub fn of(&self, port: PortNo) -> u32 {
        self.counts.of(port)
    }
}

/// Says of each port and limit, seldom enough to be read, that it was run into.
#[derive(Debug, Default)]
pub struct Pressure {
    seen: HashMap<(PortNo, PortLimit), Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    said_at: Option<Instant>,
}

/// Between two events of one port and limit.
const SAY_EVERY: Duration = Duration::from_secs(10);

impl Pressure {
    /// What was counted before anybody listened: no news.
    pub fn begin(&mut self, port: PortNo, limit: PortLimit, count: u64) {
        self.seen.insert((port, limit), Seen { count, said_at: None });
    }

    /// How often the limit was run into since that was said last; `None` where there is nothing to
    /// say, or it was said a moment ago.
    pub fn rises(
        &mut self,
        port: PortNo,
        limit: PortLimit,
        count: u64,
        now: Instant,
    ) -> Option<u64> {
        let none = Seen { count: 0, said_at: None };
        let seen = self.seen.entry((port, limit)).or_insert(none);
        let more = count.saturating_sub(seen.count);
        let is_soon = seen.said_at.is_some_and(|at| now < at + SAY_EVERY);
        if more == 0 || is_soon {
            return None;
        }
        *seen = Seen { count, said_at: Some(now) };
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortNo = PortNo(16);

    #[test]
    fn an_event_says_how_often_since_the_last_one_and_comes_every_ten_seconds_at_most() {
        let mut pressure = Pressure::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        pressure.begin(PORT, PortLimit::Flows, 5);
        let mut flows = |count, seconds| pressure.rises(PORT, PortLimit::Flows, count, at(seconds));
        assert_eq!(flows(5, 0), None, "nothing new");
        assert_eq!(flows(7, 1), Some(2));
        assert_eq!(flows(9, 2), None, "it was said a moment ago");
        assert_eq!(flows(10, 11), Some(3));
        assert_eq!(flows(10, 60), None);
        assert_eq!(pressure.rises(PortNo(17), PortLimit::Flows, 1, at(2)), Some(1));
        assert_eq!(pressure.rises(PORT, PortLimit::Macs, 1, at(2)), Some(1));
    }

    #[test]
    fn a_translation_counts_for_its_last_taker_until_it_ends() {
        let mut shares = NatShares::default();
        let tag = |number| NatTag([number; 16]);
        shares.take(tag(1), PORT);
        shares.take(tag(2), PORT);
        shares.take(tag(2), PortNo(17));
        assert_eq!((shares.of(PORT), shares.of(PortNo(17))), (1, 1));
        shares.release(tag(1));
        shares.release(tag(1));
        assert_eq!(shares.of(PORT), 0);
        assert!(is_within(shares.of(PORT), 1) && !is_within(1, 1) && is_within(9, 0));
    }
}
