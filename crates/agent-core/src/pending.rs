//! Packets that wait: for topology, for a port's place, or for a neighbour.

use std::collections::{HashMap, VecDeque};

use mn_flow::{DropCause, FlowKey, ScopedAddr, Tag};
use mn_ids::{RouterId, RuleId};
use mn_time::Instant;
use mn_topology::DeviceId;

use crate::limits;

/// What packets wait for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Wait {
    /// Objects or places that were asked for; any news may be it.
    Load,
    /// A port that is bound and has no place yet.
    Place,
    Neighbor(RouterId, ScopedAddr),
    /// Ports for a rule of a device.
    Lease(DeviceId, RuleId),
    /// What another host may be telling of its connection.
    State,
}

/// How the packets of a flow wait.
#[derive(Clone, Debug)]
pub struct Stay {
    pub wait: Wait,
    /// When the flow's first packet began to wait, for whatever it was.
    pub since: Instant,
    pub until: Instant,
    /// What the walk had read when it had to stop: a change of that may lead it elsewhere.
    pub tags: Box<[Tag]>,
}

impl Stay {
    /// The stay of packets that waited as `former` and must go on waiting like this: for the same
    /// thing no longer than was said, for another as long as that may take, and in all no longer
    /// than [`limits::WAIT_MAX`].
    #[must_use]
    pub fn after(self, former: &Self) -> Self {
        let until = if self.wait == former.wait { former.until } else { self.until };
        Self { since: former.since, until: until.min(former.since + limits::WAIT_MAX), ..self }
    }
}

/// The packet has no room or waited too long; here it is back.
#[derive(Debug, Eq, PartialEq)]
pub struct Refused<P> {
    pub packet: P,
    pub cause: DropCause,
}

/// Waiting packets of one worker, by the flow they belong to: those with the same unmasked key
/// stay together, in the order they came.
#[derive(Debug)]
pub struct Pending<P> {
    flows: HashMap<FlowKey, Queue<P>>,
    /// How many of them wait for another host's state.
    for_state: usize,
    packets: usize,
    octets: usize,
    packets_max: usize,
}

#[derive(Debug)]
struct Queue<P> {
    stay: Stay,
    packets: VecDeque<(usize, P)>,
}

impl<P> Pending<P> {
    /// Nothing waits; at most `packets_max` ever will.
    #[must_use]
    pub fn new(packets_max: usize) -> Self {
        Self { flows: HashMap::new(), for_state: 0, packets: 0, octets: 0, packets_max }
    }

