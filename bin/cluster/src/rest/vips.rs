//! Virtual addresses.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mn_api_types::{self as api, Media};
use mn_ids::{Class, LoadBalancerId, VipId};
use mn_topology::{LoadBalancer, Pool, SessionPersistence, Vip};

use super::call::{Answer, Call};
use super::db::{Changes, Found, decode};
use super::endpoint::Resource;
use super::exposed::delete_if_there;
use super::links::Links;
use super::pool_members::port;
use super::pools::{admit, positive};
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::VIP, &api::Vip::DESCRIPTION)
        .top("vips", Some("vips"), Some("vipTemplate"))
        .list("/vips", list)
        .create("/vips", create)
        .read("/vips/{id}", read)
        .update("/vips/{id}", update)
        .delete("/vips/{id}", delete_if_there::<Vip>)
        .list("/pools/{id}/vips", list_of_pool)
        .create("/pools/{id}/vips", create_in_pool)
        .list("/load_balancers/{id}/vips", list_of_balancer)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    Ok(many(&call, &call.db.list().await?))
}

async fn list_of_pool(call: Arc<Call>) -> Result<Answer, Problem> {
    let pool = call.db.get::<Pool>(call.id("id")?).await?.object.id;
    Ok(many(&call, &call.db.referrers(pool).await?))
}

async fn list_of_balancer(call: Arc<Call>) -> Result<Answer, Problem> {
    let balancer = call.db.get::<LoadBalancer>(call.id("id")?).await?.object.id;
    Ok(many(&call, &call.db.referrers(balancer).await?))
}

fn many(call: &Call, vips: &[Found<Vip>]) -> Answer {
    Answer::many(vips.iter().map(|found| to_api(&found.object, &call.links)))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let vip = call.db.get::<Vip>(call.id("id")?).await?.object;
    Ok(Answer::one(&to_api(&vip, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: api::Vip = call.input()?;
    let pool = pool_of(&call, &sent).await?;
    make(&call, sent, pool).await
}

async fn create_in_pool(call: Arc<Call>) -> Result<Answer, Problem> {
    let pool = call.db.get::<Pool>(call.id("id")?).await?;
    make(&call, call.input()?, pool).await
}

async fn make(call: &Call, sent: api::Vip, pool: Found<Pool>) -> Result<Answer, Problem> {
    let vip = from_api(sent.id.unwrap_or_else(VipId::random), sent, &pool.object)?;
    let changes = fit(call, &vip, &pool, Changes::default().create(&vip)).await?;
    call.db.commit(changes).await?;
    Ok(Answer::Created(call.links.object("vips", vip.id)))
}

async fn update(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<Vip>(call.id("id")?).await?;
    let sent: api::Vip = call.input()?;
    let pool = pool_of(&call, &sent).await?;
    let vip = from_api(found.object.id, sent, &pool.object)?;
    let changes = Changes::default().update(&found.map(|_| vip.clone()));
    call.db.commit(fit(&call, &vip, &pool, changes).await?).await?;
    Ok(Answer::Done)
}

/// A pool that is not there is 400 here (api-facts §4.10).
async fn pool_of(call: &Call, sent: &api::Vip) -> Result<Found<Pool>, Problem> {
    let id = sent.pool_id.ok_or_else(|| Problem::required("poolId"))?;
    let pool = call.db.find::<Pool>(id).await?;
    pool.ok_or_else(|| Problem::field("poolId", id.to_string(), "there is no such pool"))
}

async fn fit(
    call: &Call,
    vip: &Vip,
    pool: &Found<Pool>,
    changes: Changes,
) -> Result<Changes, Problem> {
    if let Some(balancer) = vip.load_balancer_id {
        refuse_taken(call, balancer, std::iter::once(vip)).await?;
    }
    admit(call, pool, (vip.id.uuid(), vip.address), changes).await
}

/// A load balancer has each address and port of a protocol once. Two requests at a time may still
/// bring both: the one with the lower identifier takes the connections then.
pub async fn refuse_taken(
    call: &Call,
    balancer: LoadBalancerId,
    newcomers: impl Iterator<Item = &Vip> + Send,
) -> Result<(), Problem> {
    let service = |vip: &Vip| (vip.address, vip.protocol, vip.protocol_port);
    let taken = |vip: &Vip, by: VipId| {
        let reason = format!("VIP {by} of the load balancer has it at this address");
        Problem::taken("protocolPort", vip.protocol_port.get(), reason)
    };
    let mut services = HashMap::new();
    let mut addresses = Vec::new();
    for vip in newcomers {
        if let Some(other) = services.insert(service(vip), vip) {
            return Err(taken(vip, other.id));
        }
        addresses.push(format!("\"{}\"", vip.address));
    }
    for stored in call.db.stored_referrers(balancer.into(), Class::Vip).await? {
        // There may be ten thousand: most are not worth reading.
        if !addresses.iter().any(|address| stored.json.contains(address)) {
            continue;
        }
        let other = decode::<Vip>(stored)?.object;
        if let Some(vip) = services.get(&service(&other)).filter(|vip| vip.id != other.id) {
            return Err(taken(vip, other.id));
        }
    }
    Ok(())
}

fn from_api(id: VipId, sent: api::Vip, pool: &Pool) -> Result<Vip, Problem> {
    let limit = |sent| positive("connectionLimit", sent);
    let vip = Vip {
        id,
        pool_id: pool.id,
        load_balancer_id: pool.load_balancer_id,
        admin_state_up: sent.admin_state_up,
        address: sent.address.ok_or_else(|| Problem::required("address"))?,
        protocol: pool.protocol,
        protocol_port: port(sent.protocol_port)?,
        session_persistence: sent.session_persistence.map(|persistence| match persistence {
            api::SessionPersistence::SourceIp => SessionPersistence::SourceIp,
        }),
        connection_limit: sent.connection_limit.map(limit).transpose()?,
    };
    vip.validate()?;
    Ok(vip)
}

fn to_api(vip: &Vip, links: &Links) -> api::Vip {
    api::Vip {
        id: Some(vip.id),
        pool_id: Some(vip.pool_id),
        load_balancer_id: vip.load_balancer_id,
        address: Some(vip.address),
        protocol_port: vip.protocol_port.get(),
        session_persistence: vip.session_persistence.map(|persistence| match persistence {
            SessionPersistence::SourceIp => api::SessionPersistence::SourceIp,
        }),
        connection_limit: vip.connection_limit.map(NonZeroU32::get),
        admin_state_up: vip.admin_state_up,
        uri: Some(links.object("vips", vip.id)),
        pool: Some(links.object("pools", vip.pool_id)),
        load_balancer: links.maybe("load_balancers", vip.load_balancer_id),
    }
}
