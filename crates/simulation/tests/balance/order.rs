//! Where in a router's order balancing is: filters apply, other translations go together with it.

use crate::traffic::{Ends, back, only};
use crate::world::{WEB, addr, converses, sends, web, world};

#[test]
fn the_router_s_filters_see_what_clients_see_and_what_members_get() {
    // Inbound: before balancing. The original let it past all filters (agent-facts §16).
    let lab = world("drop tcp dport 80 from 198.51.100.8/32", "", WEB);
    lab.send("out2 > 203.0.113.2 tcp 80").drops_by("pre", 0);
    assert_eq!(only(&lab.send("out > 203.0.113.2 tcp 80")).headers.tp_dst, 8080);
    // Outbound: after it, where the destination is the member and counts as translated.
    let lab = world("", "drop rewritten tcp dport 8080 from 198.51.100.8/32", WEB);
    lab.send("out2 > 203.0.113.2 tcp 80").drops_by("post", 0);
    assert_eq!(only(&lab.send("out > 203.0.113.2 tcp 80")).headers.tp_dst, 8080);
    // Of an answer the outbound filter sees the virtual address.
    let mut lab = world("", "drop from 203.0.113.2/32", WEB);
    let (_, arrived) = sends(&mut lab, "out > 203.0.113.2 tcp 80");
    let seen = Ends::of(&arrived.headers);
    back(&lab, &arrived, &seen.answer().packet(64)).drops_by("post", 0);
    let mut lab = world("", "drop from 10.0.1.0/24", WEB);
    converses(&mut lab, "out > 203.0.113.2 tcp 80");
}

#[test]
fn a_floating_address_may_sit_on_a_virtual_address() {
    let (pre, post) = ("dnat 203.0.113.2 to 192.0.2.7/32", "snat 192.0.2.7 from 203.0.113.2/32");
    let mut lab = world(pre, post, WEB);
    for port in 0..10 {
        let seen = converses(&mut lab, &format!("out > 192.0.2.7 tcp 80 sport {}", 2000 + port));
        assert_eq!((seen.src, seen.dst_port), (addr("198.51.100.9"), 8080));
    }
}

#[test]
fn balanced_connections_may_be_masqueraded() {
    // Members that know no way back to clients but through the router.
    let (pre, post) = (
        "rev-snat to 10.0.1.1/32",
        "snat 10.0.1.1@1024-65535 rewritten out-port edge.servers tcp unfragmented",
    );
    let mut lab = world(pre, post, WEB);
    for port in 0..10 {
        let seen = converses(&mut lab, &format!("out > 203.0.113.2 tcp 80 sport {}", 2000 + port));
        assert_eq!(seen.src, addr("10.0.1.1"));
    }
}

#[test]
fn a_rule_that_undoes_translations_leaves_those_of_the_load_balancer_alone() {
    let mut lab = world("rev-snat\n rev-dnat", "rev-dnat", WEB);
    converses(&mut lab, "out > 203.0.113.2 tcp 80");
}

#[test]
fn fragments_without_ports_are_not_balanced() {
    let lab = web();
    lab.send("out > 203.0.113.2 tcp 80 later").drops(mn_flow::DropCause::NoRoute);
}
