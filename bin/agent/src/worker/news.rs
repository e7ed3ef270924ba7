//! A new revision of the world.

use std::sync::Arc;

use mn_agent_core::{NeighborEvent, Row, RowChange, Wait};
use mn_time::Instant;

use super::Worker;
use super::message::News;

impl Worker {
    /// Decides by the new world from here on: flows that depended on what changed leave, packets
    /// that waited for it go on.
    pub(super) fn take_news(&mut self, news: &News, now: Instant) {
        self.snapshot = Arc::clone(&news.snapshot);
        self.local = Arc::clone(&news.local);
        let numbers = &self.local.by_number;
        self.intake.set_ports(|port| numbers.contains_key(&port), numbers.keys().copied());
        let mut tags = news.tags.clone();
        self.tables.forget(&news.forgotten, &mut tags);
        for change in &news.rows {
            self.tables.apply(change, &mut tags);
            self.note_row(change, now);
        }
        for table in &news.complete {
            self.tables.complete(*table);
        }
        self.asked.clear();
        self.asked_places.clear();
        self.adoption_waits = false;
        self.ready = true;
        if !tags.is_empty() {
            self.foreseen.note_change();
        }
        self.touch(&tags, now);
        self.released.extend(self.pending.waiting(|stay| stay.wait == Wait::Load));
    }

    fn note_row(&mut self, change: &RowChange, now: Instant) {
        match change.row {
            Row::Neighbor { router, addr, value: Some((_, port)) } => {
                let shown = NeighborEvent::Shown;
                self.neighbors.on(router, port, addr, shown, now);
                self.release(router, addr);
            }
            Row::Mac(place, Some(port)) => self.heard_elsewhere(place, port, now),
            _ => {}
        }
    }
}
