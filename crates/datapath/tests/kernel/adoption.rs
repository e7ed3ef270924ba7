//! Agents that die and agents that come after.

use std::path::Path;
use std::sync::Arc;

use mn_datapath::ebpf::{Ebpf, Options, remove_datapath};
use mn_datapath::{Datapath, DatapathError, Delivery};
use mn_flow::{DropCause, KeyKind, TunnelKey};

use crate::lab::{Agent, Dir, Vm, enter_host, is_root, run, within};

#[test]
fn flows_go_on_without_an_agent_and_the_next_one_takes_them_over() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    let (key, ports) = (
        TunnelKey::new(KeyKind::Group, 7).unwrap(),
        Delivery::Ports((16..80).map(mn_flow::PortNo).collect()),
    );
    let datapath = dir.open();
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    datapath.set_key(key, Some(&ports)).unwrap();
    let agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"));
    let ping = a.namespace.start("ping", "-c200 -i0.01 -W1 10.0.0.2");
    drop(agent);
    let before = flows(&datapath);
    drop(datapath);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    // A new flow waits for an agent that is not there.
    b.namespace.run("ip", "link add dummy0 type ifb");
    a.namespace.run("ip", "neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0");
    assert!(!a.pings("10.0.0.77"));
    let datapath = dir.open();
    assert_eq!(flows(&datapath), before, "flows are adopted with cookies and keys");
    assert_eq!(datapath.keys().unwrap(), [(key, ports)]);
    assert_eq!(datapath.attached().unwrap(), [(a.port, a.interface), (b.port, b.interface)]);
    let down = datapath.drops().unwrap();
    assert!(down.iter().any(|it| (it.0, it.1) == (a.port, DropCause::AgentDown)), "{down:?}");
    let pings = ping.output();
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    let _agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(b.pings("10.0.0.1"));
}

#[test]
fn packets_that_waited_for_a_dead_agent_are_discarded_and_counted() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    let datapath = dir.open();
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    a.namespace.run("ip", &format!("neigh add 10.0.0.2 lladdr {} dev eth0", b.mac));
    let send = |count: usize| {
        within(&a.namespace, || {
            let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
            for _ in 0..count {
                socket.send_to(b"waits", "10.0.0.2:7000").unwrap();
            }
        });
    };
    // Nobody takes them, and whoever should have is dead before it does.
    send(5);
    drop(datapath);
    std::thread::sleep(std::time::Duration::from_millis(250));
    let datapath = dir.open();
    let counted = |datapath: &Ebpf| {
        let drops = datapath.drops().unwrap();
        let down = drops.iter().filter(|it| (it.0, it.1) == (a.port, DropCause::AgentDown));
        down.map(|it| it.2).sum::<u64>()
    };
    let before = counted(&datapath);
    let mut upcalls = datapath.upcalls(0).unwrap();
    // What comes now is for the new agent.
    send(3);
    let mut taken = 0;
    for _ in 0..10 {
        let mine = &mut |upcall: mn_datapath::Upcall<'_>| {
            taken += usize::from(upcall.key.tp_dst == 7000);
        };
        upcalls.poll(64, std::time::Duration::from_millis(20), mine).unwrap();
    }
    assert_eq!(taken, 3);
    assert!(counted(&datapath) >= before + 5, "{before} before, {} now", counted(&datapath));
}

/// Cookies and keys, sorted.
fn flows(datapath: &Ebpf) -> Vec<String> {
    let mut out = Vec::new();
    datapath.flows(&mut |flow| out.push(format!("{:?}", flow.spec))).unwrap();
    out.sort();
    out
}

#[test]
fn many_flows_and_masks_come_back() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    let mut specs = crate::many::specs(9_000, 40);
    for spec in &specs {
        datapath.install(spec).unwrap();
    }
    for spec in specs.drain(3_000..6_000) {
        assert!(datapath.remove(&spec).unwrap().is_some());
    }
    assert_eq!(datapath.flows_len(), specs.len());
    drop(datapath);
    let datapath = dir.open();
    assert_eq!(datapath.flows_len(), specs.len());
    for spec in &specs {
        let flow = datapath.flow(&spec.key, spec.mask).unwrap().unwrap();
        assert_eq!(flow.spec, *spec);
    }
    for spec in &specs {
        assert!(datapath.remove(spec).unwrap().is_some());
    }
    assert_eq!(flows(&datapath), Vec::<String>::new());
}

