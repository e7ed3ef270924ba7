//! Records on their way to a peer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use mn_time::{Duration, Instant};

use crate::message::{Ack, Records};
use crate::record::Record;

/// Records that wait to be acknowledged, at most: what a peer that is away will be told. If there
/// are more the oldest are dropped, and the peer asks for everything.
pub const JOURNAL_MAX: usize = 1 << 16;
/// Records that are sent ahead of the first that was not acknowledged.
pub const WINDOW: u64 = 1 << 14;

/// After this the first repetition (contracts §6); each later one takes twice as long.
const REPEAT_AFTER: Duration = Duration::from_millis(5);
/// No longer than this.
const REPEAT_MAX: Duration = Duration::from_secs(1);
/// So many times in vain, and the peer counts as away: 1.3 s.
const TRIES_MAX: u32 = 8;

/// What is told to one peer.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The number of the first of `journal`, less one.
    before: u64,
    journal: VecDeque<Slot>,
    /// When which number is to be sent. Some are of the past.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// How many of `journal` have a time.
    begun: usize,
    dropped: u64,
    /// When the peer, which seems not to be there, is tried again.
    away: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    record: Record,
    /// The peer has it, or is not to have it any more.
    arrived: bool,
    due: Instant,
    tries: u32,
}

impl Outgoing {
    /// Adds a record.
    pub(crate) fn push(&mut self, record: Record) {
        if self.journal.len() >= JOURNAL_MAX {
            self.drop_oldest();
        }
        self.journal.push_back(Slot { record, arrived: false, due: Instant::ZERO, tries: 0 });
    }

    /// How many have not arrived, as far as is known.
    pub(crate) fn len(&self) -> usize {
        self.journal.len()
    }

