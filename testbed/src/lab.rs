//! A lab: an underlay, a cluster, hosts and VMs, until it is dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::control::wait_for;
use crate::process::{Identity, program};
use crate::state::{labs_directory, sweep};
use crate::{
    Attachment, Control, Host, Http, LabError, Namespace, Outcome, Process, REST_PORT, Record, Vm,
    Wire,
};

/// The cluster's address in the underlay; hosts follow from .11 on.
const CLUSTER: &str = "10.66.0.1";
const NSDB_PORT: u16 = 2346;
const METRICS_PORT: u16 = 7301;
/// How long a program may take to be ready, in a debug build on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What a lab is to have.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    pub name: &'p str,
    pub hosts: usize,
    /// The largest IP packet of the underlay.
    pub underlay_mtu: u32,
    /// Whether the lab outlives the process that set it up.
    pub stays: bool,
    /// More flags of every agent.
    pub agent: &'p [&'p str],
}

impl<'p> Plan<'p> {
    /// A lab for a test: two hosts, room for whole Ethernet frames in the tunnel.
    pub fn new(name: &'p str) -> Self {
        Self { name, hosts: 2, underlay_mtu: 1600, stays: false, agent: &[] }
    }
}

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    directory: PathBuf,
    record: Record,
    stays: bool,
    agent_flags: Vec<String>,
    underlay: Namespace,
    pub hosts: Vec<Host>,
    pub control: Control,
    processes: Vec<Process>,
    /// No two VMs have the same MAC, also where one was taken away.
    vms_made: u32,
}

impl Lab {
    /// Sets up the underlay, the cluster and the hosts with their agents, which are members of
    /// one tunnel zone; returns when all are alive.
    ///
    /// # Errors
    /// When something does not come up; what was made is taken down again.
    pub fn start(plan: &Plan<'_>) -> Outcome<Self> {
        let mut lab = Self::prepare(plan)?;
        lab.start_cluster()?;
        for at in 0..plan.hosts {
            lab.add_host(plan.underlay_mtu)?;
            lab.start_agent(at)?;
        }
        lab.join_zone()?;
        Ok(lab)
    }

