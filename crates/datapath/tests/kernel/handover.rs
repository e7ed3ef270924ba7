//! Agents that take over from a datapath of an older version, while its packets go on.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mn_datapath::conformance::frames::udp;
use mn_datapath::ebpf::{Ebpf, Options, remove_datapath};
use mn_datapath::{
    Bandwidth, BroadcastLimit, Counters, Datapath, DatapathError, Delivery, Offload, PortBandwidth,
    Tracking,
};
use mn_datapath_abi::{ABI_VERSION, Peer, Plain, v1};
use mn_flow::{Action, DropCause, KeyKind, PortNo, TunnelKey, Zone};

use crate::lab::{Agent, Dir, Vm, enter_host, is_root, now, ours, run, within};
use crate::version1::{Version1, link_in};

/// Two VMs that know each other's MACs, so that nothing is asked about.
fn two_vms() -> [Vm; 2] {
    let vms = [Vm::new(1, "10.0.0.1/24"), Vm::new(2, "10.0.0.2/24")];
    for (vm, other, address) in [(&vms[0], &vms[1], "10.0.0.2"), (&vms[1], &vms[0], "10.0.0.1")] {
        let entry = format!("neigh add {address} lladdr {} dev eth0 nud permanent", other.mac);
        vm.namespace.run("ip", &entry);
    }
    vms
}

/// A numbered packet every half millisecond, and who counts them at the other end.
struct Stream {
    stop: Arc<AtomicBool>,
    sender: std::thread::JoinHandle<u64>,
    receiver: std::thread::JoinHandle<Vec<u64>>,
}

impl Stream {
    fn start(from: &Vm, to: &Vm) -> Self {
        let receiver = within(&to.namespace, || UdpSocket::bind("10.0.0.2:7000").unwrap());
        let sender = within(&from.namespace, || UdpSocket::bind("10.0.0.1:0").unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sender = std::thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                sender.send_to(&number.to_be_bytes(), "10.0.0.2:7000").unwrap();
                number += 1;
                std::thread::sleep(Duration::from_micros(500));
            }
            number
        });
        let receiver = std::thread::spawn(move || {
            let (mut got, mut packet) = (Vec::new(), [0; 8]);
            while receiver.recv(&mut packet).is_ok() {
                got.push(u64::from_be_bytes(packet));
            }
            got
        });
        Self { stop, sender, receiver }
    }

    /// How many packets were sent, each of which has arrived once and in its place.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let got = self.receiver.join().unwrap();
        assert!(got.iter().copied().eq(0..sent), "{} of {sent} packets arrived", got.len());
        sent
    }
}

const EARLIER: (u64, u64) = (1_000, 50_000);
/// Ethernet, IPv4, UDP, a number.
const FRAME: u64 = 14 + 20 + 8 + 8;

fn group_key() -> TunnelKey {
    TunnelKey::new(KeyKind::Group, 9).unwrap()
}

/// What an agent of version 1 has left: two ports, a flow each way, and something in every table.
fn left_behind(dir: &Dir, vms: &[Vm; 2], tcx: bool) -> Version1 {
    let [a, b] = vms;
    let mut old = Version1::new(dir, tcx);
    vms.iter().for_each(|vm| old.attach(vm));
    old.flow(a, b, 71, EARLIER);
    old.flow(b, a, 72, (0, 0));
    let mut segment = v1::Segment { len: 2, ..v1::Segment::default() };
    for (slot, vm) in segment.output.iter_mut().zip(vms) {
        let [b0, b1, b2, b3] = vm.port.0.to_ne_bytes();
        *slot = v1::ActionSlot { op: 1, slots: 1, argument: [0, 0, b0, b1, b2, b3] };
    }
    old.array::<248, _>("mn_segments", 5, &segment);
    old.array::<4, _>("mn_groups", 11, &5_u32);
    let delivery = v1::Delivery { kind: 2, index: 5 };
    let octets: [u8; 8] = delivery.octets().try_into().unwrap();
    old.hash("mn_keys", group_key().vni().to_ne_bytes(), octets);
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 172, 16, 0, 9];
    old.hash("mn_members", mapped, [1, 0, 0, 0]);
    let peer = v1::Peer { remote: mapped, local: mapped, mtu: 1400, flags: 0 };
    old.array::<40, _>("mn_peers", 3, &peer);
    old.array::<16, _>("mn_meters", 6, &v1::Meter { packets: 5, octets: 600 });
    let drop = v1::DropKey { port: a.port.0, cause: DropCause::UpcallLimit as u32 };
    old.hash::<8, 8>("mn_drops", drop.octets().try_into().unwrap(), 40_u64.to_ne_bytes());
    old
}

