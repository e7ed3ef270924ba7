//! Changes under traffic: a port that moves, interfaces that vanish and return, a route changed.

use std::time::Duration;

use mn_testbed::{Outcome, wait_for};
use serde_json::json;

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

#[test]
fn a_port_that_moves_to_the_other_host_is_reached_there_and_no_more_where_it_was() -> Outcome {
    let cloud = Cloud::start("port-move")?;
    cloud.assert_reaches(BACK1, &cloud.v4(FRONT0))?;
    // The VM moves with its address and MAC: its interface on hv0 goes, one on hv1 comes.
    let (vm, port) = (&cloud.vms[FRONT0], &cloud.ports[FRONT0]);
    let guest = vm.namespace.name();
    let old = cloud.lab.hosts[0].namespace.clone();
    let new = cloud.lab.hosts[1].namespace.clone();
    cloud.control().unbind(port, &cloud.lab.host_id("hv0")?)?;
    old.ip(&format!("link del {}", vm.interface))?;
    new.ip(&format!("link add moved type veth peer name eth0 netns {guest}"))?;
    vm.namespace.set("ipv6/conf/eth0/accept_dad", "0")?;
    vm.namespace.ip(&format!("link set eth0 address {} up", vm.mac))?;
    vm.address("10.1.1.11/24")?;
    vm.gateway("10.1.1.1")?;
    new.ip("link set moved up")?;
    cloud.control().bind(port, &cloud.lab.host_id("hv1")?, "moved")?;
    cloud.wait_reaches(BACK1, &cloud.v4(FRONT0))?;
    cloud.assert_reaches(FRONT1, &cloud.v4(FRONT0))?;
    cloud.assert_reaches(FRONT0, &cloud.v4(BACK1))
}

#[test]
fn an_interface_that_vanishes_and_returns_with_another_index_carries_traffic_again() -> Outcome {
    let cloud = Cloud::start("interface-returns")?;
    cloud.assert_reaches(BACK1, &cloud.v4(FRONT0))?;
    let vm = &cloud.vms[FRONT0];
    let host = &cloud.lab.hosts[0].namespace;
    let guest = vm.namespace.name();
    host.ip(&format!("link del {}", vm.interface))?;
    cloud.assert_does_not_reach(BACK1, &cloud.v4(FRONT0))?;
    host.ip(&format!("link add {} type veth peer name eth0 netns {guest}", vm.interface))?;
    vm.namespace.ip(&format!("link set eth0 address {} up", vm.mac))?;
    vm.address("10.1.1.11/24")?;
    vm.gateway("10.1.1.1")?;
    host.ip(&format!("link set {} up", vm.interface))?;
    cloud.wait_reaches(BACK1, &cloud.v4(FRONT0))
}

#[test]
fn a_blackhole_route_stops_flowing_traffic_and_its_removal_lets_it_flow() -> Outcome {
    let cloud = Cloud::start("route-change")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(BACK1))?;
    let hole = json!({
        "type": "BlackHole", "srcNetworkAddr": "0.0.0.0", "srcNetworkLength": 0,
        "dstNetworkAddr": cloud.v4(BACK1), "dstNetworkLength": 32, "weight": 0,
    });
    let path = format!("/routers/{}/routes", cloud.router);
    let route = cloud.control().rest().create(&path, &hole)?;
    wait_for("the black hole swallows", Duration::from_secs(2), || {
        Ok(cloud.vms[FRONT0].ping(&cloud.v4(BACK1), 1)?.received == 0)
    })?;
    cloud.assert_does_not_reach(FRONT0, &cloud.v4(BACK1))?;
    cloud.control().rest().delete(&format!("/routes/{route}"))?;
    cloud.wait_reaches(FRONT0, &cloud.v4(BACK1))
}

#[test]
fn a_port_that_is_set_down_carries_nothing_until_it_is_set_up() -> Outcome {
    let cloud = Cloud::start("port-down")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let path = format!("/ports/{}", cloud.ports[FRONT1]);
    cloud.control().change(&path, &json!({ "adminStateUp": false }))?;
    std::thread::sleep(Duration::from_millis(100));
    cloud.assert_does_not_reach(FRONT0, &cloud.v4(FRONT1))?;
    cloud.control().change(&path, &json!({ "adminStateUp": true }))?;
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))
}
