//! Rules of chains. They are stored with their chain, at their place.

use std::collections::HashMap;
use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{BridgeId, ChainId, PortId, RouterId, RuleId};
use mn_topology::{Bridge, Chain, Port, Router, Rule, RuleAction};

use super::call::{Answer, Call};
use super::chain_parts::{self, Edit, Spot};
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
    let chain = call.id("id")?;
    let rules = chain_parts::rules(&call.db, chain).await?;
    let names = jump_names(&call.db, &rules).await?;
    let places = rules.iter().zip(0..).map(|(rule, index)| Place { chain, rule, index });
    Ok(Answer::many(places.map(|place| to_api(place, &names, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: RuleId = call.id("id")?;
    let (edit, spot, before) = find(&call, id).await?;
    let rule = &edit.rules()[spot.index];
    let names = jump_names(&call.db, std::slice::from_ref(rule)).await?;
    let place = Place { chain: edit.chain.object.id, rule, index: before + spot.index };
    Ok(Answer::one(&to_api(place, &names, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let chain = call.db.get::<Chain>(call.id("id")?).await?;
    let sent: api::Rule = call.input()?;
    let position = sent.position;
    if let Some(id) = sent.id
        && call.rule_index.find(&call.db, id).await?.is_some()
    {
        return Err(Problem::taken("id", id.to_string(), "there is such a rule already"));
    }
    let rule = from_api(sent)?;
    let id = rule.id;
    let parts = call.rule_index.parts(&call.db, &chain).await?;
    // 0 is taken for 1, as of old; after the last is the last place there is.
    let Some(spot) = Spot::of_new(&parts, position.saturating_sub(1) as usize) else {
        let rules: usize = parts.iter().map(|part| part.rules.len()).sum();
        let reason = format!("Position exceeds number of rules in chain ({rules})");
        return Err(Problem::field("position", position, reason));
    };
    refuse_unknown_device(&call.db, &rule).await?;
    let mut changes = Changes::default();
    if let RuleAction::Jump { chain_id } = rule.action {
        changes = jumps::refuse_loop(&call, changes, chain.object.id, chain_id).await?;
    }
    let edit = Edit::begin(&call.db, chain, &parts[spot.part]).await?;
    call.db.commit(edit.insert(changes, spot.index, rule)).await?;
    Ok(Answer::Created(call.links.object("rules", id)))
}

async fn delete(call: Arc<Call>) -> Result<Answer, Problem> {
    let (edit, spot, _) = find(&call, call.id("id")?).await?;
    call.db.commit(edit.remove(Changes::default(), spot.index)).await?;
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

/// The part a rule is in, where in it, and how many rules of the chain come before that part.
async fn find(call: &Call, id: RuleId) -> Result<(Edit, Spot, usize), Problem> {
    let missing = || Problem::no_object(id);
    let known = call.rule_index.find(&call.db, id).await?.ok_or_else(missing)?;
    let chain: Found<Chain> = call.db.find(known.chain).await?.ok_or_else(missing)?;
    let parts = call.rule_index.parts(&call.db, &chain).await?;
    let overtaken = || Problem::overtaken(known.chain);
    let part = parts.iter().position(|part| part.rules.contains(&id)).ok_or_else(overtaken)?;
    let before = parts[..part].iter().map(|part| part.rules.len()).sum();
    let edit = Edit::begin(&call.db, chain, &parts[part]).await?;
    let index = edit.rules().iter().position(|rule| rule.id == id).ok_or_else(overtaken)?;
    Ok((edit, Spot { part, index }, before))
}

/// The names of the chains these rules jump to.
async fn jump_names(db: &Db, rules: &[Rule]) -> Result<HashMap<ChainId, String>, Problem> {
    let mut names = HashMap::new();
    for rule in rules {
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
