//! Chains: what they stop, and how soon a change of theirs is felt by traffic that flows.

use std::net::TcpListener;
use std::time::Duration;

use mn_testbed::{LabError, Outcome};
use serde_json::json;

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

fn listen(cloud: &Cloud, vm: usize, port: u16) -> Outcome<TcpListener> {
    let bound = cloud.vms[vm].namespace.enter(move || TcpListener::bind(("0.0.0.0", port)))?;
    bound.map_err(LabError::machine(format!("listen on port {port}")))
}

#[test]
fn a_rule_stops_one_port_and_lets_the_next_pass_on_both_hosts() -> Outcome {
    let cloud = Cloud::start("filters")?;
    let chain = cloud.guard(BACK1)?;
    let rule = json!({ "type": "drop", "dlType": 2048, "nwProto": 6, "tpDst": { "start": 8080, "end": 8080 } });
    cloud.control().rule(&chain, &rule)?;
    let _open = (listen(&cloud, BACK1, 8080)?, listen(&cloud, BACK1, 8081)?);
    let to = cloud.v4(BACK1).parse().expect("an address");
    for from in [FRONT0, FRONT1] {
        assert!(
            !cloud.vms[from].connects(to, 8080, Duration::from_secs(1))?,
            "port 8080 from {from}"
        );
        assert!(
            cloud.vms[from].connects(to, 8081, Duration::from_secs(4))?,
            "port 8081 from {from}"
        );
    }
    Ok(())
}

#[test]
fn a_new_rule_stops_flowing_traffic_within_100_ms_of_the_answer_and_its_removal_lets_it_flow()
-> Outcome {
    let cloud = Cloud::start("rule-change")?;
    let chain = cloud.guard(FRONT1)?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (probe, arrivals) = cloud.probe(FRONT0, FRONT1)?;
    std::thread::sleep(Duration::from_millis(300));
    let rule = json!({ "type": "drop", "dlType": 2048, "nwProto": 17 });
    let rule = cloud.control().rule(&chain, &rule)?;
    std::thread::sleep(Duration::from_millis(100));
    // From here on nothing may come: what arrives is counted on a second socket's behalf.
    let (sent, received) = (probe.stop(), arrivals.stop());
    let came = u64::try_from(received.numbers.len()).expect("a count");
    let stopped_for = sent - received.numbers.keys().max().copied().unwrap_or_default() - 1;
    assert!(came >= 200, "{came} of {sent} came before the rule");
    assert!(stopped_for >= 1, "the last datagram, 100 ms after the answer, still came");
    let (probe, arrivals) = cloud.probe(FRONT0, FRONT1)?;
    std::thread::sleep(Duration::from_millis(300));
    cloud.control().rest().delete(&format!("/rules/{rule}"))?;
    std::thread::sleep(Duration::from_millis(400));
    let (sent, received) = (probe.stop(), arrivals.stop());
    let first = received.numbers.keys().min().copied().unwrap_or(sent);
    assert!((250..500).contains(&first), "the first to come was number {first} of {sent}");
    Ok(())
}
