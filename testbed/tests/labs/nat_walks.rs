//! Walks through translations say what becomes of real packets, and of their answers.

use mn_testbed::{LabError, Outcome, finish};
use serde_json::{Value, json};

use crate::street::{FAR, FLOATING, SHARED, Street};
use crate::talk::{Server, addr, comes_back, dial};

/// TCP from a machine inside to port 7000 of the one beyond, and back.
fn walk(street: &Street, vm: usize, version: usize, source: u16) -> Outcome<Value> {
    let body = json!({ "fromPort": street.ports[vm], "srcAddr": street.own(vm)[version],
        "dstAddr": FAR[version], "protocol": 6, "srcPort": source, "dstPort": 7000, "both": true });
    let answer = street.control().rest().send("POST", "/walks", Some(&body))?;
    if answer.status != 200 {
        return Err(LabError::unexpected("the walk", answer.body));
    }
    Ok(answer.json())
}

fn nat_steps(walk: &Value) -> Vec<&Value> {
    let steps = walk["steps"].as_array().into_iter().flatten();
    steps.filter(|step| step["step"] == "nat").collect()
}

/// What left, and what came home: both translated, delivered, and as real packets were.
fn assert_both_ways(walk: &Value, public: &str, own: &str) {
    assert_eq!(walk["verdict"]["kind"], "delivered", "{walk:#}");
    let out = &walk["verdict"]["deliveries"][0]["packet"];
    assert_eq!(out["srcAddr"], public, "{walk:#}");
    assert!(!nat_steps(walk).is_empty(), "{walk:#}");
    let back = &walk["answer"];
    assert_eq!(back["verdict"]["kind"], "delivered", "{back:#}");
    assert_eq!(back["packet"]["dstAddr"], public, "{back:#}");
    let home = &back["verdict"]["deliveries"][0]["packet"];
    assert_eq!(home["dstAddr"], own, "{back:#}");
}

#[test]
fn a_walk_through_translations_goes_where_packets_go_and_back() -> Outcome {
    let street = Street::start("nat-walks")?;
    street.share_one_address()?;
    let server = Server::start(&street.far, 7000)?;
    for version in [0, 1] {
        street.float(FLOATING[version], 1)?;
        for vm in [0, 1] {
            let (far, own) = (FAR[version], street.own(vm)[version].clone());
            street.wait_reaches(vm, far)?;
            let public = [SHARED[version], FLOATING[version]][vm];
            // Before there is a connection, and leaving none.
            let before = walk(&street, vm, version, 40_000)?;
            assert_both_ways(&before, public, &own);
            let mut stream = dial(&street.vms[vm].namespace, far, 7000)?;
            assert!(comes_back(&mut stream, 1000));
            let local = stream.local_addr().map_err(LabError::machine("read an address"))?;
            let seen = server.peers().into_iter().rev().find(|peer| peer.ip() == addr(public));
            let seen = seen.expect("the server saw the public address");
            // Of a connection that is there: the very port that the server sees.
            let during = walk(&street, vm, version, local.port())?;
            assert_both_ways(&during, public, &own);
            let told = &during["verdict"]["deliveries"][0]["packet"]["srcPort"];
            assert_eq!(told, seen.port(), "{during:#}");
            let ports = (local.port().to_string(), street.ports[vm].clone());
            let line = [
                "walk", &ports.1, far, "--proto", "tcp", "--sport", &ports.0, "--dport", "7000",
                "--both",
            ];
            let text = finish(street.control().cli_command(&line)?.env("HOME", "/nonexistent"))?;
            assert!(
                text.matches("verdict  DELIVERED").count() == 2 && text.contains(public),
                "{text}"
            );
            assert!(comes_back(&mut stream, 1000), "the walks changed nothing");
        }
    }
    Ok(())
}
