//! A VM's interface before the datapath's program is on it: whoever makes interfaces is not the
//! agent, and a VM may send as soon as its interface is up.
//!
//! What is promised: an interface that is bound gets its program also while it is down, so a
//! manager that sets it up last leaves no moment without. One that cannot wait writes three
//! settings before it sets the interface up, and then the host's own stack takes nothing from it.

use std::net::UdpSocket;
use std::time::Duration;

use crate::lab::{Agent, Dir, Namespace, Vm, enter_host, is_root, run, within};

const UNDERLAY: &str = "172.16.0.1";
const UNDERLAY_V6: &str = "fd00::1";

/// A host with addresses of both versions in an underlay, which forwards.
fn host() {
    enter_host();
    run("ip", "link add under type ifb");
    run("ip", "link set under up");
    run("ip", &format!("addr add {UNDERLAY}/24 dev under"));
    run("ip", &format!("-6 addr add {UNDERLAY_V6}/64 dev under nodad"));
    run("sysctl", "-qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
}

fn host_mac(name: &str) -> String {
    std::fs::read_to_string(format!("/sys/class/net/{name}/address")).map_or_else(
        |_| {
            let link = run("ip", &format!("-o link show {name}"));
            let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
            words.nth(1).unwrap().to_owned()
        },
        |text| text.trim().to_owned(),
    )
}

/// Makes a VM believe that the host's addresses are on its link, with the interface's MAC.
fn aim(vm: &Namespace, mac: &str) {
    vm.run("ip", &format!("route replace {UNDERLAY}/32 dev eth0"));
    vm.run("ip", &format!("neigh replace {UNDERLAY} lladdr {mac} dev eth0"));
    vm.run("ip", "-6 addr replace fd07::1/64 dev eth0 nodad");
    vm.run("ip", &format!("-6 route replace {UNDERLAY_V6}/128 dev eth0"));
    vm.run("ip", &format!("-6 neigh replace {UNDERLAY_V6} lladdr {mac} dev eth0"));
}

/// What the host hears of datagrams that a VM sends to its addresses.
fn heard(vm: &Namespace) -> usize {
    let sockets = ["0.0.0.0:9999", "[::]:9998"].map(|at| UdpSocket::bind(at).unwrap());
    within(vm, || {
        let v4 = UdpSocket::bind("0.0.0.0:0").unwrap();
        let v6 = UdpSocket::bind("[::]:0").unwrap();
        for _ in 0..20 {
            // Nothing there to send by is as good.
            let _ = v4.send_to(b"early", (UNDERLAY, 9999));
            let _ = v6.send_to(b"early", (UNDERLAY_V6, 9998));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let mut count = 0;
    for socket in sockets {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while socket.recv(&mut [0; 64]).is_ok() {
            count += 1;
        }
    }
    count
}

/// Whether the host answers a question for its address.
fn answers_arp(vm: &Namespace) -> bool {
    vm.run("ip", "neigh flush dev eth0 nud all");
    vm.try_run("ping", &format!("-c1 -W1 {UNDERLAY}"));
    vm.run("ip", &format!("neigh show {UNDERLAY}")).contains("lladdr")
}

#[test]
fn an_interface_that_gets_its_program_while_it_is_down_never_reaches_its_host() {
    if !is_root() {
        return;
    }
    host();
    let dir = Dir::new();
    let datapath = dir.open();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    let vm = &a.namespace;
    aim(vm, &host_mac("vm1"));
    assert_eq!(heard(vm), 40, "the attack is one: without a program the host hears all of it");
    run("ip", "link set vm1 down");
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    run("ip", "link set vm1 up");
    aim(vm, &host_mac("vm1"));
    assert_eq!(heard(vm), 0);
    assert!(!answers_arp(vm));
    let _agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"), "and it is a port like any other");
}

#[test]
fn three_settings_keep_an_interface_from_its_host_before_it_has_a_program() {
    if !is_root() {
        return;
    }
    host();
    let dir = Dir::new();
    let datapath = dir.open();
    let (a, b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    let vm = &a.namespace;
    aim(vm, &host_mac("vm1"));
    assert_eq!(heard(vm), 40, "without the settings");
    assert!(answers_arp(vm), "without the settings");
    run("ip", "link set vm1 down");
    for setting in
        ["ipv6.conf.vm1.disable_ipv6", "ipv4.conf.vm1.rp_filter", "ipv4.conf.vm1.arp_ignore"]
    {
        run("sysctl", &format!("-qw net.{setting}=1"));
    }
    run("ip", "link set vm1 up");
    aim(vm, &host_mac("vm1"));
    assert_eq!(heard(vm), 0);
    assert!(!answers_arp(vm));
    // Nor another VM, by way of the host, which has a route to it.
    run("ip", "route add 10.0.0.2/32 dev vm2");
    vm.run("ip", "route replace 10.0.0.2/32 via 172.16.0.1 dev eth0 onlink");
    vm.run("ip", &format!("neigh replace {UNDERLAY} lladdr {} dev eth0", host_mac("vm1")));
    assert!(!a.pings("10.0.0.2"));
    assert_eq!(packets_in(&b.namespace), 0, "not even one way");
    vm.run("ip", "route del 10.0.0.2/32");
    for vm in [&a, &b] {
        vm.attach(&*datapath);
    }
    let _agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"), "and it is a port like any other");
}

/// IPv4 packets that came to a namespace.
fn packets_in(vm: &Namespace) -> u64 {
    let counters = vm.run("nstat", "-asz IpInReceives");
    let line = counters.lines().find(|line| line.starts_with("IpInReceives")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
