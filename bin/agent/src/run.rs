//! The agent as a program.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use mn_agent_core::{NatTimeouts, Patience, PortLimits, limits};
use mn_datapath::ebpf::{Ebpf, Options, remove_datapath};
use mn_datapath::{ConnState, Datapath, DatapathError, Timeouts, UpcallLimit};
use mn_nsdb::Store;
use mn_nsdb_remote::{Remote, SettingsError, Tls};
use nix::fcntl::{Flock, FlockArg};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::bursts::{Bursts, BurstsError};
use crate::{Agent, Connections, Parts, StartError, UdpPath, interfaces, metrics, socket};

/// The flags of `midonet agent`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("trust").args(["ca", "insecure"]).required(true).multiple(true))]
#[command(after_help = "\
Examples:
  midonet agent --cluster https://10.0.0.1:2346 --ca /etc/midolman/ca.pem
  midonet agent --root /tmp/lab/hv1 --name hv1 --cluster http://10.0.0.1:2346 --insecure
      In a lab, in plain text. Several agents run on one machine, each in a network namespace.

The datapath goes on when the agent stops or dies; the next agent takes over what it finds. With
--remove-datapath a clean stop (SIGTERM, SIGINT) takes it away.")]
pub struct Settings {
    /// Directory of the agent's id, state, socket and datapath.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/midonet/agent")]
    root: PathBuf,
    /// Name of this host; by default the machine's.
    #[arg(long)]
    name: Option<String>,
    /// Cluster nodes, tried in this order.
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    cluster: Vec<String>,
    /// Speak to the cluster in plain text: for labs.
    #[arg(long)]
    insecure: bool,
    /// Certificate authority of the cluster, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Packet workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Most flows in the datapath.
    #[arg(long, default_value_t = 1 << 18)]
    flows_max: usize,
    /// Most tracked connections of this host. The size is chosen when the datapath is made.
    #[arg(long, default_value_t = 1 << 20)]
    connections_max: usize,
    /// Most tracked connections of one port; 0: no limit.
    #[arg(long, default_value_t = limits::CONNECTIONS_PER_PORT)]
    port_connections_max: u32,
    /// Most flows of packets of one port; 0: no limit. Beyond it packets are decided about one by one.
    #[arg(long, default_value_t = limits::FLOWS_PER_PORT)]
    port_flows_max: u32,
    /// Most ports that connections of one port are translated to; 0: no limit.
    #[arg(long, default_value_t = limits::NAT_PORTS_PER_PORT)]
    port_nat_ports_max: u32,
    /// Most MACs that are learned behind one port; 0: no limit. Frames to others are flooded.
    #[arg(long, default_value_t = limits::MACS_PER_PORT)]
    port_macs_max: u32,
    /// Broadcast and multicast frames a second that one port may send, half as many at once; 0: no
    /// limit.
    #[arg(long, default_value_t = limits::BROADCASTS_PER_PORT)]
    port_broadcasts_max: u32,
    /// How long a connection stays without a packet, by state: tcp-established=432000,udp=120.
    #[arg(long, value_name = "STATE=SECONDS", value_delimiter = ',', value_parser = timeout)]
    connection_timeouts: Vec<(ConnState, Duration)>,
    /// How long an address translation stays that nobody uses: tcp=7440,udp=300,icmp=60; and after
    /// both sides have ended a TCP connection or one has reset it: tcp-ended=30; while nothing has
    /// answered one, or one side has ended it: tcp-transitory=240.
    #[arg(long, value_name = "KIND=SECONDS", value_delimiter = ',', value_parser = nat_timeout)]
    nat_timeouts: Vec<(NatKeeps, Duration)>,
    /// New flows a second that one port may ask for.
    #[arg(long, default_value_t = 100_000)]
    upcall_rate: u32,
    /// New flows that one port may ask for at once.
    #[arg(long, default_value_t = 8_192)]
    upcall_burst: u32,
    #[command(flatten)]
    bursts: Bursts,
    /// Send and take tunnelled packets through the host's own IP stack, where its firewall and IPsec
    /// see them: slower. Without it they pass it by.
    #[arg(long)]
    tunnels_through_host: bool,
    /// Address that serves /metrics; by default nothing does.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Take the datapath away at a clean stop. Without it packets go on while no agent runs.
    #[arg(long)]
    remove_datapath: bool,
}

