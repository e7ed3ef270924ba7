use std::net::Ipv6Addr;

use mn_flow::{Field, PortNo};
use mn_ids::{Id, PortId, RouterId};
use mn_simulation::nat::Way;
use mn_time::Duration;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn key(number: u32) -> FlowKey {
    FlowKey { in_port: PortNo(16), tp_src: number as u16, ..FlowKey::default() }
}

fn mask() -> FlowMask {
    FlowMask::from(Field::InPort) | Field::TpSrc.into()
}

fn port(number: u128) -> PortId {
    Id::from_uuid(Uuid::from_u128(number))
}

fn insert(table: &mut FlowTable, number: u32, tags: &[Tag], now: Instant) -> Cookie {
    let flow = NewFlow {
        key: key(number),
        mask: mask(),
        tags,
        expiry: Expiry::Idle,
        groups: &[],
        follows: None,
    };
    table.insert(&flow, now).0
}

#[test]
fn a_flow_with_the_same_masked_key_takes_the_place_of_the_one_before() {
    let mut table = FlowTable::new(1, 1, 10);
    let first = insert(&mut table, 5, &[Tag::Port(port(1))], Instant::ZERO);
    let other = FlowKey { tp_dst: 99, ..key(5) };
    let flow = NewFlow {
        key: other,
        mask: mask(),
        tags: &[Tag::Port(port(2))],
        expiry: Expiry::Idle,
        groups: &[],
        follows: None,
    };
    let (second, replaced) = table.insert(&flow, Instant::ZERO);
    assert_eq!(replaced.map(|flow| flow.cookie), Some(first));
    assert_ne!(first, second);
    assert_eq!((table.len(), table.tag_count()), (1, 1));
    assert_eq!(table.cookie_of(&key(5), mask()), Some(second));
}

