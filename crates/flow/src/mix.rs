//! A hash that every host and every life of an agent agrees on.

/// Folds a number into a hash: both halves multiplied, the product folded.
#[must_use]
pub const fn mix(hash: u64, number: u128) -> u64 {
    let high = (number >> 64) as u64 ^ hash ^ 0x9e37_79b9_7f4a_7c15;
    let low = number as u64 ^ hash.rotate_left(32) ^ 0xd1b5_4a32_d192_ed03;
    let product = high as u128 * low as u128;
    (product >> 64) as u64 ^ product as u64
}