/// An agent that could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path} cannot be used", path = path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error("another agent runs on {path}", path = path.display())]
    Running { path: PathBuf },
    #[error("an agent must be root: it loads programs into the kernel")]
    NotRoot,
    #[error("the cluster's addresses cannot be used")]
    Cluster(#[from] SettingsError),
    #[error("the token buckets cannot be set")]
    Bursts(#[from] BurstsError),
    #[error("the datapath cannot be used")]
    Datapath(#[from] DatapathError),
    #[error("the interfaces of this host cannot be read")]
    Interfaces(#[source] io::Error),
    #[error("{0} cannot be listened on")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("no socket can be made for state between hosts")]
    State(#[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error("a packet worker has failed; another agent adopts what this one leaves")]
    Worker,
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Runs an agent until SIGTERM or SIGINT.
///
/// # Errors
///
/// See [`RunError`]: what makes it useless to run at all. A state database that cannot be reached
/// is none of that.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let _lock = lock(&settings.root)?;
    let buckets = settings.bursts.capacities()?;
    let remote = Remote::new(&cluster(&settings)?)?;
    let datapath: Arc<dyn Datapath> = Arc::new(Ebpf::open(&Options {
        flows_max: settings.flows_max,
        tunnels_through_host: settings.tunnels_through_host,
        connections_max: settings.connections_max,
        ..Options::new(&settings.root, usize::from(settings.workers))
    })?);
    let mut links = interfaces::interfaces().map_err(RunError::Interfaces)?;
    // The first reading: what was attached is recognised by it. The sender lives as long as this.
    drop(links.changed().await);
    let agent = Agent::start(Parts {
        root: settings.root.clone(),
        name: settings.name.clone().unwrap_or_else(machine_name),
        store: Arc::new(remote.clone()) as Arc<dyn Store>,
        datapath,
        links,
        workers: usize::from(settings.workers),
        flows_max: settings.flows_max.min(limits::FLOWS_MAX),
        upcall_limit: UpcallLimit { rate: settings.upcall_rate, burst: settings.upcall_burst },
        buckets,
        limits: PortLimits {
            flows: settings.port_flows_max,
            nat_ports: settings.port_nat_ports_max,
            macs: settings.port_macs_max,
            broadcasts: settings.port_broadcasts_max,
        },
        unused_for: limits::UNUSED_FOR,
        patience: Patience::default(),
        connections: connections(&settings),
        state_path: Arc::new(UdpPath::new().map_err(RunError::State)?),
    })?;
    let served = serve(&settings, &agent, remote).await;
    agent.stop().await;
    if settings.remove_datapath {
        remove_datapath(&settings.root)?;
    }
    served
}

fn connections(settings: &Settings) -> Connections {
    let mut timeouts = Timeouts::default();
    for (state, timeout) in &settings.connection_timeouts {
        timeouts.set(*state, *timeout);
    }
    let mut translations = NatTimeouts::default();
    for (what, timeout) in &settings.nat_timeouts {
        *match what {
            NatKeeps::Tcp => &mut translations.tcp,
            NatKeeps::Udp => &mut translations.udp,
            NatKeeps::Icmp => &mut translations.echo,
            NatKeeps::TcpEnded => &mut translations.ended,
            NatKeeps::TcpTransitory => &mut translations.transitory,
        } = *timeout;
    }
    Connections { port_max: settings.port_connections_max, timeouts, translations }
}

/// What a timeout of translations is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NatKeeps {
    Tcp,
    Udp,
    Icmp,
    TcpEnded,
    TcpTransitory,
}

/// Reads the timeout of a kind of translations.
fn nat_timeout(text: &str) -> Result<(NatKeeps, Duration), String> {
    let (name, seconds) = text.split_once('=').ok_or("it is not KIND=SECONDS")?;
    let what = match name {
        "tcp" => NatKeeps::Tcp,
        "udp" => NatKeeps::Udp,
        "icmp" => NatKeeps::Icmp,
        "tcp-ended" => NatKeeps::TcpEnded,
        "tcp-transitory" => NatKeeps::TcpTransitory,
        _ => return Err("kinds are tcp, udp, icmp, tcp-ended, tcp-transitory".to_owned()),
    };
    Ok((what, whole_seconds(seconds)?))
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("a timeout is a whole number of seconds above 0")?;
    Ok(Duration::from_secs(seconds))
}

/// Reads the timeout of a state.
fn timeout(text: &str) -> Result<(ConnState, Duration), String> {
    let names = || ConnState::ALL.map(ConnState::name).join(", ");
    let (name, seconds) = text.split_once('=').ok_or("it is not STATE=SECONDS")?;
    let state = ConnState::from_name(name).ok_or_else(|| format!("states are {}", names()))?;
    Ok((state, whole_seconds(seconds)?))
}

/// Serves whoever asks until a signal says stop.
async fn serve(settings: &Settings, agent: &Agent, remote: Remote) -> Result<(), RunError> {
    let path = settings.root.join("agent.sock");
    let listener = socket::listen(&path).map_err(|source| RunError::Path { path, source })?;
    let questions = tokio::spawn(socket::serve(listener, agent.handle().clone()));
    if let Some(address) = settings.metrics {
        let listener =
            TcpListener::bind(address).await.map_err(|e| RunError::Listen(address, e))?;
        tokio::spawn(metrics::serve(listener, agent.handle().clone()));
    }
    let (host, handler) = (agent.host(), Arc::new(agent.handle().clone()));
    let passed_on = tokio::spawn(async move { remote.serve(host, handler).await });
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(RunError::Signals)?,
        () = agent.failed() => return Err(RunError::Worker),
    }
    tracing::info!("stopping");
    questions.abort();
    passed_on.abort();
    Ok(())
}

/// Takes away the datapath that an agent left behind.
///
/// # Errors
///
/// An agent runs on it, or something of it cannot be removed.
pub fn remove(root: &Path) -> Result<(), RunError> {
    let _lock = lock(root)?;
    Ok(remove_datapath(root)?)
}

/// Makes the agent's directory, and keeps other agents off it while the file is open.
fn lock(root: &Path) -> Result<Flock<File>, RunError> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(RunError::NotRoot);
    }
    let failed = |source| RunError::Path { path: root.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
    let file = File::create(root.join("lock")).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| RunError::Running { path: root.to_owned() })
}

fn cluster(settings: &Settings) -> Result<mn_nsdb_remote::Settings, RunError> {
    let tls = match &settings.ca {
        Some(path) if !settings.insecure => {
            let pem = fs::read_to_string(path);
            Tls::Authority(pem.map_err(|source| RunError::Path { path: path.clone(), source })?)
        }
        _ => {
            tracing::warn!("the cluster is spoken to in plain text (--insecure)");
            Tls::Insecure
        }
    };
    Ok(mn_nsdb_remote::Settings { nodes: settings.cluster.clone(), tls })
}

/// The name this machine calls itself.
fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn who_gives_no_authority_is_told_of_both_ways() {
        let refused = Program::try_parse_from(["agent", "--cluster", "http://10.0.0.1:2346"]);
        let said = refused.expect_err("whom to trust is missing").to_string();
        assert!(said.contains("--ca <FILE>") && said.contains("--insecure"), "{said}");
        let lab = ["agent", "--cluster", "http://10.0.0.1:2346", "--insecure"];
        assert!(Program::try_parse_from(lab).is_ok());
        let authority = ["agent", "--cluster", "https://10.0.0.1:2346", "--ca", "ca.pem"];
        assert!(Program::try_parse_from(authority).is_ok());
    }
}
