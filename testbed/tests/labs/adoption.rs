//! An agent that finds many flows of the one before it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mn_testbed::{LabError, Namespace, Outcome, wait_for};
use serde_json::{Value, json};

use crate::asked::{ask, number, says};
use crate::cloud::{BACK0, Cloud, FRONT0};

/// Sockets that send; each has a flow with each port of the receiver.
const SOCKETS: u16 = 4;
/// Ports of the receiver whose flows a rule changes while no agent lives.
const CHANGED: std::ops::RangeInclusive<u16> = 20_100..=20_149;

/// Flows: a slice in CI; in a long run a hundred thousand.
fn flows() -> u16 {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    if long { 25_000 } else { 1_000 }
}

#[test]
fn an_agent_decides_anew_about_every_flow_it_finds_and_replaces_those_that_changed() -> Outcome {
    let mut cloud = Cloud::start("many-flows")?;
    let ports = 20_001..=20_000 + flows();
    let wanted = u64::from(SOCKETS) * u64::from(flows());
    let chain = cloud.guard(BACK0)?;
    // So that both ports are read: each pair of them is a flow.
    cloud.control().rule(&chain, &udp("tpDst", 9..=9))?;
    cloud.control().rule(&chain, &udp("tpSrc", 9..=9))?;
    cloud.wait_reaches(FRONT0, &cloud.v4(BACK0))?;
    let host = cloud.lab.hosts[0].clone();
    let sender = &cloud.vms[FRONT0].namespace;
    wait_for("every pair of ports has a flow", Duration::from_secs(60), || {
        send_to_each(sender, &cloud.v4(BACK0), ports.clone())?;
        Ok(says(&host, "status", "flows")? >= wanted)
    })?;
    let (probe, arrivals) = cloud.probe(FRONT0, BACK0)?;
    std::thread::sleep(Duration::from_millis(500));
    cloud.lab.process("hv0")?.kill();
    cloud.control().rule(&chain, &udp("tpDst", CHANGED))?;
    let started = Instant::now();
    cloud.lab.start_agent(0)?;
    let mut last = Value::Null;
    wait_for("every flow was decided about", Duration::from_secs(60), || {
        last = ask(&host, "status")?;
        let decided = number(&last, "adopted") + number(&last, "replaced");
        Ok(decided >= wanted && number(&last, "unverified") == 0)
    })?;
    println!("{:?} after the agent's start: {last}", started.elapsed());
    let changed = u64::from(SOCKETS) * CHANGED.len() as u64;
    let (adopted, replaced) = (number(&last, "adopted"), number(&last, "replaced"));
    // Floods name groups of the agent that made them, so their flows are replaced too.
    assert!((changed..changed + 30).contains(&replaced), "{changed} changed: {last}");
    assert!(adopted >= wanted - changed, "{last}");
    let took = number(&last, "adoption_ms");
    assert!(cfg!(debug_assertions) || took <= 3_000, "{took} ms for {wanted} flows");
    let (sent, received) = (probe.stop(), arrivals.stop());
    assert_eq!((received.lost(sent), received.damaged), (0, 0), "of {sent}");
    Ok(())
}

/// A rule that drops UDP from or to these ports.
fn udp(which: &str, ports: std::ops::RangeInclusive<u16>) -> Value {
    let range = json!({ "start": ports.start(), "end": ports.end() });
    json!({ "type": "drop", "dlType": 2048, "nwProto": 17, which: range })
}

/// A datagram from each socket to each port, as fast as an agent in a debug build can follow.
fn send_to_each(from: &Namespace, to: &str, ports: std::ops::RangeInclusive<u16>) -> Outcome {
    let to = to.to_owned();
    let sent = from.enter(move || {
        for socket in 0..SOCKETS {
            let socket = UdpSocket::bind(("0.0.0.0", 30_001 + socket))?;
            for port in ports.clone() {
                // A refusal of an earlier datagram is no reason to stop.
                let _refused = socket.send_to(b"flow", (to.as_str(), port));
                if port % 64 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok::<(), std::io::Error>(())
    })?;
    sent.map_err(LabError::machine("send to each port"))
}
