//! Records that come from a peer: each once, whatever the network does to datagrams.

use std::collections::{BTreeSet, HashMap};

use mn_flow::NatTag;

use crate::message::{Ack, Records};
use crate::outgoing::WINDOW;
use crate::record::Record;

/// So many last words are kept before it is looked which are needed.
const FORGET_FROM: usize = 1024;

/// What is known of a peer's records in one of its lives.
///
/// A record is taken when it comes, also before earlier ones: an answer may need it. So what a
/// later record said of the same translation is remembered until all earlier ones are there.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Every record before this one is here or will never come.
    next: u64,
    /// Those after it that are here.
    ahead: BTreeSet<u64>,
    /// The number of the last record about something, while there are gaps.
    last: HashMap<NatTag, u64>,
    dropped: u64,
}

/// What came of a datagram's records.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Taken {
    /// Records that were here already.
    pub(crate) repeated: u64,
    /// The peer has dropped some since the last time.
    pub(crate) lost: bool,
}

impl Incoming {
    /// Takes a datagram's records; adds those that say something to `out`.
    pub(crate) fn take(&mut self, records: &Records, out: &mut Vec<Record>) -> Taken {
        let mut taken = Taken { repeated: 0, lost: records.dropped > self.dropped };
        self.dropped = self.dropped.max(records.dropped);
        self.begin_at(records.base);
        for (number, record) in &records.records {
            if *number < self.next || self.ahead.contains(number) {
                taken.repeated += 1;
                continue;
            }
            if *number >= self.next + 4 * WINDOW {
                // No peer of ours sends so far ahead.
                continue;
            }
            self.ahead.insert(*number);
            if self.is_last_word(*number, record) {
                out.push(*record);
            }
        }
        while self.ahead.first() == Some(&self.next) {
            self.ahead.pop_first();
            self.next += 1;
        }
        self.forget_settled();
        taken
    }

    /// What to acknowledge.
    pub(crate) fn ack(&self) -> Ack {
        Ack::of(self.next.max(1), self.ahead.iter().copied())
    }

    /// Records before `base` are not sent any more.
    fn begin_at(&mut self, base: u64) {
        if base > self.next {
            self.next = base;
            self.ahead = self.ahead.split_off(&base);
        }
    }

    /// Forgets last words that no earlier record can contradict any more.
    fn forget_settled(&mut self) {
        if self.ahead.is_empty() {
            self.last.clear();
        } else if self.last.len() > FORGET_FROM + 4 * self.ahead.len() {
            let next = self.next;
            self.last.retain(|_, last| *last > next);
        }
    }

    fn is_last_word(&mut self, number: u64, record: &Record) -> bool {
        let Some((translation, answers)) = record.subjects() else { return true };
        let subjects = [Some(translation), answers].into_iter().flatten();
        if subjects.clone().any(|it| self.last.get(&it).is_some_and(|last| *last > number)) {
            return false;
        }
        self.last.extend(subjects.map(|it| (it, number)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::binding;

    fn records(base: u64, numbers: &[(u64, Record)]) -> Records {
        Records { base, dropped: 0, records: numbers.to_vec() }
    }

    fn made(number: u32, port: u16) -> Record {
        Record::Made(binding(number, port))
    }

    fn ended(number: u32, port: u16) -> Record {
        let binding = binding(number, port);
        Record::Ended { key: binding.key, to: binding.to }
    }

    #[test]
    fn an_end_that_overtakes_its_beginning_is_the_last_word() {
        let (mut incoming, mut out) = (Incoming::default(), Vec::new());
        incoming.take(&records(1, &[(2, ended(1, 9))]), &mut out);
        incoming.take(&records(1, &[(1, made(1, 9))]), &mut out);
        assert_eq!(out, [ended(1, 9)]);
        assert_eq!(incoming.ack(), Ack { next: 3, words: Vec::new() });
        assert!(incoming.last.is_empty(), "nothing earlier can come");
    }

    #[test]
    fn a_port_that_went_on_to_another_connection_stays_with_it() {
        let (mut incoming, mut out) = (Incoming::default(), Vec::new());
        // Both go to one destination, so their answers are the same.
        let [first, mut second] = [binding(2, 9), binding(4, 9)];
        second.key.tuple.dst = first.key.tuple.dst;
        incoming.take(&records(1, &[(3, Record::Made(second))]), &mut out);
        incoming.take(&records(1, &[(1, Record::Made(first))]), &mut out);
        assert_eq!(out, [Record::Made(second)]);
    }

    #[test]
    fn an_end_is_heard_though_the_port_has_been_anothers_since() {
        let (mut incoming, mut out) = (Incoming::default(), Vec::new());
        // 1: made(2), 2: ended(2), 3: made(4) with the same port, 4: ended(4).
        incoming.take(&records(1, &[(1, made(2, 9)), (4, ended(4, 9))]), &mut out);
        incoming.take(&records(1, &[(2, ended(2, 9)), (3, made(4, 9))]), &mut out);
        assert_eq!(out, [made(2, 9), ended(4, 9), ended(2, 9)]);
    }

    #[test]
    fn a_record_that_comes_again_says_nothing_and_gaps_are_not_waited_for_in_vain() {
        let (mut incoming, mut out) = (Incoming::default(), Vec::new());
        incoming.take(&records(1, &[(1, made(1, 1)), (3, made(3, 3))]), &mut out);
        let taken = incoming.take(&records(1, &[(1, made(1, 1)), (3, made(3, 3))]), &mut out);
        assert_eq!((taken.repeated, out.len()), (2, 2));
        assert_eq!(incoming.ack().next, 2);
        let dropped = Records { dropped: 1, ..records(4, &[(4, made(4, 4))]) };
        assert!(incoming.take(&dropped, &mut out).lost);
        assert!(!incoming.take(&dropped, &mut out).lost, "it said so already");
        assert_eq!(incoming.ack().next, 5);
    }

    #[test]
    fn numbers_far_ahead_take_no_memory() {
        let (mut incoming, mut out) = (Incoming::default(), Vec::new());
        incoming.take(&records(1, &[(u64::from(u32::MAX), made(1, 1))]), &mut out);
        assert!(out.is_empty() && incoming.ahead.is_empty());
    }
}
