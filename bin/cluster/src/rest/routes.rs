//! Routes of routers.

use std::net::IpAddr;
use std::sync::Arc;

use mn_api_types::{self as api, Media, RouteType};
use mn_ids::{PortId, RouteId, RouterId};
use mn_packet::IpPrefix;
use mn_topology::{DeviceId, Port, Route, RouteTarget};

use super::call::{Answer, Call};
use super::db::{Changes, Db};
use super::endpoint::Resource;
use super::exposed::delete_if_there;
use super::in_path;
use super::links::Links;
use super::port_conversion::shown;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::ROUTE, &api::Route::DESCRIPTION)
        .top("routes", None, Some("routeTemplate"))
        .list("/routers/{id}/routes", list)
        .create("/routers/{id}/routes", create)
        .read("/routes/{id}", read)
        .delete("/routes/{id}", delete_if_there::<Route>)
}

async fn list(call: Arc<Call>) -> Result<Answer, Problem> {
    let router = in_path::router(&call).await?;
    let routes = call.db.referrers::<Route>(router).await?;
    Ok(Answer::many(routes.iter().map(|found| to_api(&found.object, &call.links))))
}

async fn read(call: Arc<Call>) -> Result<Answer, Problem> {
    let route = call.db.get::<Route>(call.id("id")?).await?;
    Ok(Answer::one(&to_api(&route.object, &call.links)))
}

async fn create(call: Arc<Call>) -> Result<Answer, Problem> {
    let router = in_path::router(&call).await?;
    let sent: api::Route = call.input()?;
    let route = from_api(router, sent)?;
    check_port(&call.db, &route).await?;
    call.db.commit(Changes::default().create(&route)).await?;
    Ok(Answer::Created(call.links.object("routes", route.id)))
}

/// The port must be one of the router's.
async fn check_port(db: &Db, route: &Route) -> Result<(), Problem> {
    let Some(id) = route.port() else { return Ok(()) };
    let wrong = || {
        let reason = format!("is no port of router {}", route.router_id);
        Problem::field("nextHopPort", shown(Some(id)), reason)
    };
    let port = db.find::<Port>(id).await?.ok_or_else(wrong)?;
    let own = port.object.device() == DeviceId::Router(route.router_id);
    if own { Ok(()) } else { Err(wrong()) }
}

fn from_api(router_id: RouterId, sent: api::Route) -> Result<Route, Problem> {
    let port = || sent.next_hop_port.ok_or_else(|| Problem::required("nextHopPort"));
    let target = match sent.kind.ok_or_else(|| Problem::required("type"))? {
        RouteType::Normal => {
            RouteTarget::Normal { next_hop_port: port()?, gateway: gateway(sent.next_hop_gateway) }
        }
        RouteType::Local => RouteTarget::Local { next_hop_port: port()? },
        RouteType::BlackHole => RouteTarget::Blackhole,
        RouteType::Reject => RouteTarget::Reject,
    };
    let route = Route {
        id: sent.id.unwrap_or_else(RouteId::random),
        router_id,
        src: prefix("srcNetwork", sent.src_network_addr, sent.src_network_length)?,
        dst: prefix("dstNetwork", sent.dst_network_addr, sent.dst_network_length)?,
        target,
        weight: sent.weight,
        attributes: sent.attributes,
        learned: false,
        path: sent.path,
    };
    route.validate()?;
    Ok(route)
}

/// Old clients write "none" as the address of nobody.
fn gateway(sent: Option<IpAddr>) -> Option<IpAddr> {
    sent.filter(|gateway| !gateway.is_unspecified())
}

fn prefix(name: &str, addr: Option<IpAddr>, len: u8) -> Result<IpPrefix, Problem> {
    let addr = addr.ok_or_else(|| Problem::required(&format!("{name}Addr")))?;
    let wrong = |error: mn_packet::PrefixError| {
        Problem::field(&format!("{name}Length"), len, error.to_string())
    };
    IpPrefix::new(addr, len).map_err(wrong)
}

fn to_api(route: &Route, links: &Links) -> api::Route {
    let (kind, gateway) = match route.target {
        RouteTarget::Normal { gateway, .. } => (RouteType::Normal, gateway),
        RouteTarget::Blackhole => (RouteType::BlackHole, None),
        RouteTarget::Reject => (RouteType::Reject, None),
        RouteTarget::Local { .. } => (RouteType::Local, None),
    };
    let next_hop_port: Option<PortId> = route.port();
    api::Route {
        id: Some(route.id),
        router_id: Some(route.router_id),
        kind: Some(kind),
        src_network_addr: Some(route.src.network()),
        src_network_length: route.src.len(),
        dst_network_addr: Some(route.dst.network()),
        dst_network_length: route.dst.len(),
        next_hop_port,
        next_hop_gateway: gateway,
        weight: route.weight,
        attributes: route.attributes.clone(),
        learned: route.learned,
        path: route.path.clone(),
        uri: Some(links.object("routes", route.id)),
        router: Some(links.object("routers", route.router_id)),
    }
}