fn options(dir: &Dir, tcx: bool) -> Options {
    Options { tcx, ..dir.options() }
}

fn versions(dir: &Dir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path().join("bpf")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    // The kernel has some of its own there.
    let mut names: Vec<_> = names.filter(|name| name.starts_with('v')).collect();
    names.sort();
    names
}

fn has_tcx() -> bool {
    Options::new("/", 1).tcx
}

/// What this kernel has to attach by: whether by tcx.
fn hooks() -> impl Iterator<Item = bool> {
    [true, false].into_iter().filter(|tcx| !tcx || has_tcx())
}

/// The datapath opened while packets go from the first VM to the second, and how many went.
fn opened_amid_a_stream(dir: &Dir, [a, b]: &[Vm; 2], tcx: bool) -> (Arc<Ebpf>, u64) {
    let stream = Stream::start(a, b);
    std::thread::sleep(Duration::from_millis(200));
    let datapath = Arc::new(Ebpf::open(&options(dir, tcx)).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    let sent = stream.end();
    assert!(sent > 200, "{sent} packets before and after");
    (datapath, sent)
}

/// What must be true of the datapath after `sent` packets through the flow.
fn assert_taken_over(datapath: &Ebpf, [a, b]: &[Vm; 2], sent: u64) {
    assert_eq!(datapath.attached().unwrap(), [(a.port, a.interface), (b.port, b.interface)]);
    let mut flows = Vec::new();
    datapath.flows(&mut |flow| flows.push(flow)).unwrap();
    flows.sort_by_key(|flow| flow.spec.cookie.0);
    let [there, back] = flows.as_slice() else { panic!("{flows:?}") };
    assert_eq!([there.spec.cookie.0, back.spec.cookie.0], [71, 72]);
    assert_eq!(there.spec.actions, [Action::Output(b.port)]);
    assert_eq!(there.spec.key.nw_dst.to_string(), "::ffff:10.0.0.2");
    let all = Counters { packets: EARLIER.0 + sent, octets: EARLIER.1 + sent * FRAME };
    assert_eq!(there.counters, all, "every packet is counted once");
    let carried = Counters { packets: sent, octets: sent * FRAME };
    assert_eq!(datapath.port_counters(b.port).unwrap().tx, carried);
    assert_eq!(datapath.keys().unwrap(), [(group_key(), Delivery::Ports(vec![a.port, b.port]))]);
    assert_eq!(datapath.meter(6).unwrap(), Counters { packets: 5, octets: 600 });
}

fn drops(datapath: &Ebpf, port: PortNo, cause: DropCause) -> u64 {
    let drops = datapath.drops().unwrap();
    drops.iter().filter(|it| (it.0, it.1) == (port, cause)).map(|it| it.2).sum()
}

#[test]
fn an_older_version_is_taken_over_without_a_lost_packet() {
    if !is_root() {
        return;
    }
    for tcx in hooks() {
        enter_host();
        let dir = Dir::new();
        let vms = two_vms();
        let old = left_behind(&dir, &vms, tcx);
        // Asked about when nobody was there to answer.
        let [a, b] = &vms;
        assert!(!a.pings("10.0.0.99"));
        drop(old);
        let (datapath, sent) = opened_amid_a_stream(&dir, &vms, tcx);
        assert_taken_over(&datapath, &vms, sent);
        assert_eq!(drops(&datapath, a.port, DropCause::UpcallLimit), 40);
        assert!(drops(&datapath, a.port, DropCause::AgentDown) >= 1, "nobody answers any more");
        assert_eq!(versions(&dir), [format!("v{ABI_VERSION}")]);
        let links = std::fs::read_dir(ours(&dir).join("links")).unwrap().count();
        assert_eq!(links, 4, "two ports, tunnel, inject");
        // From here on it is a datapath like any other.
        datapath.heartbeat(now()).unwrap();
        let agent = Agent::switch(&datapath, &[a, b]);
        assert!(a.pings("10.0.0.2"));
        b.namespace.run("ip", "neigh flush dev eth0 nud all");
        assert!(b.pings("10.0.0.1"), "a new flow");
        drop(agent);
        drop(datapath);
        remove_datapath(dir.path()).unwrap();
        run("ip", "addr add 10.0.0.254/24 dev vm1");
        assert!(a.pings("10.0.0.254"), "nothing is attached");
    }
}

/// Version 2 as it was left: today's layouts, without what has come since.
fn made_version_2(dir: &Dir) {
    for map in ["mn_broadcasts", "mn_bandwidths", "mn_bells"] {
        std::fs::remove_file(ours(dir).join(map)).unwrap();
    }
    std::fs::rename(ours(dir), dir.path().join("bpf/v2")).unwrap();
}

#[test]
fn version_2_is_taken_over_with_its_flows_connections_and_counters() {
    if !is_root() {
        return;
    }
    for tcx in hooks() {
        enter_host();
        let dir = Dir::new();
        let vms = two_vms();
        let [a, b] = &vms;
        let datapath = Arc::new(Ebpf::open(&options(&dir, tcx)).unwrap());
        vms.iter().for_each(|vm| vm.attach(&*datapath));
        let tracking = Tracking { zone: Zone(3), connections_max: 0 };
        datapath.set_tracking(a.port, tracking).unwrap();
        let agent = Agent::switch(&datapath, &[a, b]);
        assert!(a.pings("10.0.0.2"));
        drop(agent);
        let frame = udp(("10.0.0.1", "10.0.0.2"), (5, 7), 0);
        let track = Action::Track { zone: Zone(3), port: a.port };
        datapath.execute(&frame, Offload::default(), &[track, Action::Output(b.port)]).unwrap();
        assert_eq!(connections(&datapath), 1);
        drop(datapath);
        made_version_2(&dir);
        let (datapath, sent) = opened_amid_a_stream(&dir, &vms, tcx);
        assert_eq!(versions(&dir), [format!("v{ABI_VERSION}")]);
        assert_eq!(std::fs::read_dir(ours(&dir).join("links")).unwrap().count(), 4);
        assert_eq!(datapath.attached().unwrap(), [(a.port, a.interface), (b.port, b.interface)]);
        assert_eq!(connections(&datapath), 1);
        assert_eq!(datapath.tracking(a.port).unwrap().0, tracking);
        assert!(datapath.port_counters(b.port).unwrap().tx.packets > sent, "counted once and on");
        // What has come since works: limits of broadcasts, and flows that answer.
        let limit = BroadcastLimit { rate: 1000, burst: 1000 };
        datapath.set_broadcast_limit(a.port, limit).unwrap();
        let fast = Bandwidth { kbps: 1_000_000, burst: 1_000_000 };
        let bandwidth = PortBandwidth { sent: fast, received: fast };
        datapath.set_bandwidth(a.port, bandwidth).unwrap();
        datapath.heartbeat(now()).unwrap();
        let agent = Agent::switch(&datapath, &[a, b]);
        b.namespace.run("ip", "neigh flush dev eth0 nud all");
        assert!(b.pings("10.0.0.1"), "a new flow");
        drop(agent);
    }
}

fn connections(datapath: &Ebpf) -> usize {
    let mut count = 0;
    datapath.connections(&mut |_| count += 1).unwrap();
    count
}

#[test]
fn a_death_amid_taking_over_version_2_is_gone_on_from() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vms = two_vms();
    let [a, b] = &vms;
    let datapath = dir.open();
    vms.iter().for_each(|vm| vm.attach(&*datapath));
    let agent = Agent::switch(&datapath, &[a, b]);
    assert!(a.pings("10.0.0.2"));
    drop(agent);
    drop(datapath);
    made_version_2(&dir);
    let stream = Stream::start(a, b);
    // Before the switch: some maps are shared, and nothing is named yet.
    let filling = dir.path().join(format!("bpf/v{ABI_VERSION}-filling"));
    std::fs::create_dir(&filling).unwrap();
    let map = aya::maps::MapData::from_pin(dir.path().join("bpf/v2/mn_ports")).unwrap();
    map.pin(filling.join("mn_ports")).unwrap();
    drop(dir.open());
    assert_eq!(versions(&dir), [format!("v{ABI_VERSION}")]);
    let sent = stream.end();
    assert!(sent > 10, "{sent} packets");
}

