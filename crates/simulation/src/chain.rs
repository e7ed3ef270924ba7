//! Chains: which rule decides about the packet (agent-facts §13).

use mn_flow::{DropCause, Tag};
use mn_ids::{ChainId, RuleId};
use mn_topology::snapshot::Lookup;
use mn_topology::{RuleAction, Then};

use crate::StateView;
use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::{RuleResult, Step};

/// How deep jumps may nest. Writing a loop of jumps is refused, so deeper is a damaged topology.
const JUMPS_MAX: u8 = 32;

/// What a chain came to; `None`: its end or a return.
type Decided = Option<(RuleResult, RuleId)>;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Asks a filter. A packet that it rejects is answered here.
    pub(crate) fn filter(
        &mut self,
        branch: &mut Branch,
        chain: Option<ChainId>,
    ) -> Result<(), Stop> {
        let Some(id) = chain else { return Ok(()) };
        match self.chain(branch, id, 0)? {
            None | Some((RuleResult::Accept, _)) => Ok(()),
            Some((RuleResult::Drop, rule)) => Err(Stop::Drop(DropCause::Rule, Some(rule))),
            Some((RuleResult::Reject, rule)) => {
                self.reject(branch);
                Err(Stop::Drop(DropCause::Rejected, Some(rule)))
            }
        }
    }

    /// Goes through a chain. It may be entered again after it was left.
    fn chain(&mut self, branch: &mut Branch, id: ChainId, depth: u8) -> Result<Decided, Stop> {
        self.tag(Tag::Chain(id));
        let chain = match self.snapshot.chain(id) {
            // A jump to nowhere goes on after it; a filter that is gone must not open.
            Lookup::Absent if depth > 0 => return Ok(None),
            lookup => self.found(lookup, id)?,
        };
        if depth > JUMPS_MAX {
            return Err(DropCause::Looped.into());
        }
        for (index, rule) in chain.rules().enumerate() {
            if !self.matches(branch, &rule.condition)? {
                continue;
            }
            let decided = match &rule.action {
                RuleAction::Accept => Some(RuleResult::Accept),
                RuleAction::Drop => Some(RuleResult::Drop),
                RuleAction::Reject => Some(RuleResult::Reject),
                RuleAction::Return => break,
                RuleAction::Continue => None,
                RuleAction::Jump { chain_id } => match self.chain(branch, *chain_id, depth + 1)? {
                    None => None,
                    decided => return Ok(decided),
                },
                RuleAction::Snat { then, .. }
                | RuleAction::Dnat { then, .. }
                | RuleAction::RevSnat { then }
                | RuleAction::RevDnat { then } => match self.translate(branch, id, rule)? {
                    true if *then == Then::Accept => Some(RuleResult::Accept),
                    true if *then == Then::Return => break,
                    _ => None,
                },
                // Service insertion is not there yet: such a rule does not apply, and a rule that
                // does not apply leaves the decision to the next.
                RuleAction::L2Transform { .. } => None,
            };
            if let Some(result) = decided {
                let position = Some(index);
                self.note(|| Step::Chain { chain: id, rule: Some(rule.id), position, result });
                return Ok(Some((result, rule.id)));
            }
        }
        let result = RuleResult::Accept;
        self.note(|| Step::Chain { chain: id, rule: None, position: None, result });
        Ok(None)
    }
}
