//! Chains compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use mn_ids::{ChainId, ChainSegmentId, RuleId};

use super::{ConditionView, Lookup, Single};
use crate::object::{Chain, ChainSegment, Rule, RuleAction};

/// A loaded chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainView {
    pub id: ChainId,
    /// For people. No flow reads it.
    pub name: Option<String>,
    /// Its rules in runs, as they are stored: an edit replaces one and shares the others.
    parts: Box<[Arc<[RuleView]>]>,
}

/// A rule of a loaded chain.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    pub id: RuleId,
    pub condition: ConditionView,
    pub action: RuleAction,
    pub meter_name: Option<String>,
}

impl ChainView {
    /// Its rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleView> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// Whether both have the same rules, however they are stored.
    fn has_rules_of(&self, other: &Self) -> bool {
        let both = self.parts.iter().zip(&other.parts);
        let shared = both.take_while(|(one, other)| Arc::ptr_eq(one, other)).count();
        let own = self.parts[shared..].iter().flat_map(|part| part.iter());
        own.eq(other.parts[shared..].iter().flat_map(|part| part.iter()))
    }
}

/// A chain on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct ChainEntry {
    pub(super) chain: Single<Head>,
    pub(super) segments_complete: bool,
    segments: BTreeMap<ChainSegmentId, Arc<[RuleView]>>,
    view: Option<Arc<ChainView>>,
}

/// What is stored in the chain's own document.
#[derive(Debug)]
pub(super) struct Head {
    id: ChainId,
    name: Option<String>,
    rules: Arc<[RuleView]>,
    segments: Vec<ChainSegmentId>,
}

impl Head {
    pub(super) fn of(chain: &Chain) -> Self {
        Self {
            id: chain.id,
            name: chain.name.clone(),
            rules: compiled(&chain.rules),
            segments: chain.segments.clone(),
        }
    }
}

fn compiled(rules: &[Rule]) -> Arc<[RuleView]> {
    rules.iter().map(RuleView::of).collect()
}

impl ChainEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, ChainView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.chain.watched && self.chain.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    pub(super) fn set_segment(&mut self, id: ChainSegmentId, new: Option<&ChainSegment>) {
        match new {
            Some(segment) => drop(self.segments.insert(id, compiled(&segment.rules))),
            None => drop(self.segments.remove(&id)),
        }
    }

    /// The segments that are loaded.
    pub(super) fn segments(&self) -> impl Iterator<Item = ChainSegmentId> + '_ {
        self.segments.keys().copied()
    }

    /// Whether any selector shows the chain or its segments.
    pub(super) fn is_watched(&self) -> bool {
        self.chain.watched || self.segments_complete || self.chain.value.is_some()
    }

    /// Makes the view from the parts, once all are there; says whether flows see other rules now.
    pub(super) fn compile(&mut self) -> bool {
        let new = self.chain.value.as_deref().and_then(|head| self.view_of(head)).map(Arc::new);
        let same = match (&self.view, &new) {
            (Some(old), Some(new)) => old.has_rules_of(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        self.view = new;
        !same
    }

    /// `None` while a segment is not there: a filter that lacks rules must not be asked.
    fn view_of(&self, head: &Head) -> Option<ChainView> {
        let segments = head.segments.iter().map(|id| self.segments.get(id).cloned());
        let segments: Option<Vec<_>> = segments.collect();
        let parts = core::iter::once(Arc::clone(&head.rules)).chain(segments?).collect();
        Some(ChainView { id: head.id, name: head.name.clone(), parts })
    }
}

impl RuleView {
    fn of(rule: &Rule) -> Self {
        Self {
            id: rule.id,
            condition: ConditionView::of(&rule.condition),
            action: rule.action.clone(),
            meter_name: rule.meter_name.clone(),
        }
    }
}
