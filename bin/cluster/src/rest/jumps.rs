//! Chains that jump to one another must not come round to where they were (contracts, intro).

use std::collections::HashSet;

use mn_ids::ChainId;
use mn_topology::{Chain, RuleAction};

use super::db::{Changes, Db};
use super::problem::Problem;

/// Refuses a jump that would close a loop.
///
/// Every chain that was looked at is checked by the transaction too: of two jumps that make a loop
/// together, one must see the other.
pub async fn refuse_loop(
    db: &Db,
    mut changes: Changes,
    from: ChainId,
    to: ChainId,
) -> Result<Changes, Problem> {
    let mut waiting = vec![to];
    let mut seen = HashSet::new();
    while let Some(id) = waiting.pop() {
        if id == from {
            let reason = format!("that chain leads back to chain {from}: a loop of jumps");
            return Err(Problem::field("jumpChainId", to.to_string(), reason));
        }
        if !seen.insert(id) {
            continue;
        }
        // One that is not there leads nowhere; the database refuses the reference itself.
        let Some(chain) = db.find::<Chain>(id).await? else { continue };
        waiting.extend(chain.object.rules.iter().filter_map(|rule| match rule.action {
            RuleAction::Jump { chain_id } => Some(chain_id),
            _ => None,
        }));
        changes = changes.check(&chain);
    }
    Ok(changes)
}
