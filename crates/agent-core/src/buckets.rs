//! The guides' hierarchy of token buckets (RP-01): who may have packets waiting for a decision.
//!
//! A packet takes tokens when it is taken from the datapath and gives them back when it is decided
//! about, so buckets refill as fast as the agent works. What each bucket is promised is its own:
//!
//! ```text
//! global ── VMs ── each VM's port
//! ```
//!
//! What the global bucket holds beyond all promises goes to whoever comes first. So a source below
//! its promise is always served, whatever its siblings do, and one that is alone has more.

use mn_flow::PortNo;

use crate::by_port::ByPort;
use crate::limits::PACKETS_PER_TOKEN;

/// The guides' settings (`agent.datapath.*_incoming_burst_capacity`), in tokens.
///
/// Those of tunnels and VTEPs are taken and promise nothing: what comes by a tunnel is delivered by
/// its key, without a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacities {
    pub global: u32,
    pub tunnel: u32,
    pub vtep: u32,
    pub vm: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self { global: 256, tunnel: 128, vtep: 128, vm: 32 }
    }
}

impl Capacities {
    /// What one of so many workers, each with buckets of its own, has of it.
    #[must_use]
    pub const fn share(self, workers: u32) -> Self {
        let workers = if workers == 0 { 1 } else { workers };
        Self {
            global: self.global.div_ceil(workers),
            tunnel: self.tunnel.div_ceil(workers),
            vtep: self.vtep.div_ceil(workers),
            vm: self.vm.div_ceil(workers),
        }
    }
}

/// The buckets of one worker.
#[derive(Debug)]
pub(crate) struct Buckets {
    capacities: Capacities,
    leaves: ByPort<Leaf>,
    /// Packets that all leaves are promised.
    promised: u32,
    /// Packets that leaves have beyond their promises.
    borrowed: u32,
}

/// Counted in packets.
#[derive(Clone, Copy, Debug, Default)]
struct Leaf {
    capacity: u32,
    in_flight: u32,
}

impl Leaf {
    const fn borrowed(self) -> u32 {
        self.in_flight.saturating_sub(self.capacity)
    }
}

impl Buckets {
    /// Buckets without sources.
    #[must_use]
    pub const fn new(capacities: Capacities) -> Self {
        Self { capacities, leaves: ByPort::new(), promised: 0, borrowed: 0 }
    }

