//! How many errors of our own a port sends (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).

use std::collections::HashMap;

use mn_ids::PortId;
use mn_time::{Duration, Instant};

use crate::limits::ERRORS_PER_SECOND;

/// A bucket per port of ICMP errors and resets; answers to questions are not limited.
#[derive(Debug, Default)]
pub struct ErrorLimit {
    ports: HashMap<PortId, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    filled_at: Instant,
}

impl ErrorLimit {
    /// Whether an error may be sent by this port now.
    pub fn admits(&mut self, port: PortId, now: Instant) -> bool {
        let full = Bucket { left: ERRORS_PER_SECOND, filled_at: now };
        let bucket = self.ports.entry(port).or_insert(full);
        let each = Duration::from_secs(1) / ERRORS_PER_SECOND;
        let due = (now.since(bucket.filled_at).as_nanos() / each.as_nanos())
            .min(u128::from(ERRORS_PER_SECOND)) as u32;
        if due > 0 {
            bucket.left = (bucket.left + due).min(ERRORS_PER_SECOND);
            bucket.filled_at = now;
        }
        let admitted = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    #[test]
    fn a_port_sends_a_hundred_errors_a_second() {
        let mut limit = ErrorLimit::default();
        let port = Id::random();
        let mut sent = |at| (0..1000).filter(|_| limit.admits(port, at)).count();
        let at = |milliseconds| Instant::ZERO + Duration::from_millis(milliseconds);
        assert_eq!(sent(at(0)), 100);
        assert_eq!(sent(at(0)), 0);
        assert_eq!(sent(at(100)), 10);
        assert_eq!(sent(at(60_000)), 100, "a bucket overflows");
    }
}
