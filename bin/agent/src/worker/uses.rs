//! What the flows of this worker make use of.

use mn_agent_core::{Holding, MacPlace, NeighborEvent, limits};
use mn_flow::Tag;
use mn_time::Instant;

use super::Worker;
use super::message::FromWorker;

impl Worker {
    /// MACs that flows are from or to do not age, and what they read stays loaded; neighbours that flows lead to are asked whether
    /// they are there still. A flow is in use until it leaves: those that are idle do so.
    pub(super) fn note_uses(&mut self, now: Instant) {
        if self.last.uses + limits::USES_EVERY > now {
            return;
        }
        self.last.uses = now;
        self.keep_probes(now);
        self.foreseen.note_change();
        let (mut macs, mut neighbors, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for tag in self.flows.tags() {
            held.extend(Holding::of(tag));
            match *tag {
                Tag::Mac { bridge, vlan, mac } => macs.push(MacPlace { bridge, vlan, mac }),
                Tag::Neighbor { router, addr } => neighbors.push((router, addr)),
                _ => {}
            }
        }
        if !(macs.is_empty() && held.is_empty()) {
            self.tell_control(FromWorker::InUse { macs, held });
        }
        for (router, addr) in neighbors {
            let Some((_, port)) = self.tables.neighbor(router, addr) else { continue };
            if self.tables.is_static_neighbor(router, addr) {
                continue;
            }
            let effect = self.neighbors.on(router, port, addr, NeighborEvent::Used, now);
            self.neighbor_effect(router, port, addr, effect, now);
        }
    }
}