#[test]
fn a_flow_that_is_used_stays_and_an_idle_or_brief_one_leaves() {
    let mut table = FlowTable::new(0, 1, 10);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let used = insert(&mut table, 1, &[], at(0));
    let idle = insert(&mut table, 2, &[], at(0));
    let brief = NewFlow {
        key: key(3),
        mask: mask(),
        tags: &[],
        expiry: Expiry::Brief,
        groups: &[],
        follows: None,
    };
    let (brief, _) = table.insert(&brief, at(0));
    table.note_use(brief, at(2));
    let mut leaving = Vec::new();
    table.expire(at(2), table.places(), &mut leaving);
    assert_eq!(leaving.iter().map(|flow| flow.cookie).collect::<Vec<_>>(), [brief]);
    leaving.clear();
    table.note_use(used, at(40));
    table.expire(at(60), table.places(), &mut leaving);
    assert_eq!(leaving.iter().map(|flow| flow.cookie).collect::<Vec<_>>(), [idle]);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_full_table_gives_up_the_flows_that_were_idle_longest() {
    let mut table = FlowTable::new(0, 1, 8);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let cookies: Vec<Cookie> =
        (0..8).map(|number| insert(&mut table, number, &[], at(0))).collect();
    for (number, cookie) in cookies.iter().enumerate() {
        table.note_use(*cookie, at(10 + (number as u64 * 5) % 8));
    }
    assert!(table.is_full());
    let mut leaving = Vec::new();
    table.evict(2, &mut leaving);
    // 0 was last used at 10 and 5 at 11; all others later.
    let mut gone: Vec<Cookie> = leaving.iter().map(|flow| flow.cookie).collect();
    gone.sort_unstable();
    assert_eq!(gone, [cookies[0], cookies[5]]);
    assert!(!table.is_full());
}

#[test]
fn a_cookie_of_a_flow_that_left_names_none_that_came_after() {
    let mut table = FlowTable::new(3, 7, 8);
    let first = insert(&mut table, 1, &[], Instant::ZERO);
    assert!(table.remove(first).is_some());
    let second = insert(&mut table, 2, &[], Instant::ZERO);
    assert_ne!(first, second);
    assert_eq!(table.remove(first), None);
    assert_eq!(second.worker(), 3);
}

/// One of few tags, so that flows share them; routes nest.
fn tag() -> impl Strategy<Value = Tag> {
    let router: RouterId = Id::from_uuid(Uuid::from_u128(9));
    prop_oneof![
        (0u128..6).prop_map(|number| Tag::Port(port(number))),
        (any::<u8>(), 0u8..=8).prop_map(move |(bits, len)| Tag::Route {
            router,
            addr: Ipv6Addr::from_bits(u128::from(bits) << 120),
            len,
        }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, Vec<Tag>),
    Remove(u32),
    Change(Vec<Tag>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u32..40, prop::collection::vec(tag(), 0..5)).prop_map(|(n, t)| Step::Insert(n, t)),
        1 => (0u32..40).prop_map(Step::Remove),
        1 => prop::collection::vec(tag(), 1..3).prop_map(Step::Change),
    ]
}

proptest! {
    #[test]
    fn a_change_removes_exactly_the_flows_whose_tags_it_touches(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut table = FlowTable::new(0, 1, 1000);
        // The slow twin: every flow with its tags.
        let mut twin: std::collections::BTreeMap<u32, Vec<Tag>> = Default::default();
        for step in steps {
            match step {
                Step::Insert(number, tags) => {
                    insert(&mut table, number, &tags, Instant::ZERO);
                    twin.insert(number, tags);
                }
                Step::Remove(number) => {
                    let cookie = table.cookie_of(&key(number), mask());
                    prop_assert_eq!(cookie.is_some(), twin.remove(&number).is_some());
                    if let Some(cookie) = cookie {
                        table.remove(cookie);
                    }
                }
                Step::Change(tags) => {
                    let mut leaving = Vec::new();
                    table.invalidate(&tags, &mut leaving);
                    let mut gone: Vec<u32> =
                        leaving.iter().map(|flow| u32::from(flow.key.tp_src)).collect();
                    gone.sort_unstable();
                    let touched = |carried: &Vec<Tag>| {
                        carried.iter().any(|read| tags.iter().any(|tag| tag.touches(read)))
                    };
                    let expected: Vec<u32> = twin
                        .iter()
                        .filter(|(_, carried)| touched(carried))
                        .map(|(number, _)| *number)
                        .collect();
                    prop_assert_eq!(&gone, &expected);
                    twin.retain(|number, _| !expected.contains(number));
                }
            }
            prop_assert_eq!(table.len(), twin.len());
        }
        let tags: std::collections::BTreeSet<_> = twin.keys().collect();
        for number in tags {
            prop_assert!(table.cookie_of(&key(*number), mask()).is_some());
        }
    }
}

#[test]
fn a_search_for_idle_flows_goes_on_where_it_ended() {
    let mut table = FlowTable::new(0, 1, 10);
    let cookies: Vec<Cookie> =
        (0..10).map(|number| insert(&mut table, number, &[], Instant::ZERO)).collect();
    let (mut leaving, later) = (Vec::new(), Instant::ZERO + Duration::from_secs(100));
    for expected in [4, 8, 10] {
        table.expire(later, 4, &mut leaving);
        assert_eq!(leaving.len(), expected);
    }
    assert_eq!(leaving.iter().map(|flow| flow.cookie).collect::<Vec<_>>(), cookies);
}

#[test]
fn flows_used_since_they_were_found_idle_stay_when_room_is_made() {
    let mut table = FlowTable::new(0, 1, 64);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let cookies: Vec<Cookie> =
        (0..64).map(|number| insert(&mut table, number, &[], at(u64::from(number)))).collect();
    let mut leaving = Vec::new();
    table.evict(1, &mut leaving);
    // It was found idle together with the first.
    table.note_use(cookies[1], at(100));
    table.evict(5, &mut leaving);
    let gone: Vec<Cookie> = leaving.iter().map(|flow| flow.cookie).collect();
    assert_eq!(gone, [0, 2, 3, 4, 5, 6].map(|number: usize| cookies[number]));
    table.evict(100, &mut leaving);
    assert!(table.is_empty());
}

#[test]
fn a_flow_takes_at_most_300_octets() {
    // What two flows take that have ten tags and share them with nobody else; a routed flow has
    // about as many, and shares them with all flows between the same two VMs. Lists have at most
    // twice the room they need.
    let tags = 10;
    let set = 2 * size_of::<Vec<u32>>() + 2 * size_of::<u32>();
    let links = tags * (2 * size_of::<u32>() + 2 * size_of::<u32>());
    let index = 2 * (size_of::<Slot>() + 1);
    let victim = size_of::<(Instant, Slot)>();
    let flow = size_of::<Option<Flow>>() + 2 * size_of::<Slot>() + 1 + index + victim;
    assert!(flow + (set + links) / 2 <= 300, "{flow} and half of {}", set + links);
    println!("{flow} octets for a flow, {} for a set", set + links);
}

#[test]
fn flows_are_counted_by_the_port_their_packets_come_in_by() {
    let mut table = FlowTable::new(0, 1, 10);
    let first = insert(&mut table, 1, &[Tag::Port(port(1))], Instant::ZERO);
    insert(&mut table, 2, &[], Instant::ZERO);
    insert(&mut table, 2, &[], Instant::ZERO);
    assert_eq!(table.of_port(PortNo(16)), 2, "one took the place of another");
    table.remove(first);
    assert_eq!((table.of_port(PortNo(16)), table.of_port(PortNo(17))), (1, 0));
}

#[test]
fn a_flow_that_tells_of_connections_says_which_way_it_goes_and_what_it_carries() {
    let mut table = FlowTable::new(0, 1, 10);
    let [one, two] = [1, 2].map(|number| NatTag([number; 16]));
    let tags = [Tag::Nat(one), Tag::Port(port(1)), Tag::Nat(two)];
    let (expiry, follows) = (Expiry::Idle, Some(Way::Back));
    let flow = NewFlow { key: key(1), mask: mask(), tags: &tags, expiry, groups: &[], follows };
    let (cookie, _) = table.insert(&flow, Instant::ZERO);
    let mut carried = Vec::new();
    assert_eq!(table.followed(cookie, &mut carried), Some(Way::Back));
    assert_eq!(carried, [one, two]);
    let silent = insert(&mut table, 2, &tags, Instant::ZERO);
    assert_eq!(table.followed(silent, &mut carried), None);
}

#[test]
fn flows_that_are_shortened_leave_soon_though_they_are_used() {
    let mut table = FlowTable::new(0, 1, 10);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let tag = Tag::Nat(NatTag([1; 16]));
    let shortened = insert(&mut table, 1, &[tag], at(0));
    insert(&mut table, 2, &[Tag::Nat(NatTag([2; 16]))], at(0));
    table.shorten(tag, at(10));
    table.note_use(shortened, at(11));
    let mut leaving = Vec::new();
    table.expire(at(11), table.places(), &mut leaving);
    assert_eq!(leaving, []);
    table.expire(at(12), table.places(), &mut leaving);
    assert_eq!(leaving.iter().map(|flow| flow.cookie).collect::<Vec<_>>(), [shortened]);
}
