//! Which worker is asked about a packet.

use std::net::Ipv6Addr;

/// The worker that is asked about packets between two addresses as keys have them, of `workers`: the
/// same in both directions. Fragments and ICMP errors go where what they belong to goes; what is
/// neither IP nor ARP is not meant.
#[must_use]
pub fn worker_of(src: Ipv6Addr, dst: Ipv6Addr, workers: usize) -> usize {
    (fold(src).wrapping_add(fold(dst)) >> 32) as usize % workers.max(1)
}

/// As the programs read an address: two words in the machine's own order.
fn fold(addr: Ipv6Addr) -> u64 {
    let octets = addr.octets();
    let word = |at: usize| u64::from_ne_bytes(octets[at..at + 8].try_into().unwrap_or_default());
    (word(0) ^ word(8)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
