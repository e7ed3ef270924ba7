//! Flows of an earlier agent, decided about anew.

use mn_datapath::InstalledFlow;
use mn_flow::Expiry;
use mn_simulation::{Effect, Entry, Packet};
use mn_time::Instant;

use super::Worker;
use super::install::mask_of;
use crate::clock;

/// Flows looked at between two batches of packets.
const AT_ONCE: usize = 256;

impl Worker {
    /// Decides about some adopted flows. Those that cannot be decided about yet stay as they are,
    /// and forward: they are not verified.
    pub(super) fn adopt_some(&mut self, now: Instant) {
        if self.adopting.is_empty() || self.adoption_waits {
            return;
        }
        let mut blocked = 0;
        for _ in 0..AT_ONCE.min(self.adopting.len()) {
            let Some(flow) = self.adopting.pop_front() else { break };
            if self.adopt(&flow, now).is_none() {
                self.adopting.push_back(flow);
                blocked += 1;
            }
        }
        // Everything was looked at and nothing moved: news must come first.
        self.adoption_waits = blocked >= AT_ONCE.min(self.adopting.len()) && blocked > 0;
        self.activate();
        self.report.unverified.set(self.adopting.len());
        if self.adopting.is_empty() {
            let took = clock::now().since(self.adopting_since);
            self.report.adoption_ms.set(usize::try_from(took.as_millis()).unwrap_or(usize::MAX));
            let (kept, replaced) = (self.report.adopted.get(), self.report.replaced.get());
            tracing::info!(
                worker = self.number,
                ?took,
                kept,
                replaced,
                "adopted flows are verified"
            );
        }
    }

    /// Replaces a flow by what this agent would install for its first packet; `None` where that
    /// is not known yet.
    fn adopt(&mut self, flow: &InstalledFlow, now: Instant) -> Option<()> {
        let spec = &flow.spec;
        let Some(port) = self.local.by_number.get(&spec.key.in_port).copied() else {
            self.report.replaced.add(1);
            self.remove(spec);
            return Some(());
        };
        // The frame is gone; a verdict that needs it (an answer of our own) makes no flow anyway.
        let packet = Packet { key: spec.key, frame: &[], gso_size: 0 };
        let decision = self.simulate(&packet, Entry::Ingress(port), now).ok()?;
        self.translated(spec.key.in_port, &decision, None).ok()?;
        let begins = |effect: &Effect| matches!(effect, Effect::Translate(_));
        let begins = self.buffers.effects.iter().any(begins);
        self.buffers.effects.clear();
        // Its next packet is to choose anew where the translation it had is gone.
        if decision.expiry == Expiry::None || begins {
            self.report.replaced.add(1);
            self.remove(spec);
            return Some(());
        }
        let mask = mask_of(&decision);
        let mut tags = std::mem::take(&mut self.buffers.tags);
        tags.extend_from_slice(&self.translation.tags);
        self.fit_groups();
        let same = mask == spec.mask && self.translation.actions == spec.actions;
        if same {
            self.report.adopted.add(1)
        } else {
            self.report.replaced.add(1)
        }
        let cookie = self.enter(spec.key, &decision, &tags, now);
        self.buffers.tags = tags;
        if mask == spec.mask {
            self.installs.last_is_over(spec.cookie);
        }
        self.prepare_probes(&spec.key, cookie, now);
        if mask != spec.mask {
            // The new one first, so that no packet is without a flow.
            self.activate();
            self.remove(spec);
        }
        Some(())
    }
}
