//! Flow keys, flows and the tables that find them.

use core::mem::offset_of;

use crate::ActionSlot;
use crate::limits::{BUCKET_ENTRIES, KEY_WORDS, SLOTS_MAX};
use crate::plain::plain;

/// `struct flow_key`. Every octet is compared; there is no padding but `zero`.
///
/// Fields of two octets are as on the wire; a tag's DEI bit says whether there is a tag.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C, align(8))]
pub struct FlowKey {
    pub in_port: u32,
    pub tun_key: u32,
    pub tun_src: [u8; 16],
    pub eth_dst: [u8; 6],
    pub eth_type: [u8; 2],
    pub eth_src: [u8; 6],
    pub vlan: [u8; 2],
    pub nw_src: [u8; 16],
    pub nw_dst: [u8; 16],
    pub inner_vlan: [u8; 2],
    pub nw_proto: u8,
    pub nw_tos: u8,
    pub class: u8,
    pub conn: u8,
    pub tp_src: [u8; 2],
    pub tp_dst: [u8; 2],
    pub zero: [u8; 6],
}

impl FlowKey {
    /// The key as the words that are hashed and compared.
    #[must_use]
    pub fn words(&self) -> [u64; KEY_WORDS] {
        let mut words = [0; KEY_WORDS];
        for (word, octets) in words.iter_mut().zip(crate::Plain::octets(self).chunks_exact(8)) {
            *word = octets.iter().rev().fold(0, |word, octet| word << 8 | u64::from(*octet));
        }
        if cfg!(target_endian = "big") { words.map(u64::swap_bytes) } else { words }
    }

    /// The key of these words.
    #[must_use]
    pub fn from_words(words: &[u64; KEY_WORDS]) -> Self {
        let mut octets = [0; 8 * KEY_WORDS];
        for (word, octets) in words.iter().zip(octets.chunks_exact_mut(8)) {
            octets.copy_from_slice(&word.to_ne_bytes());
        }
        crate::Plain::from_octets(&octets).unwrap_or_default()
    }
}

/// Whether a place of the flow table is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum FlowState {
    Free = 0,
    Live = 1,
}

/// `struct flow`: one flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct Flow {
    /// A [`FlowState`].
    pub state: u32,
    /// Number of its mask.
    pub mask: u16,
    /// Action slots in use.
    pub slots: u8,
    /// How many of them take a hop; and [`Flow::ANSWERS`].
    pub hops: u8,
    pub packets: u64,
    pub octets: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub used_at: u64,
    pub cookie: u64,
    /// Masked.
    pub key: [u64; KEY_WORDS],
    pub actions: [ActionSlot; SLOTS_MAX],
    /// The key of its first packet, unmasked.
    pub first: [u64; KEY_WORDS],
}

impl Flow {
    /// The bit of [`Flow::hops`] that says that an action answers.
    pub const ANSWERS: u8 = 0x80;
    /// Where [`Flow::packets`] is.
    pub const PACKETS_AT: usize = offset_of!(Self, packets);
    /// Where [`Flow::octets`] is.
    pub const OCTETS_AT: usize = offset_of!(Self, octets);
    /// Where [`Flow::used_at`] is.
    pub const USED_AT: usize = offset_of!(Self, used_at);
    /// Where [`Flow::cookie`] is.
    pub const COOKIE_AT: usize = offset_of!(Self, cookie);
    /// Where [`Flow::key`] is.
    pub const KEY_AT: usize = offset_of!(Self, key);
    /// Where [`Flow::actions`] are.
    pub const ACTIONS_AT: usize = offset_of!(Self, actions);

    /// The number of the mask, from the flow's first word.
    #[must_use]
    pub const fn mask_of(head: u64) -> u16 {
        let octets = head.to_ne_bytes();
        u16::from_ne_bytes([octets[4], octets[5]])
    }
}

/// `struct bucket`: flows by the hash of masked key and mask number.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct Bucket {
    /// Flows of this bucket that live in their second one.
    pub overflow: u32,
    pub zero: u32,
    /// `tag << 32 | flow`; 0: none. A flow's number is one more than its place.
    pub entry: [u64; BUCKET_ENTRIES],
}

impl Bucket {
    /// Where an entry is.
    #[must_use]
    pub const fn entry_at(index: usize) -> usize {
        offset_of!(Self, entry) + 8 * index
    }
}

/// `struct guess`: flows by the hash of the unmasked key. The programs write it, we only say how
/// many there are.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct Guess {
    pub entry: [u64; 2],
}

plain!(FlowKey, Flow, Bucket, Guess);

// The same numbers stand in `bpf/abi.h`. Change both or neither.
const _: () = {
    assert!(size_of::<FlowKey>() == 88);
    assert!(offset_of!(FlowKey, eth_dst) == 24);
    assert!(offset_of!(FlowKey, nw_src) == 40);
    assert!(offset_of!(FlowKey, inner_vlan) == 72);
    assert!(offset_of!(FlowKey, tp_dst) == 80);
    assert!(size_of::<Flow>() == 384);
    assert!(offset_of!(Flow, mask) == 4);
    assert!(offset_of!(Flow, key) == 40);
    assert!(offset_of!(Flow, actions) == 128);
    assert!(offset_of!(Flow, first) == 296);
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<Guess>() == 16);
    // Contracts §7: 450 octets of kernel memory per flow. There are four flows a bucket at most,
    // and two at least but for very small tables.
    assert!(size_of::<Flow>() + size_of::<Bucket>() / 2 <= 450);
    assert!(BUCKET_ENTRIES > 4);
    assert!(SLOTS_MAX < Flow::ANSWERS as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_words() {
        let key = FlowKey { in_port: 0x0102_0304, tp_dst: [5, 6], ..FlowKey::default() };
        assert_eq!(FlowKey::from_words(&key.words()), key);
        assert_eq!(key.words()[0].to_ne_bytes()[..4], 0x0102_0304_u32.to_ne_bytes());
    }
}
