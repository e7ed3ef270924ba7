//! Tunnels past the host's own IP stack, and when they go through it after all.

use std::net::UdpSocket;
use std::time::Duration;

use mn_datapath::ebpf::remove_datapath;
use mn_datapath::{Datapath, PeerAddresses};
use mn_flow::PortNo;

use crate::lab::{Agent, ip, is_root, run, within};
use crate::tunnel::{Host, PEER, port_key, two_hosts};

const V4: [&str; 2] = ["172.16.0.1", "172.16.0.2"];

/// Takes the second host's datapath away; the first one's goes with its directory.
fn end([a, b]: [Host; 2]) {
    b.enter();
    remove_datapath(b.dir.path()).unwrap();
    a.enter();
}

impl Host {
    /// Packets that have passed the kernel's tunnel device: sent, taken.
    fn through_the_kernel(&self) -> (u64, u64) {
        self.enter();
        let text = run("cat", "/proc/thread-self/net/dev");
        let line = text.lines().find_map(|line| line.trim().strip_prefix("mn-vxlan:")).unwrap();
        let numbers: Vec<u64> =
            line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        (numbers[9], numbers[1])
    }

    /// The number of this host's underlay interface.
    fn under(&self) -> u32 {
        self.enter();
        nix::net::if_::if_nametoindex("under").unwrap()
    }
}

/// Two hosts whose VMs have talked.
fn talking(addresses: [&str; 2]) -> ([Host; 2], [Agent; 2]) {
    let hosts = two_hosts(addresses);
    let agents = [hosts[0].agent(), hosts[1].agent()];
    ping_all(&hosts[0], 3);
    (hosts, agents)
}

/// Whether programs can take IPv6 from around IPv4 (Linux 6.3); before, the kernel's device does.
fn takes_other_versions() -> bool {
    let name = nix::sys::utsname::uname().unwrap();
    let release = name.release().to_str().unwrap().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().unwrap().unwrap();
    (next(), next()) >= (6, 3)
}

/// Many packets of flows go past the hosts' own stacks.
fn go_past_the_kernel([a, b]: [&Host; 2], also_in: bool) {
    let before = [a.through_the_kernel(), b.through_the_kernel()];
    ping_all(a, 50);
    let after = [a.through_the_kernel(), b.through_the_kernel()];
    for (before, after) in before.into_iter().zip(after) {
        // Whatever asks for addresses again is no IP packet.
        assert!(after.0 - before.0 < 5, "{before:?} {after:?}");
        assert_eq!(after.1 - before.1 < 5, also_in, "{before:?} {after:?}");
    }
}

fn ping_all(host: &Host, count: u32) {
    let pings = host.vm.namespace.run("ping", &format!("-c{count} -i0.01 -W1 10.0.0.2"));
    assert!(pings.contains(" 0% packet loss"), "{pings}");
}

#[test]
fn packets_of_a_flow_never_meet_the_hosts_own_stack() {
    if !is_root() {
        return;
    }
    for addresses in [V4, ["fd00::1", "fd00::2"]] {
        let ([a, b], agents) = talking(addresses);
        let also_in = ip(addresses[0]).is_ipv4() || takes_other_versions();
        go_past_the_kernel([&a, &b], also_in);
        drop(agents);
        end([a, b]);
    }
}

#[test]
fn with_nobody_to_follow_routes_the_kernels_device_finds_the_way() {
    if !is_root() {
        return;
    }
    let ([mut a, b], [first, _second]) = talking(V4);
    drop(first);
    // The engine goes, and with it the thread that follows; what is pinned stays.
    a.enter();
    let datapath = std::mem::replace(&mut a.datapath, b.datapath.clone());
    drop(datapath);
    std::thread::sleep(Duration::from_millis(3000));
    let before = a.through_the_kernel();
    ping_all(&a, 20);
    assert!(a.through_the_kernel().0 - before.0 >= 20);
    run("ip", "route add blackhole 172.16.0.2/32");
    assert!(!a.vm.pings("10.0.0.2"), "the kernel's routes are obeyed");
    run("ip", "route del blackhole 172.16.0.2/32");
    ping_all(&a, 3);
    end([a, b]);
}

#[test]
fn a_change_of_routes_is_followed() {
    if !is_root() {
        return;
    }
    let ([a, b], _agents) = talking(V4);
    a.enter();
    run("ip", "route add blackhole 172.16.0.2/32");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!a.vm.pings("10.0.0.2"), "there is no way any more");
    run("ip", "route del blackhole 172.16.0.2/32");
    std::thread::sleep(Duration::from_millis(200));
    let before = a.through_the_kernel();
    ping_all(&a, 20);
    assert!(a.through_the_kernel().0 - before.0 < 5);
    // The neighbour has another address: the kernel asks, as ever.
    b.enter();
    run("ip", "link set under address 02:00:00:00:ee:02");
    a.enter();
    run("ip", "neigh flush dev under");
    ping_all(&a, 3);
    end([a, b]);
}

