//! Pools of servers.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use mn_api_types::{self as api, LbStatus, Media};
use mn_ids::{HealthMonitorId, ObjectKey, PoolId};
use mn_topology::{
    HealthMonitor, IpVersion, LbMethod, LbProtocol, LoadBalancer, Pool, PoolMember, Vip,
};
use uuid::Uuid;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::endpoint::Resource;
use super::exposed::{Exposed, Filter, create, delete_if_there, list, read, update};
use super::links::Links;
use super::problem::Problem;
use super::vips::refuse_taken;

pub fn resource() -> Resource {
    Resource::new(Media::POOL, &api::Pool::DESCRIPTION)
        .top("pools", Some("pools"), Some("poolTemplate"))
        .list("/pools", list::<Pool>)
        .query(&["hm_id"])
        .create("/pools", create::<Pool>)
        .read("/pools/{id}", read::<Pool>)
        .update("/pools/{id}", update::<Pool>)
        .delete("/pools/{id}", delete_if_there::<Pool>)
        .list("/load_balancers/{id}/pools", list_of_balancer)
        .create("/load_balancers/{id}/pools", create_in_balancer)
        .list("/health_monitors/{id}/pools", list_of_monitor)
}

async fn list_of_balancer(call: Arc<Call>) -> Result<Answer, Problem> {
    let balancer = call.db.get::<LoadBalancer>(call.id("id")?).await?.object.id;
    list_of(&call, balancer).await
}

async fn list_of_monitor(call: Arc<Call>) -> Result<Answer, Problem> {
    let monitor = call.db.get::<HealthMonitor>(call.id("id")?).await?.object.id;
    list_of(&call, monitor).await
}

async fn list_of(call: &Call, owner: impl Into<ObjectKey> + Send) -> Result<Answer, Problem> {
    let pools = call.db.referrers::<Pool>(owner).await?;
    Ok(Answer::many(pools.iter().map(|found| found.object.to_document(&call.links))))
}

async fn create_in_balancer(call: Arc<Call>) -> Result<Answer, Problem> {
    let balancer = call.db.get::<LoadBalancer>(call.id("id")?).await?.object.id;
    let sent: api::Pool = call.input()?;
    let sent = api::Pool { load_balancer_id: Some(balancer), ..sent };
    let pool = Pool::from_document(sent.id.unwrap_or_else(PoolId::random), sent, None)?;
    call.db.commit(Changes::default().create(&pool)).await?;
    Ok(Answer::Created(call.links.object("pools", pool.id)))
}

impl Exposed for Pool {
    type Document = api::Pool;
    const COLLECTION: &'static str = "pools";

    fn chosen_id(sent: &api::Pool) -> Option<PoolId> {
        sent.id
    }

    /// Its protocol stays: its virtual addresses have it too.
    fn from_document(id: PoolId, sent: api::Pool, old: Option<Self>) -> Result<Self, Problem> {
        let method = sent.lb_method.ok_or_else(|| Problem::required("lbMethod"))?;
        Ok(Self {
            id,
            load_balancer_id: sent.load_balancer_id,
            health_monitor_id: sent.health_monitor_id,
            admin_state_up: sent.admin_state_up,
            protocol: old.as_ref().map_or_else(|| protocol(sent.protocol), |old| old.protocol),
            lb_method: match method {
                api::LbMethod::RoundRobin => LbMethod::RoundRobin,
                api::LbMethod::LeastConnections => LbMethod::LeastConnections,
                api::LbMethod::ConsistentHash => LbMethod::ConsistentHash,
            },
            ip_version: old.and_then(|old| old.ip_version),
        })
    }

