//! Which sequence numbers were here before (RFC 4303 §3.4.3).

/// How many numbers behind the greatest are told apart. Reordering by 50 ms at 100,000 datagrams a
/// second is 5,000.
const BITS: u64 = 8192;

/// A sliding window of sequence numbers.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The greatest so far; 0: none.
    greatest: u64,
    seen: Box<[u64]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { greatest: 0, seen: vec![0; (BITS / 64) as usize].into() }
    }
}

impl Window {
    /// How many numbers before this one are missing if it comes now; `None`: it comes after later
    /// ones. Of the first nothing is known.
    pub(crate) const fn gap(&self, number: u64) -> Option<u64> {
        match (self.greatest, number.checked_sub(self.greatest)) {
            (0, _) => Some(0),
            (_, None | Some(0)) => None,
            (_, Some(ahead)) => Some(ahead - 1),
        }
    }

    /// Takes a number; whether it is new. One that is too old to know counts as seen.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        if number == 0 || number.saturating_add(BITS) <= self.greatest {
            return false;
        }
        if number > self.greatest {
            let from = self.greatest + 1;
            if number - self.greatest >= BITS {
                self.seen.fill(0);
            } else {
                (from..=number).for_each(|number| *self.word(number) &= !bit(number));
            }
            self.greatest = number;
        }
        let word = self.word(number);
        let new = *word & bit(number) == 0;
        *word |= bit(number);
        new
    }

    fn word(&mut self, number: u64) -> &mut u64 {
        &mut self.seen[(number % BITS / 64) as usize]
    }
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_window_says_what_a_list_of_all_numbers_says(
            steps in prop::collection::vec((any::<bool>(), 0_u64..20_000), 1..400)
        ) {
            let (mut window, mut seen, mut greatest) = (Window::default(), BTreeSet::new(), 0_u64);
            for (ahead, step) in steps {
                let number = if ahead { greatest + step % 3000 } else { greatest.saturating_sub(step) };
                let known = number == 0 || number + BITS <= greatest;
                let new = !known && seen.insert(number);
                prop_assert_eq!(window.take(number), new, "{} after {}", number, greatest);
                greatest = greatest.max(number);
            }
        }
    }

    #[test]
    fn what_is_missing_and_what_was_overtaken_is_told_from_what_comes_in_turn() {
        let mut window = Window::default();
        let gaps = [7_u64, 8, 11, 9, 12].map(|number| {
            let gap = window.gap(number);
            assert!(window.take(number));
            gap
        });
        assert_eq!(gaps, [Some(0), Some(0), Some(2), None, Some(0)]);
    }

    #[test]
    fn the_last_number_there_is_takes_nothing_down() {
        let mut window = Window::default();
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && !window.take(1));
    }
}
