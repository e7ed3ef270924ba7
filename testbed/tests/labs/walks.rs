//! The packet walk beside real packets: what it says of a drop, a connection, its answer, and of
//! the flow in the kernel, with agents and without.

use std::time::Duration;

use mn_testbed::{LabError, Outcome, finish, wait_for};
use serde_json::{Value, json};

use crate::cloud::{BACK0, Cloud, FRONT0, FRONT1};
use crate::connections::{answers, connect, echo, guard};

const PATIENCE: Duration = Duration::from_secs(5);

/// TCP from a VM to a port of another, walked.
fn walk(cloud: &Cloud, from: usize, to: usize, more: &Value) -> Outcome<Value> {
    let mut body = json!({ "fromPort": cloud.ports[from], "srcAddr": cloud.v4(from),
        "dstAddr": cloud.v4(to), "protocol": 6, "srcPort": 40_000, "ttl": 64 });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    let answer = cloud.control().rest().send("POST", "/walks", Some(&body))?;
    if answer.status != 200 {
        return Err(LabError::unexpected("the walk", answer.body));
    }
    Ok(answer.json())
}

/// The steps of a kind.
fn steps<'w>(walk: &'w Value, kind: &str) -> Vec<&'w Value> {
    let all = walk["steps"].as_array().into_iter().flatten();
    all.filter(|step| step["step"] == kind).collect()
}

#[test]
fn a_walk_says_what_becomes_of_real_packets_and_of_their_answers() -> Outcome {
    let mut cloud = Cloud::start("walks")?;
    guard(&cloud)?;
    echo(&cloud.vms[FRONT1], 80)?;
    cloud.wait_reaches(FRONT1, &cloud.v4(FRONT0))?;
    cloud.wait_reaches(FRONT1, &cloud.v4(BACK0))?;
    routed_both_ways(&cloud)?;
    dropped(&cloud)?;
    connected(&cloud)?;
    without_the_agent(&mut cloud)
}

/// From the back to the guarded VM on the other host, and back by the connection that leaves.
fn routed_both_ways(cloud: &Cloud) -> Outcome {
    let there = walk(cloud, BACK0, FRONT1, &json!({ "dstPort": 80, "both": true }))?;
    assert_eq!(there["verdict"]["kind"], "delivered", "{there:#}");
    assert_eq!(there["simulatedBy"]["name"], "hv0");
    let out = &there["verdict"]["deliveries"][0];
    assert_eq!((&out["host"]["name"], &out["packet"]["ttl"]), (&json!("hv1"), &json!(63)));
    assert_eq!(out["tunnel"]["outerSrc"], "10.66.0.11");
    assert_eq!(out["tunnel"]["outerDst"], "10.66.0.12");
    assert_eq!(steps(&there, "route")[0]["chosen"]["dst"], "10.1.1.0/24");
    assert_eq!(steps(&there, "chain").last().expect("a filter")["rule"]["position"], 4);
    let back = &there["answer"];
    assert_eq!(back["verdict"]["kind"], "delivered", "{back:#}");
    assert_eq!(back["enteredAt"]["name"], "hv1");
    assert_eq!(back["packet"]["srcPort"], 80);
    let home = &back["verdict"]["deliveries"][0];
    assert_eq!(home["port"]["id"], cloud.ports[BACK0]);
    assert_eq!(home["tunnel"]["outerSrc"], "10.66.0.12");
    let notes = back["notes"].to_string();
    assert!(notes.contains("leaves a connection"), "{notes}");
    Ok(())
}

/// A port that the filter does not open: the rule is named, nothing answers.
fn dropped(cloud: &Cloud) -> Outcome {
    let walked = walk(cloud, FRONT0, FRONT1, &json!({ "dstPort": 81, "both": true }))?;
    assert_eq!(walked["verdict"]["kind"], "dropped", "{walked:#}");
    assert_eq!(walked["verdict"]["dropCause"], "rule");
    assert_eq!(walked["verdict"]["rule"]["position"], 5);
    assert!(walked["answer"].is_null());
    assert!(walked["notes"].to_string().contains("the packet reaches nobody"), "{walked:#}");
    let line = ["walk", &cloud.ports[FRONT0], &cloud.v4(FRONT1), "--proto", "tcp", "--dport", "81"];
    let told = finish(cloud.control().cli_command(&line)?.env("HOME", "/nonexistent"))?;
    assert!(told.contains("verdict  DROPPED"), "{told}");
    Ok(())
}

/// A connection that is there: the walk knows it, and the flow its packets use.
fn connected(cloud: &Cloud) -> Outcome {
    let stream = connect(&cloud.vms[FRONT0], &cloud.v4(FRONT1), 80)?;
    let mut stream = stream.map_err(LabError::machine("connect"))?;
    assert!(answers(&mut stream));
    let own = stream.local_addr().map_err(LabError::machine("read an address"))?.port();
    // From the side that answers: its host has the connection in the zone of its device.
    let tail = json!({ "srcPort": 80, "dstPort": own, "tcpFlags": ["ack"] });
    wait_for("the flow of the answers is told", PATIENCE, || {
        let back = walk(cloud, FRONT1, FRONT0, &tail)?;
        let notes = back["notes"].to_string();
        assert!(notes.contains("answers in a connection that is tcp-established"), "{notes}");
        assert_eq!(back["verdict"]["kind"], "delivered", "{back:#}");
        Ok(back["flow"]["agrees"] == true && back["flow"]["packets"].as_u64() > Some(0))
    })?;
    assert!(answers(&mut stream), "the walk changed nothing");
    Ok(())
}

/// The agent is dead: the cluster walks, and says what it does not know.
fn without_the_agent(cloud: &mut Cloud) -> Outcome {
    cloud.lab.process("hv0")?.kill();
    wait_for("the cluster walks by itself", PATIENCE * 2, || {
        let walked = walk(cloud, BACK0, FRONT1, &json!({ "dstPort": 80 }));
        let Ok(walked) = walked else { return Ok(false) };
        Ok(walked["simulatedBy"].is_null()
            && walked["notes"].to_string().contains("its agent is away")
            && walked["verdict"]["kind"] == "delivered")
    })
}
