//! `cargo xtask lab`: the demo's lab, for exploring.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use clap::Subcommand;
use mn_testbed::{Namespace, Record, labs_directory, program};

use crate::command::Outcome;
use crate::demo::{self, LAB};

#[derive(Subcommand)]
pub enum Task {
    /// Start the lab and draw the demo's network, without checking anything
    Up,
    /// Say what runs, where, and where its logs are
    Status,
    /// Take the lab down
    Down,
    /// Run a command on a host or VM: `lab exec hv0 ip addr`, `lab exec web ping 10.1.2.12`
    Exec {
        /// hv0, hv1, cluster, or a VM's name
        host: String,
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
            let (lab, _) = demo::draw()?;
            lab.leave_running().map_err(|e| e.to_string())?;
            println!("The lab is up: cargo xtask lab exec web ping 10.1.2.12");
            Ok(())
        }
        Task::Status => status(),
        Task::Down => {
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
        let alias = namespace.strip_prefix(&format!("{}-", record.prefix)).unwrap_or(namespace);
        println!("  {alias:10} {namespace}");
    }
    println!("Processes:");
    for (name, process) in &record.processes {
        let state = if process.is_alive() { "runs" } else { "is dead" };
        let log = directory().join(format!("{}.log", name.trim_start_matches("tap_vm ")));
        println!("  {name:12} {:>8} {state:8} {}", process.pid, log.display());
    }
    Ok(())
}

/// Becomes the command, in the namespace of the host, with `midonet` and its links in the path.
fn exec(host: &str, command: &[String]) -> Outcome {
    let record = record()?;
    let alias = if host == "cluster" { "underlay" } else { host };
    let name = format!("{}-{alias}", record.prefix);
    if !record.namespaces.contains(&name) {
        return Err(format!("there is no {host} in the lab: cargo xtask lab status"));
    }
    let programs = links()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(paths).map_err(|e| format!("the path: {e}"))?;
    let (first, rest) = command.split_first().ok_or("no command")?;
    let error = Namespace::existing(name)
        .command(first)
        .args(rest)
        .env("PATH", path)
        .env("MIDO_API_URL", "http://10.66.0.1:8181/midonet-api")
        .exec();
    Err(format!("cannot run {first} on {host}: {error}"))
}

/// A directory with `midonet` and the names it answers to.
fn links() -> Outcome<PathBuf> {
    let programs = directory().join("bin");
    std::fs::create_dir_all(&programs).map_err(|e| format!("{}: {e}", programs.display()))?;
    let midonet = program("midonet").map_err(|e| e.to_string())?;
    for name in ["midonet", "midonet-cli", "mm-dpctl"] {
        let link = programs.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&midonet, &link)
                .map_err(|e| format!("{}: {e}", link.display()))?;
        }
    }
    Ok(programs)
}
