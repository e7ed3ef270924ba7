use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use mn_flow::{Tag, TcpClass};
use mn_ids::{Id, RouterId, RuleId};
use mn_packet::IpProtocol;
use mn_simulation::nat::{
    Endpoint, NatBinding, NatKey, NatKind, NatOrigin, NatTuple, SourceChoice, SourceWanted, Way,
};
use mn_time::{Duration, Instant};
use mn_topology::{DeviceId, NatTarget};
use uuid::Uuid;

use super::*;
use crate::limits;

fn device(n: u128) -> DeviceId {
    DeviceId::Router(RouterId::from_uuid(Uuid::from_u128(n)))
}

fn rule() -> RuleId {
    Id::from_uuid(Uuid::from_u128(7))
}

fn by_rule() -> NatOrigin {
    NatOrigin::Rule { chain: Id::from_uuid(Uuid::from_u128(8)), rule: rule() }
}

fn public() -> Ipv6Addr {
    "::ffff:203.0.113.2".parse().unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A connection of machine `src` from `sport` to port `dport` of the one machine outside.
fn key(protocol: IpProtocol, src: u8, sport: u16, dport: u16) -> NatKey {
    let tuple = NatTuple {
        protocol,
        src: format!("::ffff:10.0.0.{src}").parse().unwrap(),
        dst: "::ffff:198.51.100.9".parse().unwrap(),
        src_port: sport,
        dst_port: dport,
    };
    NatKey { kind: NatKind::Source, device: device(1), tuple }
}

fn target(from: u16, to: u16) -> NatTarget {
    let addr = "203.0.113.2".parse().unwrap();
    NatTarget { addr_from: addr, addr_to: addr, port_from: from, port_to: to }
}

fn leased(blocks: impl IntoIterator<Item = u16>) -> NatTable {
    let blocks = blocks.into_iter().map(|number| Block { addr: public(), number }).collect();
    let mut table = NatTable::default();
    table.ports.add(&Lease { device: device(1), blocks }, at(0));
    table
}

fn choose(table: &NatTable, key: NatKey, targets: &[NatTarget], seed: u64) -> SourceChoice {
    table.free_source(&SourceWanted { key, rule: rule(), targets, seed })
}

/// Makes a connection as a packet does; its port.
fn connect(table: &mut NatTable, key: NatKey, targets: &[NatTarget], seed: u64) -> Option<u16> {
    let SourceChoice::Is(to) = choose(table, key, targets, seed) else { return None };
    let binding = NatBinding { key, to, by: by_rule() };
    table.insert(binding, NatOwner::Own, at(0), &mut Vec::new());
    Some(to.port)
}

const TCP: IpProtocol = IpProtocol::TCP;

#[test]
fn a_port_goes_to_one_destination_once_and_to_others_again() {
    let mut table = leased([100]);
    let targets = [target(1024, 65535)];
    let ports: BTreeSet<u16> =
        (0..64).map(|n| connect(&mut table, key(TCP, 1, n, 80), &targets, 3).unwrap()).collect();
    assert_eq!(ports, (6400..6464).collect());
    assert_eq!(choose(&table, key(TCP, 1, 64, 80), &targets, 3), SourceChoice::NoLease);
    // Another port of the destination, and another protocol, have all 64 again.
    assert!(connect(&mut table, key(TCP, 1, 64, 443), &targets, 3).is_some());
    assert!(connect(&mut table, key(IpProtocol::UDP, 1, 64, 80), &targets, 3).is_some());
    // One that ends makes room for one.
    let gone = key(TCP, 1, 17, 80);
    table.remove(&gone, at(1), &mut Vec::new()).unwrap();
    assert!(connect(&mut table, key(TCP, 1, 64, 80), &targets, 3).is_some());
    assert!(connect(&mut table, key(TCP, 1, 65, 80), &targets, 3).is_none());
}

#[test]
fn one_address_carries_more_connections_than_it_has_ports() {
    let mut table = leased(16..24);
    let targets = [target(1024, 65535)];
    let mut answers = BTreeSet::new();
    for destination in 0..400 {
        for n in 0..256 {
            let key = key(TCP, 1, n, 1000 + destination);
            let port = connect(&mut table, key, &targets, u64::from(n)).unwrap();
            assert!(answers.insert((destination, port)));
        }
    }
    assert_eq!(table.len(), 102_400);
}

#[test]
fn only_ports_of_the_rule_s_range_are_given() {
    let mut table = leased([0, 1, 1023]);
    let targets = [target(1, 3), target(70, 72), target(65535, 65535)];
    let ports: BTreeSet<_> =
        (0..9).filter_map(|n| connect(&mut table, key(TCP, 1, n, 80), &targets, 5)).collect();
    assert_eq!(ports, BTreeSet::from([1, 2, 3, 70, 71, 72, 65535]));
    // 1--1 of the guides is 1 to 65535; port 0 is none.
    let mut table = leased([0]);
    let ports =
        (0..64).filter_map(|n| connect(&mut table, key(TCP, 1, n, 80), &[target(0, 65535)], 5));
    assert_eq!(ports.collect::<BTreeSet<_>>(), (1..64).collect());
}

#[test]
fn more_is_asked_for_once_and_before_all_is_used() {
    let mut table = leased([100]);
    let targets = [target(1024, 65535)];
    let mut low_at = None;
    for n in 0..64 {
        let key = key(TCP, 1, n, 80);
        connect(&mut table, key, &targets, 3).unwrap();
        if low_at.is_none() && table.ports.is_low(device(1), &key.tuple, &targets) {
            low_at = Some(n + 1);
        }
    }
    assert_eq!(low_at, Some(32), "half of it is used");
    let need = table.ports.need(device(1), rule(), &targets).unwrap();
    assert_eq!(need.blocks, 1);
    assert_eq!(table.ports.need(device(1), rule(), &targets), None, "it is on its way");
    table.ports.add(
        &Lease { device: device(1), blocks: vec![Block { addr: public(), number: 7 }] },
        at(1),
    );
    table.ports.answered(device(1), rule(), None);
    assert_eq!(table.ports.need(device(1), rule(), &targets).unwrap().blocks, 2);
}

#[test]
fn where_no_block_is_to_be_had_the_ports_are_exhausted_for_a_while() {
    let mut table = NatTable::default();
    let targets = [target(1024, 65535)];
    assert_eq!(choose(&table, key(TCP, 1, 1, 80), &targets, 0), SourceChoice::NoLease);
    table.ports.need(device(1), rule(), &targets).unwrap();
    table.ports.answered(device(1), rule(), Some(at(5)));
    assert_eq!(choose(&table, key(TCP, 1, 1, 80), &targets, 0), SourceChoice::Exhausted);
    table.ports.tick(at(4));
    assert_eq!(table.ports.need(device(1), rule(), &targets), None);
    table.ports.tick(at(5));
    assert_eq!(choose(&table, key(TCP, 1, 1, 80), &targets, 0), SourceChoice::NoLease);
    assert!(table.ports.need(device(1), rule(), &targets).is_some());
}

#[test]
fn idle_blocks_are_given_back_but_for_one() {
    let mut table = leased([100, 101, 102]);
    let targets = [target(1024, 65535)];
    let port = connect(&mut table, key(TCP, 1, 1, 80), &targets, 0).unwrap();
    assert_eq!(table.ports.give_back(at(299)), []);
    let back = table.ports.give_back(at(300));
    let numbers: BTreeSet<u16> =
        back.iter().flat_map(|it| &it.blocks).map(|it| it.number).collect();
    assert_eq!((numbers.len(), numbers.contains(&(port / 64))), (2, false));
    table.remove(&key(TCP, 1, 1, 80), at(301), &mut Vec::new());
    assert_eq!(table.ports.give_back(at(900)), [], "the last one stays");
    // A place that is free again is used again, and nothing of it is taken.
    table.ports.add(
        &Lease { device: device(1), blocks: vec![Block { addr: public(), number: 90 }] },
        at(901),
    );
    let all = (0..128).filter_map(|n| connect(&mut table, key(TCP, 2, n, 80), &targets, 1));
    assert_eq!(all.count(), 128);
}

#[test]
fn a_lost_block_gives_no_ports_any_more() {
    let mut table = leased([100]);
    let targets = [target(1024, 65535)];
    connect(&mut table, key(TCP, 1, 1, 80), &targets, 0).unwrap();
    table.ports.lose(device(1), Block { addr: public(), number: 100 });
    assert_eq!(choose(&table, key(TCP, 1, 2, 80), &targets, 0), SourceChoice::NoLease);
    // The connection that has a port of it may end later.
    table.remove(&key(TCP, 1, 1, 80), at(2), &mut Vec::new()).unwrap();
}

#[test]
fn a_translation_is_found_both_ways_until_it_is_removed() {
    let mut table = leased([100]);
    let key = key(TCP, 1, 1, 80);
    connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
    let binding = table.forward(&key).unwrap();
    assert_eq!(table.reverse(&binding.answer()), Some(binding));
    let mut tags = Vec::new();
    table.remove(&key, at(1), &mut tags);
    assert_eq!(tags, [Tag::Nat(binding.tag())]);
    assert_eq!((table.forward(&key), table.reverse(&binding.answer())), (None, None));
}

#[test]
fn a_new_translation_touches_answers_that_came_too_early_and_nothing_else() {
    let mut table = leased([100]);
    let key = key(TCP, 1, 1, 80);
    let to = Endpoint { addr: public(), port: 6401 };
    let binding = NatBinding { key, to, by: by_rule() };
    let mut tags = Vec::new();
    table.insert(binding, NatOwner::Own, at(0), &mut tags);
    assert_eq!(tags, [Tag::Nat(binding.answer_tag())]);
    // Said again it is no news.
    tags.clear();
    table.insert(binding, NatOwner::Own, at(1), &mut tags);
    assert_eq!(tags, []);
    // Another in its place touches what used it.
    let other = NatBinding { to: Endpoint { addr: public(), port: 6402 }, ..binding };
    let gone = table.insert(other, NatOwner::Own, at(1), &mut tags);
    assert_eq!(gone, [Some(Gone(binding)), None]);
    assert_eq!(tags, [Tag::Nat(binding.tag()), Tag::Nat(other.answer_tag())]);
}

/// Lets `table` look at everything.
fn expire(table: &mut NatTable, now: Instant, used: Option<Instant>) -> usize {
    (0..16).map(|_| table.expire(now, |_| used, |_, _, _| {}, &mut Vec::new()).len()).sum()
}

#[test]
fn each_protocol_has_its_time_and_what_is_used_stays() {
    let times = [
        (IpProtocol::TCP, limits::NAT_TCP_IDLE_FOR),
        (IpProtocol::UDP, limits::NAT_UDP_IDLE_FOR),
        (IpProtocol::ICMP, limits::NAT_ECHO_IDLE_FOR),
    ];
    for (protocol, time) in times {
        let mut table = leased([100]);
        connect(&mut table, key(protocol, 1, 1, 80), &[target(1024, 65535)], 0).unwrap();
        table.note_established(&key(protocol, 1, 1, 80));
        let just_before = at(0) + (time - Duration::from_millis(1));
        assert_eq!(expire(&mut table, just_before, None), 0);
        // The datapath used a flow of it a second ago: no timer ends it.
        assert_eq!(expire(&mut table, at(0) + time, Some(just_before)), 0);
        assert_eq!(expire(&mut table, just_before + time, None), 1);
        assert!(table.is_empty());
    }
}

#[test]
fn what_a_flow_was_used_for_counts_after_it_left() {
    let mut table = leased([100]);
    let key = key(IpProtocol::UDP, 1, 1, 80);
    connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
    let tag = table.forward(&key).unwrap().tag();
    table.note_left(tag, at(250));
    assert_eq!(expire(&mut table, at(400), None), 0);
    assert_eq!(expire(&mut table, at(550), None), 1);
}

#[test]
fn another_worker_s_translation_ends_there_and_is_told_of_use_here() {
    let mut table = NatTable::default();
    let key = key(IpProtocol::UDP, 1, 1, 80);
    let to = Endpoint { addr: public(), port: 6401 };
    let binding = NatBinding { key, to, by: by_rule() };
    table.insert(binding, NatOwner::Worker(3), at(0), &mut Vec::new());
    let mut told = Vec::new();
    let keeps = |owner, key, used_at| told.push((owner, key, used_at));
    let gone = table.expire(at(4000), |_| Some(at(3990)), keeps, &mut Vec::new());
    assert_eq!((gone.len(), told), (0, vec![(NatOwner::Worker(3), key, at(3990))]));
    assert_eq!(table.own().count(), 0);
}

/// A connection that ends by both sides' FIN, or by a reset.
fn end(table: &mut NatTable, key: &NatKey, by_reset: bool, now: Instant) -> Vec<Tag> {
    let mut tags = Vec::new();
    if by_reset {
        assert_eq!(table.see(key, Way::Back, TcpClass::Rst, now, &mut tags), Some(Turn::Reset));
    } else {
        assert_eq!(table.see(key, Way::Forward, TcpClass::Fin, now, &mut tags), None);
        assert_eq!(table.see(key, Way::Back, TcpClass::Fin, now, &mut tags), Some(Turn::Ended));
    }
    tags
}

#[test]
fn a_connection_that_has_ended_gives_its_port_back_half_a_minute_after_its_last_packet() {
    for by_reset in [true, false] {
        let mut table = leased([100]);
        let key = key(TCP, 1, 1, 80);
        connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
        let tag = Tag::Nat(table.forward(&key).unwrap().tag());
        let gone = if by_reset { vec![tag] } else { Vec::new() };
        assert_eq!(end(&mut table, &key, by_reset, at(10)), gone, "flows of a reset one go");
        assert!(table.has_ended(&key));
        // The last acknowledgement is of this connection still.
        table.see(&key, Way::Forward, TcpClass::Other, at(11), &mut Vec::new());
        assert_eq!(expire(&mut table, at(40), None), 0);
        assert!(table.forward(&key).is_some());
        assert_eq!(expire(&mut table, at(41), None), 1);
        assert!(table.is_empty());
    }
}

#[test]
fn a_connection_that_nobody_answers_or_one_side_has_ended_gives_its_port_back_after_four_minutes() {
    let (other, fin) = (TcpClass::Other, TcpClass::Fin);
    let hours = limits::NAT_TCP_IDLE_FOR.as_secs();
    let stories: [(&[_], u64); 5] = [
        (&[], 240),
        (&[(Way::Forward, TcpClass::Syn)], 240),
        (&[(Way::Back, other)], hours),
        (&[(Way::Forward, other)], hours),
        (&[(Way::Back, other), (Way::Back, fin)], 240),
    ];
    for (segments, seconds) in stories {
        let mut table = leased([100]);
        let key = key(TCP, 1, 1, 80);
        connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
        let tag = table.forward(&key).unwrap().tag();
        for (way, class) in segments {
            // As a flow of it tells.
            let seen = table.see_tagged(tag, *way, *class, at(0), &mut Vec::new());
            assert_eq!(seen, Some((key, None)));
        }
        assert_eq!(expire(&mut table, at(seconds - 1), None), 0, "{segments:?}");
        assert_eq!(expire(&mut table, at(seconds), None), 1, "{segments:?}");
    }
}

#[test]
fn a_restored_connection_counts_as_established() {
    let mut table = leased([100]);
    let key = key(TCP, 1, 1, 80);
    connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
    table.note_established(&key);
    assert_eq!(expire(&mut table, at(241), None), 0);
}

#[test]
fn a_new_connection_between_the_same_ends_keeps_the_port_and_the_usual_time() {
    let mut table = leased([100]);
    let key = key(TCP, 1, 1, 80);
    let port = connect(&mut table, key, &[target(1024, 65535)], 0).unwrap();
    end(&mut table, &key, false, at(10));
    let resumed = table.see(&key, Way::Forward, TcpClass::Syn, at(20), &mut Vec::new());
    assert_eq!(resumed, Some(Turn::Resumed));
    table.see(&key, Way::Back, TcpClass::Other, at(20), &mut Vec::new());
    assert_eq!(expire(&mut table, at(4000), None), 0);
    assert_eq!(table.forward(&key).unwrap().to.port, port);
    assert!(!table.has_ended(&key));
}

#[test]
fn where_no_port_is_free_the_one_that_ended_first_is_given_again() {
    let mut table = leased([100]);
    let targets = [target(1024, 65535)];
    let ports: Vec<u16> =
        (0..64).map(|n| connect(&mut table, key(TCP, 1, n, 80), &targets, 3).unwrap()).collect();
    for n in [20, 7, 30] {
        end(&mut table, &key(TCP, 1, n, 80), true, at(u64::from(n)));
    }
    let new = key(TCP, 2, 1, 80);
    assert_eq!(choose(&table, new, &targets, 0), SourceChoice::NoLease, "more may be had");
    table.ports.need(device(1), rule(), &targets).unwrap();
    table.ports.answered(device(1), rule(), Some(at(100)));
    assert_eq!(connect(&mut table, new, &targets, 0), Some(ports[20]));
    assert_eq!(table.forward(&key(TCP, 1, 20, 80)), None, "nothing late is taken for the new one");
    assert_eq!(connect(&mut table, key(TCP, 2, 2, 80), &targets, 0), Some(ports[7]));
    // Not for another destination's sake, and not one that lives.
    assert_eq!(connect(&mut table, key(TCP, 2, 3, 80), &targets, 0), Some(ports[30]));
    assert_eq!(choose(&table, key(TCP, 2, 4, 80), &targets, 0), SourceChoice::Exhausted);
}

/// What was closed a moment ago may still be waited for by the other side.
#[test]
fn ports_that_are_given_again_take_turns() {
    let mut table = leased([100]);
    let targets = [target(1024, 65535)];
    table.ports.need(device(1), rule(), &targets).unwrap();
    table.ports.answered(device(1), rule(), Some(at(100)));
    let mut turns = Vec::new();
    for n in 0..64 * 5 {
        let key = key(TCP, 1, n, 80);
        turns.push(connect(&mut table, key, &targets, 3).unwrap());
        end(&mut table, &key, n % 2 == 0, at(4) + Duration::from_millis(n.into()));
    }
    let (first, again) = turns.split_at(64);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 64);
    again.chunks(64).for_each(|round| assert_eq!(round, first));
    // Of the oldest, and of none that has its place now, it is known that it ended.
    assert_eq!(expire(&mut table, at(3 + 30), None), 0);
    assert_eq!(expire(&mut table, at(5 + 30), None), 64);
    assert!(table.is_empty());
}

