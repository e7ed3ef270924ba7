//! The inspecting machines behind this host's ports: asked whether they are there, and told of.

use mn_agent_core::{Row, Served};
use mn_ids::L2InsertionId;
use mn_simulation::{Entry, heartbeat};
use mn_topology::Port;
use mn_topology::snapshot::Lookup;

use super::Control;
use crate::clock;
use crate::worker::message::{Announcement, Reach};

impl Control {
    /// Sends the heartbeats that are due, and tells of machines that came or went.
    pub(super) fn watch_inspectors(&mut self) {
        if self.state.epoch.is_none() || !self.state.bound_known {
            return;
        }
        let served = self.served();
        let (mut verdicts, mut beats) = (Vec::new(), Vec::new());
        self.state.inspectors.update(&served, clock::now(), &mut verdicts, &mut beats);
        for (insertion, port, health) in verdicts {
            tracing::info!(%insertion, %port, ?health, "an inspecting machine");
            self.write(&Row::InsertionHealth { insertion, port, health });
        }
        for insertion in beats {
            if let Lookup::Loaded(insertion) = self.state.snapshot.l2_insertion(insertion) {
                self.state.announcements.push(Announcement {
                    entry: Entry::Egress(insertion.srv_port_id),
                    frame: heartbeat(insertion),
                    reach: Reach::Here,
                });
            }
        }
    }

    /// A heartbeat came back.
    pub(super) fn take_heartbeat(&mut self, insertion: L2InsertionId) {
        self.state.inspectors.hear(insertion, clock::now());
    }

    fn served(&self) -> Vec<Served> {
        let mut served = Vec::new();
        for port in self.state.bound.values().filter(|port| port.is_service()) {
            let link = port.admin_state_up && self.has_link(port);
            for id in &port.srv_insertion_ids {
                if let Lookup::Loaded(insertion) = self.state.snapshot.l2_insertion(*id) {
                    let heartbeat = insertion.heartbeat;
                    served.push(Served { insertion: *id, port: port.id, link, heartbeat });
                }
            }
        }
        served
    }

    /// Whether a port's interface is served, up and has a link.
    fn has_link(&self, port: &Port) -> bool {
        let Some(name) = port.interface_name.as_deref() else { return false };
        let attached = self.state.attached.get(name).is_some_and(|at| at.port == port.id);
        let link = self.state.links.get(name);
        attached && link.is_some_and(|link| link.interface.up && link.interface.link)
    }
}
