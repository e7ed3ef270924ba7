//! What a VM must not reach.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use mn_datapath::ebpf::Ebpf;
use mn_datapath::{Datapath, Delivery};
use mn_flow::{Action, DropCause, KeyKind, PortNo, TunnelKey};
use mn_packet::Mac;

use crate::lab::{Agent, Dir, Vm, enter_host, ip, is_root, run, within};

const UNDERLAY: &str = "172.16.0.1";
const MEMBER: &str = "172.16.0.2";

/// A host with an underlay address, a member, a key, and addresses on everything a VM may see.
fn exposed_host(dir: &Dir) -> (std::sync::Arc<Ebpf>, [Vm; 2]) {
    run("ip", "link add under type ifb");
    run("ip", "link set under up");
    run("ip", &format!("addr add {UNDERLAY}/24 dev under"));
    run("sysctl", "-qw net.ipv4.ip_forward=1 net.ipv4.icmp_echo_ignore_broadcasts=0");
    let datapath = dir.open();
    let vms = [Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24")];
    for vm in &vms {
        vm.attach(&*datapath);
    }
    run("ip", "addr add 10.0.0.254/24 dev vm1");
    let key = TunnelKey::new(KeyKind::Port, 5).unwrap();
    datapath.set_key(key, Some(&Delivery::Port(vms[1].port))).unwrap();
    datapath.set_members(&[ip(MEMBER)]).unwrap();
    (datapath, vms)
}

/// The MAC of an interface of this namespace.
fn mac_of(name: &str) -> Mac {
    let link = run("ip", &format!("-o link show {name}"));
    link.split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_vm_reaches_no_address_of_its_host() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let (datapath, [a, _]) = exposed_host(&dir);
    let host = UdpSocket::bind("0.0.0.0:9999").unwrap();
    host.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let host_mac = mac_of("vm1");
    let vm = &a.namespace;
    vm.run("ip", &format!("neigh add 10.0.0.254 lladdr {host_mac} dev eth0"));
    vm.run("ip", "route add default via 10.0.0.254");
    // An agent that lets everything through to the other VM: the host must still see nothing.
    let _agent = Agent::start(datapath.clone(), |_, _| {});
    for address in ["10.0.0.254", UNDERLAY, "10.0.0.255", "255.255.255.255"] {
        let sent = within(vm, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"attack", (address, 9999)).is_ok()
        });
        assert!(sent || address == "255.255.255.255", "{address}");
        assert!(!a.pings(address), "{address}");
    }
    assert!(host.recv(&mut [0; 100]).is_err(), "the host has heard something");
    let link_local = link_local_of(host_mac);
    assert!(!vm.try_run("ping", &format!("-6 -c1 -W1 {link_local}%eth0")).status.success());
    assert!(datapath.port_counters(a.port).unwrap().rx.packets >= 6);
}

/// The address an interface with this MAC gives itself (RFC 4291, appendix A).
fn link_local_of(Mac([a, b, c, d, e, f]): Mac) -> IpAddr {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let halves = [0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f)];
    IpAddr::V6(halves.into())
}

#[test]
fn a_vm_cannot_speak_for_a_member() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let (datapath, [a, b]) = exposed_host(&dir);
    let host_mac = mac_of("vm1");
    let vm = &a.namespace;
    vm.run("ip", &format!("addr add {MEMBER}/32 dev eth0"));
    vm.run("ip", &format!("neigh add 10.0.0.254 lladdr {host_mac} dev eth0"));
    vm.run("ip", &format!("route add {UNDERLAY} via 10.0.0.254 src {MEMBER}"));
    // Even with a flow that sends all it says out of its own port again.
    let port = a.port;
    let _agent = Agent::start(datapath.clone(), move |datapath, upcall| {
        let actions = vec![Action::Output(port)];
        let mask = mn_flow::FlowMask::from(mn_flow::Field::InPort);
        let cookie = crate::lab::cookie();
        let spec = mn_datapath::FlowSpec { cookie, key: upcall.key, mask, actions };
        datapath.install(&spec).unwrap();
    });
    let inner = mn_datapath::conformance::frames::udp(("10.0.0.9", "10.0.0.2"), (1, 2), 10);
    let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0], &inner[..]].concat();
    within(vm, || {
        let socket = UdpSocket::bind((MEMBER, 0)).unwrap();
        for _ in 0..10 {
            socket.send_to(&vxlan, (UNDERLAY, 6677)).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(datapath.port_counters(b.port).unwrap().tx.packets, 0);
    assert_eq!(datapath.port_counters(PortNo::TUNNEL).unwrap().rx.packets, 0);
}

#[test]
fn an_interface_without_a_port_reaches_neither_host_nor_network() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let (datapath, [a, b]) = exposed_host(&dir);
    let agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"));
    datapath.detach(a.port).unwrap();
    let host_mac = mac_of("vm1");
    a.namespace.run("ip", &format!("neigh replace 10.0.0.254 lladdr {host_mac} dev eth0"));
    assert!(!a.pings("10.0.0.254"), "unbound a moment ago");
    assert!(!a.pings("10.0.0.2"));
    let drops = datapath.drops().unwrap();
    assert!(drops.iter().any(|it| it.1 == DropCause::PortGone && it.2 >= 2), "{drops:?}");
    drop(agent);
}
