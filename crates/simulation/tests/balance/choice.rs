//! Whom new connections go to.

use mn_simulation::nat::NatOrigin;
use mn_topology::Health;

use crate::world::{WEB, addr, converses, judge, sends, set_member, shares, world};

fn sticky() -> String {
    WEB.replace("vip 203.0.113.2@80", "vip 203.0.113.2@80 sticky\n vip 203.0.113.3@80 sticky")
        .replace("pool web lb", "pool web lb monitored")
}

#[test]
fn all_connections_of_a_client_go_to_one_member() {
    let mut lab = world("", "", &sticky());
    let first = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000").dst;
    let shares_of_one = shares(&mut lab, "out > 203.0.113.2 tcp 80", 50);
    assert_eq!(shares_of_one.keys().copied().collect::<Vec<_>>(), [first]);
    let clients = |lab: &mn_testkit::Lab| {
        let all = lab.tables.translations.all.iter();
        all.filter(|it| matches!(it.by, NatOrigin::Client { .. })).count()
    };
    assert_eq!(clients(&lab), 1);
    // Each virtual address ties clients by itself.
    converses(&mut lab, "out > 203.0.113.3 tcp 80 sport 7000");
    assert_eq!(clients(&lab), 2);
}

#[test]
fn a_client_that_sends_from_port_0_too_keeps_its_connections_and_its_member() {
    let pool = "
        pool dns lb udp
          vip 203.0.113.2@53 sticky
          vip 203.0.113.2@54 sticky
          member 10.0.1.5@5353
          member 10.0.1.6@5353
          member 10.0.1.7@5353
    ";
    let other = converses(&mut world("", "", pool), "out > 203.0.113.2 udp 53 sport 0").dst;
    let mut lab = world("", "", pool);
    // Were the client not remembered, it would be the other's that comes back.
    set_member(&mut lab, &format!("{other}@5353"), false);
    let first = converses(&mut lab, "out > 203.0.113.2 udp 53 sport 5000").dst;
    set_member(&mut lab, &format!("{other}@5353"), true);
    assert_ne!(first, other);
    for sport in [0, 53, 54, 5001] {
        let packet = format!("out > 203.0.113.2 udp 53 sport {sport}");
        assert_eq!(converses(&mut lab, &packet).dst, first);
        assert_eq!(converses(&mut lab, &packet).dst, first, "its own connection is there still");
    }
    // One of each port, and the client.
    assert_eq!(lab.tables.translations.all.len(), 6);
    converses(&mut lab, "out > 203.0.113.2 udp 54 sport 6000");
    assert_eq!(lab.tables.translations.all.len(), 8, "each virtual address has its own");
}

#[test]
fn a_client_stays_when_members_come_and_moves_when_its_own_goes() {
    let mut lab = world("", "", &sticky());
    set_member(&mut lab, "10.0.1.7@8080", false);
    let first = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5000").dst;
    set_member(&mut lab, "10.0.1.7@8080", true);
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5001").dst, first);
    // Drained it keeps the connections and gets no new ones, not of its clients either.
    let own = format!("{first}@8080");
    set_member(&mut lab, &own, false);
    let second = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5002").dst;
    assert_ne!(second, first);
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5001").dst, first);
    // From then on the client is the other's, also when the first is back.
    set_member(&mut lab, &own, true);
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5003").dst, second);
    judge(&mut lab, &format!("{second}@8080"), Some(Health::Inactive));
    let third = converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5004").dst;
    assert_ne!(third, second);
    judge(&mut lab, &format!("{second}@8080"), Some(Health::Active));
    assert_eq!(converses(&mut lab, "out > 203.0.113.2 tcp 80 sport 5005").dst, third);
}

#[test]
fn the_member_with_the_fewest_connections_for_its_weight_gets_the_next() {
    let pool = WEB.replace("pool web lb", "pool web lb least");
    let mut lab = world("", "", &pool);
    let shares_of_30 = shares(&mut lab, "out > 203.0.113.2 tcp 80", 30);
    assert!(shares_of_30.values().all(|share| *share == 10), "{shares_of_30:?}");
    let weighed = pool.replace("10.0.1.5@8080", "10.0.1.5@8080 weight 4");
    let shares_of_60 = shares(&mut world("", "", &weighed), "out > 203.0.113.2 tcp 80", 60);
    assert_eq!(shares_of_60[&addr("10.0.1.5")], 40);
    // Whoever lost some gets the next ones.
    let before = lab.tables.translations.all.len();
    lab.tables.translations.all.retain(|it| it.to.addr != mn_packet::to_v6(addr("10.0.1.6")));
    assert!(lab.tables.translations.all.len() < before);
    let next = shares(&mut lab, "out2 > 203.0.113.2 tcp 80", 10);
    assert_eq!(next.into_iter().collect::<Vec<_>>(), [(addr("10.0.1.6"), 10)]);
}

#[test]
fn a_hash_sends_a_client_s_port_to_the_same_member_on_every_host_and_moves_few() {
    let pool = WEB.replace("pool web lb", "pool web lb hash");
    let choices = |lab: &mut mn_testkit::Lab| -> Vec<_> {
        let chosen = |port: u16| {
            let sent = lab.send(&format!("out > 203.0.113.2 tcp 80 sport {}", 1024 + port));
            mn_packet::from_v6(crate::traffic::only(&sent).headers.nw_dst)
        };
        (0..300).map(chosen).collect()
    };
    let (mut one, mut other) = (world("", "", &pool), world("", "", &pool));
    let before = choices(&mut one);
    assert_eq!(before, choices(&mut other));
    set_member(&mut one, "10.0.1.7@8080", false);
    let after = choices(&mut one);
    let gone = addr("10.0.1.7");
    let moved = before.iter().zip(&after).filter(|(was, is)| was != is && **was != gone).count();
    assert!(before.contains(&gone) && !after.contains(&gone));
    // By the remainder of a hash half of the other two hundred would move.
    assert!(moved < 20, "{moved} of 300 moved");
    let (_, at) = sends(&mut one, "out > 203.0.113.2 tcp 80 sport 1024");
    assert_eq!(mn_packet::from_v6(at.headers.nw_dst), after[0]);
}
