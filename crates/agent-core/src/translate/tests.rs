use mn_flow::{KeyKind, PeerIndex, PortNo, Rewrite, TunnelKey};
use mn_ids::{BridgeId, Id, Kind};
use mn_packet::Mac;
use uuid::Uuid;

use super::*;
use crate::{Owner, Row, RowChange};

const HERE: u128 = 100;
const THERE: u128 = 101;

fn id<K: Kind>(number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn key(kind: KeyKind, value: u32) -> TunnelKey {
    TunnelKey::new(kind, value).unwrap()
}

/// Ports 1 and 2 are here as 16 and 17; 11, 12 and 13 are there, 31 is on a host without a tunnel
/// address, 41 is nowhere, 51 is not loaded.
fn world() -> (StateTables, LocalView) {
    let mut local = LocalView::new(id(HERE), 1450);
    local.add_port(id(1), PortNo(16));
    local.add_port(id(2), PortNo(17));
    local.peers.insert(id(THERE), PeerIndex(3));
    let mut tables = StateTables::default();
    for (port, host) in [(11, THERE), (12, THERE), (13, THERE), (31, 102)] {
        let place = Place { host: id(host), key: key(KeyKind::Port, port as u32) };
        let row = Row::Location(id(port), Some(place));
        let change = RowChange { row, owner: Owner::Host(id(host)), revision: 1 };
        tables.apply(&change, &mut Vec::new());
    }
    for port in [11, 12, 13, 31, 41] {
        tables.complete(TableName::Location(id(port)));
    }
    (tables, local)
}

fn publish(tables: &mut StateTables, value: u32, ports: &[u128]) {
    let bridge: BridgeId = id(200);
    let ports = ports.iter().map(|port| id(*port)).collect();
    let value = Some((key(KeyKind::Group, value), ports));
    let row = Row::FloodGroup { bridge, host: id(THERE), value };
    let change = RowChange { row, owner: Owner::Host(id(THERE)), revision: 2 };
    tables.apply(&change, &mut Vec::new());
}

fn run(verdict: &[VirtualAction], world: &(StateTables, LocalView)) -> Translation {
    run_bound(verdict, world, |_| None, None)
}

fn run_bound(
    verdict: &[VirtualAction],
    (tables, local): &(StateTables, LocalView),
    bound: impl Fn(PortId) -> Option<HostId>,
    only: Option<&[PortId]>,
) -> Translation {
    let mut out = Translation::default();
    let means = Means { tables, local, bound: &bound, only };
    translate(verdict, PortNo(16), None, &means, &mut out);
    out
}

fn deliver(ports: &[u128]) -> Vec<VirtualAction> {
    ports.iter().map(|port| VirtualAction::Deliver(id(*port))).collect()
}

fn there(kind: KeyKind, value: u32) -> Action {
    Action::Tunnel { peer: PeerIndex(3), key: key(kind, value) }
}

#[test]
fn a_port_here_is_an_output_and_one_there_a_tunnelled_copy() {
    let world = world();
    let out = run(&deliver(&[1, 11]), &world);
    assert_eq!(out.actions, [Action::Output(PortNo(16)), there(KeyKind::Port, 11)]);
    let read = [Tag::Location(id(1)), Tag::Location(id(11)), Tag::Peer(id(THERE))];
    assert_eq!(out.tags, read);
}

#[test]
fn a_flood_sends_one_copy_to_a_published_set_and_single_copies_to_the_rest() {
    let mut world = world();
    publish(&mut world.0, 900, &[11, 12]);
    let group = there(KeyKind::Group, 900);
    assert_eq!(run(&deliver(&[11, 12]), &world).actions, [group]);
    let rest = there(KeyKind::Port, 13);
    assert_eq!(run(&deliver(&[11, 13, 12]), &world).actions, [group, rest]);
}

#[test]
fn a_group_is_not_used_where_one_member_is_filtered_or_has_another_rewrite() {
    let mut world = world();
    publish(&mut world.0, 900, &[11, 12]);
    let (one, two) = (there(KeyKind::Port, 11), there(KeyKind::Port, 12));
    let three = there(KeyKind::Port, 13);
    assert_eq!(run(&deliver(&[11, 13]), &world).actions, [one, three]);
    let rewrite = Rewrite::EthDst(Mac::BROADCAST);
    let mut verdict = deliver(&[11]);
    verdict.push(VirtualAction::Rewrite(rewrite));
    verdict.extend(deliver(&[12]));
    assert_eq!(run(&verdict, &world).actions, [one, Action::Rewrite(rewrite), two]);
}

#[test]
fn a_port_without_a_place_or_a_peer_gets_nothing_but_its_tags_are_there() {
    let world = world();
    let out = run(&deliver(&[31, 41, 1]), &world);
    assert_eq!(out.actions, [Action::Output(PortNo(16))]);
    for tag in [Tag::Location(id(31)), Tag::Location(id(41)), Tag::Peer(id(102))] {
        assert!(out.tags.contains(&tag), "{tag:?}");
    }
    let nowhere = Action::Drop { cause: DropCause::NoLocation, rule: None };
    assert_eq!(run(&deliver(&[41]), &world).actions, [nowhere]);
    assert_eq!(run(&deliver(&[51]), &world).missing, [id(51)], "not loaded is not nowhere");
}

#[test]
fn a_connection_is_followed_from_the_zone_of_the_port_and_splits_no_group() {
    let mut world = world();
    world.1.zones.insert(PortNo(16), Zone(7));
    publish(&mut world.0, 900, &[11, 12]);
    let track = Action::Track { zone: Zone(7), port: PortNo(16) };
    let [one, two] = [11, 12].map(|port| VirtualAction::Deliver(id(port)));
    let verdict = [one, VirtualAction::Track, two];
    assert_eq!(run(&verdict, &world).actions, [track, there(KeyKind::Group, 900)]);
    let nowhere = [VirtualAction::Track, VirtualAction::Deliver(id(41))];
    let drop = Action::Drop { cause: DropCause::NoLocation, rule: None };
    assert_eq!(run(&nowhere, &world).actions, [drop]);
}

#[test]
fn rewrites_after_the_last_output_are_left_out() {
    let mut verdict = deliver(&[1]);
    verdict.push(VirtualAction::Rewrite(Rewrite::DecTtl));
    assert_eq!(run(&verdict, &world()).actions, [Action::Output(PortNo(16))]);
}

#[test]
fn a_long_list_goes_through_groups_and_keeps_every_output_in_order() {
    let (tables, mut local) = world();
    for number in 0..20 {
        local.add_port(id(300 + number), PortNo(100 + number as u32));
    }
    let ports: Vec<u128> = (300..320).collect();
    let mut verdict = vec![VirtualAction::Rewrite(Rewrite::DecTtl)];
    verdict.extend(deliver(&ports));
    let mut out = run(&verdict, &(tables, local));
    let flat = out.actions.clone();
    let mut groups = GroupTable::new((7..9).map(GroupIndex));
    out.fit(&mut groups);
    let [rewrite, Action::Outputs(index)] = out.actions[..] else {
        panic!("{:?}", out.actions);
    };
    assert_eq!((rewrite, out.new_groups[0].0), (flat[0], index));
    assert_eq!(out.new_groups[0].1, flat[1..]);
    assert_eq!(out.groups, [index]);
}

#[test]
fn a_list_that_cannot_be_shortened_drops_and_says_so() {
    let mut verdict = Vec::new();
    for ttl in 0..10 {
        verdict.push(VirtualAction::Rewrite(Rewrite::NwTos(ttl)));
        verdict.extend(deliver(&[1]));
    }
    let mut out = run(&verdict, &world());
    out.fit(&mut GroupTable::new((0..9).map(GroupIndex)));
    assert_eq!(out.actions, [Action::Drop { cause: DropCause::TooManyActions, rule: None }]);
}

#[test]
fn a_bound_port_without_a_place_is_told_from_one_that_is_bound_nowhere() {
    let world = world();
    let bound = |port| (port == id(41)).then(|| id(THERE));
    let out = run_bound(&deliver(&[1, 41]), &world, bound, None);
    assert_eq!((out.actions, out.arriving), (vec![Action::Output(PortNo(16))], vec![id(41)]));
    assert_eq!(run(&deliver(&[1, 41]), &world).arriving, []);
}

#[test]
fn a_place_on_another_host_than_the_port_is_bound_to_is_none_any_more() {
    let world = world();
    let there = |_| Some(id(THERE));
    assert!(run_bound(&deliver(&[11]), &world, there, None).sends());
    for moved_to in [HERE, 102] {
        let out = run_bound(&deliver(&[11]), &world, |_| Some(id(moved_to)), None);
        assert_eq!((out.sends(), out.arriving), (false, vec![id(11)]), "{moved_to}");
    }
}

#[test]
fn the_rest_of_a_flood_goes_to_those_alone_that_it_did_not_reach() {
    let world = world();
    let out = run_bound(&deliver(&[1, 2, 11]), &world, |_| None, Some(&[id(11)]));
    assert_eq!(out.actions, [there(KeyKind::Port, 11)]);
}
