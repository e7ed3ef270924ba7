//! Members that go down, die and come back; limits.

use mn_flow::{DropCause, Expiry, Tag, TcpClass};
use mn_ids::{Pool, PoolMember, Vip};
use mn_simulation::Effect;
use mn_simulation::nat::Way;
use mn_testkit::named;
use mn_topology::{AnyObject, Health};

use crate::traffic::{Ends, back, only};
use crate::world::{
    WEB, addr, change, converses, judge, sends, set_member, shares, touched, web, world,
};

fn monitored() -> String {
    WEB.replace("pool web lb", "pool web lb monitored")
}

#[test]
fn a_member_that_is_drained_keeps_its_connections_and_gets_no_new_ones() {
    let mut lab = web();
    let seen = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000");
    let (member, other) =
        (format!("{}@8080", seen.dst), lab.send("out > 203.0.113.2 tcp 80 sport 5000"));
    let read = other.buffers.tags.clone();
    let tags = set_member(&mut lab, &member, false);
    assert!(!touched(&tags, &read), "its connections' flows stay");
    for _ in 0..5 {
        assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000"), seen);
    }
    assert!(!shares(&mut lab, "out > 203.0.113.2 tcp 80", 60).contains_key(&seen.dst));
    // A new connection between the same ends is a new one.
    let key = lab.tables.translations.all[0].key;
    lab.tables.learn(&[Effect::Segment { key, way: Way::Back, class: TcpClass::Rst }]);
    let (_, at) = sends(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000 syn");
    assert_ne!(Ends::of(&at.headers).dst, seen.dst);
    // Up again it is like the others.
    set_member(&mut lab, &member, true);
    assert!(shares(&mut lab, "out2 > 203.0.113.2 tcp 80", 60).contains_key(&seen.dst));
}

#[test]
fn a_member_that_is_found_dead_loses_its_connections_and_the_others_keep_theirs() {
    let mut lab = world("", "", &monitored());
    let (_, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000");
    let seen = Ends::of(&arrived.headers);
    let member = format!("{}@8080", seen.dst);
    let there = lab.send("out > 203.0.113.2 tcp 80 sport 5000").buffers.tags;
    let answer = back(&lab, &arrived, &seen.answer().packet(64)).buffers.tags;
    let elsewhere = (5001..5100).find(|port| {
        let (_, at) = sends(&mut lab, &format!("out > 203.0.113.2 tcp 80 sport {port}"));
        Ends::of(&at.headers).dst != seen.dst
    });
    let elsewhere = elsewhere.unwrap();
    let unhurt = lab.send(&format!("out > 203.0.113.2 tcp 80 sport {elsewhere}"));
    let (unhurt, at) = (unhurt.buffers.tags.clone(), only(&unhurt));
    let tags = judge(&mut lab, &member, Some(Health::Inactive));
    assert!(touched(&tags, &there) && touched(&tags, &answer), "both its flows go");
    assert!(!touched(&tags, &unhurt));
    // What the dead one still says reaches nobody; what the client says ends at another.
    back(&lab, &arrived, &seen.answer().packet(64)).drops(DropCause::NoLongerBalanced);
    let (_, moved) = sends(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000 ack");
    assert_ne!(Ends::of(&moved.headers).dst, seen.dst);
    let again = lab.send(&format!("out > 203.0.113.2 tcp 80 sport {elsewhere}"));
    assert_eq!(only(&again).headers, at.headers);
    assert!(!shares(&mut lab, "out2 > 203.0.113.2 tcp 80", 60).contains_key(&seen.dst));
    // Alive again it gets new ones, and those that went elsewhere stay there.
    judge(&mut lab, &member, Some(Health::Active));
    assert!(shares(&mut lab, "out2 > 203.0.113.2 tcp 80", 160).contains_key(&seen.dst));
    let stays = lab.send("out > 203.0.113.2 tcp 80 sport 5000 ack");
    assert_eq!(only(&stays).headers.nw_dst, moved.headers.nw_dst);
}

#[test]
fn where_nobody_may_take_a_connection_it_is_dropped_until_somebody_may() {
    let mut lab = world("", "", &monitored());
    for member in ["10.0.1.5@8080", "10.0.1.6@8080", "10.0.1.7@8080"] {
        judge(&mut lab, member, Some(Health::Inactive));
    }
    let sent = lab.send("out > 203.0.113.2 tcp 80 syn");
    // One flow drops all of them, and stays for as long as it is so.
    sent.drops(DropCause::NoPoolMember).lasts(Expiry::Idle).tagged(Tag::Pool(named("web")));
    let read = sent.buffers.tags.clone();
    let tags = judge(&mut lab, "10.0.1.6@8080", None);
    assert!(touched(&tags, &read));
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 syn").dst, addr("10.0.1.6"));
}

#[test]
fn a_pool_that_is_down_keeps_connections_and_takes_no_new_ones() {
    let mut lab = web();
    let seen = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000");
    change::<Pool>(&mut lab, "web", |object| {
        let AnyObject::Pool(pool) = object else { panic!("no pool") };
        pool.admin_state_up = false;
    });
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000"), seen);
    lab.send("out > 203.0.113.2 tcp 80 sport 5001").drops(DropCause::NoPoolMember);
}

#[test]
fn a_member_or_address_that_is_deleted_takes_its_connections_along() {
    let mut lab = web();
    let (_, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000");
    let seen = Ends::of(&arrived.headers);
    let read = lab.send("out > 203.0.113.2 tcp 80 sport 5000").buffers.tags;
    let tags = lab.delete(named::<PoolMember>(&format!("{}@8080", seen.dst)));
    assert!(touched(&tags, &read));
    back(&lab, &arrived, &seen.answer().packet(64)).drops(DropCause::NoLongerBalanced);
    let (_, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000 ack");
    assert_ne!(Ends::of(&arrived.headers).dst, seen.dst);
    let answer = Ends::of(&arrived.headers).answer().packet(64);
    let read = back(&lab, &arrived, &answer).buffers.tags;
    let tags = lab.delete(named::<Vip>("203.0.113.2@80"));
    assert!(touched(&tags, &read));
    back(&lab, &arrived, &answer).drops(DropCause::NoLongerBalanced);
    lab.send("out > 203.0.113.2 tcp 80 sport 5000 ack").drops(DropCause::NoRoute);
}

#[test]
fn a_virtual_address_has_no_more_connections_than_it_may_have() {
    let pool = WEB.replace("vip 203.0.113.2@80", "vip 203.0.113.2@80 limit 3\n vip 203.0.113.3@80");
    let mut lab = world("", "", &pool);
    for port in 1..=3 {
        converses(&mut lab, &format!("out > 203.0.113.2 tcp 80 sport {port}"));
    }
    lab.send("out > 203.0.113.2 tcp 80 sport 4")
        .drops(DropCause::VipConnectionLimit)
        .lasts(Expiry::Brief);
    // Those that it has go on; another address has connections of its own.
    converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 3");
    converses(&mut lab, "out > 203.0.113.3 tcp 80 sport 4");
    // One that ends makes room for one.
    let key = lab.tables.translations.all[1].key;
    lab.tables.learn(&[Effect::Segment { key, way: Way::Forward, class: TcpClass::Rst }]);
    converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5");
    lab.send("out > 203.0.113.2 tcp 80 sport 6").drops(DropCause::VipConnectionLimit);
}
