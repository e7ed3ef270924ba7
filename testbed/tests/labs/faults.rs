//! `kill -9` of each process in the middle of traffic.

use std::time::{Duration, Instant};

use mn_testbed::{Capture, Outcome};

use crate::asked::{ask, number, says};
use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

/// How long agents stay dead: seconds in CI, ten minutes in a long run.
fn dead_for() -> Duration {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    Duration::from_secs(if long { 600 } else { 6 })
}

#[test]
fn while_both_agents_are_dead_no_packet_of_installed_flows_is_lost() -> Outcome {
    let mut cloud = Cloud::start("agents-dead")?;
    for to in [cloud.v4(FRONT1), cloud.v6(FRONT1), cloud.v4(BACK0)] {
        cloud.assert_reaches(FRONT0, &to)?;
    }
    for to in [cloud.v4(FRONT0), cloud.v6(FRONT0)] {
        cloud.assert_reaches(BACK1, &to)?;
    }
    for vm in [FRONT0, FRONT1] {
        cloud.doubt_neighbors(vm)?;
    }
    let between = cloud.probe(FRONT0, FRONT1)?;
    let within = cloud.probe(FRONT0, BACK0)?;
    std::thread::sleep(Duration::from_millis(500));
    let hosts = cloud.lab.hosts.clone();
    let installed =
        [says(&hosts[0], "flows", "installed")?, says(&hosts[1], "flows", "installed")?];
    cloud.lab.process("hv0")?.kill();
    cloud.lab.process("hv1")?.kill();
    let (vm, directory) = (&cloud.vms[FRONT1].namespace, cloud.lab.directory());
    let asked = Capture::start(vm, "eth0", "arp", directory)?;
    let until = Instant::now() + dead_for();
    while Instant::now() < until {
        // A neighbour that nobody uses for long is forgotten, and is asked for of everybody.
        cloud.assert_reaches(FRONT0, &cloud.v6(FRONT1))?;
        std::thread::sleep(Duration::from_secs(1));
    }
    // The sender asked for the other, was answered, and believes what it knew.
    let asked = asked.stop()?;
    let count = |what: &str| asked.iter().filter(|line| line.contains(what)).count();
    let (requests, replies) = (count("Request who-has"), count("Reply"));
    assert!(
        requests >= 2 && replies >= requests,
        "{requests} asked, {replies} answered: {asked:#?}"
    );
    assert_eq!(count("ff:ff:ff:ff:ff:ff"), 0, "none had to ask everybody: {asked:?}");
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    finds_its_router_anew(&cloud)?;
    cloud.lab.start_agent(0)?;
    cloud.lab.start_agent(1)?;
    std::thread::sleep(Duration::from_secs(2));
    // Nothing ages while nobody looks: also what was idle all the time is there.
    for (host, installed) in hosts.iter().zip(installed) {
        let status = ask(host, "status")?;
        let found = number(&status, "adopted") + number(&status, "replaced");
        assert!(found >= installed && installed > 0, "{installed} flows were there: {status}");
        assert_eq!(number(&status, "unverified"), 0, "{status}");
    }
    for (what, (probe, arrivals)) in [("between hosts", between), ("on one host", within)] {
        let (sent, received) = (probe.stop(), arrivals.stop());
        let lost = received.lost(sent);
        assert_eq!(
            (lost, received.damaged),
            (0, 0),
            "{what}: of {sent}; {:?}",
            received.longest_gap
        );
    }
    cloud.wait_reaches(BACK1, &cloud.v4(FRONT0))
}

/// A machine that has forgotten every neighbour finds its router, by both versions of IP, and what is
/// behind it.
fn finds_its_router_anew(cloud: &Cloud) -> Outcome {
    let machine = &cloud.vms[BACK1].namespace;
    for (router, to) in [("10.1.2.1", cloud.v4(FRONT0)), ("fd01:2::1", cloud.v6(FRONT0))] {
        let known = || machine.ip(&format!("neigh show {router} dev eth0"));
        machine.ip("neigh flush dev eth0")?;
        assert_eq!(known()?.trim(), "", "everything is forgotten");
        cloud.assert_reaches(BACK1, &to)?;
        assert!(known()?.contains("lladdr"), "{router}: {}", known()?);
    }
    Ok(())
}

#[test]
fn while_an_agent_is_dead_new_flows_from_the_other_host_to_its_vms_work() -> Outcome {
    let mut cloud = Cloud::start("agent-dead")?;
    // Both ends know each other's MAC; what follows are flows that no agent has seen.
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    cloud.assert_reaches(BACK0, &cloud.v4(FRONT1))?;
    cloud.lab.process("hv1")?.kill();
    std::thread::sleep(Duration::from_millis(1500));
    let (probe, arrivals) = cloud.probe(FRONT0, FRONT1)?;
    let (routed, routed_arrivals) = {
        let address = format!("{}:7001", cloud.v4(FRONT1)).parse().expect("an address");
        let arrivals = mn_testbed::Arrivals::listen(&cloud.vms[FRONT1].namespace, address)?;
        let every = Duration::from_millis(1);
        (mn_testbed::Probe::start(&cloud.vms[BACK0].namespace, address, 200, every)?, arrivals)
    };
    std::thread::sleep(Duration::from_secs(1));
    for (what, probe, arrivals) in
        [("bridged", probe, arrivals), ("routed", routed, routed_arrivals)]
    {
        let (sent, received) = (probe.stop(), arrivals.stop());
        assert_eq!(received.lost(sent), 0, "{what}: of {sent}");
    }
    cloud.lab.start_agent(1)?;
    cloud.wait_reaches(FRONT1, &cloud.v4(BACK0))
}

#[test]
fn without_a_cluster_agents_go_on_also_with_flows_that_are_new_and_find_it_again() -> Outcome {
    let mut cloud = Cloud::start("cluster-dead")?;
    for (from, to) in [(FRONT0, FRONT1), (FRONT0, BACK1)] {
        cloud.assert_reaches(from, &cloud.v4(to))?;
    }
    let running = cloud.probe(FRONT0, FRONT1)?;
    cloud.lab.process("cluster")?.kill();
    std::thread::sleep(Duration::from_secs(2));
    // A new flow between devices that both agents have loaded.
    let (probe, arrivals) = cloud.probe(FRONT0, BACK1)?;
    std::thread::sleep(Duration::from_secs(1));
    let (sent, received) = (probe.stop(), arrivals.stop());
    assert_eq!(received.lost(sent), 0, "of {sent}");
    cloud.lab.start_cluster()?;
    let chain = cloud.guard(FRONT1)?;
    assert!(!chain.is_empty());
    let (sent, received) = {
        let (probe, arrivals) = running;
        (probe.stop(), arrivals.stop())
    };
    assert_eq!(received.lost(sent), 0, "of {sent}");
    // A change reaches the agents again.
    let drop = serde_json::json!({ "type": "drop" });
    cloud.control().rule(&chain, &drop)?;
    mn_testbed::wait_for("the new rule is obeyed", Duration::from_secs(10), || {
        Ok(cloud.vms[FRONT0].ping(&cloud.v4(FRONT1), 1)?.received == 0)
    })
}
