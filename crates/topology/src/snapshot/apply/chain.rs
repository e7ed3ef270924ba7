//! Chains, whose rules come in several documents.

use std::sync::Arc;

use mn_flow::Tag;
use mn_ids::{ChainId, ChainSegmentId};

use super::super::chain::Head;
use super::Next;
use crate::object::{Chain, ChainSegment};

impl Next {
    pub(super) fn chain(&mut self, id: ChainId, new: Option<&Chain>) {
        let entry = self.snapshot.chains.entry(id.uuid());
        entry.chain.value = new.map(|chain| Arc::new(Head::of(chain)));
        self.chains.insert(id);
    }

    pub(super) fn chain_segment(&mut self, id: ChainSegmentId, new: Option<&ChainSegment>) {
        let old = match new {
            Some(segment) => self.snapshot.chain_segments.insert(id.uuid(), segment.chain_id),
            None => self.snapshot.chain_segments.remove(id.uuid()),
        };
        let Some(chain) = new.map(|segment| segment.chain_id).or(old) else { return };
        self.snapshot.chains.entry(chain.uuid()).set_segment(id, new);
        self.chains.insert(chain);
    }

    /// A segment may come along because a rule in it jumps to a chain that is watched, while nobody
    /// watches its own: that is dropped again.
    pub(super) fn rebuild_chain(&mut self, id: ChainId) {
        let entry = self.snapshot.chains.entry(id.uuid());
        if entry.compile() {
            self.tags.insert(Tag::Chain(id));
        }
        if entry.is_watched() {
            return;
        }
        let segments: Vec<_> = entry.segments().collect();
        for segment in segments {
            self.snapshot.chain_segments.remove(segment.uuid());
        }
        self.snapshot.chains.remove(id.uuid());
    }
}