    fn wanted(call: &Call) -> Result<Filter<'_, Self>, Problem> {
        let wrong = |text| {
            Problem::bad_request(format!("hm_id {text:?} is not the UUID of a health monitor"))
        };
        let monitor: Option<HealthMonitorId> = match call.query("hm_id") {
            Some(text) => Some(text.parse().map_err(|_| wrong(text))?),
            None => None,
        };
        Ok(Box::new(move |pool| monitor.is_none_or(|id| pool.health_monitor_id == Some(id))))
    }

    /// Its virtual addresses follow it to another load balancer.
    async fn fit(&self, call: &Call, changes: Changes) -> Result<Changes, Problem> {
        let Some(old) = call.db.find::<Self>(self.id).await? else { return Ok(changes) };
        if old.object.load_balancer_id == self.load_balancer_id {
            return Ok(changes);
        }
        let vips = call.db.referrers::<Vip>(self.id).await?;
        let moved = |vip| Vip { load_balancer_id: self.load_balancer_id, ..vip };
        let vips: Vec<_> = vips.into_iter().map(|found| found.map(moved)).collect();
        if let Some(balancer) = self.load_balancer_id {
            refuse_taken(call, balancer, vips.iter().map(|found| &found.object)).await?;
        }
        Ok(vips.iter().fold(changes, Changes::update))
    }

    fn to_document(&self, links: &Links) -> api::Pool {
        let uri = links.object("pools", self.id);
        let status = if self.admin_state_up { LbStatus::Active } else { LbStatus::Inactive };
        api::Pool {
            id: Some(self.id),
            load_balancer_id: self.load_balancer_id,
            health_monitor_id: self.health_monitor_id,
            protocol: match self.protocol {
                LbProtocol::Tcp => api::LbProtocol::Tcp,
                LbProtocol::Udp => api::LbProtocol::Udp,
            },
            lb_method: Some(match self.lb_method {
                LbMethod::RoundRobin => api::LbMethod::RoundRobin,
                LbMethod::LeastConnections => api::LbMethod::LeastConnections,
                LbMethod::ConsistentHash => api::LbMethod::ConsistentHash,
            }),
            admin_state_up: self.admin_state_up,
            status: Some(status),
            load_balancer: links.maybe("load_balancers", self.load_balancer_id),
            health_monitor: links.maybe("health_monitors", self.health_monitor_id),
            vips: Some(format!("{uri}/vips")),
            pool_members: Some(format!("{uri}/pool_members")),
            uri: Some(uri),
        }
    }
}

const fn protocol(sent: api::LbProtocol) -> LbProtocol {
    match sent {
        api::LbProtocol::Tcp => LbProtocol::Tcp,
        api::LbProtocol::Udp => LbProtocol::Udp,
    }
}

/// Adds to a transaction what lets a member or virtual address with this address into the pool: all
/// of a pool are of one IP version. The first decides which, and who stands alone may change it.
pub async fn admit(
    call: &Call,
    pool: &Found<Pool>,
    (newcomer, address): (Uuid, IpAddr),
    changes: Changes,
) -> Result<Changes, Problem> {
    let version = IpVersion::of(address);
    let id = pool.object.id;
    match pool.object.ip_version {
        Some(same) if same == version => return Ok(changes.check(pool)),
        Some(other) if !is_alone(call, id, newcomer).await? => {
            let reason = format!("is {version}, and what pool {id} has is {other}");
            return Err(Problem::field("address", address.to_string(), reason));
        }
        Some(_) | None => {}
    }
    let pool = pool.clone().map(|pool| Pool { ip_version: Some(version), ..pool });
    Ok(changes.update(&pool))
}

async fn is_alone(call: &Call, pool: PoolId, newcomer: Uuid) -> Result<bool, Problem> {
    let members = call.db.referrers::<PoolMember>(pool).await?;
    let vips = call.db.referrers::<Vip>(pool).await?;
    Ok(members.iter().all(|found| found.object.id.uuid() == newcomer)
        && vips.iter().all(|found| found.object.id.uuid() == newcomer))
}

/// A number of which there has to be one at least.
pub fn positive(property: &str, sent: u32) -> Result<NonZeroU32, Problem> {
    NonZeroU32::new(sent).ok_or_else(|| Problem::field(property, sent, "must be at least 1"))
}
