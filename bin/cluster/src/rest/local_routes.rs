//! The routes that say which addresses are a router's own (`RT-03`): they follow the addresses of
//! its ports.

use std::net::IpAddr;

use mn_ids::RouteId;
use mn_packet::IpPrefix;
use mn_topology::{Port, PortKind, Route, RouteTarget, RouterPort};

use super::db::{Changes, Db};
use super::problem::Problem;

/// Adds those of a port that is made.
pub fn of_new_port(changes: Changes, port: &Port) -> Changes {
    let Some(router) = router(port) else { return changes };
    addrs(port).fold(changes, |changes, addr| changes.create(&local(router, port, addr)))
}

/// Adds those of new addresses and deletes those of addresses that are gone.
pub async fn of_changed_port(
    db: &Db,
    mut changes: Changes,
    old: &Port,
    new: &Port,
) -> Result<Changes, Problem> {
    let Some(router) = router(new) else { return Ok(changes) };
    if addrs(old).eq(addrs(new)) {
        return Ok(changes);
    }
    let gone = |addr: &IpAddr| addrs(old).any(|a| a == *addr) && !addrs(new).any(|a| a == *addr);
    for found in db.referrers::<Route>(new.id).await? {
        let route = found.object;
        let is_local = matches!(route.target, RouteTarget::Local { .. });
        let is_gone =
            route.dst == IpPrefix::host(route.dst.network()) && gone(&route.dst.network());
        if is_local && is_gone {
            changes = changes.delete(route.id);
        }
    }
    let added = addrs(new).filter(|addr| !addrs(old).any(|old| old == *addr));
    Ok(added.fold(changes, |changes, addr| changes.create(&local(router, new, addr))))
}

fn router(port: &Port) -> Option<&RouterPort> {
    match &port.kind {
        PortKind::Router(router) => Some(router),
        PortKind::Bridge { .. } => None,
    }
}

fn addrs(port: &Port) -> impl Iterator<Item = IpAddr> {
    router(port).into_iter().flat_map(|router| router.addresses.iter().map(|own| own.addr))
}

fn local(router: &RouterPort, port: &Port, addr: IpAddr) -> Route {
    Route {
        id: RouteId::random(),
        router_id: router.router_id,
        src: if addr.is_ipv4() { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 },
        dst: IpPrefix::host(addr),
        target: RouteTarget::Local { next_hop_port: port.id },
        weight: 0,
        attributes: None,
        learned: false,
        path: None,
    }
}
