//! A walk as people read it.

use serde_json::json;

use super::*;

fn id(n: u128) -> String {
    uuid::Uuid::from_u128(n).to_string()
}

fn walk(value: serde_json::Value) -> Walk {
    serde_json::from_value(value).expect("a walk as the API has it")
}

fn routed() -> Walk {
    let router = json!({"kind": "router", "id": id(1), "name": "edge"});
    let bridge = json!({"kind": "bridge", "id": id(2), "name": "blue"});
    let port = |n| json!({"kind": "port", "id": id(n), "name": null});
    let before = json!({"srcMac": "02:00:00:00:00:01", "dstMac": "02:00:00:00:00:02", "etherType": 2048,
        "srcAddr": "10.0.0.5", "dstAddr": "10.0.1.5", "protocol": 6, "ttl": 64, "srcPort": 1000, "dstPort": 80});
    let mut after = before.clone();
    after["ttl"] = json!(63);
    after["dstMac"] = json!("02:00:00:00:00:09");
    let route = |n, dst: &str| {
        json!({"id": id(n), "src": "0.0.0.0/0", "dst": dst, "type": "Normal",
        "port": port(4), "gateway": null, "weight": 0})
    };
    let host = json!({"kind": "host", "id": id(7), "name": "hv1"});
    let tunnel = json!({"key": 1010, "outerSrc": "192.0.2.1", "outerDst": "192.0.2.2"});
    walk(json!({
        "simulatedBy": {"kind": "host", "id": id(6), "name": "hv0"}, "revision": 17, "packet": before,
        "notes": [],
        "steps": [
            {"step": "enter", "port": port(3), "device": bridge},
            {"step": "chain", "chain": {"kind": "chain", "id": id(8), "name": "in"}, "result": "accept",
             "rule": {"id": id(9), "chain": null, "position": 2, "type": "accept"}},
            {"step": "route", "router": router, "chosen": route(10, "10.0.1.0/24"),
             "lost": [{"route": route(11, "10.0.0.0/8"), "reason": "shorter prefix"},
                      {"route": route(12, "0.0.0.0/0"), "reason": "shorter prefix"}]},
            {"step": "rewritten", "before": before, "after": after},
            {"step": "tunnel", "host": host, "tunnel": tunnel},
            {"step": "deliver", "port": port(5), "host": host, "interfaceName": "tap0"},
        ],
        "verdict": {"kind": "delivered", "reason": null, "deliveries": [
            {"port": port(5), "host": host, "interfaceName": "tap0", "tunnel": tunnel, "packet": after}]},
        "mask": ["in_port", "nw_dst/24"], "actions": ["dec_ttl", "tunnel(1, 1010)"],
        "flow": {"cookie": 255, "actions": ["dec_ttl"], "packets": 12, "bytes": 1200, "idleMs": 5,
                 "agrees": true, "difference": null},
    }))
}

#[test]
fn a_walk_reads_from_top_to_bottom_with_the_routes_that_lost() {
    let told = told(&routed(), Paint::Plain);
    let port = |n| format!("port {}", id(n));
    let want = format!(
        "\
02:00:00:00:00:01 > 02:00:00:00:00:02 10.0.0.5 > 10.0.1.5 tcp 1000 > 80 ttl 64
simulated by host hv0, topology at revision 17
  1  enter    bridge blue  by {}
  2  chain    chain in     accept: rule 2 (accept, {})
  3  route    router edge  0.0.0.0/0 -> 10.0.1.0/24 normal {} weight 0
              ├ lost (shorter prefix): 0.0.0.0/0 -> 10.0.0.0/8 normal {} weight 0
              └ lost (shorter prefix): 0.0.0.0/0 -> 0.0.0.0/0 normal {} weight 0
  4  rewrite               02:00:00:00:00:01 > 02:00:00:00:00:02 => 02:00:00:00:00:01 > 02:00:00:00:00:09; ttl 64 => ttl 63
  5  tunnel   host hv1     key 1010 (0x3f2), 192.0.2.1 > 192.0.2.2
  6  deliver  host hv1     {} on tap0
verdict  DELIVERED
         to {} on host hv1 (tap0), key 1010 (0x3f2), 192.0.2.1 > 192.0.2.2: 02:00:00:00:00:01 > 02:00:00:00:00:09 10.0.0.5 > 10.0.1.5 tcp 1000 > 80 ttl 63
reads    in_port nw_dst/24
actions  dec_ttl, tunnel(1, 1010)
flow     cookie 0xff: 12 packets, 1200 octets, idle 5 ms; agrees with the walk
         dec_ttl",
        port(3),
        id(9),
        port(4),
        port(4),
        port(4),
        port(5),
        port(5),
    );
    assert_eq!(told, want);
}

