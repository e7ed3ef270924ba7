//! Where rules are: kept by this node, so that neither a rule nor a place in a long chain is looked
//! for in every rule there is.
//!
//! What is remembered of a document says of which version it is, and is read anew where the
//! document has another. So nothing here can be out of date, only not yet known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mn_ids::{ChainId, Class, ObjectKey, RuleId};
use mn_nsdb::{Revision, Stored};
use mn_topology::{Chain, ChainSegment, Rule, RuleAction};

use super::db::{Db, Found, decode};
use super::problem::Problem;

/// When the index has more rules it starts anew: about 200 MB.
const RULES_MAX: usize = 2_000_000;

/// What is known of a document with rules: of a chain, or of a segment of one.
#[derive(Clone, Debug)]
pub struct Part {
    pub key: ObjectKey,
    pub chain: ChainId,
    pub rules: Arc<[RuleId]>,
    /// The chains its rules jump to.
    pub jumps: Arc<[ChainId]>,
    version: Revision,
}

impl Part {
    fn of(key: ObjectKey, chain: ChainId, rules: &[Rule], version: Revision) -> Self {
        let jump = |rule: &Rule| match rule.action {
            RuleAction::Jump { chain_id } => Some(chain_id),
            _ => None,
        };
        Self {
            key,
            chain,
            rules: rules.iter().map(|rule| rule.id).collect(),
            jumps: rules.iter().filter_map(jump).collect(),
            version,
        }
    }
}

/// The index.
#[derive(Default)]
pub struct RuleIndex(Mutex<Index>);

#[derive(Default)]
struct Index {
    parts: HashMap<ObjectKey, Part>,
    /// The part each rule is in.
    places: HashMap<RuleId, ObjectKey>,
}

impl RuleIndex {
    /// The parts of a chain, in order.
    pub async fn parts(&self, db: &Db, chain: &Found<Chain>) -> Result<Vec<Part>, Problem> {
        let key = chain.object.id.into();
        let head = Part::of(key, chain.object.id, &chain.object.rules, chain.version);
        self.lock().note(head.clone());
        let mut parts = vec![head];
        if chain.object.segments.is_empty() {
            return Ok(parts);
        }
        let mut segments = HashMap::new();
        for stored in db.stored_referrers(key, Class::ChainSegment).await? {
            segments.insert(stored.key.id, stored);
        }
        for id in &chain.object.segments {
            // Gone since the chain was read: whoever writes is overtaken, whoever reads starts anew.
            let Some(stored) = segments.remove(&id.uuid()) else { continue };
            parts.push(self.part(stored)?);
        }
        Ok(parts)
    }

    /// The part a rule is in; `None`: there is no such rule.
    pub async fn find(&self, db: &Db, rule: RuleId) -> Result<Option<Part>, Problem> {
        let hint = self.lock().places.get(&rule).copied();
        if let Some(key) = hint
            && let Some(stored) = db.stored(key).await?
        {
            let part = self.part(stored)?;
            if part.rules.contains(&rule) {
                return Ok(Some(part));
            }
        }
        self.refresh(db).await?;
        let index = self.lock();
        Ok(index.places.get(&rule).and_then(|key| index.parts.get(key)).cloned())
    }

    /// Looks at every document with rules, and reads those that changed.
    async fn refresh(&self, db: &Db) -> Result<(), Problem> {
        let mut known = std::collections::HashSet::new();
        for class in [Class::Chain, Class::ChainSegment] {
            for stored in db.stored_list(class).await? {
                known.insert(stored.key);
                self.part(stored)?;
            }
        }
        let mut index = self.lock();
        let gone: Vec<_> = index.parts.keys().filter(|key| !known.contains(key)).copied().collect();
        gone.iter().for_each(|key| index.forget(*key));
        Ok(())
    }

    /// What is in a document, read only if it is not known at this version.
    fn part(&self, stored: Stored) -> Result<Part, Problem> {
        let (key, version) = (stored.key, stored.version);
        if let Some(part) = self.lock().parts.get(&key)
            && part.version == version
        {
            return Ok(part.clone());
        }
        let part = if key.class == Class::Chain {
            let chain: Found<Chain> = decode(stored)?;
            Part::of(key, chain.object.id, &chain.object.rules, version)
        } else {
            let segment: Found<ChainSegment> = decode(stored)?;
            Part::of(key, segment.object.chain_id, &segment.object.rules, version)
        };
        self.lock().note(part.clone());
        Ok(part)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn note(&mut self, part: Part) {
        if self.parts.get(&part.key).is_some_and(|known| known.version >= part.version) {
            return;
        }
        self.forget(part.key);
        if self.places.len() + part.rules.len() > RULES_MAX {
            *self = Self::default();
        }
        self.places.extend(part.rules.iter().map(|rule| (*rule, part.key)));
        self.parts.insert(part.key, part);
    }

    fn forget(&mut self, key: ObjectKey) {
        let Some(part) = self.parts.remove(&key) else { return };
        for rule in part.rules.iter() {
            // It may have moved to another part that is known already.
            if self.places.get(rule) == Some(&key) {
                self.places.remove(rule);
            }
        }
    }
}
