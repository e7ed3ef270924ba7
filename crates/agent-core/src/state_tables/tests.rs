use mn_ids::Id;
use uuid::Uuid;

use super::*;

fn id<K: mn_ids::Kind>(number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn place() -> MacPlace {
    MacPlace { bridge: id(1), vlan: None, mac: Mac([2, 0, 0, 0, 0, 1]) }
}

fn mac_row(owner: Owner, revision: u64, port: Option<u128>) -> RowChange {
    RowChange { row: Row::Mac(place(), port.map(id)), owner, revision }
}

fn apply(tables: &mut StateTables, change: &RowChange) -> Vec<Tag> {
    let mut tags = Vec::new();
    tables.apply(change, &mut tags);
    tags
}

#[test]
fn the_learned_entry_with_the_highest_revision_wins_and_then_the_persistent_one() {
    let mut tables = StateTables::default();
    let (a, b) = (Owner::Host(id(10)), Owner::Host(id(11)));
    apply(&mut tables, &mac_row(Owner::Persistent, 9, Some(1)));
    assert_eq!(tables.mac_port(place()), Some(id(1)));
    apply(&mut tables, &mac_row(a, 5, Some(2)));
    assert_eq!(tables.mac_port(place()), Some(id(2)), "learned beats persistent");
    apply(&mut tables, &mac_row(b, 7, Some(3)));
    assert_eq!(tables.mac_port(place()), Some(id(3)), "later beats earlier");
    assert!(tables.lost_mac(place(), id(10)) && !tables.lost_mac(place(), id(11)));
    apply(&mut tables, &mac_row(b, 8, None));
    apply(&mut tables, &mac_row(a, 9, None));
    assert_eq!(tables.mac_port(place()), Some(id(1)));
}

#[test]
fn only_a_change_of_the_value_that_counts_touches_flows() {
    let mut tables = StateTables::default();
    let (a, b) = (Owner::Host(id(10)), Owner::Host(id(11)));
    assert_eq!(apply(&mut tables, &mac_row(a, 5, Some(2))), [place().tag()]);
    assert_eq!(apply(&mut tables, &mac_row(b, 6, Some(2))), [], "the same place");
    assert_eq!(apply(&mut tables, &mac_row(a, 7, None)), [], "another says so too");
    assert_eq!(apply(&mut tables, &mac_row(b, 8, None)), [place().tag()]);
}

#[test]
fn what_was_just_learned_here_wins_until_the_table_shows_it() {
    let mut tables = StateTables::default();
    let (here, there) = (Owner::Host(id(10)), Owner::Host(id(11)));
    let mut tags = Vec::new();
    apply(&mut tables, &mac_row(there, 5, Some(2)));
    assert!(tables.learn_mac(place(), id(7), &mut tags));
    assert!(!tables.learn_mac(place(), id(7), &mut tags), "no news twice");
    assert_eq!(tags, [place().tag()]);
    apply(&mut tables, &mac_row(there, 6, Some(3)));
    assert_eq!(tables.mac_port(place()), Some(id(7)), "our write is still on its way");
    assert_eq!(apply(&mut tables, &mac_row(here, 7, Some(7))), []);
    assert_eq!(apply(&mut tables, &mac_row(there, 8, Some(2))), [place().tag()]);
    assert_eq!(tables.mac_port(place()), Some(id(2)), "it moved after that");
}

#[test]
fn absent_is_told_from_not_loaded() {
    use mn_simulation::{Known, StateView};
    let mut tables = StateTables::default();
    let neighbors = crate::Neighbors::default();
    let translations = crate::NatTable::default();
    let paths = crate::Paths::default();
    let mac = |tables: &StateTables| {
        let (neighbors, translations, paths) = (&neighbors, &translations, &paths);
        let checks = &crate::health::Awaited::default();
        View { tables, neighbors, translations, paths, checks }.mac(id(1), None, place().mac)
    };
    assert_eq!(mac(&tables), Known::Unknown);
    tables.complete(TableName::Mac(id(1)));
    assert_eq!(mac(&tables), Known::Absent);
    apply(&mut tables, &mac_row(Owner::Persistent, 1, Some(4)));
    assert_eq!(mac(&tables), Known::Is(id(4)));
    tables.forget(&[TableName::Mac(id(1))], &mut Vec::new());
    assert_eq!(mac(&tables), Known::Unknown);
}

#[test]
fn a_port_that_moved_is_where_the_latest_activation_put_it() {
    let mut tables = StateTables::default();
    let at = |host, value| Place {
        host: id(host),
        key: TunnelKey::new(mn_flow::KeyKind::Port, value).unwrap(),
    };
    let row = |host, revision, place| RowChange {
        row: Row::Location(id(5), place),
        owner: Owner::Host(id(host)),
        revision,
    };
    apply(&mut tables, &row(1, 10, Some(at(1, 100))));
    let tags = apply(&mut tables, &row(2, 11, Some(at(2, 7))));
    assert_eq!((tags, tables.place(id(5))), (vec![Tag::Location(id(5))], Some(at(2, 7))));
    assert_eq!(apply(&mut tables, &row(1, 12, None)), [], "the old host clears its own");
}