    /// Whether a packet with this key must queue behind others of its flow.
    #[must_use]
    pub fn holds(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// How many packets wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packets
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Queues a packet of `octets` behind those of its flow that wait already.
    ///
    /// # Errors
    ///
    /// [`Refused`] gives it back where its flow or all flows together have their share.
    pub fn queue(&mut self, key: &FlowKey, octets: usize, packet: P) -> Result<(), Refused<P>> {
        let full =
            self.packets >= self.packets_max || self.octets + octets > limits::PENDING_OCTETS;
        match self.flows.get_mut(key) {
            Some(queue) if !full && queue.packets.len() < limits::PENDING_PER_FLOW => {
                queue.packets.push_back((octets, packet));
                self.packets += 1;
                self.octets += octets;
                Ok(())
            }
            _ => Err(Refused { packet, cause: DropCause::QueueFull }),
        }
    }

    /// Begins to wait with the first packet of a flow.
    ///
    /// # Errors
    ///
    /// As [`Self::queue`].
    pub fn park(
        &mut self,
        key: FlowKey,
        stay: Stay,
        octets: usize,
        packet: P,
    ) -> Result<(), Refused<P>> {
        if self.packets >= self.packets_max {
            return Err(Refused { packet, cause: DropCause::QueueFull });
        }
        if !self.holds(&key) {
            self.enter(key, Queue { stay, packets: VecDeque::new() });
        }
        self.queue(&key, octets, packet)
    }

    /// Puts packets that were taken back into waiting, perhaps for something else.
    pub fn put_back(&mut self, key: FlowKey, stay: Stay, packets: VecDeque<(usize, P)>) {
        self.packets += packets.len();
        self.octets += packets.iter().map(|(octets, _)| octets).sum::<usize>();
        self.enter(key, Queue { stay, packets });
    }

    fn enter(&mut self, key: FlowKey, queue: Queue<P>) {
        let is_for_state = |queue: &Queue<P>| usize::from(queue.stay.wait == Wait::State);
        self.for_state += is_for_state(&queue);
        let before = self.flows.insert(key, queue);
        self.for_state -= before.as_ref().map_or(0, is_for_state);
    }

    /// Whether any flow waits for another host's state.
    #[must_use]
    pub const fn any_for_state(&self) -> bool {
        self.for_state != 0
    }

    /// The flows that wait as `matches` says.
    #[must_use]
    pub fn waiting(&self, matches: impl Fn(&Stay) -> bool) -> Vec<FlowKey> {
        self.find(|_, stay| matches(stay))
    }

    /// The flows of which `matches` is true, and of how they wait.
    #[must_use]
    pub fn find(&self, matches: impl Fn(&FlowKey, &Stay) -> bool) -> Vec<FlowKey> {
        let waiting = self.flows.iter().filter(|(key, queue)| matches(key, &queue.stay));
        waiting.map(|(key, _)| *key).collect()
    }

    /// The flows whose time to wait like this is over.
    #[must_use]
    pub fn over(&self, wait: Wait, now: Instant) -> Vec<FlowKey> {
        self.waiting(|stay| stay.wait == wait && stay.until <= now)
    }

    /// Takes the packets of a flow, oldest first, with how they waited.
    pub fn take(&mut self, key: &FlowKey) -> Option<(Stay, VecDeque<(usize, P)>)> {
        let queue = self.flows.remove(key)?;
        self.for_state -= usize::from(queue.stay.wait == Wait::State);
        self.packets -= queue.packets.len();
        self.octets -= queue.packets.iter().map(|(octets, _)| octets).sum::<usize>();
        Some((queue.stay, queue.packets))
    }

    /// Gives up on packets that waited too long. Those that waited for topology say so: it is not
    /// known here and could not be asked for. Those that waited for another host's state stay: they
    /// are decided about without it.
    pub fn expire(&mut self, now: Instant) -> Vec<Refused<P>> {
        let is_over = |stay: &Stay| stay.until <= now && stay.wait != Wait::State;
        let over = self.flows.iter().filter(|(_, queue)| is_over(&queue.stay));
        let keys: Vec<(FlowKey, DropCause)> =
            over.map(|(key, queue)| (*key, given_up(queue.stay.wait))).collect();
        let mut refused = Vec::new();
        for (key, cause) in keys {
            let Some((_, packets)) = self.take(&key) else { continue };
            refused.extend(packets.into_iter().map(|(_, packet)| Refused { packet, cause }));
        }
        refused
    }
}

const fn given_up(wait: Wait) -> DropCause {
    match wait {
        Wait::Load => DropCause::NoTopology,
        Wait::Place => DropCause::NoLocation,
        Wait::Neighbor(..) | Wait::State => DropCause::WaitTimeout,
        Wait::Lease(..) => DropCause::NatNoLease,
    }
}

#[cfg(test)]
mod tests {
    use mn_time::Duration;

    use super::*;