#[test]
fn another_host_s_translation_outlives_its_time_there_and_not_for_ever() {
    let mut table = NatTable::default();
    let key = key(IpProtocol::UDP, 1, 1, 80);
    let to = Endpoint { addr: public(), port: 6401 };
    let binding = NatBinding { key, to, by: by_rule() };
    table.insert(binding, NatOwner::Peer(3), at(0), &mut Vec::new());
    expire(&mut table, at(449), None);
    assert_eq!(table.len(), 1, "its owner may be about to say that it lives");
    expire(&mut table, at(450), Some(at(449)));
    assert_eq!(table.len(), 1, "answers keep it alive here");
    assert_eq!(expire(&mut table, at(449 + 450), None), 0, "it was not this worker's");
    assert!(table.is_empty());
}

/// What ties a client to a member.
fn tie(client: u32, member: u128) -> NatBinding {
    let src = std::net::Ipv4Addr::from(client).to_ipv6_mapped();
    let mut key = NatKey { kind: NatKind::Destination, ..key(TCP, 1, 80, 0) };
    key.tuple.src = src;
    let by = NatOrigin::Client {
        pool: Id::from_uuid(Uuid::from_u128(9)),
        member: Id::from_uuid(Uuid::from_u128(member)),
    };
    NatBinding { key, to: key.tuple.end(NatKind::Destination), by }
}

