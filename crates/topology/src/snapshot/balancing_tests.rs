//! Load balancers as they are loaded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};

use mn_flow::Tag;
use mn_ids::{Id, Kind, Object, ObjectKey, PoolMemberId};
use mn_packet::to_v6;
use uuid::Uuid;

use super::*;
use crate::{
    AnyObject, Health, IpVersion, LbMethod, LbProtocol, LoadBalancer, Pool, PoolMember, Vip,
};

const BALANCER: u128 = 1;
const POOL: u128 = 2;
const MONITOR: u128 = 3;

fn id<K: Kind>(number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn balancer() -> LoadBalancer {
    LoadBalancer { id: id(BALANCER), admin_state_up: true, router_id: Some(id(9)) }
}

fn pool() -> Pool {
    Pool {
        id: id(POOL),
        load_balancer_id: Some(id(BALANCER)),
        health_monitor_id: Some(id(MONITOR)),
        admin_state_up: true,
        protocol: LbProtocol::Tcp,
        lb_method: LbMethod::RoundRobin,
        ip_version: Some(IpVersion::V4),
    }
}

fn vip(number: u128, address: [u8; 4], port: u16) -> Vip {
    Vip {
        id: id(number),
        pool_id: id(POOL),
        load_balancer_id: Some(id(BALANCER)),
        admin_state_up: true,
        address: IpAddr::from(address),
        protocol: LbProtocol::Tcp,
        protocol_port: NonZeroU16::new(port).unwrap(),
        session_persistence: None,
        connection_limit: None,
    }
}

fn member(number: u128, weight: u32) -> PoolMember {
    PoolMember {
        id: id(number),
        pool_id: id(POOL),
        admin_state_up: true,
        address: IpAddr::from([10, 0, 0, number as u8]),
        protocol_port: NonZeroU16::new(8080).unwrap(),
        weight: NonZeroU32::new(weight).unwrap(),
    }
}

fn change(object: impl Into<AnyObject>) -> (ObjectKey, Option<AnyObject>) {
    let object = object.into();
    (object.key(), Some(object))
}

fn deletion(object: &impl Object) -> (ObjectKey, Option<AnyObject>) {
    (object.key(), None)
}

fn selectors() -> Vec<Loaded> {
    let balancer = Loaded::of(id::<mn_ids::LoadBalancer>(BALANCER).into());
    [balancer, Loaded::of(id::<mn_ids::Pool>(POOL).into())].concat()
}

/// The balancer, two addresses, and a pool with members of the weights 1, 2 and 3.
fn loaded() -> Snapshot {
    let objects = [
        change(balancer()),
        change(vip(11, [203, 0, 113, 2], 80)),
        change(vip(12, [203, 0, 113, 2], 443)),
        change(pool()),
        change(member(21, 1)),
        change(member(22, 2)),
        change(member(23, 3)),
    ];
    Snapshot::default().apply(objects, &selectors()).0
}

fn found(snapshot: &Snapshot, address: [u8; 4], protocol: LbProtocol, port: u16) -> Option<u128> {
    let Lookup::Loaded(balancer) = snapshot.load_balancer(id(BALANCER)) else { panic!() };
    let vip = balancer.vip(to_v6(IpAddr::from(address)), protocol, port);
    vip.map(|vip| vip.id.uuid().as_u128())
}

fn eligible(snapshot: &Snapshot) -> Vec<u128> {
    let Lookup::Loaded(pool) = snapshot.pool(id(POOL)) else { panic!() };
    pool.eligible().iter().map(|member| member.id.uuid().as_u128()).collect()
}

fn at(address: [u8; 4]) -> Tag {
    Tag::Vip { load_balancer: id(BALANCER), addr: to_v6(IpAddr::from(address)) }
}

#[test]
fn a_load_balancer_is_loaded_with_its_addresses_and_a_pool_with_its_members() {
    let mut snapshot = Snapshot::default().apply([change(balancer()), change(pool())], &[]).0;
    for selector in selectors() {
        let both = (snapshot.load_balancer(id(BALANCER)), snapshot.pool(id(POOL)));
        assert!(!matches!(both, (Lookup::Loaded(_), Lookup::Loaded(_))), "before {selector:?}");
        snapshot = snapshot.apply([], &[selector]).0;
    }
    assert!(snapshot.is_loaded(id::<mn_ids::LoadBalancer>(BALANCER).into()));
    assert!(snapshot.is_loaded(id::<mn_ids::Pool>(POOL).into()));
}

#[test]
fn an_address_is_found_by_its_protocol_and_port() {
    let snapshot = loaded();
    let there = [203, 0, 113, 2];
    assert_eq!(found(&snapshot, there, LbProtocol::Tcp, 80), Some(11));
    assert_eq!(found(&snapshot, there, LbProtocol::Tcp, 443), Some(12));
    assert_eq!(found(&snapshot, there, LbProtocol::Tcp, 81), None);
    assert_eq!(found(&snapshot, there, LbProtocol::Udp, 80), None);
    assert_eq!(found(&snapshot, [203, 0, 113, 3], LbProtocol::Tcp, 80), None);

    let udp = Vip { protocol: LbProtocol::Udp, ..vip(13, there, 80) };
    let v6 = Vip { address: "2001:db8::7".parse().unwrap(), ..vip(14, there, 80) };
    let snapshot = snapshot.apply([change(udp), change(v6)], &[]).0;
    assert_eq!(found(&snapshot, there, LbProtocol::Udp, 80), Some(13));
    let Lookup::Loaded(balancer) = snapshot.load_balancer(id(BALANCER)) else { panic!() };
    let addr: Ipv6Addr = "2001:db8::7".parse().unwrap();
    assert_eq!(balancer.vip(addr, LbProtocol::Tcp, 80).map(|vip| vip.id), Some(id(14)));
    assert!(balancer.is_at(addr) && !balancer.is_at("2001:db8::8".parse().unwrap()));
}

#[test]
fn of_two_with_one_address_the_first_that_is_up_takes_the_connections() {
    let there = [203, 0, 113, 2];
    let snapshot = loaded().apply([change(vip(10, there, 80))], &[]).0;
    assert_eq!(found(&snapshot, there, LbProtocol::Tcp, 80), Some(10));
    let down = Vip { admin_state_up: false, ..vip(10, there, 80) };
    let snapshot = snapshot.apply([change(down)], &[]).0;
    assert_eq!(found(&snapshot, there, LbProtocol::Tcp, 80), Some(11));
}

#[test]
fn what_comes_moves_or_goes_touches_what_read_its_address_and_nothing_else() {
    let (here, there) = ([203, 0, 113, 2], [203, 0, 113, 7]);
    let snapshot = loaded();
    let (moved, tags) = snapshot.apply([change(vip(11, there, 80))], &[]);
    assert_eq!(tags, [at(here), at(there)]);
    assert_eq!(found(&moved, here, LbProtocol::Tcp, 80), None);
    assert_eq!(found(&moved, there, LbProtocol::Tcp, 80), Some(11));
    let (gone, tags) = moved.apply([deletion(&vip(11, there, 80))], &[]);
    assert_eq!(tags, [at(there)]);
    assert_eq!(found(&gone, there, LbProtocol::Tcp, 80), None);
    // Readers of an older snapshot see what was.
    assert_eq!(found(&snapshot, here, LbProtocol::Tcp, 80), Some(11));
    let off = LoadBalancer { admin_state_up: false, ..balancer() };
    assert_eq!(gone.apply([change(off)], &[]).1, [Tag::LoadBalancer(id(BALANCER))]);
}

#[test]
fn members_are_chosen_as_often_as_their_weights_say() {
    let snapshot = loaded();
    let Lookup::Loaded(pool) = snapshot.pool(id(POOL)) else { panic!() };
    assert_eq!(pool.total_weight(), 6);
    let mut times = BTreeMap::new();
    for part in 0..pool.total_weight() {
        *times.entry(pool.at_weight(part).unwrap().id.uuid().as_u128()).or_insert(0) += 1;
    }
    assert_eq!(times, BTreeMap::from([(21, 1), (22, 2), (23, 3)]));
    assert_eq!(pool.at_weight(6), None);
    assert_eq!((pool.weight(id(22)), pool.weight(id(24))), (Some(2), None));
}

#[test]
fn who_is_down_dead_or_of_another_version_gets_no_new_connections() {
    let snapshot = loaded();
    let down = PoolMember { admin_state_up: false, ..member(21, 1) };
    let (snapshot, tags) = snapshot.apply([change(down)], &[]);
    assert_eq!((eligible(&snapshot), tags), (vec![22, 23], vec![Tag::Pool(id(POOL))]));

    let verdict = |health| [(id(POOL), id::<mn_ids::PoolMember>(22), health)];
    let (snapshot, tags) = snapshot.judge(verdict(Some(Health::Inactive)));
    // Who is dead loses what it has; who is down keeps it.
    let dead = Tag::PoolMember { pool: id(POOL), member: id(22) };
    assert_eq!((eligible(&snapshot), tags), (vec![23], vec![Tag::Pool(id(POOL)), dead]));
    let Lookup::Loaded(view) = snapshot.pool(id(POOL)) else { panic!() };
    let keeps = [21, 22, 23].map(|number| view.keeper(id(number)).is_some());
    assert_eq!(keeps, [true, false, true]);
    let (_, tags) = snapshot.judge(verdict(Some(Health::Inactive)));
    assert_eq!(tags, [], "said again");
    // Without a monitor nobody is dead.
    let unchecked = Pool { health_monitor_id: None, ..pool() };
    assert_eq!(eligible(&snapshot.apply([change(unchecked)], &[]).0), [22, 23]);
    for alive in [Some(Health::Active), None] {
        assert_eq!(eligible(&snapshot.judge(verdict(alive)).0), [22, 23], "{alive:?}");
    }

    let v6 = PoolMember { address: "2001:db8::1".parse().unwrap(), ..member(23, 3) };
    assert_eq!(eligible(&snapshot.apply([change(v6)], &[]).0), []);
}

#[test]
fn a_verdict_that_comes_before_its_member_holds() {
    let dead: PoolMemberId = id(24);
    let snapshot = loaded().judge([(id(POOL), dead, Some(Health::Inactive))]).0;
    let snapshot = snapshot.apply([change(member(24, 1))], &[]).0;
    assert_eq!(eligible(&snapshot), [21, 22, 23]);
}

#[test]
fn what_no_flow_reads_touches_none() {
    let monitored_otherwise = Pool { health_monitor_id: Some(id(99)), ..pool() };
    assert_eq!(loaded().apply([change(monitored_otherwise)], &[]).1, []);
    let hashed = Pool { lb_method: LbMethod::ConsistentHash, ..pool() };
    assert_eq!(loaded().apply([change(hashed)], &[]).1, [Tag::Pool(id(POOL))]);
}

#[test]
fn what_is_forgotten_leaves_nothing() {
    let snapshot = loaded();
    let (empty, tags) = snapshot.forget(&selectors());
    assert!(empty.held().iter().all(|(_, count)| *count == 0), "{:?}", empty.held());
    assert!(matches!(empty.load_balancer(id(BALANCER)), Lookup::NotLoaded));
    assert!(tags.contains(&Tag::LoadBalancer(id(BALANCER))) && tags.contains(&Tag::Pool(id(POOL))));
}

#[test]
fn ten_thousand_addresses_are_loaded_and_changed_one_by_one() {
    let address = |n: u32| [10, 1, (n / 200) as u8, (n % 200) as u8];
    let many = (0..10_000).map(|n| change(vip(1000 + u128::from(n), address(n), 80)));
    let snapshot = loaded().apply(many, &[]).0;
    for n in [0, 1, 4_711, 9_999] {
        let expected = Some(1000 + u128::from(n));
        assert_eq!(found(&snapshot, address(n), LbProtocol::Tcp, 80), expected);
        let gone = vip(1000 + u128::from(n), address(n), 80);
        let (without, tags) = snapshot.apply([deletion(&gone)], &[]);
        assert_eq!(
            (found(&without, address(n), LbProtocol::Tcp, 80), tags),
            (None, vec![at(address(n))])
        );
    }
}
