//! What the workers learned.

use std::net::IpAddr;

use mn_agent_core::{Learned, Row};
use mn_ids::BridgeId;
use mn_packet::Mac;
use mn_time::Instant;
use mn_topology::DeviceId;

use super::Control;
use crate::clock;
use crate::worker::message::{Heard, ToWorker};

impl Control {
    /// Tells the other workers and the table what a worker learned.
    pub(super) fn take_heard(&mut self, worker: usize, heard: Heard) {
        let now = clock::now();
        let row = match heard {
            Heard::Mac(place, port) => {
                if matches!(self.state.ages.hear(place, port, now), Learned::Held { .. }) {
                    return;
                }
                self.state.tables.learn_mac(place, port, &mut Vec::new());
                Row::Mac(place, Some(port))
            }
            Heard::BridgeNeighbor { bridge, addr, mac } => {
                self.say_if_duplicate(bridge, addr, mac, now);
                self.state.tables.learn_bridge_neighbor(bridge, addr, mac, &mut Vec::new());
                Row::BridgeNeighbor { bridge, addr, mac: Some(mac) }
            }
            Heard::Neighbor { router, port, addr, mac } => {
                self.state.tables.learn_neighbor(router, addr, (mac, port), &mut Vec::new());
                self.state.neighbor_ages.hear(router, addr, now);
                Row::Neighbor { router, addr, value: Some((mac, port)) }
            }
            Heard::NeighborGone { router, addr } => {
                self.state.tables.refute_neighbor(router, addr, &mut Vec::new());
                self.state.neighbor_ages.forget(router, addr);
                Row::Neighbor { router, addr, value: None }
            }
        };
        for other in (0..self.workers.len()).filter(|other| *other != worker) {
            self.tell(other, ToWorker::Heard(heard));
        }
        self.write(&row);
        self.state.healths.note_change();
    }

    /// Says that an address was heard at another MAC than before: two machines have it, or it has
    /// moved.
    fn say_if_duplicate(&mut self, bridge: BridgeId, addr: IpAddr, mac: Mac, now: Instant) {
        let before = self.state.tables.bridge_neighbor(bridge, addr);
        if let Some(before) = before.filter(|before| *before != mac)
            && self.state.duplicates.hear(DeviceId::Bridge(bridge), addr, now)
        {
            tracing::warn!(
                %bridge,
                %addr,
                %mac,
                %before,
                event = "duplicate-address",
                "an address is heard at another MAC than before: two machines may have it"
            );
        }
    }
}
