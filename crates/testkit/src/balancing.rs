//! Load balancers and pools of a lab.

use std::net::IpAddr;

use mn_topology::{
    AnyObject, IpVersion, LbMethod, LbProtocol, LoadBalancer, Pool, PoolMember, SessionPersistence,
    Vip,
};

use crate::named;
use crate::reader::Block;

/// `balancer NAME ROUTER`, and `down`.
pub(crate) fn balancer(block: &Block<'_>) -> LoadBalancer {
    let (router, admin_state_up) = match block.rest[..] {
        [router] => (router, true),
        [router, "down"] => (router, false),
        ref other => panic!("{other:?} is nothing a load balancer has"),
    };
    LoadBalancer { id: named(block.name), admin_state_up, router_id: Some(named(router)) }
}

/// `pool NAME BALANCER`, and what it is; its virtual addresses and members a line each.
pub(crate) fn pool(block: &Block<'_>) -> Vec<AnyObject> {
    let (balancer, words) = block.rest.split_first().expect("a pool is of a load balancer");
    let mut pool = Pool {
        id: named(block.name),
        load_balancer_id: Some(named(balancer)),
        health_monitor_id: None,
        admin_state_up: true,
        protocol: LbProtocol::Tcp,
        lb_method: LbMethod::RoundRobin,
        ip_version: None,
    };
    for word in words {
        match *word {
            "udp" => pool.protocol = LbProtocol::Udp,
            "least" => pool.lb_method = LbMethod::LeastConnections,
            "hash" => pool.lb_method = LbMethod::ConsistentHash,
            "monitored" => pool.health_monitor_id = Some(named("monitor")),
            "down" => pool.admin_state_up = false,
            other => panic!("{other:?} is nothing a pool has"),
        }
    }
    let mut objects: Vec<AnyObject> = Vec::new();
    for line in &block.lines {
        let (addr, object): (IpAddr, AnyObject) = match line[..] {
            ["vip", at, ref rest @ ..] => {
                let vip = vip(&pool, at, rest);
                (vip.address, vip.into())
            }
            ["member", at, ref rest @ ..] => {
                let member = member(&pool, at, rest);
                (member.address, member.into())
            }
            ref other => panic!("{other:?} is nothing a pool has"),
        };
        pool.ip_version.get_or_insert(IpVersion::of(addr));
        objects.push(object);
    }
    objects.push(pool.into());
    objects
}

fn vip(pool: &Pool, at: &str, rest: &[&str]) -> Vip {
    let (addr, port) = at.split_once('@').expect("an address and its port");
    let mut vip = Vip {
        id: named(at),
        pool_id: pool.id,
        load_balancer_id: pool.load_balancer_id,
        admin_state_up: true,
        address: addr.parse().unwrap(),
        protocol: pool.protocol,
        protocol_port: port.parse().unwrap(),
        session_persistence: None,
        connection_limit: None,
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "sticky" => vip.session_persistence = Some(SessionPersistence::SourceIp),
            "down" => vip.admin_state_up = false,
            "limit" => vip.connection_limit = words.next().map(|most| most.parse().unwrap()),
            other => panic!("{other:?} is nothing a virtual address has"),
        }
    }
    vip
}

fn member(pool: &Pool, at: &str, rest: &[&str]) -> PoolMember {
    let (addr, port) = at.split_once('@').expect("an address and its port");
    let mut member = PoolMember {
        id: named(at),
        pool_id: pool.id,
        admin_state_up: true,
        address: addr.parse().unwrap(),
        protocol_port: port.parse().unwrap(),
        weight: std::num::NonZeroU32::MIN,
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "weight" => {
                member.weight = words.next().expect("a weight has a number").parse().unwrap();
            }
            "down" => member.admin_state_up = false,
            other => panic!("{other:?} is nothing a member has"),
        }
    }
    member
}