#[test]
fn a_drop_says_why_and_by_which_rule_and_stands_out() {
    let rule = json!({"id": id(9), "chain": {"kind": "chain", "id": id(8), "name": "in"}, "position": 1,
        "type": "drop"});
    let host = json!({"kind": "host", "id": id(6), "name": "hv0"});
    let dropped = walk(json!({
        "packet": {"etherType": 2054}, "simulatedBy": host, "enteredAt": host,
        "steps": [{"step": "drop", "cause": "rule", "reason": "a rule drops it", "rule": rule}],
        "verdict": {"kind": "dropped", "reason": "a rule drops it", "dropCause": "rule", "rule": rule},
    }));
    let plain = told(&dropped, Paint::Plain);
    assert!(
        plain.contains("verdict  DROPPED: a rule drops it [rule], rule 1 of chain in"),
        "{plain}"
    );
    assert!(plain.contains("flow     none is installed for such packets"), "{plain}");
    assert!(!plain.contains('\x1b'), "no colour unless asked for");
    let coloured = told(&dropped, Paint::Colour);
    assert!(coloured.contains("\x1b[31mverdict  DROPPED"), "{coloured}");
}

#[test]
fn a_flow_that_does_something_else_is_shouted_about() {
    let mut walk = routed();
    if let Some(flow) = &mut walk.flow {
        flow.agrees = false;
        flow.difference = Some("it drops".to_owned());
    }
    let told = told(&walk, Paint::Plain);
    assert!(told.contains("DIFFERS from the walk: it drops"), "{told}");
}

#[test]
fn whoever_simulated_without_the_hosts_state_says_so() {
    let tunnel = json!({"step": "tunnel", "tunnel": {"key": 2}, "host": null});
    let walk = walk(
        json!({"simulatedBy": null, "notes": ["without this host's state"], "steps": [tunnel]}),
    );
    let told = told(&walk, Paint::Plain);
    assert!(told.contains("simulated by the cluster"), "{told}");
    assert!(told.contains("note: without this host's state"), "{told}");
    assert!(told.contains("key 2 (0x2)\n") && !told.contains('?'), "{told}");
}

#[test]
fn the_answer_is_told_below_and_another_hosts_flows_are_not_guessed() {
    let there = json!({"kind": "host", "id": id(7), "name": "hv1"});
    let mut back = routed();
    back.entered_at = serde_json::from_value(there).unwrap();
    back.notes = vec!["the packet before leaves a connection".to_owned()];
    back.flow = None;
    back.actions.clear();
    let mut walk = routed();
    walk.answer = Some(mn_api_types::walk::AnswerWalk(Box::new(back)));
    let told = told(&walk, Paint::Plain);
    let (first, second) = told.split_once("\n\nthe answer:\n").expect("both ways");
    assert!(first.contains("agrees with the walk"), "{first}");
    assert!(second.contains("note: the packet before leaves a connection"), "{second}");
    assert!(second.ends_with("flow     not looked at: such packets enter on host hv1"), "{second}");
}
