use mn_ids::Id;

use super::*;

use NeighborEffect::{Ask, None, Probe, Silence, Tell, Unanswered};
use NeighborEvent::{Excused, Gone, Heard, PathChanged, Shown, Tick, Used, Wanted};

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn play(events: &[(u64, NeighborEvent)]) -> Vec<NeighborEffect> {
    let mut state = Neighbor::Idle;
    let step = |(seconds, event): &(u64, NeighborEvent)| {
        let effect;
        (state, effect) = state.on(*event, Patience::default(), 0, at(*seconds));
        effect
    };
    events.iter().map(step).collect()
}

#[test]
fn asks_three_times_a_second_apart_and_is_then_quiet_for_twenty() {
    assert_eq!(
        play(&[
            (0, Wanted),
            (0, Wanted),
            (1, Tick),
            (2, Tick),
            (3, Tick),
            (4, Wanted),
            (22, Wanted),
            (23, Wanted)
        ]),
        [Ask, None, Ask, Ask, Silence, None, None, Ask],
    );
}

#[test]
fn a_way_that_changes_is_asked_at_once_besides_the_other_requests_and_ends_a_silence() {
    assert_eq!(
        play(&[
            (0, PathChanged),
            (0, Wanted),
            (0, PathChanged),
            (1, Tick),
            (1, PathChanged),
            (2, Tick),
            (3, Tick),
            (4, Wanted),
            (4, PathChanged),
            (4, Wanted)
        ]),
        [None, Ask, Ask, Ask, Ask, Ask, Silence, None, None, Ask],
    );
}

#[test]
fn an_answer_ends_the_asking_and_the_silence() {
    assert_eq!(play(&[(0, Wanted), (1, Heard), (2, Tick)]), [Ask, Tell, None]);
    let silent = [(0, Wanted), (1, Tick), (2, Tick), (3, Tick), (4, Shown), (4, Wanted)];
    assert_eq!(play(&silent), [Ask, Ask, Ask, Silence, None, Ask]);
}

#[test]
fn one_in_use_is_asked_where_it_was_before_all_are_and_one_that_is_not_is_left_alone() {
    assert_eq!(
        play(&[(0, Heard), (30, Used), (60, Used), (61, Tick), (62, Tick), (62, Heard)]),
        [Tell, None, Probe, Ask, Ask, Tell],
    );
    assert_eq!(play(&[(0, Heard), (59, Tick), (60, Tick), (120, Tick)]), [Tell, None, None, None]);
}

#[test]
fn one_that_other_hosts_hear_is_not_asked_by_this_one() {
    let told = [(0, Used), (50, Shown), (100, Used), (105, Shown), (160, Used), (170, Used)];
    assert_eq!(play(&told), [None, None, None, None, None, Probe]);
}

#[test]
fn the_table_is_told_often_enough_for_the_others_not_to_doubt_and_no_more() {
    let heard: Vec<_> = (0..=90).map(|second| (second, Heard)).collect();
    let told = play(&heard);
    let told: Vec<_> = (0..=90).filter(|second| told[*second] == Tell).collect();
    assert_eq!(told, [0, 45, 90]);
}

#[test]
fn one_that_does_not_answer_and_would_be_heard_is_unreachable_for_twenty_seconds() {
    let probes = [(0, Used), (60, Used), (61, Tick), (62, Tick), (63, Tick), (63, Gone)];
    let (lost, last) = (Unanswered { last: false }, Unanswered { last: true });
    let after = [(63, Used), (82, Wanted), (83, Wanted)];
    assert_eq!(
        play(&[&probes[..], &after].concat()),
        [None, Probe, Ask, Ask, lost, Silence, None, None, Ask],
    );
    // Where another agent would have heard it, that agent is given time to be found dead.
    let doubt = [(64, Tick), (98, Tick), (99, Tick), (100, Tick), (100, Gone)];
    assert_eq!(
        play(&[&probes[..5], &doubt].concat()),
        [None, Probe, Ask, Ask, lost, None, None, Ask, last, Silence],
    );
    let excused = [(63, Excused), (64, Tick), (100, Used), (123, Used)];
    assert_eq!(
        play(&[&probes[..5], &excused].concat()),
        [None, Probe, Ask, Ask, lost, None, None, None, Probe],
    );
}

#[test]
fn a_silent_neighbor_is_unreachable_for_twenty_seconds_and_nothing_is_kept_of_it_after() {
    let neighbors = Neighbors::default();
    let (router, port) = (Id::random(), Id::random());
    let addr = ScopedAddr::on(port, [10, 0, 0, 9].into());
    neighbors.on(router, port, addr, Wanted, at(0));
    for second in 1..=3 {
        neighbors.tick(at(second));
    }
    assert!(neighbors.is_silent(router, addr, at(4)));
    assert!(!neighbors.is_silent(router, addr, at(23)));
    neighbors.tick(at(23));
    assert!(neighbors.lock().states.is_empty());
}

#[test]
fn of_two_workers_that_want_the_same_neighbor_one_asks() {
    let neighbors = Neighbors::default();
    let (router, port) = (Id::random(), Id::random());
    let addr = ScopedAddr::on(port, [10, 0, 0, 9].into());
    let mut sent = 0;
    for millisecond in (0..3000).step_by(50) {
        let now = Instant::ZERO + Duration::from_millis(millisecond);
        for _worker in 0..2 {
            let wanted = neighbors.on(router, port, addr, Wanted, now);
            let due = neighbors.tick(now).into_iter().map(|(.., effect)| effect);
            sent += due.chain([wanted]).filter(|effect| *effect == Ask).count();
        }
    }
    assert_eq!(sent, 3);
}

#[test]
fn a_link_local_address_is_asked_for_on_each_port_by_itself() {
    let neighbors = Neighbors::default();
    let router = Id::random();
    let ports = [Id::random(), Id::random()];
    for port in ports {
        let addr = ScopedAddr::on(port, "fe80::1".parse().unwrap());
        assert_eq!(neighbors.on(router, port, addr, Wanted, at(0)), Ask);
    }
}

#[test]
fn hosts_come_to_doubt_at_different_times_within_a_fifth_more() {
    let doubts = |host: u128| {
        let host = Id::from_uuid(uuid::Uuid::from_u128(host));
        let neighbors = Neighbors::new(Patience::default(), host);
        let (router, port) = (Id::from_uuid(uuid::Uuid::nil()), Id::random());
        let addr = ScopedAddr::on(port, [10, 0, 0, 9].into());
        let used = |second| neighbors.on(router, port, addr, Used, at(second));
        (0..200).find(|second| used(*second) == Probe).unwrap()
    };
    let times: std::collections::BTreeSet<_> =
        (1..50).map(|n| doubts(n * 0x1234_5678_9abc_def0_1234_5678_9abc)).collect();
    assert!(times.len() > 5 && times.iter().all(|time| (60..=72).contains(time)), "{times:?}");
}