#[test]
fn members_peers_and_groups_are_taken_over() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vms = two_vms();
    drop(left_behind(&dir, &vms, has_tcx()));
    drop(dir.open());
    let dump = |map: &str| {
        let map = aya::maps::MapData::from_pin(ours(&dir).join(map)).unwrap();
        aya::maps::Map::from_map_data(map).unwrap()
    };
    let members: aya::maps::HashMap<_, [u8; 16], u32> = dump("mn_members").try_into().unwrap();
    let members: Vec<[u8; 16]> = members.keys().map(Result::unwrap).collect();
    assert_eq!(members, [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 172, 16, 0, 9]]);
    let groups: aya::maps::Array<_, u32> = dump("mn_groups").try_into().unwrap();
    let set: Vec<u32> = (0..4096).filter(|at| groups.get(at, 0).unwrap() != 0).collect();
    assert_eq!(set, [11]);
    let peers: aya::maps::Array<_, [u8; 40]> = dump("mn_peers").try_into().unwrap();
    let set: Vec<u32> = (0..4096).filter(|at| peers.get(at, 0).unwrap() != [0; 40]).collect();
    assert_eq!(set, [3]);
    let peer = Peer::from_octets(&peers.get(&3, 0).unwrap()).unwrap();
    assert_eq!((peer.remote, peer.local, peer.mtu), (members[0], members[0], 1400));
}

