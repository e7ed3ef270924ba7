//! Two VMs on one host.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mn_datapath::{Datapath, DatapathError};
use mn_flow::DropCause;

use crate::lab::{Agent, Dir, Vm, enter_host, is_root, within};

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
        // What a kernel with IPv6 says by itself, and when, is not what is counted here.
        vm.namespace.run("sysctl", "-w net.ipv6.conf.eth0.disable_ipv6=1");
        vm.attach(&*datapath);
    }
    let agent = Agent::switch(&datapath, &[&a, &b]);
    let pings = a.namespace.run("ping", "-c5 -i0.05 -W1 10.0.0.2");
    assert!(pings.contains(" 5 received"), "{pings}");
    assert!(agent.upcalls() <= 6, "{} upcalls for three flows", agent.upcalls());
    let (sent, received) =
        (datapath.port_counters(a.port).unwrap(), datapath.port_counters(b.port).unwrap());
    assert_eq!(sent.rx.packets, received.tx.packets, "what one sends the other gets");
    a.namespace.run("ping", "-c1 -W1 -s 4000 10.0.0.2");
    for vm in [&a, &b] {
        vm.namespace.run("sysctl", "-w net.ipv6.conf.eth0.disable_ipv6=0");
    }
    a.namespace.run("ip", "-6 addr add fd01::1/64 dev eth0 nodad");
    b.namespace.run("ip", "-6 addr add fd01::2/64 dev eth0 nodad");
    a.namespace.run("ping", "-6 -c3 -i0.05 -W1 fd01::2");
}

/// Sends `len` octets through a TCP connection and checks every one of them.
pub fn tcp_transfers(from: &Vm, to: &Vm, address: &str, len: usize) -> Duration {
    let listener = within(&to.namespace, || TcpListener::bind((address, 7000)).unwrap());
    let octet = |n: usize| (n.wrapping_mul(0x9e37_79b9) >> 11) as u8;
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                return total;
            }
            for (n, got) in buffer[..count].iter().enumerate() {
                assert_eq!(*got, octet(total + n), "octet {}", total + n);
            }
            total += count;
        }
    });
    let start = Instant::now();
    let mut stream = within(&from.namespace, || {
        let to = format!("{address}:7000").parse().unwrap();
        TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap()
    });
    let payload: Vec<u8> = (0..len).map(octet).collect();
    stream.write_all(&payload).unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), len);
    start.elapsed()
}

/// Whether any checksum was wrong in a namespace.
pub fn checksum_errors(vm: &Vm) -> Vec<String> {
    let counters = vm.namespace.run("nstat", "-asz");
    let wrong = counters.lines().filter(|line| {
        line.contains("Csum") && line.split_whitespace().nth(1).is_some_and(|count| count != "0")
    });
    wrong.map(str::to_owned).collect()
}

#[test]
fn segments_of_64_kib_cross_the_host_whole_straight_to_the_peer_or_not() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let datapath = dir.open();
    let (mut a, mut b) = (Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24"));
    for straight in [false, true] {
        for vm in [&mut a, &mut b] {
            vm.interface.peer_redirect = straight;
            vm.attach(&*datapath);
        }
        let _agent = Agent::switch(&datapath, &[&a, &b]);
        tcp_transfers(&a, &b, "10.0.0.2", 16 << 20);
        assert_eq!(checksum_errors(&a), Vec::<String>::new());
        assert_eq!(checksum_errors(&b), Vec::<String>::new());
        assert_eq!(datapath.port_counters(b.port).unwrap().rx_dropped, 0);
    }
    let sent = datapath.port_counters(a.port).unwrap().rx;
    assert!(sent.octets > 2 * (16 << 20), "{sent:?}");
    assert!(sent.octets / sent.packets <= 1514, "packets are those on the wire: {sent:?}");
}

#[test]
fn a_detached_interface_sends_to_nobody_and_attached_again_it_does() {
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
    let _agent = Agent::switch(&datapath, &[&a, &b]);
    assert!(a.pings("10.0.0.2"));
    assert!(datapath.detach(a.port).unwrap().rx.packets > 0);
    assert!(!a.pings("10.0.0.2"));
    assert!(matches!(datapath.port_counters(a.port), Err(DatapathError::Missing(_))));
    let drops = datapath.drops().unwrap();
    assert!(drops.iter().any(|(_, cause, count)| *cause == DropCause::PortGone && *count > 0));
    a.attach(&*datapath);
    assert!(a.pings("10.0.0.2"));
    assert_eq!(datapath.attached().unwrap().len(), 2);
}
