//! What a load balancer does with packets.

use mn_flow::{DropCause, Expiry, Field, Tag};
use mn_simulation::Effect;
use mn_simulation::nat::{NatOrigin, Way};
use mn_testkit::named;
use mn_topology::AnyObject;
use mn_topology::snapshot::Loaded;

use crate::traffic::{Ends, back, only, quoted};
use crate::world::{WEB, addr, change, converses, sends, shares, touched, web, world};

#[test]
fn connections_to_a_virtual_address_go_to_members_and_answers_come_from_it() {
    let mut lab = web();
    let mut servers = std::collections::BTreeSet::new();
    for port in 0..60 {
        let seen = converses(&mut lab, &format!("out > 203.0.113.2 tcp 80 sport {}", 2000 + port));
        assert_eq!(
            (seen.src, seen.src_port, seen.dst_port),
            (addr("198.51.100.9"), 2000 + port, 8080)
        );
        servers.insert(seen.dst);
    }
    assert_eq!(servers, ["10.0.1.5", "10.0.1.6", "10.0.1.7"].map(addr).into());
}

#[test]
fn a_connection_keeps_its_member_and_has_one_flow_each_way() {
    let mut lab = web();
    let (_, first) = sends(&mut lab, "out > 203.0.113.2 tcp 80 syn");
    for _ in 0..20 {
        let sent = lab.send("out > 203.0.113.2 tcp 80 ack");
        sent.lasts(Expiry::Idle);
        assert_eq!(only(&sent).headers.nw_dst, first.headers.nw_dst);
        assert!(!sent.buffers.effects.iter().any(|it| matches!(it, Effect::Translate(_))));
        assert_eq!(sent.decision().unwrap().follows, Some(Way::Forward));
        assert!(!sent.decision().unwrap().mask.contains(Field::Tcp));
    }
    assert_eq!(lab.tables.translations.all.len(), 1);
    assert!(matches!(lab.tables.translations.all[0].by, NatOrigin::Pool { .. }));
    let answer = Ends::of(&first.headers).answer().packet(64);
    back(&lab, &first, &answer).arrives("out", 1).lasts(Expiry::Idle);
}

#[test]
fn udp_and_ipv6_are_balanced_too() {
    let pools = "
        pool dns lb udp
          vip 203.0.113.2@53
          member 10.0.1.5@5353
          member 10.0.1.6@53
        pool six lb
          vip 2001:db8:9::2@80
          member fd01::5@8080
          member fd01::6@8080
        pool six-dns lb udp
          vip 2001:db8:9::2@53
          member fd01::7@5353
    ";
    let mut lab = world("", "", pools);
    for port in 0..20 {
        let seen = converses(&mut lab, &format!("out > 203.0.113.2 udp 53 sport {}", 2000 + port));
        let own = if seen.dst == addr("10.0.1.5") { 5353 } else { 53 };
        assert_eq!(seen.dst_port, own);
        let seen =
            converses(&mut lab, &format!("out > 2001:db8:9::2 tcp 80 v6 sport {}", 2000 + port));
        assert_eq!(seen.dst_port, 8080);
    }
    assert_eq!(converses(&mut lab, "out > 2001:db8:9::2 udp 53 v6").dst, addr("fd01::7"));
    // A pool's protocol is its virtual addresses'.
    lab.send("out > 203.0.113.2 tcp 53").drops(DropCause::NoRoute);
    lab.send("out > 203.0.113.2 udp 80").drops(DropCause::NoRoute);
}

#[test]
fn what_is_for_no_virtual_address_goes_by_routes_and_waits_for_one_to_come() {
    let mut lab = web();
    let other = lab.send("out > 203.0.113.3 tcp 80");
    let vip =
        |text: &str| Tag::Vip { load_balancer: named("lb"), addr: mn_packet::to_v6(addr(text)) };
    other.drops(DropCause::NoRoute).tagged(vip("203.0.113.3"));
    let read = other.buffers.tags.clone();
    lab.send("out > 203.0.113.2 tcp 81").drops(DropCause::NoRoute).tagged(vip("203.0.113.2"));
    lab.send("out > 203.0.113.2 icmp").drops(DropCause::NoRoute);
    let direct = lab.send("out > s1 tcp 80");
    direct.arrives("s1", 1);
    assert!(!direct.decision().unwrap().mask.contains(Field::TpDst), "no port is looked at");
    // The other address becomes one.
    let tags = change::<mn_ids::Vip>(&mut lab, "203.0.113.2@80", |object| {
        let AnyObject::Vip(vip) = object else { panic!("no virtual address") };
        vip.address = addr("203.0.113.3");
    });
    assert!(touched(&tags, &read));
    assert_eq!(only(&lab.send("out > 203.0.113.3 tcp 80")).headers.tp_dst, 8080);
}

#[test]
fn a_load_balancer_or_address_that_is_down_balances_nothing() {
    for down in ["lb", "203.0.113.2@80"] {
        let mut lab = web();
        sends(&mut lab, "out > 203.0.113.2 tcp 80");
        let read = lab.send("out > 203.0.113.2 tcp 80").buffers.tags;
        let tags = if down == "lb" {
            change::<mn_ids::LoadBalancer>(&mut lab, down, |object| {
                let AnyObject::LoadBalancer(it) = object else { panic!("no load balancer") };
                it.admin_state_up = false;
            })
        } else {
            change::<mn_ids::Vip>(&mut lab, down, |object| {
                let AnyObject::Vip(it) = object else { panic!("no virtual address") };
                it.admin_state_up = false;
            })
        };
        assert!(touched(&tags, &read), "{down}");
        lab.send("out > 203.0.113.2 tcp 80").drops(DropCause::NoRoute);
    }
}

