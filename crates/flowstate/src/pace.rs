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

/// How well records arrive at a peer: a share that each record moves by an eighth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Of those that were late or lost.
    bad: u32,
}

/// All of them.
const WHOLE: u32 = 1 << 16;

impl Default for Quality {
    /// Bad, until some have arrived well: what is told first is raced by an answer too.
    fn default() -> Self {
        Self { bad: WHOLE / 4 }
    }
}

impl Quality {
    /// A record arrived, well or not.
    pub(crate) const fn note(&mut self, well: bool) {
        self.bad -= self.bad / 8;
        if !well {
            self.bad += WHOLE / 8;
        }
    }

    /// Whether so much is lost or late that answers come before what was told of them: more than
    /// one in five, and more than the last alone.
    pub(crate) const fn is_bad(self) -> bool {
        self.bad > WHOLE / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_in_a_hundred_is_no_bad_path_and_one_in_three_is() {
        let after = |every: u32| {
            let mut quality = Quality::default();
            assert!(quality.is_bad(), "nothing is known yet");
            (1..=1000).for_each(|nth| quality.note(nth % every != 0));
            quality
        };
        assert!(!after(100).is_bad() && after(3).is_bad());
        let mut healed = after(3);
        (0..100).for_each(|_| healed.note(true));
        assert!(!healed.is_bad());
    }

    #[test]
    fn repetitions_take_twice_as_long_each_time_and_no_longer_than_a_second() {
        let millis: Vec<_> =
            [0, 1, 2, 7, 8, u32::MAX].map(|nth| repeat_after(nth).as_millis()).into();
        assert_eq!(millis, [5, 10, 20, 640, 1000, 1000]);
    }
}
