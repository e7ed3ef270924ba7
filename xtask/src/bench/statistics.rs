//! Medians with intervals that assume nothing of the distribution.

/// A median with its 95 % interval by order statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Median {
    /// The median of a sample; with fewer than six values the interval is the whole range, which
    /// then has less than 95 %.
    pub fn of(sample: &[f64]) -> Option<Self> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let cut = cut(sorted.len());
        let value = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        Some(Self { value, low: sorted[cut], high: sorted[last - cut] })
    }
}

/// How many values may be left out at each end so that the median lies between the rest in 95 %
/// of all samples: the number of values below it is binomial with one half.
fn cut(size: usize) -> usize {
    let mut term = 0.5_f64.powi(i32::try_from(size).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for left_out in 0..size {
        below += term;
        if below > 0.025 {
            return left_out.saturating_sub(1);
        }
        term *= (size - left_out) as f64 / (left_out + 1) as f64;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_nine_leaves_out_one_at_each_end() {
        // P(at most 1 of 9 below) = 10/512 = 0.0195; with 2 it would be 0.0898.
        let sample: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(Median::of(&sample), Some(Median { value: 5.0, low: 2.0, high: 8.0 }));
    }

    #[test]
    fn few_values_have_their_whole_range_and_none_have_no_median() {
        let found = Median::of(&[3.0, 1.0]).unwrap();
        assert_eq!((found.value, found.low, found.high), (2.0, 1.0, 3.0));
        assert_eq!(Median::of(&[]), None);
    }

    #[test]
    fn known_cuts_of_the_sign_test() {
        // From tables of the sign test, two-sided 5 %: the rank of the lower end, less one.
        for (size, expected) in [(5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5), (25, 7)] {
            assert_eq!(cut(size), expected, "{size} values");
        }
    }
}
