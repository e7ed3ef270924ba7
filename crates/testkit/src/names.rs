//! Names on paper as identifiers and addresses.

use mn_ids::{Id, Kind};
use mn_packet::Mac;
use uuid::Uuid;

/// The identifier of the object of this kind and name.
#[must_use]
pub fn named<K: Kind>(name: &str) -> Id<K> {
    // FNV-1a of kind and name: one name gives one identifier in every test.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in K::NAME.bytes().chain([0]).chain(name.bytes()) {
        hash ^= u128::from(byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    Id::from_uuid(Uuid::from_u128(hash))
}

/// A MAC in full, or short: `02::a1` is `02:00:00:00:00:a1`.
///
/// # Panics
///
/// For any other text: the test is wrong.
#[must_use]
pub fn mac(text: &str) -> Mac {
    let full = match text.split_once("::") {
        None => text.to_owned(),
        Some((head, tail)) => {
            let count = |part: &str| part.split(':').filter(|part| !part.is_empty()).count();
            let zeros = 6 - count(head) - count(tail);
            let middle = vec!["00"; zeros].join(":");
            format!("{head}:{middle}:{tail}")
        }
    };
    full.parse().unwrap_or_else(|_| panic!("{text:?} is no MAC"))
}
