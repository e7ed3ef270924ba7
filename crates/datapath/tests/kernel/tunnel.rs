//! Two hosts, and who is no host.

use std::sync::Arc;

use mn_datapath::ebpf::{Ebpf, Options, remove_datapath};
use mn_datapath::{Datapath, Delivery, PeerAddresses};
use mn_flow::{Action, DropCause, KeyKind, PeerIndex, PortNo, TunnelKey};
use nix::sched::{CloneFlags, setns};

use crate::l2::{checksum_errors, tcp_transfers};
use crate::lab::{Agent, Dir, Vm, enter_host, ip, is_root, now, run, switch_mask};

/// A host: a namespace of this thread, a datapath, a VM.
pub struct Host {
    namespace: std::fs::File,
    pub datapath: Arc<Ebpf>,
    pub dir: Dir,
    pub vm: Vm,
}

pub const PEER: PeerIndex = PeerIndex(1);

pub fn port_key() -> TunnelKey {
    TunnelKey::new(KeyKind::Port, 5).unwrap()
}

impl Host {
    /// Makes a host in the namespace this thread is in, whose underlay interface is up.
    fn new(number: u8, ours: &str, theirs: &str) -> Self {
        let dir = Dir::new();
        let datapath = Arc::new(Ebpf::open(&Options { ..dir.options() }).unwrap());
        datapath.heartbeat(now()).unwrap();
        let vm = Vm::new(number, &format!("10.0.0.{number}/24"));
        vm.attach(&*datapath);
        let both = PeerAddresses { local: ip(ours), remote: ip(theirs), mtu: 1500 };
        datapath.set_peer(PEER, Some(both)).unwrap();
        datapath.set_members(&[ip(theirs)]).unwrap();
        let under = nix::net::if_::if_nametoindex("under").unwrap();
        datapath.set_underlays(&[under]).unwrap();
        datapath.set_key(port_key(), Some(&Delivery::Port(vm.port))).unwrap();
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        Self { namespace, datapath, dir, vm }
    }

    /// Sends all the VM sends to the other host.
    pub fn agent(&self) -> Agent {
        Agent::start(self.datapath.clone(), |datapath, upcall| {
            let action = Action::Tunnel { peer: PEER, key: port_key() };
            let spec = mn_datapath::FlowSpec {
                cookie: crate::lab::cookie(),
                key: upcall.key,
                mask: switch_mask(),
                actions: vec![action],
            };
            datapath.install(&spec).unwrap();
            datapath.execute(upcall.frame, upcall.offload, &spec.actions).unwrap();
        })
    }

    pub fn dropped(&self, cause: DropCause) -> u64 {
        let drops = self.datapath.drops().unwrap();
        drops.iter().filter(|it| (it.0, it.1) == (PortNo::TUNNEL, cause)).map(|it| it.2).sum()
    }

    /// Of its namespace.
    pub fn descriptor(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.namespace)
    }

    pub fn enter(&self) {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

/// Two hosts whose underlay addresses are given; this thread ends up in the first.
pub fn two_hosts(addresses: [&str; 2]) -> [Host; 2] {
    enter_host();
    let first = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
    let holder = crate::lab::Namespace::new();
    run("ip", &format!("link add under type veth peer name under netns {}", holder.pid()));
    let up = |address: &str| {
        run("ip", "link set under mtu 1600 up");
        run("ip", &format!("addr add {address} dev under"));
    };
    let suffix = if ip(addresses[0]).is_ipv4() { "/24" } else { "/64 nodad" };
    let suffixed = |address| match ip(address) {
        std::net::IpAddr::V4(_) => format!("{address}{suffix}"),
        std::net::IpAddr::V6(_) => format!("{address}/64"),
    };
    let second = std::fs::File::open(format!("/proc/{}/ns/net", holder.pid())).unwrap();
    setns(&second, CloneFlags::CLONE_NEWNET).unwrap();
    run("sysctl", "-qw net.ipv6.conf.under.accept_dad=0");
    up(&suffixed(addresses[1]));
    let b = Host::new(2, addresses[1], addresses[0]);
    setns(&first, CloneFlags::CLONE_NEWNET).unwrap();
    run("sysctl", "-qw net.ipv6.conf.under.accept_dad=0");
    up(&suffixed(addresses[0]));
    let a = Host::new(1, addresses[0], addresses[1]);
    drop(holder);
    [a, b]
}

#[test]
fn vms_of_two_hosts_talk_also_in_large_segments() {
    if !is_root() {
        return;
    }
    for addresses in [["172.16.0.1", "172.16.0.2"], ["fd00::1", "fd00::2"]] {
        let [a, b] = two_hosts(addresses);
        let agents = [a.agent(), b.agent()];
        let pings = a.vm.namespace.run("ping", "-c3 -i0.05 -W1 10.0.0.2");
        assert!(pings.contains(" 0% packet loss"), "{pings}");
        tcp_transfers(&a.vm, &b.vm, "10.0.0.2", 8 << 20);
        for host in [&a, &b] {
            assert_eq!(checksum_errors(&host.vm), Vec::<String>::new());
        }
        let (sent, got) = (
            a.datapath.port_counters(PortNo::TUNNEL).unwrap(),
            b.datapath.port_counters(b.vm.port).unwrap(),
        );
        assert_eq!(sent.tx.packets, got.tx.packets, "{sent:?} {got:?}");
        drop(agents);
        b.enter();
        remove_datapath(b.dir.path()).unwrap();
        a.enter();
    }
}

#[test]
fn new_flows_of_another_host_reach_a_vm_whose_agent_is_dead() {
    if !is_root() {
        return;
    }
    let [a, b] = two_hosts(["172.16.0.1", "172.16.0.2"]);
    let (agent, other) = (a.agent(), b.agent());
    assert!(a.vm.pings("10.0.0.2"));
    drop(other);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    a.vm.namespace.run("ip", "addr add 10.0.0.9/24 dev eth0");
    let before = b.datapath.port_counters(b.vm.port).unwrap().tx.packets;
    a.vm.namespace.try_run("ping", "-c1 -W1 -I 10.0.0.9 10.0.0.2");
    let after = b.datapath.port_counters(b.vm.port).unwrap().tx.packets;
    assert!(after > before, "delivered by its key alone");
    drop(agent);
    b.enter();
    remove_datapath(b.dir.path()).unwrap();
    a.enter();
}

#[test]
fn a_host_takes_only_known_keys_and_only_from_members() {
    if !is_root() {
        return;
    }
    let [a, b] = two_hosts(["172.16.0.1", "172.16.0.2"]);
    let _agents = [a.agent(), b.agent()];
    assert!(a.vm.pings("10.0.0.2"));
    for (change, cause) in [
        (Some(Delivery::Retired), DropCause::TunnelRetiredKey),
        (None, DropCause::TunnelUnknownKey),
    ] {
        b.datapath.set_key(port_key(), change.as_ref()).unwrap();
        assert!(!a.vm.pings("10.0.0.2"));
        assert!(b.dropped(cause) > 0, "{cause}");
    }
    b.datapath.set_key(port_key(), Some(&Delivery::Port(b.vm.port))).unwrap();
    b.datapath.set_members(&[ip("172.16.0.77")]).unwrap();
    assert!(!a.vm.pings("10.0.0.2"));
    assert!(b.dropped(DropCause::TunnelNotMember) > 0);
    b.datapath.set_members(&[ip("172.16.0.1")]).unwrap();
    assert!(a.vm.pings("10.0.0.2"));
    b.enter();
    remove_datapath(b.dir.path()).unwrap();
    a.enter();
}
