//! Which of many flows packets ask for.

/// How many draws are made: as many as the program under measurement has room for.
pub const SAMPLES: usize = 1 << 20;

/// How packets are spread over flows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Every flow as often as any other.
    Uniform,
    /// Zipf's law with exponent 1: the flow of rank k gets a share in proportion to 1/k.
    Zipf,
}

/// Draws numbers of `flows` flows (a power of two). The same at every call.
pub fn draw(spread: Spread, flows: u32) -> Vec<u32> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // The share of all ranks up to each.
    let mut sum = 0.0;
    let shares: Vec<f64> = (1..=flows)
        .map(|rank| {
            sum += match spread {
                Spread::Uniform => 1.0,
                Spread::Zipf => 1.0 / f64::from(rank),
            };
            sum
        })
        .collect();
    let one = |_| {
        let at = random.unit() * sum;
        let rank = shares.partition_point(|share| *share <= at) as u32;
        // Ranks have nothing to do with the order flows were installed in: neighbours in rank
        // are not neighbours in memory.
        rank.min(flows - 1).wrapping_mul(0x9e37_79b1) & (flows - 1)
    };
    (0..SAMPLES).map(one).collect()
}

/// xorshift64* (Marsaglia 2003, Vigna 2016).
struct Random(u64);

impl Random {
    /// From 0 on, below 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn a_flow_is_drawn_as_often_as_its_rank_says() {
    let flows = 1 << 10;
    let harmonic: f64 = (1..=flows).map(|rank| 1.0 / f64::from(rank)).sum();
    let drawn = draw(Spread::Zipf, flows);
    for rank in [1, 2, 10, 100] {
        let number = (rank - 1_u32).wrapping_mul(0x9e37_79b1) & (flows - 1);
        let count = drawn.iter().filter(|drawn| **drawn == number).count() as f64;
        let expected = SAMPLES as f64 / (harmonic * f64::from(rank));
        // Six standard deviations of a binomial count.
        assert!((count - expected).abs() < 6.0 * expected.sqrt(), "{rank}: {count}, {expected}");
    }
    let all: std::collections::BTreeSet<u32> = draw(Spread::Uniform, flows).into_iter().collect();
    assert_eq!(all.len(), flows as usize, "every flow is asked for");
}
