//! Chains with all their rules: the first in the chain's own document, further ones in segments.
//!
//! An edit writes the chain and one segment, or two where one is divided, and expects both as they
//! were read. The chain is always written: its version is that of all its rules, so who read a chain
//! at the same version before and after its segments saw one state.

use mn_ids::{ChainId, ChainSegmentId};
use mn_topology::{Chain, ChainSegment, Rule};

use super::db::{Changes, Db, Found};
use super::problem::Problem;
use super::rule_index::Part;

/// A part with so many rules is divided when another comes.
const RULES_MAX: usize = 128;
/// Or with so many octets of rules: two parts and the chain fit one transaction.
const RULES_BYTES_MAX: usize = 64 * 1024;
/// How often a chain is read again that changed while it was read.
const READS_MAX: u32 = 20;

/// All rules of a chain, in order.
pub async fn rules(db: &Db, id: ChainId) -> Result<Vec<Rule>, Problem> {
    for _ in 0..READS_MAX {
        let Found { object: chain, version } = db.get::<Chain>(id).await?;
        if chain.segments.is_empty() {
            return Ok(chain.rules);
        }
        let segments = db.referrers::<ChainSegment>(id).await?;
        if db.get::<Chain>(id).await?.version == version {
            return Ok(joined(chain, segments));
        }
    }
    Err(Problem::unavailable("the chain changes faster than it can be read"))
}

fn joined(chain: Chain, segments: Vec<Found<ChainSegment>>) -> Vec<Rule> {
    let mut segments: std::collections::HashMap<_, _> =
        segments.into_iter().map(|found| (found.object.id, found.object.rules)).collect();
    let mut rules = chain.rules;
    for id in &chain.segments {
        rules.extend(segments.remove(id).unwrap_or_default());
    }
    rules
}

/// Where a rule is or goes: in which of the parts, and at which place there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spot {
    pub part: usize,
    pub index: usize,
}

impl Spot {
    /// Where a new rule goes that is to be at this index of the chain; `None`: beyond its end.
    pub fn of_new(parts: &[Part], index: usize) -> Option<Self> {
        let mut before = 0;
        for (part, rules) in parts.iter().map(|part| part.rules.len()).enumerate() {
            // Between two parts it goes to the first, unless that is full and there is a second.
            let at_the_end = index == before + rules && part + 1 < parts.len();
            if index <= before + rules && !(at_the_end && rules >= RULES_MAX) {
                return Some(Self { part, index: index - before });
            }
            before += rules;
        }
        None
    }
}

/// One part of a chain, to be edited.
pub struct Edit {
    pub chain: Found<Chain>,
    /// `None`: it is the chain's own document.
    segment: Option<Found<ChainSegment>>,
}

impl Edit {
    /// Reads a part that the index knows. A deleted chain's jumps go without the chains of those
    /// jumps being written: where the rules are not those of the index, it is decided again.
    pub async fn begin(db: &Db, chain: Found<Chain>, part: &Part) -> Result<Self, Problem> {
        let overtaken = || Problem::overtaken(part.chain);
        let segment = if part.key == chain.object.id.into() {
            None
        } else {
            let id = ChainSegmentId::from_uuid(part.key.id);
            Some(db.find::<ChainSegment>(id).await?.ok_or_else(overtaken)?)
        };
        let edit = Self { chain, segment };
        let same = edit.rules().iter().map(|rule| &rule.id).eq(part.rules.iter());
        if same { Ok(edit) } else { Err(overtaken()) }
    }

    pub fn rules(&self) -> &[Rule] {
        match &self.segment {
            Some(segment) => &segment.object.rules,
            None => &self.chain.object.rules,
        }
    }

    /// Puts a rule in at an index of the part.
    pub fn insert(mut self, changes: Changes, index: usize, rule: Rule) -> Changes {
        let rules = std::mem::take(self.rules_mut());
        let (first, second) = divided(rules, index, rule);
        *self.rules_mut() = first;
        let new = second.map(|rules| self.add_segment_after(rules));
        let changes = self.write(changes);
        match new {
            Some(segment) => changes.create(&segment),
            None => changes,
        }
    }

    /// Takes the rule at an index of the part out. A segment without rules goes too.
    pub fn remove(mut self, changes: Changes, index: usize) -> Changes {
        self.rules_mut().remove(index);
        let Some(segment) = self.segment.take_if(|segment| segment.object.rules.is_empty()) else {
            return self.write(changes);
        };
        let id = segment.object.id;
        self.chain.object.segments.retain(|other| *other != id);
        self.write(changes.check(&segment).delete(id))
    }

    fn rules_mut(&mut self) -> &mut Vec<Rule> {
        match &mut self.segment {
            Some(segment) => &mut segment.object.rules,
            None => &mut self.chain.object.rules,
        }
    }

    fn add_segment_after(&mut self, rules: Vec<Rule>) -> ChainSegment {
        let chain = &mut self.chain.object;
        let new = ChainSegment { id: ChainSegmentId::random(), chain_id: chain.id, rules };
        let place = self.segment.as_ref().and_then(|segment| {
            chain.segments.iter().position(|other| *other == segment.object.id)
        });
        chain.segments.insert(place.map_or(0, |place| place + 1), new.id);
        new
    }

    fn write(self, changes: Changes) -> Changes {
        let changes = changes.update(&self.chain);
        match &self.segment {
            Some(segment) => changes.update(segment),
            None => changes,
        }
    }
}

/// The rules with the new one among them, in two where they were full. A new one at either end of a
/// full part is alone: chains that are written from one end to the other have full parts.
fn divided(mut rules: Vec<Rule>, index: usize, rule: Rule) -> (Vec<Rule>, Option<Vec<Rule>>) {
    if !is_full(&rules) {
        rules.insert(index, rule);
        return (rules, None);
    }
    if index == 0 {
        return (vec![rule], Some(rules));
    }
    if index == rules.len() {
        return (rules, Some(vec![rule]));
    }
    rules.insert(index, rule);
    let second = rules.split_off(rules.len() / 2);
    (rules, Some(second))
}

fn is_full(rules: &[Rule]) -> bool {
    let bytes = |rule: &Rule| serde_json::to_string(rule).map_or(0, |json| json.len());
    rules.len() >= RULES_MAX || rules.iter().map(bytes).sum::<usize>() >= RULES_BYTES_MAX
}