#[test]
fn an_underlay_that_is_replaced_carries_tunnels_again() {
    if !is_root() {
        return;
    }
    let ([a, b], _agents) = talking(V4);
    let gone = a.under();
    b.enter();
    run("ip", "link del under");
    a.enter();
    assert!(nix::net::if_::if_nametoindex("under").is_err());
    // A pair again, between the same two namespaces.
    let inside = format!("{}/fd/{}", std::process::id(), b.descriptor());
    run("ip", &format!("link add under type veth peer name under netns /proc/{inside}"));
    for (host, address) in [(&b, V4[1]), (&a, V4[0])] {
        host.enter();
        run("ip", "link set under mtu 1600 up");
        run("ip", &format!("addr add {address}/24 dev under"));
    }
    ping_all(&a, 3);
    assert_ne!(a.under(), gone);
    for host in [&a, &b] {
        let under = host.under();
        host.datapath.set_underlays(&[under]).unwrap();
    }
    ping_all(&a, 3);
    go_past_the_kernel([&a, &b], true);
    // An address elsewhere: the kernel's device takes what comes.
    b.enter();
    b.datapath.set_underlays(&[]).unwrap();
    // The kernel takes a program off a moment later.
    std::thread::sleep(Duration::from_millis(200));
    let before = b.through_the_kernel();
    ping_all(&a, 20);
    assert!(b.through_the_kernel().1 - before.1 >= 20);
    end([a, b]);
}

/// VXLAN of a frame for the VM of a host, with a key.
fn tunnelled(vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, x, y, z] = vni.to_be_bytes();
    [&[8, 0, 0, 0, x, y, z, 0], frame].concat()
}

#[test]
fn tunnelled_packets_in_fragments_arrive_too() {
    if !is_root() {
        return;
    }
    let [a, b] = two_hosts(V4);
    let to = a.vm.mac;
    let mut frame = mn_datapath::conformance::frames::udp(("10.0.0.2", "10.0.0.1"), (7, 9), 1400);
    frame[..6].copy_from_slice(&to.0);
    let taken = |host: &Host| host.datapath.port_counters(host.vm.port).unwrap().tx.packets;
    b.enter();
    run("ip", "link set under mtu 1300");
    let socket = UdpSocket::bind((V4[1], 0)).unwrap();
    let before = taken(&a);
    for _ in 0..5 {
        socket.send_to(&tunnelled(port_key().vni(), &frame), (V4[0], 6677)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(taken(&a) - before, 5);
    end([a, b]);
}

#[test]
fn what_is_not_for_a_tunnel_of_ours_reaches_the_host() {
    if !is_root() {
        return;
    }
    let [a, b] = two_hosts(V4);
    a.enter();
    let host = UdpSocket::bind((V4[0], 4789)).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let frame = mn_datapath::conformance::frames::udp(("10.0.0.2", "10.0.0.1"), (7, 9), 10);
    let packet = tunnelled(port_key().vni(), &frame);
    b.enter();
    let socket = UdpSocket::bind((V4[1], 0)).unwrap();
    socket.send_to(&packet, (V4[0], 4789)).unwrap();
    let mut octets = [0; 200];
    assert_eq!(host.recv(&mut octets).unwrap(), packet.len(), "another port is not ours");
    run("ping", "-c1 -W1 172.16.0.1");
    // An address of the host that is no tunnel's: the kernel's device takes it, members only.
    let rx = || a.datapath.port_counters(PortNo::TUNNEL).unwrap().rx.packets;
    let before = rx();
    socket.send_to(&packet, (V4[0], 6677)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(rx() - before, 1);
    end([a, b]);
}

#[test]
fn a_vms_own_tunnels_are_packets_like_any_other() {
    if !is_root() {
        return;
    }
    let ([a, b], _agents) = talking(V4);
    let server = within(&b.vm.namespace, || UdpSocket::bind("10.0.0.2:6677").unwrap());
    server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let frame = mn_datapath::conformance::frames::udp(("10.0.0.9", "10.0.0.1"), (7, 9), 10);
    let packet = tunnelled(port_key().vni(), &frame);
    within(&a.vm.namespace, || {
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        socket.send_to(&packet, "10.0.0.2:6677").unwrap();
    });
    let mut octets = [0; 200];
    let len = server.recv(&mut octets).unwrap();
    assert_eq!(octets[..len], packet, "as it was sent, in a tunnel of ours");
    end([a, b]);
}

#[test]
fn a_host_with_a_firewall_may_have_tunnels_go_through_its_stack() {
    if !is_root() {
        return;
    }
    let [a, mut b] = two_hosts(V4);
    b.enter();
    let options = mn_datapath::ebpf::Options { tunnels_through_host: true, ..b.dir.options() };
    b.datapath = std::sync::Arc::new(mn_datapath::ebpf::Ebpf::open(&options).unwrap());
    let both = PeerAddresses { local: ip(V4[1]), remote: ip(V4[0]), mtu: 1500 };
    b.datapath.set_peer(PEER, Some(both)).unwrap();
    b.datapath.set_underlays(&[b.under()]).unwrap();
    let _agents = [a.agent(), b.agent()];
    ping_all(&a, 3);
    let before = b.through_the_kernel();
    ping_all(&a, 20);
    let after = b.through_the_kernel();
    assert!(after.0 - before.0 >= 20 && after.1 - before.1 >= 20, "{before:?} {after:?}");
    end([a, b]);
}
