//! Ports for translations, ahead of need.

use std::collections::HashSet;
use std::sync::Arc;

use mn_ids::{ChainId, RuleId};
use mn_simulation::nat::static_address;
use mn_topology::snapshot::{Lookup, Snapshot};
use mn_topology::{DeviceId, NatTarget, RuleAction};

use super::Control;
use crate::leaser::LeaseAsk;
use crate::worker::message::ToWorker;

impl Control {
    pub(super) fn ask_leaser(&self, ask: LeaseAsk) {
        if let Err(error) = self.leases.try_send(ask) {
            // The worker's packets give up, and ask again.
            tracing::error!(%error, "ports cannot be asked for");
        }
    }

    /// Tells the workers of rules that will want ports, where their devices are around this host's
    /// ports: the first packet then finds them leased.
    pub(super) fn prepare_ports(&mut self) {
        let snapshot = Arc::clone(&self.state.snapshot);
        let mut wanted = Vec::new();
        for device in self.devices_around() {
            let mut seen = HashSet::new();
            for chain in filters(&snapshot, device) {
                dynamic_sources(&snapshot, chain, &mut seen, &mut |rule, targets| {
                    wanted.push((device, rule, targets.to_vec()));
                });
            }
        }
        for (device, rule, targets) in wanted {
            if self.state.prepared.insert((device, rule)) {
                let targets = &targets;
                self.tell_workers(|| ToWorker::Prepare { device, rule, targets: targets.clone() });
            }
        }
    }

    /// The devices of this host's ports, and those linked to them.
    pub(super) fn devices_around(&self) -> HashSet<DeviceId> {
        let mut devices: HashSet<DeviceId> =
            self.state.bound.values().map(|port| port.device()).collect();
        let snapshot = &self.state.snapshot;
        for device in devices.clone() {
            let DeviceId::Bridge(id) = device else { continue };
            let Lookup::Loaded(bridge) = snapshot.bridge(id) else { continue };
            for link in bridge.links() {
                if let Lookup::Loaded(port) = snapshot.port(link.peer) {
                    devices.insert(port.device());
                }
            }
        }
        devices
    }
}

fn filters(snapshot: &Snapshot, device: DeviceId) -> Vec<ChainId> {
    let filters = match device {
        DeviceId::Bridge(id) => match snapshot.bridge(id) {
            Lookup::Loaded(bridge) => bridge.filters(),
            Lookup::Absent | Lookup::NotLoaded => [None; 2],
        },
        DeviceId::Router(id) => match snapshot.router(id) {
            Lookup::Loaded(router) => router.filters(),
            Lookup::Absent | Lookup::NotLoaded => [None; 2],
        },
    };
    filters.into_iter().flatten().collect()
}

/// The rules of a chain, and of those it jumps to, that take ports.
fn dynamic_sources(
    snapshot: &Snapshot,
    chain: ChainId,
    seen: &mut HashSet<ChainId>,
    each: &mut impl FnMut(RuleId, &[NatTarget]),
) {
    if !seen.insert(chain) {
        return;
    }
    let Lookup::Loaded(view) = snapshot.chain(chain) else { return };
    for rule in view.rules() {
        match &rule.action {
            RuleAction::Snat { targets, .. } if static_address(targets).is_none() => {
                each(rule.id, targets);
            }
            RuleAction::Jump { chain_id } => dynamic_sources(snapshot, *chain_id, seen, each),
            _ => {}
        }
    }
}
