//! The installed flows, by mask.

use std::collections::{HashMap, HashSet};

use mn_flow::{Cookie, FlowKey, FlowMask};
use mn_time::Instant;

use crate::{Counters, FlowSpec, InstalledFlow};

/// Flows found by masked key, one mask after the other.
///
/// Which of two masks that match one packet wins is not defined: the agent never installs such.
#[derive(Debug, Default)]
pub(super) struct FlowTable {
    masks: Vec<(FlowMask, HashMap<FlowKey, InstalledFlow>)>,
    /// Flows that told of the first segment that neither begins nor ends a connection.
    told: HashSet<Cookie>,
}

impl FlowTable {
    /// The flow that matches a key.
    pub fn lookup(&mut self, key: &FlowKey) -> Option<&mut InstalledFlow> {
        self.masks.iter_mut().find_map(|(mask, flows)| flows.get_mut(&mask.apply(key)))
    }

    /// Installs a flow. One with the same masked key gives it its counters.
    pub fn install(&mut self, spec: &FlowSpec, now: Instant) {
        let place = self.masks.iter().position(|(mask, _)| *mask == spec.mask);
        let place = place.unwrap_or_else(|| {
            self.masks.push((spec.mask, HashMap::new()));
            self.masks.len() - 1
        });
        let fresh =
            InstalledFlow { spec: spec.clone(), counters: Counters::default(), used_at: now };
        let flow = self.masks[place].1.entry(spec.mask.apply(&spec.key)).or_insert(fresh);
        self.told.remove(&flow.spec.cookie);
        self.told.remove(&spec.cookie);
        flow.spec = spec.clone();
    }

    /// Whether a flow is still to tell of the first segment that neither begins nor ends a
    /// connection.
    pub fn is_to_tell(&self, cookie: Cookie) -> bool {
        !self.told.contains(&cookie)
    }

    /// Notes that it has.
    pub fn note_told(&mut self, cookie: Cookie) {
        self.told.insert(cookie);
    }

    /// Removes the flow of this key and mask, if it has this cookie.
    pub fn remove(
        &mut self,
        key: &FlowKey,
        mask: FlowMask,
        cookie: Cookie,
    ) -> Option<InstalledFlow> {
        let place = self.masks.iter().position(|(it, _)| *it == mask)?;
        let flows = &mut self.masks[place].1;
        let key = mask.apply(key);
        flows.get(&key).filter(|flow| flow.spec.cookie == cookie)?;
        self.told.remove(&cookie);
        let removed = flows.remove(&key);
        if flows.is_empty() {
            self.masks.remove(place);
        }
        removed
    }

    pub fn get(&self, key: &FlowKey, mask: FlowMask) -> Option<&InstalledFlow> {
        let (_, flows) = self.masks.iter().find(|(it, _)| *it == mask)?;
        flows.get(&mask.apply(key))
    }

    pub fn iter(&self) -> impl Iterator<Item = &InstalledFlow> {
        self.masks.iter().flat_map(|(_, flows)| flows.values())
    }
}