/// The state a death in the middle of the switch leaves: our version filled and on one interface,
/// the older one on the other. Made of a hand-over that is whole, of which one interface and the
/// older maps were kept aside.
#[test]
fn an_agent_that_died_between_two_interfaces_is_succeeded_without_a_lost_packet() {
    if !is_root() || !has_tcx() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vms = two_vms();
    let [a, b] = &vms;
    let mut old = left_behind(&dir, &vms, true);
    let aside = old.pin_again("aside");
    std::fs::rename(old.link_of(a), link_in(&aside, a)).unwrap();
    drop(old);
    let stream = Stream::start(a, b);
    std::thread::sleep(Duration::from_millis(100));
    drop(Ebpf::open(&options(&dir, true)).unwrap());
    std::fs::rename(&aside, dir.path().join("bpf/v1")).unwrap();
    assert_eq!(versions(&dir), ["v1".to_owned(), format!("v{ABI_VERSION}")]);
    std::thread::sleep(Duration::from_millis(100));
    let datapath = Ebpf::open(&options(&dir, true)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let sent = stream.end();
    assert_taken_over(&datapath, &vms, sent);
    assert_eq!(versions(&dir), [format!("v{ABI_VERSION}")]);
    assert!(link_in(&ours(&dir), a).exists() && link_in(&ours(&dir), b).exists());
}

/// Says to [`an_agent_to_be_killed`] where to work.
const VICTIM: &str = "MN_HANDOVER_DIR";

/// Not a story: the process that the next one kills.
#[test]
fn an_agent_to_be_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let dir = Path::new(&dir);
    let options = Options { flows_max: 1 << 14, ring_bytes: 1 << 20, ..Options::new(dir, 1) };
    drop(Ebpf::open(&options).unwrap());
}

#[test]
fn agents_killed_at_any_moment_of_taking_over_lose_no_packet() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    let vms = two_vms();
    let [a, b] = &vms;
    drop(left_behind(&dir, &vms, has_tcx()));
    let stream = Stream::start(a, b);
    let mut killed = 0;
    // Each lives a little longer, until one gets through; by an eighth where that is long, so that
    // all together live a few times as long as the last, however slow the machine is.
    let longer = |life: &Duration| Some(*life + (*life / 8).max(Duration::from_millis(8)));
    for life in std::iter::successors(Some(Duration::from_millis(8)), longer) {
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "handover::an_agent_to_be_killed"])
            .env(VICTIM, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(life);
        let done = victim.try_wait().unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        match done {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => killed += 1,
        }
    }
    let datapath = Ebpf::open(&options(&dir, has_tcx())).unwrap();
    let sent = stream.end();
    println!("{killed} agents were killed");
    assert!(killed > 3);
    assert_taken_over(&datapath, &vms, sent);
    assert_eq!(versions(&dir), [format!("v{ABI_VERSION}")]);
}

#[test]
fn a_version_too_old_to_be_read_is_refused_with_a_sentence() {
    if !is_root() {
        return;
    }
    enter_host();
    let dir = Dir::new();
    drop(dir.open());
    std::fs::create_dir(dir.path().join("bpf/v0")).unwrap();
    let refused = Ebpf::open(&dir.options()).err().unwrap();
    assert!(matches!(refused, DatapathError::TooOld { installed: 0, oldest: 1 }), "{refused:?}");
    assert!(refused.to_string().contains("ABI version 0"), "{refused}");
}