    /// Whether the peer was told something too often in vain.
    pub(crate) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// How many were dropped.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records to be sent now, as many as fit into a datagram.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Records> {
        if let Some(again) = self.away {
            return if again <= now { self.probe(now) } else { None };
        }
        self.begin_some(now);
        let mut records = self.datagram();
        while records.has_room()
            && let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            let waits = |slot: &&mut Slot| slot.due == at && !slot.arrived;
            let Some(slot) = self.slot(number).filter(waits) else { continue };
            slot.tries += 1;
            slot.due = now + (REPEAT_AFTER * (1 << (slot.tries - 1).min(10))).min(REPEAT_MAX);
            let (record, next, gives_up) = (slot.record, slot.due, slot.tries >= TRIES_MAX);
            self.due.push(Reverse((next, number)));
            records.records.push((number, record));
            if gives_up {
                self.away = Some(next);
            }
        }
        (!records.records.is_empty()).then_some(records)
    }

    /// Gives those a time that have come into the window.
    fn begin_some(&mut self, now: Instant) {
        while self.begun < self.journal.len() && (self.begun as u64) < WINDOW {
            let number = self.before + 1 + self.begun as u64;
            self.journal[self.begun].due = now;
            self.due.push(Reverse((now, number)));
            self.begun += 1;
        }
    }

    /// The first record that has not arrived, for a peer that is away.
    fn probe(&mut self, now: Instant) -> Option<Records> {
        self.away = Some(now + REPEAT_MAX);
        let mut records = self.datagram();
        records.records.push((self.before + 1, self.journal.front()?.record));
        Some(records)
    }

    fn datagram(&self) -> Records {
        Records { base: self.before + 1, dropped: self.dropped, records: Vec::new() }
    }

    /// When there is something to send.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.journal.is_empty() {
            return None;
        }
        if self.away.is_some() {
            return self.away;
        }
        if self.begun < self.journal.len() && (self.begun as u64) < WINDOW {
            return Some(Instant::ZERO);
        }
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The peer says what has arrived.
    pub(crate) fn acknowledged(&mut self, ack: &Ack) {
        for number in ack.after() {
            if let Some(slot) = self.slot(number) {
                slot.arrived = true;
            }
        }
        while self.before + 1 < ack.next && self.begun > 0 {
            self.pop();
        }
        self.pop_arrived();
        if self.journal.is_empty() {
            self.due.clear();
        }
        self.awake();
    }

    /// The peer is there, though it seemed not to be: everything is sent at once.
    pub(crate) fn awake(&mut self) {
        if self.away.take().is_some() {
            self.begin();
        }
    }

    /// The peer has begun another life. It has what it acknowledged, but has forgotten which came
    /// after which: the last word about each translation is said again.
    pub(crate) fn again(&mut self) {
        self.away = None;
        let mut told = HashSet::new();
        for slot in self.journal.iter_mut().rev() {
            let subject = slot.record.subjects().map(|(translation, _)| translation);
            slot.arrived = subject.is_some_and(|it| !told.insert(it));
        }
        self.pop_arrived();
        self.begin();
    }

    fn begin(&mut self) {
        self.due.clear();
        self.begun = 0;
        for slot in &mut self.journal {
            slot.tries = 0;
        }
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let at = number.checked_sub(self.before + 1)?;
        self.journal.get_mut(usize::try_from(at).ok()?)
    }

    fn drop_oldest(&mut self) {
        if self.journal.front().is_some_and(|slot| !slot.arrived) {
            self.dropped += 1;
        }
        self.pop();
    }

    fn pop_arrived(&mut self) {
        while self.journal.front().is_some_and(|slot| slot.arrived) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        self.journal.pop_front();
        self.begun = self.begun.saturating_sub(1);
        self.before += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::binding;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn record(number: u32) -> Record {
        Record::Made(binding(number, 7))
    }

    fn numbers(records: Option<Records>) -> Vec<u64> {
        records.into_iter().flat_map(|it| it.records).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_said_again_after_5_10_20_milliseconds() {
        let mut out = Outgoing::default();
        out.push(record(1));
        let sent = (1..400).filter(|ms| !numbers(out.due(at(*ms))).is_empty());
        assert_eq!(sent.collect::<Vec<_>>(), [1, 6, 16, 36, 76, 156, 316]);
        out.acknowledged(&Ack { next: 2, words: Vec::new() });
        assert_eq!((out.next_due(), out.len()), (None, 0));
    }

    #[test]
    fn records_share_a_datagram_and_only_what_is_missing_is_said_again() {
        let mut out = Outgoing::default();
        (1..=12).for_each(|number| out.push(record(number)));
        assert_eq!(numbers(out.due(at(1))), (1..=8).collect::<Vec<_>>());
        assert_eq!(numbers(out.due(at(1))), (9..=12).collect::<Vec<_>>());
        assert!(numbers(out.due(at(1))).is_empty());
        out.acknowledged(&Ack::of(3, [4, 5, 6, 8, 9, 10, 11].into_iter()));
        assert_eq!(numbers(out.due(at(6))), [3, 7, 12]);
    }

    #[test]
    fn a_peer_that_is_away_is_asked_once_a_second_and_told_all_when_it_is_back() {
        let mut out = Outgoing::default();
        (1..=3).for_each(|number| out.push(record(number)));
        let mut now = 0;
        while out.away.is_none() {
            now += 1;
            out.due(at(now));
        }
        assert!((600..1400).contains(&now), "{now} ms");
        out.push(record(4));
        let tries = (now + 1..now + 5001).filter(|ms| !numbers(out.due(at(*ms))).is_empty());
        assert!((4..=6).contains(&tries.count()));
        now += 5001;
        out.acknowledged(&Ack { next: 1, words: Vec::new() });
        assert_eq!(numbers(out.due(at(now))), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_peer_is_owed_is_bounded_and_what_was_dropped_is_counted() {
        let mut out = Outgoing::default();
        for number in 0..JOURNAL_MAX as u32 + 5 {
            out.push(record(number));
        }
        assert_eq!((out.len(), out.dropped()), (JOURNAL_MAX, 5));
        let records = out.due(at(1)).unwrap();
        assert_eq!((records.base, records.dropped, records.records[0].0), (6, 5, 6));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_takes_nothing() {
        let mut out = Outgoing::default();
        (1..=3).for_each(|number| out.push(record(number)));
        out.acknowledged(&Ack { next: u64::MAX, words: vec![u64::MAX] });
        assert_eq!(out.len(), 3);
        assert_eq!(numbers(out.due(at(1))), [1, 2, 3]);
    }
}
