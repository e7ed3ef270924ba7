//! Addresses that two machines claim.

use std::collections::HashMap;
use std::net::IpAddr;

use mn_time::Instant;
use mn_topology::DeviceId;

use crate::limits::{DUPLICATE_QUIET_FOR, DUPLICATES_MAX};

/// When it was last said of an address that it was heard at another MAC than before.
#[derive(Debug, Default)]
pub struct Duplicates {
    said: HashMap<(DeviceId, IpAddr), Instant>,
}

impl Duplicates {
    /// Notes that an address in a device's network was heard at another MAC. Whether that is to be
    /// said: once for an address in a while, and not at all of too many at once.
    pub fn hear(&mut self, device: DeviceId, addr: IpAddr, now: Instant) -> bool {
        let quiet = |said: &Instant| now < *said + DUPLICATE_QUIET_FOR;
        if self.said.get(&(device, addr)).is_some_and(quiet) {
            return false;
        }
        if self.said.len() >= DUPLICATES_MAX {
            self.said.retain(|_, said| quiet(said));
        }
        let room = self.said.len() < DUPLICATES_MAX;
        if room {
            self.said.insert((device, addr), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::BridgeId;
    use mn_time::Duration;

    use super::*;

    fn any_bridge() -> DeviceId {
        DeviceId::Bridge(BridgeId::random())
    }

    #[test]
    fn an_address_that_goes_to_and_fro_is_said_once_a_minute_and_each_address_by_itself() {
        let (mut duplicates, bridge) = (Duplicates::default(), any_bridge());
        let addr = |last| IpAddr::from([10, 0, 0, last]);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let said = (0..120).filter(|second| duplicates.hear(bridge, addr(1), at(*second))).count();
        assert_eq!(said, 2);
        assert!(duplicates.hear(bridge, addr(2), at(119)), "another address");
        assert!(duplicates.hear(any_bridge(), addr(1), at(119)), "another bridge");
    }

    #[test]
    fn who_claims_many_addresses_fills_no_memory_and_stops_being_said() {
        let (mut duplicates, bridge) = (Duplicates::default(), any_bridge());
        let claim = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let said = (0..3 * DUPLICATES_MAX)
            .filter(|number| duplicates.hear(bridge, claim(*number), at(1)))
            .count();
        assert_eq!(said, DUPLICATES_MAX);
        assert!(duplicates.hear(bridge, claim(4 * DUPLICATES_MAX), at(100)), "later again");
    }
}
