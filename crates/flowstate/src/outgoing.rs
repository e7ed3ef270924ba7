//! Records on their way to a peer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use mn_time::{Duration, Instant};

use crate::message::{Ack, Records};
use crate::pace::{Quality, REPEAT_MAX, repeat_after};
use crate::record::Record;

/// Records that wait to be acknowledged, at most: what a peer that is away will be told. If there
/// are more the oldest are dropped, and the peer asks for everything.
const JOURNAL_MAX: usize = 1 << 16;
/// Records that are sent ahead of the first that was not acknowledged.
pub(crate) const WINDOW: u64 = 1 << 14;

/// So many times in vain, and the peer counts as away: 1.3 s.
const TRIES_MAX: u32 = 8;
/// On a bad path a record is said so many times before the first repetition that waits, each time
/// in two datagrams: what is told is to overtake the answer, which nothing delays.
const EAGER_TRIES: u8 = 6;
/// Between them.
const EAGER_EVERY: Duration = Duration::from_millis(1);
/// Where more than this wait to be acknowledged nothing is said out of turn: it would delay the
/// others.
const EAGER_MAX: usize = 1024;

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
    /// As the peer says of what it gets from here.
    path: Quality,
    /// A datagram's records that are to be sent once more.
    twin: Option<Records>,
}

#[derive(Debug)]
struct Slot {
    record: Record,
    /// The peer has it, or is not to have it any more.
    arrived: bool,
    due: Instant,
    tries: u32,
    /// How many times it is yet to be said out of turn.
    eager: u8,
}

impl Slot {
    const fn new(record: Record) -> Self {
        Self { record, arrived: false, due: Instant::ZERO, tries: 0, eager: 0 }
    }
}

impl Outgoing {
    /// Adds a record.
    pub(crate) fn push(&mut self, record: Record) {
        if self.journal.len() >= JOURNAL_MAX {
            self.drop_oldest();
        }
        self.journal.push_back(Slot::new(record));
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
        if let Some(twin) = self.twin.take() {
            return Some(twin);
        }
        self.begin_some(now);
        let (mut records, mut twice) = (self.datagram(), false);
        while records.has_room()
            && let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            let waits = |slot: &&mut Slot| slot.due == at && !slot.arrived;
            let Some(slot) = self.slot(number).filter(waits) else { continue };
            if slot.eager > 0 {
                slot.eager -= 1;
                slot.due = now + EAGER_EVERY;
                twice = true;
            } else {
                slot.due = now + repeat_after(slot.tries);
                slot.tries += 1;
            }
            let (record, next, gives_up) = (slot.record, slot.due, slot.tries >= TRIES_MAX);
            self.due.push(Reverse((next, number)));
            records.records.push((number, record));
            if gives_up {
                self.away = Some(next);
            }
        }
        if twice {
            self.twin = Some(records.clone());
        }
        (!records.records.is_empty()).then_some(records)
    }

    /// Gives those a time that have come into the window.
    fn begin_some(&mut self, now: Instant) {
        let eager = self.path.is_bad() && self.journal.len() <= EAGER_MAX;
        while self.begun < self.journal.len() && (self.begun as u64) < WINDOW {
            let number = self.before + 1 + self.begun as u64;
            self.journal[self.begun].due = now;
            self.journal[self.begun].eager = if eager { EAGER_TRIES } else { 0 };
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
        let begins = self.begun < self.journal.len() && (self.begun as u64) < WINDOW;
        if begins || self.twin.is_some() {
            return Some(Instant::ZERO);
        }
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The peer says how well it gets what is sent from here.
    pub(crate) const fn heard_of(&mut self, path: Quality) {
        self.path = path;
    }

    /// The peer says what has arrived.
    pub(crate) fn acknowledged(&mut self, ack: &Ack) {
        let in_turn = self.before + 1..ack.next.min(self.before + 1 + self.begun as u64);
        for number in in_turn.chain(ack.after()) {
            if let Some(slot) = self.slot(number) {
                slot.arrived = true;
            }
        }
        self.pop_arrived();
        if self.journal.is_empty() {
            self.due.clear();
            self.twin = None;
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
        self.twin = None;
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

    /// To a peer to which all comes well.
    fn well() -> Outgoing {
        let (mut out, mut path) = (Outgoing::default(), Quality::default());
        (0..20).for_each(|_| path.note_well());
        out.heard_of(path);
        out
    }

    fn numbers(records: Option<Records>) -> Vec<u64> {
        records.into_iter().flat_map(|it| it.records).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_said_again_after_5_10_20_milliseconds() {
        let mut out = well();
        out.push(record(1));
        let sent = (1..400).filter(|ms| !numbers(out.due(at(*ms))).is_empty());
        assert_eq!(sent.collect::<Vec<_>>(), [1, 6, 16, 36, 76, 156, 316]);
        out.acknowledged(&Ack { next: 2, words: Vec::new() });
        assert_eq!((out.next_due(), out.len()), (None, 0));
    }

    #[test]
    fn records_share_a_datagram_and_only_what_is_missing_is_said_again() {
        let mut out = well();
        (1..=12).for_each(|number| out.push(record(number)));
        assert_eq!(numbers(out.due(at(1))), (1..=8).collect::<Vec<_>>());
        assert_eq!(numbers(out.due(at(1))), (9..=12).collect::<Vec<_>>());
        assert!(numbers(out.due(at(1))).is_empty());
        out.acknowledged(&Ack::of(3, [4, 5, 6, 8, 9, 10, 11].into_iter()));
        assert_eq!(numbers(out.due(at(6))), [3, 7, 12]);
    }

    #[test]
    fn on_a_bad_path_each_record_is_said_twice_a_millisecond_before_it_is_waited_for() {
        let sent = |mut out: Outgoing| {
            out.push(record(1));
            let mut sent = Vec::new();
            for now in 0..30 {
                while out.due(at(now)).is_some() {
                    sent.push(now);
                }
            }
            sent
        };
        let (mut bad, mut path) = (well(), Quality::default());
        path.note_bad(1);
        bad.heard_of(path);
        assert_eq!(sent(well()), [0, 5, 15]);
        assert_eq!(sent(bad), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 11, 21]);
    }

    #[test]
    fn a_peer_that_is_away_is_asked_once_a_second_and_told_all_when_it_is_back() {
        let mut out = well();
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
        let mut out = well();
        (1..=3).for_each(|number| out.push(record(number)));
        out.acknowledged(&Ack { next: u64::MAX, words: vec![u64::MAX] });
        assert_eq!(out.len(), 3);
        assert_eq!(numbers(out.due(at(1))), [1, 2, 3]);
    }
}
