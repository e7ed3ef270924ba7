//! `cargo xtask lab`: the demo's lab, for exploring.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use clap::Subcommand;
use mn_testbed::{Namespace, Record, labs_directory, program};

use crate::command::Outcome;
use crate::demo::{self, LAB, checks};

/// The cluster runs in the namespace of the underlay.
const CLUSTER: &str = "cluster";
const UNDERLAY: &str = "underlay";

/// What `lab --help` shows.
pub const EXAMPLES: &str = "\
Examples:
  cargo xtask lab up
  cargo xtask lab status
  cargo xtask lab exec web ping -c 3 10.1.2.12
  cargo xtask lab down";

#[derive(Subcommand)]
pub enum Task {
    /// Start the lab and draw the demo's network, without checking anything
    Up,
    /// Say what runs, where, and where its logs are
    Status,
    /// Take the lab down
    Down,
    /// Run a command on a host or VM
    #[command(after_help = "\
Examples:
  cargo xtask lab exec hv0 ip addr                  on a host
  cargo xtask lab exec hv0 midonet ask status       its agent
  cargo xtask lab exec web ping 10.1.2.12           in a VM
  cargo xtask lab exec cluster midonet-cli -A       a session with the cloud")]
    Exec {
        /// hv0, hv1, cluster, or a VM's name
        host: String,
        /// A program of this machine, and its arguments
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Does one of the tasks.
///
/// # Errors
/// When there is no lab, or something in it refuses.
pub fn run(task: &Task) -> Outcome {
    match task {
        Task::Up => {
            let _lock = demo::prepare()?;
            let (lab, cloud) = demo::draw()?;
            let leases = checks::boot(&lab, &cloud).map_err(|why| format!("no lab: {why}"))?;
            println!("The machines have their addresses: {leases}");
            lab.leave_running().map_err(|e| e.to_string())?;
            println!("The lab is up: cargo xtask lab exec web ping 10.1.2.12");
            Ok(())
        }
        Task::Status => status(),
        Task::Down => {
            demo::need_root("a lab has network namespaces")?;
            record()?.take_down(&directory());
            println!("The lab is down; its logs stay in {}", directory().display());
            Ok(())
        }
        Task::Exec { host, command } => exec(host, command),
    }
}

fn directory() -> PathBuf {
    labs_directory().join(LAB)
}

fn record() -> Outcome<Record> {
    let record = Record::read(&directory()).map_err(|e| e.to_string())?;
    record.ok_or_else(|| "there is no lab: cargo xtask lab up, or cargo xtask demo".to_owned())
}

fn status() -> Outcome {
    let record = record()?;
    println!("Namespaces:");
    for namespace in &record.namespaces {
        println!("  {:10} {namespace}", alias(&record, namespace));
    }
    println!("Processes:");
    for (name, process) in &record.processes {
        let state = if process.is_alive() { "runs" } else { "is dead" };
        let log = directory().join(format!("{}.log", name.trim_start_matches("tap_vm ")));
        println!("  {name:12} {:>8} {state:8} {}", process.pid, log.display());
    }
    if record.processes.iter().any(|(_, process)| !process.is_alive()) {
        println!(
            "Without an agent, a host's known flows go on and new ones from its VMs are dropped; without \
             the cluster\nnothing can be drawn. `cargo xtask lab up` makes the whole lab anew."
        );
    }
    Ok(())
}

/// Becomes the command, in the namespace of the host, with `midonet` and its links in the path.
fn exec(host: &str, command: &[String]) -> Outcome {
    demo::need_root("a command runs in a network namespace of the lab")?;
    let record = record()?;
    let name = namespace_of(&record, host)?;
    if !Namespace::existing(&name).path().exists() {
        let restarted = "its namespaces are gone, perhaps the machine was restarted";
        return Err(format!("the lab does not run: {restarted}: cargo xtask lab up"));
    }
    let programs = links()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(paths).map_err(|e| format!("the path: {e}"))?;
    let (first, rest) = command.split_first().ok_or("no command")?;
    if !is_program(first, &path) {
        return Err(format!(
            "there is no program {first} on this machine, whose programs {host} has"
        ));
    }
    let error = Namespace::existing(name)
        .command(first)
        .args(rest)
        .env("PATH", path)
        .env("MIDO_API_URL", "http://10.66.0.1:8181/midonet-api")
        .env("MIDONET_AGENT_ROOT", directory().join(host))
        .exec();
    Err(format!("cannot run {first} on {host}: {error}"))
}

/// The namespace that a host, a VM or the cluster is.
fn namespace_of(record: &Record, host: &str) -> Outcome<String> {
    let within = |name: &str| format!("{}-{name}", record.prefix);
    let name = within(if host == CLUSTER { UNDERLAY } else { host });
    if record.namespaces.contains(&name) {
        return Ok(name);
    }
    let known: Vec<&str> = record.namespaces.iter().map(|name| alias(record, name)).collect();
    Err(format!("there is no {host} in the lab; there are {}", known.join(", ")))
}

/// What users call a namespace of the lab.
fn alias<'n>(record: &Record, namespace: &'n str) -> &'n str {
    let own = namespace.strip_prefix(&format!("{}-", record.prefix)).unwrap_or(namespace);
    if own == UNDERLAY { CLUSTER } else { own }
}

/// Whether a name is that of a program: a path, or found in the path.
fn is_program(name: &str, path: &OsStr) -> bool {
    name.contains('/') || std::env::split_paths(path).any(|at| at.join(name).is_file())
}

/// A directory with `midonet` and the names it answers to.
fn links() -> Outcome<PathBuf> {
    let programs = directory().join("bin");
    std::fs::create_dir_all(&programs).map_err(|e| format!("{}: {e}", programs.display()))?;
    let midonet = program("midonet").map_err(|e| e.to_string())?;
    for name in ["midonet", "midonet-cli"] {
        let link = programs.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&midonet, &link)
                .map_err(|e| format!("{}: {e}", link.display()))?;
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let namespaces = ["mn1-demo-underlay", "mn1-demo-hv0", "mn1-demo-web"];
        Record {
            prefix: "mn1-demo".to_owned(),
            namespaces: namespaces.map(str::to_owned).into(),
            ..Record::default()
        }
    }

    #[test]
    fn who_is_not_in_the_lab_is_refused_with_those_who_are() {
        assert_eq!(namespace_of(&record(), "cluster").unwrap(), "mn1-demo-underlay");
        assert_eq!(namespace_of(&record(), "web").unwrap(), "mn1-demo-web");
        let refused = namespace_of(&record(), "hv9").unwrap_err();
        assert_eq!(refused, "there is no hv9 in the lab; there are cluster, hv0, web");
    }

    #[test]
    fn a_command_is_a_program_of_the_path_or_a_path() {
        let path = OsStr::new("/nowhere:/bin:/usr/bin");
        assert!(is_program("sh", path) && is_program("/opt/own", path));
        assert!(!is_program("no-such-program", path));
    }
}