    /// A lab without programs: only the underlay.
    ///
    /// # Errors
    /// When there is no root, or a namespace cannot be made.
    pub fn prepare(plan: &Plan<'_>) -> Outcome<Self> {
        sweep();
        let directory = labs_directory().join(plan.name);
        if let Some(former) = Record::read(&directory)? {
            former.take_down(&directory);
        }
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(LabError::machine("remove a former lab"))?;
        }
        fs::create_dir_all(&directory).map_err(LabError::machine("make the lab's directory"))?;
        let owner = Identity::of_this_process();
        let prefix = format!("mn{:x}-{:x}", owner.pid, owner.start & 0xffff);
        let name = format!("{prefix}-{}", plan.name);
        let record = Record {
            name: plan.name.to_owned(),
            prefix: name.clone(),
            owner: Some(owner),
            ..Record::default()
        };
        let underlay = Namespace::existing(format!("{name}-underlay"));
        let rest: SocketAddr =
            format!("{CLUSTER}:{REST_PORT}").parse().expect("a constant address");
        let http = Http::new(underlay.clone(), rest, "/midonet-api");
        let mut lab = Self {
            control: Control::new(underlay.clone(), http),
            directory,
            record,
            stays: plan.stays,
            agent_flags: plan.agent.iter().map(|flag| (*flag).to_owned()).collect(),
            underlay,
            hosts: Vec::new(),
            processes: Vec::new(),
            vms_made: 0,
        };
        lab.make_underlay(plan.underlay_mtu)?;
        Ok(lab)
    }

    /// Where logs and states are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace of the underlay's bridge, where the cluster runs.
    pub fn underlay(&self) -> &Namespace {
        &self.underlay
    }

    /// Makes a namespace that is deleted with the lab.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn namespace(&mut self, name: &str) -> Outcome<Namespace> {
        let whole = format!("{}-{name}", self.record.prefix);
        self.record.namespaces.push(whole.clone());
        self.record.write(&self.directory)?;
        Namespace::create(whole)
    }

    fn make_underlay(&mut self, mtu: u32) -> Outcome {
        let underlay = self.namespace("underlay")?;
        underlay.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        underlay.ip(&format!("link set br0 mtu {mtu} up"))?;
        underlay.ip(&format!("addr add {CLUSTER}/24 dev br0"))?;
        Ok(())
    }

    /// Starts the cluster, or starts it again after it was killed.
    ///
    /// # Errors
    /// When its API does not answer in time.
    pub fn start_cluster(&mut self) -> Outcome {
        let mut command = self.underlay.command(program("midonet")?);
        command.arg("cluster").arg("--root").arg(self.directory.join("cluster"));
        command.args(["--rest", &format!("{CLUSTER}:{REST_PORT}")]);
        command.args(["--nsdb", &format!("{CLUSTER}:{NSDB_PORT}")]);
        command.args(["--metrics", &format!("{CLUSTER}:{METRICS_PORT}"), "--insecure"]);
        self.start_process("cluster", &mut command)?;
        let rest = self.control.rest().clone();
        self.wait("the REST API answers", "cluster", || {
            Ok(rest.send("GET", "/system_state", None)?.status == 200)
        })
    }

    /// Makes the next host and joins it to the underlay; no agent runs there yet.
    ///
    /// # Errors
    /// When its namespace or interfaces cannot be made.
    pub fn add_host(&mut self, mtu: u32) -> Outcome {
        let at = self.hosts.len();
        let name = format!("hv{at}");
        let namespace = self.namespace(&name)?;
        let address = format!("10.66.0.{}", 11 + at);
        let below = self.underlay.name().to_owned();
        namespace
            .ip(&format!("link add uplink mtu {mtu} type veth peer name {name} netns {below}"))?;
        self.underlay.ip(&format!("link set {name} mtu {mtu} master br0 up"))?;
        namespace.ip(&format!("addr add {address}/24 dev uplink"))?;
        namespace.ip("link set uplink up")?;
        let root = self.directory.join(&name);
        fs::create_dir_all(&root).map_err(LabError::machine("make an agent's directory"))?;
        self.hosts.push(Host { name, namespace, address, root });
        Ok(())
    }

    /// Starts a host's agent, or starts it again after it was killed; returns when it is alive.
    ///
    /// # Errors
    /// When it is not alive in time.
    pub fn start_agent(&mut self, at: usize) -> Outcome {
        let host = self.hosts[at].clone();
        // As its unit does: packets of new flows wait for this process.
        let mut command = host.namespace.command("nice");
        command
            .args(["-n", "-10"])
            .arg(program("midonet")?)
            .arg("agent")
            .arg("--root")
            .arg(&host.root)
            .args(["--name", &host.name])
            .args(&self.agent_flags);
        command.args(["--cluster", &format!("http://{CLUSTER}:{NSDB_PORT}"), "--insecure"]);
        self.start_process(&host.name, &mut command)?;
        let control = self.control.clone();
        self.wait(&format!("the agent of {} is alive", host.name), &host.name, || {
            Ok(control.alive_hosts()?.iter().any(|(name, _)| *name == host.name))
        })
    }

    /// Makes every host a member of one VXLAN tunnel zone.
    fn join_zone(&mut self) -> Outcome {
        let rest = self.control.rest();
        let body = serde_json::json!({ "name": "lab", "type": "vxlan" });
        let zone = rest.create("/tunnel_zones", &body)?;
        for host in &self.hosts {
            let body = serde_json::json!({ "hostId": self.host_id(&host.name)?, "ipAddress": host.address });
            rest.create(&format!("/tunnel_zones/{zone}/hosts"), &body)?;
        }
        Ok(())
    }

    /// The id under which a host's agent has registered.
    ///
    /// # Errors
    /// When it has not.
    pub fn host_id(&self, name: &str) -> Outcome<String> {
        let hosts = self.control.alive_hosts()?;
        let found = hosts.into_iter().find(|(known, _)| known == name).map(|(_, id)| id);
        found.ok_or_else(|| LabError::unexpected(format!("the host {name}"), "is not alive"))
    }

    /// Makes a VM and attaches it to a host. Its interface there is called as the VM is.
    ///
    /// # Errors
    /// When an interface cannot be made.
    pub fn add_vm(&mut self, name: &str, host: usize, attachment: Attachment) -> Outcome<Vm> {
        let namespace = self.namespace(name)?;
        self.vms_made += 1;
        let [.., high, low] = self.vms_made.to_be_bytes();
        let prefix = if attachment == Attachment::Tap { "tap" } else { "veth" };
        let vm = Vm {
            name: name.to_owned(),
            namespace,
            interface: format!("{prefix}-{name}"),
            mac: format!("02:00:00:{:02x}:{high:02x}:{low:02x}", host + 1),
            attachment,
        };
        let log = self.directory.join(format!("{name}.log"));
        let process = vm.attach(&self.hosts[host].namespace, &log)?;
        self.adopt(process)?;
        Ok(vm)
    }

    /// A VM on a veth, plugged into a bridge, with an address of a /24 whose gateway is .1; and the
    /// port's id. It is not waited for.
    ///
    /// # Errors
    /// When an interface cannot be made, or the API refuses.
    pub fn add_machine(
        &mut self,
        name: &str,
        host: usize,
        bridge: &str,
        address: &str,
    ) -> Outcome<(Vm, String)> {
        let vm = self.add_vm(name, host, Attachment::Veth)?;
        vm.address(&format!("{address}/24"))?;
        let net = address.rsplit_once('.').map_or(address, |(net, _)| net);
        vm.gateway(&format!("{net}.1"))?;
        let port = self.plug(&vm, host, bridge)?;
        Ok((vm, port))
    }

    /// Takes a VM away with its namespace and interfaces.
    ///
    /// # Errors
    /// When its namespace cannot be deleted.
    pub fn remove_vm(&mut self, vm: &Vm) -> Outcome {
        let holder = format!("tap_vm {}", vm.name);
        for process in self.processes.iter_mut().filter(|process| process.name() == holder) {
            process.kill();
        }
        self.processes.retain(|process| process.name() != holder);
        vm.namespace.delete()?;
        self.record.namespaces.retain(|name| name != vm.namespace.name());
        self.record.write(&self.directory)
    }

    /// A bridge port bound to a VM's interface on a host; returns the port's id.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn plug(&self, vm: &Vm, host: usize, bridge: &str) -> Outcome<String> {
        let port = self.control.bridge_port(bridge)?;
        self.control.bind(&port, &self.host_id(&self.hosts[host].name)?, &vm.interface)?;
        Ok(port)
    }

    /// A bridge port that speaks as the test wants, on a host; and the port's id.
    ///
    /// # Errors
    /// When the tap cannot be made, or the API refuses.
    pub fn add_wire(&self, name: &str, host: usize, bridge: &str) -> Outcome<(Wire, String)> {
        let host = &self.hosts[host];
        let interface = format!("w-{name}");
        let wire = Wire::open(&host.namespace, &interface)?;
        let port = self.control.bridge_port(bridge)?;
        self.control.bind(&port, &self.host_id(&host.name)?, &interface)?;
        Ok((wire, port))
    }

    /// Starts a process that ends with the lab, with its output in `NAME.log`. One that has the
    /// same name and has ended is forgotten.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_process(&mut self, name: &str, command: &mut Command) -> Outcome {
        self.processes.retain_mut(|p| p.name() != name || p.is_alive());
        let log = self.directory.join(format!("{name}.log"));
        let process = Process::start(name, &log, command)?;
        self.adopt(Some(process))
    }

    fn adopt(&mut self, process: Option<Process>) -> Outcome {
        self.processes.extend(process);
        let known = self.processes.iter().map(|p| (p.name().to_owned(), p.identity()));
        self.record.processes = known.collect();
        self.record.write(&self.directory)
    }

    /// A process of the lab: `cluster`, or a host's name for its agent.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn process(&mut self, name: &str) -> Outcome<&mut Process> {
        let found = self.processes.iter_mut().find(|p| p.name() == name);
        found.ok_or_else(|| LabError::unexpected(format!("the process {name}"), "was not started"))
    }

    fn wait(
        &mut self,
        what: &str,
        process: &str,
        mut holds: impl FnMut() -> Outcome<bool>,
    ) -> Outcome {
        let mut died = false;
        let waited = wait_for(what, READY_WITHIN, || {
            died = !self.process(process)?.is_alive();
            Ok(died || holds()?)
        });
        if waited.is_ok() && !died {
            return Ok(());
        }
        let words = self.process(process)?.last_words();
        Err(LabError::unexpected(format!("waiting until {what}"), words))
    }

    /// Leaves the lab running after this process has ended.
    ///
    /// # Errors
    /// When the state file cannot be written.
    pub fn leave_running(mut self) -> Outcome {
        self.record.owner = None;
        self.record.write(&self.directory)?;
        self.stays = true;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.stays && self.record.owner.is_none() {
            return;
        }
        for process in self.processes.iter_mut().rev() {
            process.kill();
        }
        self.record.take_down(&self.directory);
    }
}
