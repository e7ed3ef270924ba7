//! What a walk tells of balancing.

use mn_simulation::walk::{BalanceTold, MemberBy, Step};
use mn_testkit::{Sent, named};

use crate::traffic::{Ends, back};
use crate::world::{addr, sends, set_member, web};

fn told(sent: &Sent<'_>) -> Vec<BalanceTold> {
    let told = |step: &Step| match step {
        Step::Balance { told, vip, pool, .. } => {
            assert_eq!((*vip, *pool), (named("203.0.113.2@80"), named("web")));
            Some(*told)
        }
        _ => None,
    };
    sent.walk.steps.iter().filter_map(told).collect()
}

#[test]
fn a_walk_tells_who_has_the_connection_and_why() {
    let mut lab = web();
    let new = told(&lab.send("out > 203.0.113.2 tcp 80"));
    let [BalanceTold::New { from, by: MemberBy::Weight, .. }] = new[..] else { panic!("{new:?}") };
    assert_eq!((mn_packet::from_v6(from.addr), from.port), (addr("203.0.113.2"), 80));
    let (_, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80");
    let to = lab.tables.translations.all[0].to;
    assert_eq!(told(&lab.send("out > 203.0.113.2 tcp 80")), [BalanceTold::Known { from, to }]);
    let seen = Ends::of(&arrived.headers);
    let answer = back(&lab, &arrived, &seen.answer().packet(64));
    assert_eq!(told(&answer), [BalanceTold::Answer { from: to, to: from }]);
    for member in ["10.0.1.5@8080", "10.0.1.6@8080", "10.0.1.7@8080"] {
        set_member(&mut lab, member, false);
    }
    let refused = lab.send("out > 203.0.113.2 tcp 80 sport 7");
    assert_eq!(told(&refused), [BalanceTold::NoMember]);
    assert_eq!(told(&lab.send("out > s1 tcp 80")), []);
}
