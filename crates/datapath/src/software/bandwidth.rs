//! How much a port carries one way.

use mn_datapath_abi::Bandwidth as Abi;
use mn_time::Instant;

use crate::Bandwidth;

/// A token bucket of octets as one number, the theoretical arrival time of the generic cell rate
/// algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OctetBucket {
    limit: Bandwidth,
    /// In nanoseconds.
    arrival_at: u64,
}

impl OctetBucket {
    /// Another limit begins with a full bucket; the same one changes nothing.
    pub fn limit(&mut self, limit: Bandwidth) {
        if self.limit != limit {
            *self = Self { limit, arrival_at: 0 };
        }
    }

    /// Takes so many octets; `false` where there are not as many. What is larger than the bucket
    /// passes when that is full.
    pub fn take(&mut self, octets: u64, now: Instant) -> bool {
        let Some((octet_time, burst_ns)) = self.limit.times() else { return true };
        let now = now.nanos();
        let cost = octets.saturating_mul(octet_time) >> Abi::SHIFT;
        let from = self.arrival_at.max(now);
        if from > now && from - now + cost > burst_ns {
            return false;
        }
        self.arrival_at = from + cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Octets that pass in ten seconds of frames this long, one a millisecond.
    fn passed(limit: Bandwidth, len: u64) -> u64 {
        let mut bucket = OctetBucket::default();
        bucket.limit(limit);
        let at = |ms| Instant::ZERO + Duration::from_secs(100) + Duration::from_millis(ms);
        (0..10_000).filter(|ms| bucket.take(len, at(*ms))).count() as u64 * len
    }

    #[test]
    fn in_the_long_run_as_much_passes_as_the_rate_says_whatever_the_size() {
        for len in [64, 1000, 1514, 9000, 64_000] {
            let octets = passed(Bandwidth { kbps: 400, burst: 5000 }, len);
            // 400 kbit/s for 10 s are 500,000 octets, and the bucket or one packet over.
            let most = 500_000 + 5000.max(len) + len;
            assert!((500_000 - len..=most).contains(&octets) || len == 64, "{octets} of {len}");
        }
        assert_eq!(passed(Bandwidth { kbps: 400, burst: 5000 }, 40), 400_000, "less than the rate");
        assert_eq!(passed(Bandwidth::default(), 9000), 90_000_000, "no limit");
    }

    #[test]
    fn a_limit_said_again_fills_no_bucket_and_another_one_does() {
        let mut bucket = OctetBucket::default();
        let (limit, now) = (Bandwidth { kbps: 8, burst: 1000 }, Instant::ZERO);
        bucket.limit(limit);
        assert!(bucket.take(600, now) && !bucket.take(600, now));
        bucket.limit(limit);
        assert!(!bucket.take(600, now));
        bucket.limit(Bandwidth { kbps: 9, burst: 1000 });
        assert!(bucket.take(600, now));
    }
}
