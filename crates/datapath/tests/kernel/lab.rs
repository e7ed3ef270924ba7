//! A host and its VMs for tests: namespaces that vanish with the test.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mn_datapath::ebpf::{Ebpf, Options, remove_datapath};
use mn_datapath::{Datapath, FlowSpec, Interface, Upcall, UpcallLimit};
use mn_datapath_abi::ABI_VERSION;
use mn_flow::{Action, Cookie, Field, FlowMask, PortNo};
use mn_packet::Mac;
use mn_time::Instant;
use nix::sched::{CloneFlags, unshare};

/// Whether these tests can run here; says why not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: needs root for network namespaces and BPF");
    }
    root
}

pub const LIMIT: UpcallLimit = UpcallLimit { rate: 100_000, burst: 10_000 };

pub fn now() -> Instant {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    Instant::from_nanos(u64::try_from(Duration::from(time).as_nanos()).unwrap())
}

/// Runs a program to its end; its output.
pub fn run(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {args}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where the maps of this version are pinned.
pub fn ours(dir: &Dir) -> PathBuf {
    dir.path().join(format!("bpf/v{ABI_VERSION}"))
}

/// This thread gets a network namespace of its own, and mounts that nobody else sees.
pub fn enter_host() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    run("mount", "--make-rprivate /");
    run("ip", "link set lo up");
}

/// A namespace that lives as long as a process in it.
pub struct Namespace(Child);

impl Namespace {
    pub fn new() -> Self {
        let child = Command::new("unshare").args(["-n", "sleep", "600"]).spawn().unwrap();
        let namespace = Self(child);
        // Until it has unshared, it is still in ours.
        let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{}/ns/net", namespace.pid())).ok()
            == Some(ours.clone())
            || !namespace.sleeps()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        namespace.run("ip", "link set lo up");
        namespace
    }

    fn sleeps(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/comm", self.pid()))
            .is_ok_and(|comm| comm.trim() == "sleep")
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    fn command(&self, program: &str, args: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid().to_string(), "-n", program]).args(args.split_whitespace());
        command
    }

    /// Runs a program to its end; its output. It must succeed.
    pub fn run(&self, program: &str, args: &str) -> String {
        let output = self.try_run(program, args);
        assert!(output.status.success(), "{program} {args}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn try_run(&self, program: &str, args: &str) -> Output {
        self.command(program, args).output().unwrap()
    }

    /// Starts a program that ends with the test.
    pub fn start(&self, program: &str, args: &str) -> Running {
        let child = self
            .command(program, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running(Some(child))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that ends with the test.
pub struct Running(Option<Child>);

impl Running {
    /// Waits for its end; what it wrote.
    pub fn output(mut self) -> String {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A VM: a namespace with one end of a veth, whose other end is a port of the datapath.
pub struct Vm {
    pub namespace: Namespace,
    pub port: PortNo,
    pub mac: Mac,
    pub interface: Interface,
}

impl Vm {
    /// A VM with an address, e.g. "10.0.0.1/24", on a port that is not attached yet.
    pub fn new(number: u8, address: &str) -> Self {
        let namespace = Namespace::new();
        let mac = Mac([2, 0, 0, 0, 0, number]);
        let name = format!("vm{number}");
        run("ip", &format!("link add {name} type veth peer name eth0 netns {}", namespace.pid()));
        namespace.run("sysctl", "-qw net.ipv6.conf.eth0.accept_dad=0");
        namespace.run("ip", &format!("link set eth0 address {mac}"));
        namespace.run("ip", "link set eth0 up");
        namespace.run("ip", &format!("addr add {address} dev eth0"));
        run("ip", &format!("link set {name} up"));
        let ifindex = nix::net::if_::if_nametoindex(name.as_str()).unwrap();
        Self {
            namespace,
            port: PortNo(15 + u32::from(number)),
            mac,
            interface: Interface { ifindex, peer_redirect: false, mtu: 1500 },
        }
    }

    pub fn attach(&self, datapath: &dyn Datapath) {
        datapath.attach(self.port, self.interface, LIMIT).unwrap();
    }

    /// Whether a ping is answered.
    pub fn pings(&self, address: &str) -> bool {
        self.namespace.try_run("ping", &format!("-c1 -W1 {address}")).status.success()
    }
}

/// A directory that is gone after the test, with the datapath in it.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("mn-datapath-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn options(&self) -> Options {
        Options {
            flows_max: 1 << 14,
            connections_max: 1 << 14,
            ring_bytes: 1 << 20,
            ..Options::new(&self.0, 1)
        }
    }

    pub fn open(&self) -> Arc<Ebpf> {
        let datapath = Ebpf::open(&self.options()).unwrap();
        datapath.heartbeat(now()).unwrap();
        Arc::new(datapath)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = remove_datapath(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Answers upcalls of worker 0 until it is dropped.
pub struct Agent {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    upcalls: Arc<AtomicU64>,
}

impl Agent {
    pub fn start(
        datapath: Arc<Ebpf>,
        mut decide: impl FnMut(&Ebpf, &Upcall<'_>) + Send + 'static,
    ) -> Self {
        let (stop, upcalls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), upcalls.clone());
        let mut ring = datapath.upcalls(0).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                datapath.heartbeat(now()).unwrap();
                let count = ring
                    .poll(64, Duration::from_millis(50), &mut |upcall| decide(&datapath, &upcall))
                    .unwrap();
                counted.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        Self { stop, thread: Some(thread), upcalls }
    }

    /// One that forwards as an Ethernet switch that knows where every VM is.
    pub fn switch(datapath: &Arc<Ebpf>, vms: &[&Vm]) -> Self {
        let places: Vec<(Mac, PortNo)> = vms.iter().map(|vm| (vm.mac, vm.port)).collect();
        Self::start(datapath.clone(), move |datapath, upcall| {
            let spec = switched(&places, upcall);
            datapath.install(&spec).unwrap();
            datapath.execute(upcall.frame, upcall.offload, &spec.actions).unwrap();
        })
    }

    pub fn upcalls(&self) -> u64 {
        self.upcalls.load(Ordering::Relaxed)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The mask of a switch's flows.
pub fn switch_mask() -> FlowMask {
    FlowMask::from(Field::InPort) | Field::EthDst.into() | Field::EthSrc.into()
}

/// A cookie nobody else has.
pub fn cookie() -> Cookie {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Cookie(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The flow of a switch for a packet.
pub fn switched(places: &[(Mac, PortNo)], upcall: &Upcall<'_>) -> FlowSpec {
    let outputs: Vec<Action> = places
        .iter()
        .filter(|(mac, port)| {
            (*mac == upcall.key.eth_dst || upcall.key.eth_dst.is_multicast())
                && *port != upcall.key.in_port
        })
        .map(|(_, port)| Action::Output(*port))
        .collect();
    FlowSpec { cookie: cookie(), key: upcall.key, mask: switch_mask(), actions: outputs }
}

/// Does something in a namespace: sockets made there stay there.
pub fn within<T>(namespace: &Namespace, what: impl FnOnce() -> T + Send) -> T
where
    T: Send,
{
    let path = format!("/proc/{}/ns/net", namespace.pid());
    let file = std::fs::File::open(path).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            nix::sched::setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            what()
        });
        thread.join().unwrap()
    })
}

/// An address of a text.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
