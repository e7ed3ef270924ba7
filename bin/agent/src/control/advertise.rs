//! Router advertisements for this host's ports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mn_agent_core::Speaker;
use mn_ids::PortId;
use mn_simulation::{Entry, router_advertisement};
use mn_topology::snapshot::{FarEnd, Lookup, Snapshot};
use mn_topology::{DeviceId, PortKind};

use super::Control;
use crate::clock;
use crate::worker::message::{Announcement, Reach};

impl Control {
    /// Sends the advertisements that are due. A router's port that is bound here is spoken for
    /// here. One that is linked to a bridge is spoken for by every host that has ports of the
    /// bridge, to those alone: so each machine hears each advertisement once, and none crosses the
    /// underlay.
    pub(super) fn advertise(&mut self) {
        let now = clock::now();
        if self.state.news.changed {
            let speakers = self.speakers();
            self.state.advertising.set(speakers, now);
        }
        let due = self.state.advertising.due(now).into_iter();
        let own = due.map(|(port, frame)| Announcement {
            entry: Entry::Egress(port),
            frame,
            reach: Reach::Here,
        });
        self.state.announcements.extend(own);
    }

    fn speakers(&self) -> BTreeMap<PortId, Speaker> {
        let snapshot = &self.state.snapshot;
        let active = self.state.local.ports.keys().copied();
        let mut speakers = BTreeMap::new();
        for port in router_ports(snapshot, active) {
            let Lookup::Loaded(object) = snapshot.port(port) else { continue };
            let PortKind::Router(kind) = &object.kind else { continue };
            let advertisement = router_advertisement(kind, self.state.local.mtu);
            let speaks = object.admin_state_up;
            let speaker = Speaker {
                mac: kind.mac,
                advertisement: advertisement.filter(|_| speaks),
                interval: Duration::from_secs(kind.ra_interval_seconds().into()),
            };
            speakers.insert(port, speaker);
        }
        speakers
    }
}

/// The routers' ports on the links that the active ports are on: themselves, and those that are
/// linked to their bridges, or to bridges linked to these.
pub(super) fn router_ports(
    snapshot: &Snapshot,
    active: impl Iterator<Item = PortId>,
) -> BTreeSet<PortId> {
    let (mut found, mut bridges, mut next) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for port in active {
        match device_of(snapshot, port) {
            Some(DeviceId::Bridge(bridge)) => next.push(bridge),
            Some(DeviceId::Router(_)) => drop(found.insert(port)),
            None => {}
        }
    }
    while let Some(bridge) = next.pop() {
        if !bridges.insert(bridge) {
            continue;
        }
        let Lookup::Loaded(bridge) = snapshot.bridge(bridge) else { continue };
        for link in bridge.links() {
            match link.far {
                FarEnd::Router { .. } => drop(found.insert(link.peer)),
                FarEnd::Bridge => {
                    if let Some(DeviceId::Bridge(far)) = device_of(snapshot, link.peer) {
                        next.push(far);
                    }
                }
                FarEnd::Unknown => {}
            }
        }
    }
    found
}

fn device_of(snapshot: &Snapshot, port: PortId) -> Option<DeviceId> {
    match snapshot.port(port) {
        Lookup::Loaded(port) => Some(port.device()),
        Lookup::Absent | Lookup::NotLoaded => None,
    }
}
