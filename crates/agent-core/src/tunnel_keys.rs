//! Numbers for tunnel keys, one after another.

use std::collections::BTreeSet;

use mn_flow::{KeyKind, TunnelKey};

/// Gives out the values of this host's tunnel keys (contracts §1): a value comes again only when
/// the counter, of 21 bits, has gone round, which is after 2^20 further allocations at least.
///
/// The caller keeps [`Self::next`] on disk and writes it *before* a key is used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TunnelKeys {
    next: u32,
    /// Values in use, which the counter passes over when it has gone round.
    used: BTreeSet<u32>,
}

impl TunnelKeys {
    /// The values from `next` on, but for those in use.
    #[must_use]
    pub fn starting_at(next: u32, used: impl IntoIterator<Item = TunnelKey>) -> Self {
        let used = used.into_iter().map(TunnelKey::value).collect();
        Self { next: next & TunnelKey::VALUE_MAX, used }
    }

    /// The value to go on with after a restart.
    #[must_use]
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// A key with a value that was not given out lately; `None` where a million are in use.
    pub fn allocate(&mut self, kind: KeyKind) -> Option<TunnelKey> {
        if self.used.len() > TunnelKey::VALUE_MAX as usize / 2 {
            return None;
        }
        while self.next == 0 || self.used.contains(&self.next) {
            self.next = (self.next + 1) & TunnelKey::VALUE_MAX;
        }
        let value = self.next;
        self.used.insert(value);
        self.next = (value + 1) & TunnelKey::VALUE_MAX;
        TunnelKey::new(kind, value)
    }

    /// A key is of no use any more.
    pub fn release(&mut self, key: TunnelKey) {
        self.used.remove(&key.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_come_again_within_a_million_allocations() {
        let mut keys = TunnelKeys::default();
        let first = keys.allocate(KeyKind::Port).unwrap();
        keys.release(first);
        let again = (0..1 << 20).any(|_| {
            let key = keys.allocate(KeyKind::Port).unwrap();
            keys.release(key);
            key == first
        });
        assert!(!again);
    }

    #[test]
    fn a_value_in_use_is_passed_over_and_zero_is_none() {
        let mut keys = TunnelKeys::starting_at(TunnelKey::VALUE_MAX, []);
        let values: Vec<u32> =
            (0..2).map(|_| keys.allocate(KeyKind::Group).unwrap().value()).collect();
        assert_eq!(values, [TunnelKey::VALUE_MAX, 1]);
        let mut later = TunnelKeys::starting_at(1, TunnelKey::new(KeyKind::Port, 1));
        assert_eq!(later.allocate(KeyKind::Port).unwrap().value(), 2);
    }
}
