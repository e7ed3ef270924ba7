//! How often something is said until the peer has heard it.

use mn_time::Duration;

/// After this the first repetition (contracts §6); each later one takes twice as long.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_millis(5);
/// No longer than this.
pub(crate) const REPEAT_MAX: Duration = Duration::from_secs(1);

/// How long to wait after something was repeated so many times.
pub(crate) fn repeat_after(repeated: u32) -> Duration {
    (REPEAT_AFTER * (1 << repeated.min(10))).min(REPEAT_MAX)
}

/// How well datagrams arrive: the share of those that were lost or overtaken. One that was moves it
/// by an eighth, one that came in its turn by a thirty-second only: on a path that loses three of
/// ten, the share is not to look well after some that came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Quality {
    bad: u32,
}

/// All of them.
const WHOLE: u32 = 1 << 16;
/// More than so many missing in a row say nothing more about the path.
const MISSED_MAX: u64 = 8;

impl Default for Quality {
    /// Bad, until some have arrived well: what is told first is raced by an answer too.
    fn default() -> Self {
        Self { bad: WHOLE / 4 }
    }
}

impl Quality {
    /// A datagram came in its turn.
    pub(crate) const fn note_well(&mut self) {
        self.bad -= self.bad / 32;
    }

    /// So many are missing, or came after later ones.
    pub(crate) fn note_bad(&mut self, datagrams: u64) {
        for _ in 0..datagrams.min(MISSED_MAX) {
            self.bad += (WHOLE - self.bad) / 8;
        }
    }

    /// Whether so much is lost or late that answers come before what was told of them: more than
    /// one in five, and more than the last alone.
    pub(crate) const fn is_bad(self) -> bool {
        self.bad > WHOLE / 5
    }

    /// As a datagram says it.
    pub(crate) fn to_wire(self) -> u16 {
        u16::try_from(self.bad).unwrap_or(u16::MAX)
    }

    pub(crate) fn from_wire(bad: u16) -> Self {
        Self { bad: bad.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_in_a_hundred_is_no_bad_path_and_three_in_ten_always_are() {
        let after = |count: u32, is_lost: fn(u32) -> bool| {
            let mut quality = Quality::default();
            assert!(quality.is_bad(), "nothing is known yet");
            (1..=count).for_each(|nth| match is_lost(nth) {
                true => quality.note_bad(1),
                false => quality.note_well(),
            });
            quality
        };
        let ever =
            |from: u32, is_lost| (from..1000).filter(|n| after(*n, is_lost).is_bad()).count();
        assert_eq!(ever(10, |nth| nth % 100 == 0), 0);
        // Three lost, seven that come: looked at at any moment.
        assert_eq!(ever(10, |nth| nth % 10 < 3), 990);
        let mut healed = after(1000, |nth| nth % 10 < 3);
        (0..100).for_each(|_| healed.note_well());
        assert!(!healed.is_bad());
    }

    #[test]
    fn a_long_silence_says_no_more_than_a_short_one_and_the_wire_carries_what_is_known() {
        let [mut short, mut long] = [Quality::default(); 2];
        short.note_bad(MISSED_MAX);
        long.note_bad(u64::MAX);
        assert_eq!(short, long);
        assert_eq!(Quality::from_wire(long.to_wire()), long);
        long.note_bad(u64::MAX);
        (0..1000).for_each(|_| long.note_bad(1));
        assert!(Quality::from_wire(long.to_wire()).is_bad());
    }

    #[test]
    fn repetitions_take_twice_as_long_each_time_and_no_longer_than_a_second() {
        let millis: Vec<_> =
            [0, 1, 2, 7, 8, u32::MAX].map(|nth| repeat_after(nth).as_millis()).into();
        assert_eq!(millis, [5, 10, 20, 640, 1000, 1000]);
    }
}