#[test]
fn so_many_clients_are_tied_to_members_and_no_more_until_some_are_not() {
    let (mut table, most) = (NatTable::default(), limits::CLIENTS_MAX as u32);
    let insert = |table: &mut NatTable, binding, owner, seconds| {
        assert!(table.has_room(&binding));
        table.insert(binding, owner, at(seconds), &mut Vec::new());
    };
    insert(&mut table, tie(most, 1), NatOwner::Peer(3), 0);
    insert(&mut table, tie(most + 1, 1), NatOwner::Worker(1), 0);
    (0..most).for_each(|client| insert(&mut table, tie(client, 1), NatOwner::Own, 0));
    assert!(!table.has_room(&tie(most, 1)) && !table.has_room(&tie(most + 2, 1)));
    // A client may go to another member, and connections go on beginning.
    insert(&mut table, tie(7, 2), NatOwner::Own, 0);
    let by = NatOrigin::Pool { pool: Id::random(), member: Id::random() };
    insert(&mut table, NatBinding { by, ..tie(most + 3, 1) }, NatOwner::Own, 0);
    assert!(!table.has_room(&tie(most + 2, 1)));
    table.remove(&tie(8, 1).key, at(1), &mut Vec::new()).unwrap();
    insert(&mut table, tie(most + 2, 1), NatOwner::Own, 1);
    assert!(!table.has_room(&tie(8, 1)));
}

