//! A VM that floods its host with new flows, and its neighbour.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mn_testbed::{LabError, Outcome, finish, program, wait_for};
use serde_json::{Value, json};

use crate::asked::ask;
use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

fn start(command: &mut Command) -> Outcome<Child> {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(LabError::machine("start the load tool"))
}

/// Ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(cloud: &Cloud, vm: usize) -> Outcome<Running> {
    let namespace = &cloud.vms[vm].namespace;
    let mut server = namespace.command(&program("load")?);
    server.args(["serve", "--listen", &format!("{}:7000", cloud.v4(vm)), "--nap", "1"]);
    let server = Running(start(&mut server)?);
    let listens = || Ok(namespace.run("ss -Hltn")?.contains(":7000"));
    wait_for("the load tool listens", Duration::from_secs(5), listens)?;
    Ok(server)
}

/// Packets of a port that an agent's limits of packets waiting for a decision have cost.
fn held_back(cloud: &Cloud, host: usize, port: &str) -> Outcome<u64> {
    let told = ask(&cloud.lab.hosts[host], "counters")?;
    let drops = told["drops"].as_array().into_iter().flatten();
    let of_port = drops.filter(|it| it["port"] == port && it["cause"] == "upcall-limit");
    Ok(of_port.filter_map(|it| it["packets"].as_u64()).sum())
}

#[test]
fn a_vm_that_floods_its_host_with_new_flows_costs_its_neighbour_no_packet() -> Outcome {
    let cloud = Cloud::start("floods")?;
    // Rules that read ports: each new pair is a new flow.
    for vm in [FRONT1, BACK1] {
        let chain = cloud.guard(vm)?;
        let ports = json!({ "start": 1, "end": 1 });
        let rule = json!({ "type": "drop", "dlType": 2048, "nwProto": 17, "tpSrc": ports });
        cloud.control().rule(&chain, &rule)?;
    }
    cloud.wait_reaches(BACK0, &cloud.v4(BACK1))?;
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (_sink, _server) = (serve(&cloud, FRONT1)?, serve(&cloud, BACK1)?);
    let mut flood = cloud.vms[FRONT0].namespace.command(&program("load")?);
    flood.args(["flows", "--to", &format!("{}:7000", cloud.v4(FRONT1)), "--rate", "100000"]);
    flood.args(["--from", "10.1.1.64", "--seconds", "20"]);
    let flood = Running(start(&mut flood)?);
    let is_held = || Ok(held_back(&cloud, 0, &cloud.ports[FRONT0])? > 1000);
    wait_for("the flood is held back", Duration::from_secs(10), is_held)?;

    let mut client = cloud.vms[BACK0].namespace.command(&program("load")?);
    client.args(["first", "--to", &format!("{}:7000", cloud.v4(BACK1)), "--count", "200"]);
    let told: Value = serde_json::from_str(&finish(&mut client)?)
        .map_err(|e| LabError::unexpected("a report", e.to_string()))?;
    assert_eq!(told["lost"], 0, "first packets of 200 connections: {told}");
    assert_eq!(held_back(&cloud, 0, &cloud.ports[BACK0])?, 0, "the neighbour is not held back");
    drop(flood);
    cloud.assert_reaches(FRONT0, &cloud.v4(BACK1))
}