#[test]
fn flows_that_come_and_go_take_no_more_room_than_those_there_at_once() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    // 200,000 flows through a table for 16,384, 4,000 at a time.
    for round in 0..50 {
        let specs = crate::many::specs_from(round * 4_000, 4_000, 3);
        for spec in &specs {
            datapath.install(spec).unwrap();
        }
        for spec in &specs {
            assert!(datapath.remove(spec).unwrap().is_some());
        }
    }
    assert_eq!(datapath.flows_len(), 0);
}

#[test]
fn a_table_takes_as_many_flows_as_it_says_whatever_their_hashes() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    // The fullest an index gets: four a bucket of seven.
    let most = 256;
    let options = Options { flows_max: most as usize, ..dir.options() };
    let datapath = Ebpf::open(&options).unwrap();
    for round in 0..300 {
        let specs = crate::many::specs_from(round * most, most, 3);
        for spec in &specs {
            datapath.install(spec).unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        let over = crate::many::spec(u32::MAX, 0);
        assert!(matches!(datapath.install(&over), Err(DatapathError::Full { .. })));
        for spec in &specs {
            assert!(datapath.flow(&spec.key, spec.mask).unwrap().is_some(), "a flow was lost");
            assert!(datapath.remove(spec).unwrap().is_some());
        }
    }
}

#[test]
fn without_tcx_filters_do_the_same_and_go_on_and_go_away() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let open = || {
        let options = Options { tcx: false, ..dir.options() };
        let datapath = Arc::new(Ebpf::open(&options).unwrap());
        datapath.heartbeat(crate::lab::now()).unwrap();
        datapath
    };
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    let datapath = open();
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    drop(Agent::switch(&datapath, &[&a, &b]));
    let agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"));
    drop(agent);
    drop(datapath);
    assert!(a.pings("10.0.0.2"), "no agent, but flows");
    let datapath = open();
    assert!(a.pings("10.0.0.2"), "the next agent's programs");
    a.attach(&*datapath);
    let filters = run("tc", "filter show dev vm1 ingress");
    assert_eq!(filters.matches(" handle ").count(), 1, "{filters}");
    drop(datapath);
    remove_datapath(dir.path()).unwrap();
    run("ip", "addr add 10.0.0.254/24 dev vm1");
    assert!(a.pings("10.0.0.254"), "nothing is attached");
}

#[test]
fn flows_can_be_removed_while_they_are_listed() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    for spec in crate::many::specs(5_000, 2) {
        datapath.install(&spec).unwrap();
    }
    let mut removed = 0;
    let each = &mut |flow: mn_datapath::InstalledFlow| {
        removed += usize::from(datapath.remove(&flow.spec).unwrap().is_some());
    };
    datapath.flows(each).unwrap();
    assert_eq!((removed, datapath.flows_len()), (5_000, 0));
}

#[test]
fn a_newer_datapath_is_left_alone() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    drop(dir.open());
    std::fs::create_dir(dir.path().join("bpf/v99")).unwrap();
    let refused = Ebpf::open(&dir.options());
    assert!(
        matches!(refused, Err(DatapathError::Downgrade { installed: 99, ours: 3 })),
        "{:?}",
        refused.err()
    );
}

#[test]
fn a_removed_datapath_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vm = Vm::new(1, "10.0.0.1/24");
    let datapath = dir.open();
    vm.attach(&*datapath);
    run("ip", "addr add 10.0.0.254/24 dev vm1");
    assert!(!vm.pings("10.0.0.254"), "nothing a VM sends reaches the host");
    drop(datapath);
    remove_datapath(dir.path()).unwrap();
    assert!(vm.pings("10.0.0.254"), "nothing is attached");
    assert!(!mounted(&dir.path().join("bpf")));
    for device in ["mn-vxlan", "mn-inject", "mn-inject-x"] {
        assert!(nix::net::if_::if_nametoindex(device).is_err(), "{device}");
    }
    remove_datapath(dir.path()).unwrap();
}

fn mounted(dir: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == dir.to_str())
}