#[test]
fn a_client_is_tied_to_its_member_for_a_day_from_its_first_connection_on() {
    for protocol in [TCP, IpProtocol::UDP] {
        let mut table = NatTable::default();
        let mut tie = tie(1, 1);
        tie.key.tuple.protocol = protocol;
        table.insert(tie, NatOwner::Own, at(0), &mut Vec::new());
        assert_eq!(expire(&mut table, at(23 * 3600), None), 0);
        assert_eq!(table.forward(&tie.key), Some(tie));
        assert_eq!(expire(&mut table, at(24 * 3600), None), 1);
    }
}

/// The table against a list that is searched from end to end.
#[test]
fn random_connections_come_and_go_as_in_a_plain_list() {
    let mut state = 1_u64;
    let mut draw = |end: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let mut table = leased([100, 200, 300]);
    let targets = [target(6410, 19_220)];
    let mut model: BTreeMap<NatKey, u16> = BTreeMap::new();
    let (mut full, mut made) = (0, 0);
    for _ in 0..20_000 {
        let key = key(TCP, draw(3) as u8, draw(100) as u16, 80 + draw(2) as u16);
        if draw(3) == 0 {
            let was = table.remove(&key, at(0), &mut Vec::new()).map(|gone| gone.0.to.port);
            assert_eq!(was, model.remove(&key));
            continue;
        }
        if model.contains_key(&key) {
            assert_eq!(table.forward(&key).map(|it| it.to.port), model.get(&key).copied());
            continue;
        }
        let same = |other: &NatKey| other.tuple.dst_port == key.tuple.dst_port;
        let in_use: BTreeSet<u16> =
            model.iter().filter(|(other, _)| same(other)).map(|(_, port)| *port).collect();
        match connect(&mut table, key, &targets, draw(1 << 30)) {
            Some(port) => {
                assert!(!in_use.contains(&port), "{port} twice to one destination");
                assert!((6410..=19_220).contains(&port) && [100, 200, 300].contains(&(port / 64)));
                model.insert(key, port);
                made += 1;
            }
            None => {
                assert_eq!(in_use.len(), (64 - 10) + 64 + 21, "nothing is free");
                full += 1;
            }
        }
        assert_eq!(table.len(), model.len());
    }
    assert!(made > 2000 && full > 100, "{made} {full}");
}
