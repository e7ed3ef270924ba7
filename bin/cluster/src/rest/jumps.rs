//! Chains that jump to one another must not come round to where they were (contracts, intro).

use std::collections::HashSet;

use mn_ids::ChainId;
use mn_topology::Chain;

use super::call::Call;
use super::db::Changes;
use super::problem::Problem;

/// Refuses a jump that would close a loop.
///
/// Every chain that was looked at is checked by the transaction too: of two jumps that make a loop
/// together, one must see the other.
pub async fn refuse_loop(
    call: &Call,
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
        let Some(chain) = call.db.find::<Chain>(id).await? else { continue };
        for part in call.rule_index.parts(&call.db, &chain).await? {
            waiting.extend(part.jumps.iter());
        }
        changes = changes.check(&chain);
    }
    Ok(changes)
}
