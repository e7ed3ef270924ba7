//! Two VMs on one host.

use crate::lab::{Agent, Dir, Vm, enter_host, is_root};
use mn_datapath::Datapath;

#[test]
fn two_vms_talk_through_flows_made_on_demand() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    let agent = Agent::switch(&datapath, &[&a, &b]);
    let pings = a.namespace.run("ping", "-c5 -i0.05 -W1 10.0.0.2");
    println!("{pings}");
    assert!(pings.contains(" 5 received"), "{pings}");
    println!("{} upcalls", agent.upcalls());
    let counters = datapath.port_counters(a.port).unwrap();
    println!("{counters:?} {:?}", datapath.drops().unwrap());
    datapath.flows(&mut |flow| println!("{flow:?}")).unwrap();
}