    fn key(number: u16) -> FlowKey {
        FlowKey { tp_src: number, ..FlowKey::default() }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn a_neighbor() -> Wait {
        let addr = ScopedAddr::on(mn_ids::Id::random(), [10, 0, 0, 1].into());
        Wait::Neighbor(mn_ids::Id::random(), addr)
    }

    fn load(seconds: u64) -> Stay {
        let (since, until) = (Instant::ZERO, at(seconds));
        Stay { wait: Wait::Load, since, until, tags: Box::default() }
    }

    #[test]
    fn packets_of_a_flow_come_back_in_the_order_they_came() {
        let mut pending = Pending::new(10);
        pending.park(key(1), load(3), 100, 'a').unwrap();
        pending.queue(&key(1), 100, 'b').unwrap();
        pending.park(key(2), load(3), 100, 'x').unwrap();
        pending.queue(&key(1), 100, 'c').unwrap();
        let (stay, packets) = pending.take(&key(1)).unwrap();
        assert_eq!(stay.until, at(3));
        assert_eq!(packets.into_iter().map(|(_, packet)| packet).collect::<String>(), "abc");
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn a_full_queue_gives_the_packet_back_and_says_why() {
        let mut pending = Pending::new(2);
        pending.park(key(1), load(3), 1, 'a').unwrap();
        pending.queue(&key(1), 1, 'b').unwrap();
        let refused = Refused { packet: 'c', cause: DropCause::QueueFull };
        assert_eq!(pending.queue(&key(1), 1, 'c'), Err(refused));
        assert!(pending.park(key(2), load(3), 1, 'd').is_err());
        assert!(!pending.holds(&key(2)), "a flow none of whose packets waits is not known");
    }

    #[test]
    fn what_waits_for_state_is_never_given_up() {
        let mut pending = Pending::new(10);
        pending.park(key(1), Stay { wait: Wait::State, ..load(3) }, 1, 'a').unwrap();
        pending.park(key(2), load(3), 1, 'b').unwrap();
        let gone: Vec<char> = pending.expire(at(4)).into_iter().map(|it| it.packet).collect();
        assert_eq!((gone, pending.over(Wait::State, at(4))), (vec!['b'], vec![key(1)]));
    }

    #[test]
    fn one_flow_has_no_more_than_its_share() {
        let mut pending = Pending::new(10 * limits::PENDING_PER_FLOW);
        pending.park(key(1), load(3), 1, ()).unwrap();
        let taken = (0..1000).filter(|_| pending.queue(&key(1), 1, ()).is_ok()).count();
        assert_eq!(taken + 1, limits::PENDING_PER_FLOW);
        assert!(pending.park(key(2), load(3), 1, ()).is_ok());
    }

    #[test]
    fn waiting_for_something_else_takes_its_own_time_but_not_for_ever() {
        let neighbor = a_neighbor();
        let again = |seconds| Stay { wait: neighbor, since: at(seconds), ..load(seconds + 4) };
        assert_eq!(load(9).after(&load(3)).until, at(3), "no longer for the same thing");
        let then = again(2).after(&load(3));
        assert_eq!((then.since, then.until), (Instant::ZERO, at(6)));
        assert_eq!(again(6).after(&load(3)).until, at(7), "seven seconds in all");
    }

    #[test]
    fn what_waits_too_long_is_given_up_and_the_rest_waits_on() {
        let mut pending = Pending::new(10);
        let neighbor = a_neighbor();
        pending.park(key(1), load(3), 7, 'a').unwrap();
        pending.park(key(2), Stay { wait: neighbor, ..load(5) }, 7, 'b').unwrap();
        assert_eq!(pending.expire(at(3)), [Refused { packet: 'a', cause: DropCause::NoTopology }]);
        assert_eq!(pending.waiting(|stay| stay.wait == neighbor), [key(2)]);
        assert_eq!((pending.len(), pending.octets), (1, 7));
    }

    #[test]
    fn it_is_known_whether_any_waits_for_another_hosts_state() {
        let mut pending = Pending::new(10);
        let state = Stay { wait: Wait::State, ..load(5) };
        pending.park(key(1), load(5), 1, 'a').unwrap();
        assert!(!pending.any_for_state());
        pending.park(key(2), state.clone(), 1, 'b').unwrap();
        pending.park(key(2), state.clone(), 1, 'c').unwrap();
        assert!(pending.any_for_state());
        let (_, packets) = pending.take(&key(2)).unwrap();
        assert!(!pending.any_for_state());
        pending.put_back(key(2), state, packets);
        assert!(pending.any_for_state());
        let (_, packets) = pending.take(&key(2)).unwrap();
        pending.put_back(key(2), load(5), packets);
        assert!(!pending.any_for_state());
    }
}