    /// Packets that may be in flight in all: what the global bucket holds, and never less than was
    /// promised.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.capacities.global.saturating_mul(PACKETS_PER_TOKEN).max(self.promised)
    }

    /// Promises a VM's port its part.
    pub fn link(&mut self, port: PortNo) {
        let capacity = self.capacities.vm.saturating_mul(PACKETS_PER_TOKEN);
        self.promise(port, capacity);
    }

    /// A port is gone. Its packets in flight are borrowed until they come back.
    pub fn unlink(&mut self, port: PortNo) {
        self.promise(port, 0);
    }

    fn promise(&mut self, port: PortNo, capacity: u32) {
        let Some(leaf) = self.leaves.entry(port) else { return };
        let before = *leaf;
        leaf.capacity = capacity;
        let after = *leaf;
        self.promised = (self.promised - before.capacity).saturating_add(capacity);
        self.borrowed = self.borrowed - before.borrowed() + after.borrowed();
    }

    /// Takes what a packet of a port needs; `false`, and nothing is taken, where there is not as
    /// much.
    pub fn take(&mut self, port: PortNo, packets: u32) -> bool {
        let free = self.total().saturating_sub(self.promised).saturating_sub(self.borrowed);
        let Some(leaf) = self.leaves.entry(port) else { return false };
        let more = Leaf { in_flight: leaf.in_flight.saturating_add(packets), ..*leaf };
        let borrows = more.borrowed() - leaf.borrowed();
        if borrows > free {
            return false;
        }
        *leaf = more;
        self.borrowed += borrows;
        true
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, port: PortNo, packets: u32) {
        let Some(leaf) = self.leaves.entry(port) else { return };
        let less = Leaf { in_flight: leaf.in_flight.saturating_sub(packets), ..*leaf };
        let returned = leaf.borrowed() - less.borrowed();
        *leaf = less;
        self.borrowed -= returned;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKETS: u32 = PACKETS_PER_TOKEN;

    fn buckets(capacities: Capacities, vms: u32) -> Buckets {
        let mut buckets = Buckets::new(capacities);
        (0..vms).for_each(|vm| buckets.link(PortNo(16 + vm)));
        buckets
    }

    fn all_of(buckets: &mut Buckets, port: PortNo) -> u32 {
        (0..).take_while(|_| buckets.take(port, 1)).count() as u32
    }

    #[test]
    fn a_source_alone_has_what_nobody_was_promised_and_its_siblings_have_theirs_all_the_same() {
        let capacities = Capacities { global: 8, tunnel: 2, vtep: 2, vm: 1 };
        let mut buckets = buckets(capacities, 3);
        assert_eq!(all_of(&mut buckets, PortNo(16)), (1 + 5) * PACKETS, "8 less 3 times 1");
        assert_eq!(all_of(&mut buckets, PortNo(17)), PACKETS);
        buckets.give_back(PortNo(16), PACKETS);
        assert_eq!(all_of(&mut buckets, PortNo(18)), 2 * PACKETS, "what comes back is anybody's");
    }

    #[test]
    fn with_all_but_the_global_bucket_at_zero_everything_is_served_from_it() {
        let mut buckets = buckets(Capacities { global: 4, tunnel: 0, vtep: 0, vm: 0 }, 2);
        assert_eq!(all_of(&mut buckets, PortNo(16)), 4 * PACKETS);
        assert_eq!(all_of(&mut buckets, PortNo(17)), 0);
        buckets.give_back(PortNo(16), 3);
        assert_eq!(all_of(&mut buckets, PortNo(17)), 3);
    }

    #[test]
    fn promises_beyond_the_global_bucket_are_kept() {
        let mut buckets = buckets(Capacities { global: 2, tunnel: 0, vtep: 0, vm: 1 }, 3);
        assert_eq!(buckets.total(), 3 * PACKETS);
        for vm in 16..19 {
            assert_eq!(all_of(&mut buckets, PortNo(vm)), PACKETS);
        }
        buckets.unlink(PortNo(16));
        assert_eq!(all_of(&mut buckets, PortNo(17)), 0, "its packets are in flight still");
        buckets.give_back(PortNo(16), PACKETS);
        assert_eq!(all_of(&mut buckets, PortNo(17)), 0, "the global bucket holds no more than 2");
    }

    #[test]
    fn a_port_number_that_cannot_be_takes_nothing() {
        assert!(!buckets(Capacities::default(), 1).take(PortNo(u32::MAX), 1));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take(u32, u32),
        GiveBack(u32),
        Link(u32),
        Unlink(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..6_u32, 1..=PACKETS).prop_map(|(port, packets)| Step::Take(port, packets)),
            4 => (0..100_u32).prop_map(Step::GiveBack),
            1 => (0..6_u32).prop_map(Step::Link),
            1 => (0..6_u32).prop_map(Step::Unlink),
        ];
        prop::collection::vec(step, 1..400)
    }

    proptest! {
        /// An oracle that keeps the list of packets in flight: never more than the sum, whoever is
        /// below its promise is served, and who is refused finds nothing free.
        #[test]
        fn buckets_keep_their_laws(
            steps in steps(), global in 0..6_u32, vm in 0..3_u32,
        ) {
            let capacities = Capacities { global, tunnel: 0, vtep: 0, vm };
            let mut buckets = Buckets::new(capacities);
            let (mut linked, mut packets) = ([false; 6], Vec::<(u32, u32)>::new());
            for step in steps {
                let of = |packets: &[(u32, u32)], port: u32| -> u32 {
                    packets.iter().filter(|it| it.0 == port).map(|it| it.1).sum()
                };
                let promise = |linked: &[bool; 6], port: u32| {
                    if linked[port as usize] { vm * PACKETS } else { 0 }
                };
                match step {
                    Step::Take(port, count) => {
                        let mine = of(&packets, port);
                        let taken = buckets.take(PortNo(port), count);
                        if mine + count <= promise(&linked, port) {
                            prop_assert!(taken, "a source below its promise is served");
                        }
                        let promised: u32 = (0..6).map(|it| promise(&linked, it)).sum();
                        let over = |it: u32| of(&packets, it).saturating_sub(promise(&linked, it));
                        let free = (global * PACKETS).max(promised) - promised;
                        let borrowed: u32 = (0..6).map(over).sum();
                        let wants = (mine + count).saturating_sub(promise(&linked, port).max(mine));
                        prop_assert_eq!(taken, wants <= free.saturating_sub(borrowed) || wants == 0);
                        if taken {
                            packets.push((port, count));
                        }
                    }
                    Step::GiveBack(which) if !packets.is_empty() => {
                        let (port, count) = packets.swap_remove(which as usize % packets.len());
                        buckets.give_back(PortNo(port), count);
                    }
                    Step::GiveBack(_) => {}
                    Step::Link(port) => {
                        linked[port as usize] = true;
                        buckets.link(PortNo(port));
                    }
                    Step::Unlink(port) => {
                        linked[port as usize] = false;
                        buckets.unlink(PortNo(port));
                    }
                }
                for port in 0..6 {
                    let in_flight = buckets.leaves.get(PortNo(port)).map_or(0, |leaf| leaf.in_flight);
                    prop_assert_eq!(in_flight, of(&packets, port));
                }
                let all: u32 = packets.iter().map(|it| it.1).sum();
                let promised: u32 = (0..6).map(|it| promise(&linked, it)).sum();
                let over = |it: u32| of(&packets, it).saturating_sub(promise(&linked, it));
                let borrowed: u32 = (0..6).map(over).sum();
                // What was lent before a promise was made may still be out.
                let is_kept = borrowed > buckets.total() - promised || all <= buckets.total();
                prop_assert!(is_kept, "never more than the sum");
            }
        }
    }
}
