//! What flows have counted in common.

use std::sync::atomic::Ordering::Relaxed;

use mn_datapath_abi::Meter;

use super::sys::Shared;
use crate::{Counters, DatapathError};

/// What a meter has counted.
pub fn read(meters: &Shared<Meter>, index: u32) -> Result<Counters, DatapathError> {
    let place = index as usize;
    if place >= meters.len() {
        return Err(DatapathError::Invalid(format!("meter {index}")));
    }
    let Meter { packets, octets } = meters.read(place);
    Ok(Counters { packets, octets })
}

/// Adds to a meter.
pub fn count(meters: &Shared<Meter>, index: u32, counters: Counters) {
    let place = index as usize;
    if place < meters.len() {
        meters.word(place, Meter::PACKETS_AT).fetch_add(counters.packets, Relaxed);
        meters.word(place, Meter::OCTETS_AT).fetch_add(counters.octets, Relaxed);
    }
}
