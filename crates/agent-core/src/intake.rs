//! Packets that the datapath asked about and nobody has looked at yet, in a line for each port.
//!
//! Ports take turns, so a port with one packet waits for no more than one packet of every other,
//! however long their lines are. How long a line may be is said by the [`Buckets`].

use std::collections::VecDeque;

use mn_flow::PortNo;

use crate::buckets::{Buckets, Capacities};
use crate::by_port::ByPort;
use crate::limits::{OCTETS_PER_PACKET, PACKETS_PER_TOKEN};

/// A line that was longer than this gives its memory back when it is empty.
const ROOM_KEPT: usize = 64 << 10;

/// The lines of one worker. Once they have grown, packets that come and go allocate nothing.
#[derive(Debug)]
pub struct Intake<H> {
    buckets: Buckets,
    lines: ByPort<Line<H>>,
    /// Ports with packets, in the order of their turns.
    turns: VecDeque<PortNo>,
    len: usize,
}

#[derive(Debug)]
struct Line<H> {
    is_linked: bool,
    heads: VecDeque<(usize, H)>,
    /// The frames, one after the other.
    octets: VecDeque<u8>,
}

impl<H> Default for Line<H> {
    fn default() -> Self {
        Self { is_linked: false, heads: VecDeque::new(), octets: VecDeque::new() }
    }
}

/// What a packet takes from its bucket: packets of usual size, so that lines are bounded in octets,
/// too.
fn weight(octets: usize) -> u32 {
    let packets = u32::try_from(octets.div_ceil(OCTETS_PER_PACKET)).unwrap_or(u32::MAX);
    packets.clamp(1, PACKETS_PER_TOKEN)
}

impl<H> Intake<H> {
    /// No lines.
    #[must_use]
    pub const fn new(capacities: Capacities) -> Self {
        let buckets = Buckets::new(capacities);
        Self { buckets, lines: ByPort::new(), turns: VecDeque::new(), len: 0 }
    }

    /// Gives every port of VMs a bucket of its own, and takes it from those that are none any more.
    pub fn set_ports(
        &mut self,
        is_port: impl Fn(PortNo) -> bool,
        ports: impl Iterator<Item = PortNo>,
    ) {
        for (port, line) in self.lines.iter_mut() {
            if line.is_linked && !is_port(port) {
                line.is_linked = false;
                self.buckets.unlink(port);
            }
        }
        for port in ports {
            if let Some(line) = self.lines.entry(port)
                && !line.is_linked
            {
                line.is_linked = true;
                self.buckets.link(port);
            }
        }
    }

    /// Puts a packet into the line of its port; `false` where it has no token.
    pub fn offer(&mut self, port: PortNo, head: H, frame: &[u8]) -> bool {
        if !self.buckets.take(port, weight(frame.len())) {
            return false;
        }
        let Some(line) = self.lines.entry(port) else { return false };
        if line.heads.is_empty() {
            self.turns.push_back(port);
        }
        line.heads.push_back((frame.len(), head));
        line.octets.extend(frame);
        self.len += 1;
        true
    }

    /// The next packet; its frame is written to `frame`.
    pub fn next(&mut self, frame: &mut Vec<u8>) -> Option<(PortNo, H)> {
        let port = self.turns.pop_front()?;
        let line = self.lines.get_mut(port)?;
        let (len, head) = line.heads.pop_front()?;
        frame.clear();
        let (front, back) = line.octets.as_slices();
        let of_front = len.min(front.len());
        frame.extend_from_slice(&front[..of_front]);
        frame.extend_from_slice(&back[..len - of_front]);
        line.octets.drain(..len);
        if !line.heads.is_empty() {
            self.turns.push_back(port);
        } else if line.octets.capacity() > ROOM_KEPT {
            (line.heads, line.octets) = (VecDeque::new(), VecDeque::new());
        }
        self.len -= 1;
        self.buckets.give_back(port, weight(len));
        Some((port, head))
    }

    /// How many packets wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: PortNo = PortNo(16);
    const OTHER: PortNo = PortNo(17);

    fn intake() -> Intake<u32> {
        let mut intake = Intake::new(Capacities { global: 4, tunnel: 0, vtep: 0, vm: 1 });
        intake.set_ports(|_| true, [FLOOD, OTHER].into_iter());
        intake
    }

    fn next(intake: &mut Intake<u32>) -> Option<(PortNo, u32, Vec<u8>)> {
        let mut frame = Vec::new();
        intake.next(&mut frame).map(|(port, head)| (port, head, frame))
    }

    #[test]
    fn a_port_waits_for_one_packet_of_each_other_and_each_port_s_packets_keep_their_order() {
        let mut intake = intake();
        for number in 0..50 {
            assert!(intake.offer(FLOOD, number, &[number as u8; 60]));
        }
        assert!(intake.offer(OTHER, 100, b"first"));
        assert!(intake.offer(OTHER, 101, b"second"));
        let order: Vec<_> = std::iter::from_fn(|| next(&mut intake)).collect();
        let heads: Vec<u32> = order.iter().map(|it| it.1).collect();
        assert_eq!(heads[..5], [0, 100, 1, 101, 2]);
        assert_eq!(heads[5..], (3..50).collect::<Vec<_>>());
        assert_eq!(order[1].2, b"first");
        assert_eq!(order[2].2, [1; 60]);
        assert!(intake.is_empty());
    }

    #[test]
    fn a_flood_is_refused_beyond_its_tokens_and_its_sibling_is_not() {
        let mut intake = intake();
        let taken = (0..1000).filter(|number| intake.offer(FLOOD, *number, &[0; 60])).count();
        assert_eq!(taken as u32, 3 * PACKETS_PER_TOKEN, "its own and what nobody was promised");
        let other = (0..1000).filter(|number| intake.offer(OTHER, *number, &[0; 60])).count();
        assert_eq!(other as u32, PACKETS_PER_TOKEN);
        assert!(next(&mut intake).is_some());
        assert!(intake.offer(FLOOD, 0, &[0; 60]), "a packet was looked at: another may come");
    }

    #[test]
    fn large_packets_take_more_and_the_largest_has_room() {
        let mut intake = intake();
        let large = vec![7; 65_000];
        let taken = (0..100).filter(|number| intake.offer(FLOOD, *number, &large)).count();
        assert_eq!(taken, 3);
        assert_eq!(next(&mut intake).map(|it| it.2), Some(large));
    }

    #[test]
    fn a_port_that_is_gone_has_no_promise_and_its_packets_are_handed_on() {
        let mut intake = intake();
        assert!(intake.offer(OTHER, 1, &[0; 60]));
        intake.set_ports(|port| port == FLOOD, [FLOOD].into_iter());
        assert_eq!(next(&mut intake).map(|it| it.0), Some(OTHER));
        let taken = (0..1000).filter(|number| intake.offer(FLOOD, *number, &[0; 60])).count();
        assert_eq!(taken as u32, 4 * PACKETS_PER_TOKEN);
        assert!(!intake.offer(OTHER, 2, &[0; 60]));
    }
}