#[test]
fn answers_of_a_machine_with_no_connection_are_not_looked_at_until_it_has_one() {
    let mut lab = web();
    let before = lab.send("s1 > out tcp 2000 sport 8080 syn");
    before.arrives("out", 1);
    let mask = before.decision().unwrap().mask;
    assert!(!mask.contains(Field::TpSrc) && !mask.contains(Field::TpDst));
    let read = before.buffers.tags.clone();
    let mut change = Vec::new();
    for port in 2000..2020 {
        let sent = lab.send(&format!("out > 203.0.113.2 tcp 80 sport {port} syn"));
        for effect in &sent.buffers.effects {
            if let Effect::Translate(it) = effect
                && it.to.addr == mn_packet::to_v6(addr("10.0.1.5"))
            {
                change.push(Tag::Nat(mn_simulation::nat::member_tag(it.key.device, it.to.addr)));
            }
        }
        let effects = sent.buffers.effects.clone();
        lab.tables.learn(&effects);
    }
    assert!(touched(&change, &read), "its flow goes with its first connection");
    // What it begins by itself is no answer.
    let own = lab.send("s1 > out tcp 443 sport 8080 syn");
    own.arrives("out", 1);
    assert_eq!(Ends::of(&only(&own).headers).src, addr("10.0.1.5"));
    let member = lab
        .tables
        .translations
        .all
        .iter()
        .find(|it| it.to.addr == mn_packet::to_v6(addr("10.0.1.5")));
    let port = member.unwrap().key.tuple.src_port;
    let answer = lab.send(&format!("s1 > out tcp {port} sport 8080 ack"));
    assert_eq!(Ends::of(&only(&answer).headers).src, addr("203.0.113.2"));
}

#[test]
fn errors_about_a_balanced_connection_are_about_what_each_side_sent() {
    let mut lab = web();
    let (asked, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80 syn");
    let seen = Ends::of(&arrived.headers);
    // The server, and a router before it, say that it cannot be reached.
    for from in [seen.dst, addr("10.0.1.99")] {
        let error = back(&lab, &arrived, &seen.error(from));
        let told = only(&error);
        assert_eq!(Ends::of(&told.headers).dst, asked.src);
        assert_eq!(quoted(seen, &error.buffers.actions), asked);
        let hidden = if from == seen.dst { asked.dst } else { from };
        assert_eq!(Ends::of(&told.headers).src, hidden);
    }
    // The client says so of an answer.
    let answer = back(&lab, &arrived, &seen.answer().packet(64));
    let came = only(&answer);
    let complaint = Ends::of(&came.headers).error(asked.src);
    let error = back(&lab, &came, &complaint);
    let told = only(&error);
    assert_eq!(Ends::of(&told.headers).dst, seen.dst);
    assert_eq!(quoted(Ends::of(&came.headers), &error.buffers.actions), seen.answer());
}

#[test]
fn several_addresses_of_one_pool_do_not_mix_up_their_answers() {
    let pool = "
        pool web lb
          vip 203.0.113.2@80
          vip 203.0.113.3@80
          vip 203.0.113.3@443
          member 10.0.1.5@8080
          member 10.0.1.6@8080
    ";
    let mut lab = world("", "", pool);
    let first = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000");
    let second = converses(&mut lab, "out > 203.0.113.3 tcp 80 sport 5000");
    assert_ne!(first.dst, second.dst, "their answers would be the same");
    // Both members have such a connection.
    lab.send("out > 203.0.113.3 tcp 443 sport 5000")
        .drops(DropCause::NatExhausted)
        .lasts(Expiry::Brief);
    converses(&mut lab, "out > 203.0.113.3 tcp 443 sport 5001");
}

#[test]
fn a_pool_that_is_not_loaded_is_asked_for() {
    let mut lab = web();
    let pool = Loaded::of(named::<mn_ids::Pool>("web").into());
    lab.snapshot = lab.snapshot.forget(&pool).0;
    let wanted = vec![named::<mn_ids::Pool>("web").into()];
    let sent = lab.send("out > 203.0.113.2 tcp 80");
    assert_eq!(sent.outcome, mn_simulation::Outcome::Load(wanted));
    lab.send("out > s1 tcp 80").arrives("s1", 1);
}

#[test]
fn shares_are_as_the_weights_say() {
    let pool = WEB.replace("10.0.1.5@8080", "10.0.1.5@8080 weight 4");
    let shares = shares(&mut world("", "", &pool), "out > 203.0.113.2 tcp 80", 1200);
    // Of 1200 by 4:1:1; four standard deviations are 65 and 52.
    assert!((735..=865).contains(&shares[&addr("10.0.1.5")]), "{shares:?}");
    for other in ["10.0.1.6", "10.0.1.7"] {
        assert!((148..=252).contains(&shares[&addr(other)]), "{shares:?}");
    }
}
