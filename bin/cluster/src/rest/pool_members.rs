//! Members of pools, and what their checks came to.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use mn_api_types::{self as api, LbStatus, Media};
use mn_ids::{PoolId, PoolMemberId};
use mn_nsdb::{Entry, TableId, TableKind};
use mn_topology::{Health, Pool, PoolMember};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::endpoint::Resource;
use super::exposed::delete_if_there;
use super::links::Links;
use super::pools::{admit, positive};
use super::problem::Problem;
use super::tables::winners;

pub fn resource() -> Resource {
    Resource::new(Media::POOL_MEMBER, &api::PoolMember::DESCRIPTION)
        .top("pool_members", Some("poolMembers"), Some("poolMemberTemplate"))
        .list("/pool_members", list)
        .create("/pool_members", create)
        .read("/pool_members/{id}", read)
        .update("/pool_members/{id}", update)
        .delete("/pool_members/{id}", delete_if_there::<PoolMember>)
        .list("/pools/{id}/pool_members", |call| list_of(call, "id"))
        .create("/pools/{id}/pool_members", |call| create_in(call, "id"))
        .list("/load_balancers/{id}/pools/{pool}/pool_members", |call| list_of(call, "pool"))
        .create("/load_balancers/{id}/pools/{pool}/pool_members", |call| create_in(call, "pool"))
}

/// What is known of the checks of some pools' members.
struct Checks {
    /// The pools with a monitor, and what it says.
    monitored: HashMap<PoolId, HashMap<PoolMemberId, Health>>,
}

#[derive(Deserialize)]
struct HealthValue {
    status: Health,
}

impl Checks {
    async fn of(db: &Db, pools: &[Found<Pool>]) -> Result<Self, Problem> {
        let mut monitored = HashMap::new();
        for Found { object: pool, .. } in pools {
            if pool.health_monitor_id.is_some() {
                let entries = db.entries(TableId::of(TableKind::MemberHealth, pool.id)).await?;
                monitored.insert(pool.id, verdicts(entries));
            }
        }
        Ok(Self { monitored })
    }

    /// Without a monitor a member counts as alive; with one that says nothing, who knows
    /// (api-facts §4.10).
    fn status(&self, member: &PoolMember) -> LbStatus {
        let Some(verdicts) = self.monitored.get(&member.pool_id) else { return LbStatus::Active };
        match verdicts.get(&member.id) {
            _ if !member.admin_state_up => LbStatus::Inactive,
            Some(Health::Active) => LbStatus::Active,
            Some(Health::Inactive) => LbStatus::Inactive,
            None => LbStatus::NoMonitor,
        }
    }
}

/// The last verdict on each member. One of an agent that speaks otherwise is passed over.
fn verdicts(entries: Vec<Entry>) -> HashMap<PoolMemberId, Health> {
    let verdict = |Entry { key, value, .. }: Entry| {
        let read =
            || Some((key.parse().ok()?, serde_json::from_str::<HealthValue>(&value).ok()?.status));
        let verdict = read();
        if verdict.is_none() {
            tracing::warn!(key, value, "a verdict on a pool's member cannot be read");
        }
        verdict
    };
    winners(entries).into_iter().filter_map(verdict).collect()
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let pools = call.db.list::<Pool>().await?;
    let checks = Checks::of(&call.db, &pools).await?;
    let members = call.db.list::<PoolMember>().await?;
    Ok(Answer::many(members.iter().map(|found| to_api(&found.object, &checks, &call.links))))
}

async fn list_of(call: Arc<Call>, pool: &'static str) -> Result<Answer, Problem> {
    let pool = call.db.get::<Pool>(call.id(pool)?).await?;
    let id = pool.object.id;
    let checks = Checks::of(&call.db, &[pool]).await?;
    let members = call.db.referrers::<PoolMember>(id).await?;
    Ok(Answer::many(members.iter().map(|found| to_api(&found.object, &checks, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let member = call.db.get::<PoolMember>(call.id("id")?).await?.object;
    let pool = call.db.get::<Pool>(member.pool_id).await?;
    let checks = Checks::of(&call.db, &[pool]).await?;
    Ok(Answer::one(&to_api(&member, &checks, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::PoolMember = call.input()?;
    let pool = pool_of(&call, &sent).await?;
    make(&call, sent, pool).await
}

async fn create_in(call: Arc<Call>, pool: &'static str) -> Result<Answer, Problem> {
    let pool = call.db.get::<Pool>(call.id(pool)?).await?;
    make(&call, call.input()?, pool).await
}

async fn make(call: &Call, sent: api::PoolMember, pool: Found<Pool>) -> Result<Answer, Problem> {
    let address = sent.address.ok_or_else(|| Problem::required("address"))?;
    let member = PoolMember {
        id: sent.id.unwrap_or_else(PoolMemberId::random),
        pool_id: pool.object.id,
        admin_state_up: sent.admin_state_up,
        address,
        protocol_port: port(sent.protocol_port)?,
        weight: positive("weight", sent.weight)?,
    };
    member.validate()?;
    let changes = Changes::default().create(&member);
    call.db.commit(admit(call, &pool, (member.id.uuid(), address), changes).await?).await?;
    Ok(Answer::Created(call.links.object("pool_members", member.id)))
}

/// Its address and port stay (api-facts §4.10).
async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<PoolMember>(call.id("id")?).await?;
    let sent: api::PoolMember = call.input()?;
    let pool = pool_of(&call, &sent).await?;
    let member = PoolMember {
        pool_id: pool.object.id,
        admin_state_up: sent.admin_state_up,
        weight: positive("weight", sent.weight)?,
        ..found.object.clone()
    };
    let newcomer = (member.id.uuid(), member.address);
    let changes = Changes::default().update(&found.map(|_| member));
    call.db.commit(admit(&call, &pool, newcomer, changes).await?).await?;
    Ok(Answer::Done)
}

async fn pool_of(call: &Call, sent: &api::PoolMember) -> Result<Found<Pool>, Problem> {
    let id = sent.pool_id.ok_or_else(|| Problem::required("poolId"))?;
    let pool = call.db.find::<Pool>(id).await?;
    pool.ok_or_else(|| Problem::dangling("poolId", id.uuid(), "pool"))
}

/// A port that connections can be made to.
pub fn port(sent: u16) -> Result<NonZeroU16, Problem> {
    NonZeroU16::new(sent)
        .ok_or_else(|| Problem::field("protocolPort", sent, "is no port: from 1 to 65535"))
}

fn to_api(member: &PoolMember, checks: &Checks, links: &Links) -> api::PoolMember {
    api::PoolMember {
        id: Some(member.id),
        pool_id: Some(member.pool_id),
        address: Some(member.address),
        protocol_port: member.protocol_port.get(),
        weight: member.weight.get(),
        admin_state_up: member.admin_state_up,
        status: Some(checks.status(member)),
        uri: Some(links.object("pool_members", member.id)),
        pool: Some(links.object("pools", member.pool_id)),
    }
}
