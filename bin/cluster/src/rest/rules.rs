//! Rules of chains. They are stored in their chain, at their place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, ChainId, PortId, RouterId, RuleId};
use mn_topology::{Bridge, Chain, Port, Router, Rule, RuleAction};

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::jumps;
use super::problem::Problem;
use super::rule_conversion::{Place, from_api, to_api};

pub fn resource() -> Resource {
    Resource::new(Media::RULE, &api::Rule::DESCRIPTION)
        .top("rules", None, Some("ruleTemplate"))
        .list("/chains/{id}/rules", list)
        .create("/chains/{id}/rules", create)
        .read("/rules/{id}", read)
        .delete("/rules/{id}", delete)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let chain = call.db.get::<Chain>(call.id("id")?).await?.object;
    call.rule_index.note(&chain);
    let names = jump_names(&call.db, &chain).await?;
    let places = (0..chain.rules.len()).map(|index| Place { chain: &chain, index });
    Ok(Answer::many(places.map(|place| to_api(place, &names, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: RuleId = call.id("id")?;
    let (chain, index) = find(&call, id).await?.ok_or_else(|| Problem::no_object(id))?;
    let names = jump_names(&call.db, &chain.object).await?;
    Ok(Answer::one(&to_api(Place { chain: &chain.object, index }, &names, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut chain = call.db.get::<Chain>(call.id("id")?).await?;
    let sent: api::Rule = call.input()?;
    let position = sent.position;
    if let Some(id) = sent.id
        && find(&call, id).await?.is_some()
    {
        return Err(Problem::taken("id", id.to_string(), "there is such a rule already"));
    }
    let rule = from_api(sent)?;
    let id = rule.id;
    // 0 is taken for 1, as of old; after the last is the last place there is.
    let index = position.saturating_sub(1) as usize;
    if index > chain.object.rules.len() {
        let reason =
            format!("Position exceeds number of rules in chain ({})", chain.object.rules.len());
        return Err(Problem::field("position", position, reason));
    }
    refuse_unknown_device(&call.db, &rule).await?;
    let mut changes = Changes::default();
    if let RuleAction::Jump { chain_id } = rule.action {
        changes = jumps::refuse_loop(&call.db, changes, chain.object.id, chain_id).await?;
    }
    chain.object.rules.insert(index, rule);
    call.db.commit(changes.update(&chain)).await?;
    call.rule_index.note(&chain.object);
    Ok(Answer::Created(call.links.object("rules", id)))
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: RuleId = call.id("id")?;
    let (mut chain, index) = find(&call, id).await?.ok_or_else(|| Problem::no_object(id))?;
    chain.object.rules.remove(index);
    call.db.commit(Changes::default().update(&chain)).await?;
    call.rule_index.forget(id);
    Ok(Answer::Done)
}

/// A device to have been crossed must be there. It may be deleted later: then no packet crosses it.
async fn refuse_unknown_device(db: &Db, rule: &Rule) -> Result<(), Problem> {
    let Some(device) = &rule.condition.traversed_device else { return Ok(()) };
    let id = *device.set();
    let known = db.find::<Bridge>(BridgeId::from_uuid(id)).await?.is_some()
        || db.find::<Router>(RouterId::from_uuid(id)).await?.is_some()
        || db.find::<Port>(PortId::from_uuid(id)).await?.is_some();
    if known { Ok(()) } else { Err(Problem::dangling("traversedDevice", id, "device")) }
}

/// The chain a rule is in, and where.
async fn find(call: &Call, id: RuleId) -> Result<Option<(Found<Chain>, usize)>, Problem> {
    let place = |chain: &Chain| chain.rules.iter().position(|rule| rule.id == id);
    if let Some(chain) = call.rule_index.chain_of(id)
        && let Some(chain) = call.db.find::<Chain>(chain).await?
        && let Some(index) = place(&chain.object)
    {
        return Ok(Some((chain, index)));
    }
    for chain in call.db.list::<Chain>().await? {
        call.rule_index.note(&chain.object);
        if let Some(index) = place(&chain.object) {
            return Ok(Some((chain, index)));
        }
    }
    Ok(None)
}

/// The names of the chains its rules jump to.
async fn jump_names(db: &Db, chain: &Chain) -> Result<HashMap<ChainId, String>, Problem> {
    let mut names = HashMap::new();
    for rule in &chain.rules {
        let RuleAction::Jump { chain_id } = rule.action else { continue };
        if names.contains_key(&chain_id) {
            continue;
        }
        let target = db.find::<Chain>(chain_id).await?;
        if let Some(name) = target.and_then(|target| target.object.name) {
            names.insert(chain_id, name);
        }
    }
    Ok(names)
}

/// Where rules were last seen: a hint, so that a rule is found without reading every chain. What it
/// says is always looked after, so it may be wrong.
#[derive(Default)]
pub struct RuleIndex(Mutex<HashMap<RuleId, ChainId>>);

/// When the index has more rules it starts anew.
const INDEX_RULES_MAX: usize = 200_000;

impl RuleIndex {
    fn chain_of(&self, rule: RuleId) -> Option<ChainId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&rule).copied()
    }

    fn note(&self, chain: &Chain) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index.len() + chain.rules.len() > INDEX_RULES_MAX {
            index.clear();
        }
        index.extend(chain.rules.iter().map(|rule| (rule.id, chain.id)));
    }

    fn forget(&self, rule: RuleId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&rule);
    }
}
