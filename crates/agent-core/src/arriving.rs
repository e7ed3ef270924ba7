//! Ports that are bound and not in their place yet, and the copies of floods that wait for them.

use std::collections::HashMap;

use mn_flow::{DropCause, Tag};
use mn_ids::PortId;
use mn_time::Instant;

use crate::limits::PLACE_FOR;
use crate::{Refused, Touched};

/// How long packets wait for each port whose binding is known and whose place is not.
///
/// One that stays away (its interface is not there, its host is down) is waited for once, for
/// [`PLACE_FOR`], and then again only when something about it has changed: packets to it are
/// dropped by a flow meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Arriving {
    since: HashMap<PortId, Instant>,
}

impl Arriving {
    /// Until when a packet to this port waits; `None`: not any more.
    pub fn until(&mut self, port: PortId, now: Instant) -> Option<Instant> {
        let since = *self.since.entry(port).or_insert(now);
        Some(since + PLACE_FOR).filter(|until| now < *until)
    }

    /// Something changed: ports that it is about are waited for anew.
    pub fn changed(&mut self, tags: &[Tag]) {
        for tag in tags {
            if let Tag::Location(port) | Tag::Port(port) = tag {
                self.since.remove(port);
            }
        }
    }
}

/// The part of a flood that could not be delivered yet.
#[derive(Clone, Debug)]
struct Copy<P> {
    ports: Box<[PortId]>,
    until: Instant,
    packet: P,
}

/// Copies of floods that wait for the places of some ports, while the others have theirs.
#[derive(Clone, Debug)]
pub struct Copies<P> {
    waiting: Vec<Copy<P>>,
    max: usize,
}

impl<P> Copies<P> {
    /// None waits; at most `max` ever will.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { waiting: Vec::new(), max }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has a packet wait for these ports, at most until `until`.
    ///
    /// # Errors
    ///
    /// [`Refused`] gives it back where too many wait.
    pub fn park(
        &mut self,
        ports: Box<[PortId]>,
        until: Instant,
        packet: P,
    ) -> Result<(), Refused<P>> {
        if self.waiting.len() >= self.max {
            return Err(Refused { packet, cause: DropCause::QueueFull });
        }
        self.waiting.push(Copy { ports, until, packet });
        Ok(())
    }

    /// Takes out the packets for which something about one of their ports has changed, oldest
    /// first: with the ports, and when they give up.
    pub fn release(&mut self, touched: &Touched) -> Vec<(Box<[PortId]>, Instant, P)> {
        let concerns = |port: &PortId| {
            touched.touches(&Tag::Location(*port)) || touched.touches(&Tag::Port(*port))
        };
        let released = self.waiting.extract_if(.., |copy| copy.ports.iter().any(concerns));
        released.map(|Copy { ports, until, packet }| (ports, until, packet)).collect()
    }

    /// Gives up on packets that waited too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Refused<P>> {
        let over = self.waiting.extract_if(.., |copy| copy.until <= now);
        over.map(|copy| Refused { packet: copy.packet, cause: DropCause::NoLocation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;
    use mn_time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_port_is_waited_for_once_and_again_when_something_about_it_changes() {
        let mut arriving = Arriving::default();
        let (port, other) = (Id::random(), Id::random());
        assert_eq!(arriving.until(port, at(5)), Some(at(1005)));
        assert_eq!(arriving.until(port, at(1004)), Some(at(1005)), "no longer for a later packet");
        assert_eq!(arriving.until(port, at(1005)), None);
        arriving.changed(&[Tag::Port(other), Tag::Peer(Id::random())]);
        assert_eq!(arriving.until(port, at(9000)), None);
        arriving.changed(&[Tag::Port(port)]);
        assert_eq!(arriving.until(port, at(9000)), Some(at(10_000)));
    }

    #[test]
    fn a_copy_goes_on_when_one_of_its_ports_has_a_place_and_is_given_up_in_time() {
        let mut copies = Copies::new(2);
        let [one, two, three] = [Id::random(), Id::random(), Id::random()];
        copies.park([one, two].into(), at(10), 'a').unwrap();
        copies.park([three].into(), at(20), 'b').unwrap();
        let refused = copies.park([one].into(), at(30), 'c');
        assert_eq!(refused, Err(Refused { packet: 'c', cause: DropCause::QueueFull }));
        let placed = Touched::by(&[Tag::Location(two)]);
        assert_eq!(copies.release(&placed), [([one, two].into(), at(10), 'a')]);
        assert_eq!((copies.release(&placed), copies.expire(at(19))), (vec![], vec![]));
        let given_up = Refused { packet: 'b', cause: DropCause::NoLocation };
        assert_eq!(copies.expire(at(20)), [given_up]);
        assert!(copies.is_empty());
    }
}
