//! What is given up of what was loaded.
//!
//! Nothing is forgotten by this host's own word. What nothing needs any more is taken out of the
//! watch; it stays known, and true, until the watch tells its end. At that revision it leaves the
//! snapshot and the tables at once, with every flow that might still have read it; from there on a
//! packet that leads to it waits for it to be loaded, as for anything new.

use std::collections::BTreeSet;
use std::sync::Arc;

use mn_agent_core::{Holding, MacPlace, TableName, limits};
use mn_ids::{Class, Id, ObjectKey, PoolId};
use mn_nsdb::Selector;
use mn_time::Instant;
use mn_topology::snapshot::{Loaded, Lookup, Snapshot, Verdict};
use mn_topology::{DeviceId, Port};

use super::Control;
use crate::clock;
use crate::rows;
use crate::subscriptions::loaded;

impl Control {
    /// MACs whose flows are in the datapath do not age, and what flows read stays loaded.
    pub(super) fn take_uses(&mut self, macs: Vec<MacPlace>, held: Vec<Holding>) {
        let now = clock::now();
        for place in macs {
            self.state.ages.note_use(place, now);
        }
        self.note_needed(held, now);
    }

    /// Notes what flows need. A bridge needs to know what is at the other end of its links.
    fn note_needed(&mut self, held: Vec<Holding>, now: Instant) {
        let (snapshot, holdings) = (&self.state.snapshot, &mut self.subscriptions.holdings);
        for holding in held {
            holdings.note_use(holding, now);
            let Holding::Object(key) = holding else { continue };
            if key.class == Class::Bridge
                && let Lookup::Loaded(bridge) = snapshot.bridge(Id::from_uuid(key.id))
            {
                for link in bridge.links() {
                    holdings.note_use(Holding::Object(link.peer.into()), now);
                }
            }
        }
    }

    /// Ends the watches of what nothing has needed for long, some at a time. Cut off from the state
    /// database everything is kept: nothing could be loaded again.
    pub(super) fn give_up_unused(&mut self, now: Instant) {
        self.show_objects();
        if self.state.stale_since.is_some() {
            return;
        }
        if self.state.needs_noted + limits::USES_EVERY <= now {
            self.state.needs_noted = now;
            let (snapshot, holdings) = (&self.state.snapshot, &mut self.subscriptions.holdings);
            around(snapshot, self.state.bound.values(), &mut |needed| {
                holdings.note_use(needed, now);
            });
        }
        for holding in self.subscriptions.holdings.give_up(now) {
            tracing::debug!(?holding, "given up");
            self.subscriptions.end(holding);
        }
    }

    /// Forgets what the watch does not tell of any more.
    pub(super) fn take_ended(&mut self, ended: &[Selector]) {
        if ended.is_empty() {
            return;
        }
        ended.iter().for_each(|selector| self.subscriptions.ended(selector));
        let selectors: Vec<Loaded> = ended.iter().filter_map(loaded).collect();
        let tables: Vec<TableName> = ended.iter().filter_map(rows::table_of).collect();
        let (snapshot, mut tags) = self.state.snapshot.forget(&selectors);
        self.state.snapshot = Arc::new(snapshot);
        let forgotten = self.forgotten_verdicts(&tables);
        if !forgotten.is_empty() {
            let (snapshot, unjudged) = self.state.snapshot.judge(forgotten);
            tags.extend(unjudged);
            self.state.snapshot = Arc::new(snapshot);
        }
        self.state.tables.forget(&tables, &mut Vec::new());
        for selector in &selectors {
            let Loaded::Object(key) = selector else { continue };
            self.state.prepared.retain(|(device, _)| ObjectKey::from(*device) != *key);
        }
        let news = &mut self.state.news;
        news.forgotten.extend(tables);
        news.tags.extend(tags);
        news.changed = true;
    }

    /// Of members whose checks are not heard of any more nothing is known.
    fn forgotten_verdicts(&self, tables: &[TableName]) -> Vec<Verdict> {
        let pool = |table: &TableName| match table {
            TableName::MemberHealth(pool) => Some(*pool),
            _ => None,
        };
        let pools: Vec<PoolId> = tables.iter().filter_map(pool).collect();
        let checked = self.state.tables.checked_of(&pools);
        checked.map(|(pool, member)| (pool, member, None)).collect()
    }

    fn show_objects(&self) {
        let held = self.state.snapshot.held();
        self.objects.send_if_modified(|shown| {
            let changed = **shown != held;
            if changed {
                *shown = held.to_vec();
            }
            changed
        });
    }
}

/// What a first packet of one of these ports is going to need: its device, the devices linked to
/// that, the filters of both, and where the bridge's ports are.
pub(super) fn around<'a>(
    snapshot: &Snapshot,
    bound: impl Iterator<Item = &'a Port>,
    each: &mut impl FnMut(Holding),
) {
    let mut devices = BTreeSet::new();
    for port in bound {
        devices.insert(port.device());
        each(Holding::Object(port.id.into()));
        snapshot.around(port.id, &mut |key| each(Holding::Object(key)));
    }
    for device in devices {
        let DeviceId::Bridge(id) = device else { continue };
        let Lookup::Loaded(bridge) = snapshot.bridge(id) else { continue };
        for link in bridge.links() {
            each(Holding::Object(link.peer.into()));
            snapshot.around(link.peer, &mut |key| each(Holding::Object(key)));
        }
        for port in bridge.ports() {
            if let Lookup::Loaded(object) = snapshot.port(*port)
                && object.peer_id.is_none()
            {
                each(Holding::Place(*port));
            }
        }
    }
}
