//! Zones: where connections of a device's ports are tracked.
//!
//! Every device with ports here has one: a zone without connections costs a packet nothing, and one
//! whose chains ask only later has its number already.

use std::collections::BTreeSet;

use mn_datapath::Tracking;
use mn_flow::{PortNo, Zone};
use mn_topology::DeviceId;
use uuid::Uuid;

use super::Control;

impl Control {
    /// Puts every attached port into the zone of its device. Zones without ports here are given up
    /// with their connections, as are those of ports that are no more.
    pub(super) fn reconcile_zones(&mut self) {
        if !self.state.bound_known {
            return;
        }
        let devices: Vec<(PortNo, Uuid)> = self
            .state
            .local
            .ports
            .iter()
            .filter_map(|(port, number)| {
                let device = match self.state.bound.get(port)?.device() {
                    DeviceId::Bridge(bridge) => bridge.uuid(),
                    DeviceId::Router(router) => router.uuid(),
                };
                Some((*number, device))
            })
            .collect();
        for (number, device) in devices {
            let Some(zone) = self.numbers.zone(device) else {
                tracing::error!(number = number.0, "no zone is free: nothing is tracked");
                continue;
            };
            if self.state.local.zones.get(&number) != Some(&zone) {
                self.set_zone(number, zone);
            }
        }
        let used: BTreeSet<Zone> = self.state.local.zones.values().copied().collect();
        let gone = self.numbers.keep_zones(&used);
        let ports = std::mem::take(&mut self.state.gone_numbers);
        if gone.is_empty() && ports.is_empty() {
            return;
        }
        let is_gone =
            |it: &mn_datapath::Connection| gone.contains(&it.zone) || ports.contains(&it.port);
        if let Err(error) = self.datapath.forget_connections(&is_gone) {
            tracing::error!(%error, "connections of ports that are gone cannot be removed");
        }
    }

    fn set_zone(&mut self, number: PortNo, zone: Zone) {
        let tracking = Tracking { zone, connections_max: self.connections_max };
        match self.datapath.set_tracking(number, tracking) {
            Ok(()) => {
                self.state.local.zones.insert(number, zone);
                self.state.news.changed = true;
            }
            Err(error) => {
                tracing::error!(%error, number = number.0, "connections cannot be tracked");
            }
        }
    }
}
