//! `cargo xtask demo`: a cloud of two hosts on this machine, drawn and used as its users would,
//! with every claim checked by real programs.

pub mod checks;
mod cloud;
mod outside;
mod report;
mod traffic;

use clap::Args;
use mn_testbed::{Lab, Plan, Record, labs_directory};

pub use self::cloud::Cloud;
use crate::command::{Outcome, cargo, run};
use crate::packages;

/// The lab's name: one demo at a time.
pub const LAB: &str = "demo";

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo            leaves the lab running, and says what to try in it
  cargo xtask demo --check    takes it down and ends with 0 or 1

Needs root, a minute or two, and Debian's packages, which it installs when they are missing. A demo of
before, running or killed, is taken down first. Logs are in target/lab/demo.")]
pub struct Options {
    /// Take everything down at the end and end with 0 or 1
    #[arg(long)]
    check: bool,
}

/// Sets up, checks, and leaves the lab running unless told otherwise.
///
/// # Errors
/// When something cannot be set up, or a check fails.
pub fn run_demo(options: &Options) -> Outcome {
    let lock = prepare()?;
    let (lab, cloud) = draw()?;
    let rows = checks::run(&lab, &cloud);
    let walks = checks::walks(&lab, &cloud);
    let (lab, kill_row) = checks::survives_kill(lab, &cloud);
    let rows: Vec<report::Row> = rows.into_iter().chain(kill_row).collect();
    println!("\n{}", report::table(&rows));
    println!("{walks}");
    let failed = rows.iter().filter(|row| !row.passed()).count();
    if options.check {
        drop(lab);
        println!("The lab is taken down; its logs stay in {}", directory());
    } else {
        lab.leave_running().map_err(|e| e.to_string())?;
        println!("{}", what_next());
    }
    drop(lock);
    match failed {
        0 => {
            println!("All {} checks passed.", rows.len());
            Ok(())
        }
        _ => Err(format!("{failed} of {} checks failed", rows.len())),
    }
}

/// Root, packages, programs, and the lock that keeps a second demo out.
pub fn prepare() -> Outcome<std::fs::File> {
    need_root("this makes network namespaces and loads BPF programs")?;
    packages::install_missing()?;
    run(cargo().args(["build", "--locked", "-p", "midonet", "-p", "mn-testbed", "--bins"]))?;
    std::fs::create_dir_all(labs_directory()).map_err(|e| format!("make target/lab: {e}"))?;
    let path = labs_directory().join("demo.lock");
    let lock = std::fs::File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    lock.try_lock().map_err(|_| "another demo is being set up on this machine".to_owned())?;
    Ok(lock)
}

/// Refuses to go on without root, saying what for.
pub fn need_root(what: &str) -> Outcome {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    Err(format!("{what}: it needs root. Run it with `sudo -E env PATH=\"$PATH\" cargo xtask …`"))
}

/// Starts the lab and draws the network.
pub fn draw() -> Outcome<(Lab, Cloud)> {
    if matches!(Record::read(&labs_directory().join(LAB)), Ok(Some(_))) {
        println!("Taking down the lab of before");
    }
    println!("Setting up: an underlay, a cluster, two hosts with an agent each");
    println!("  logs: {}/*.log", directory());
    let plan = Plan { stays: true, ..Plan::new(LAB) };
    let mut lab = Lab::start(&plan).map_err(|e| e.to_string())?;
    println!("Drawing with midonet-cli and the REST API at {}", lab.control.rest().url());
    let cloud = Cloud::draw(&mut lab).map_err(|e| e.to_string())?;
    Ok((lab, cloud))
}

fn directory() -> String {
    labs_directory().join(LAB).display().to_string()
}

fn what_next() -> String {
    format!(
        "The lab is still running. Try:\n\
         \x20 cargo xtask lab exec web ping 10.1.2.12         # a VM pings one on the other host\n\
         \x20 cargo xtask lab exec web traceroute -n 10.1.2.12\n\
         \x20 cargo xtask lab exec street ping 203.0.113.5    # from outside, to web's floating address\n\
         \x20 cargo xtask lab exec cluster midonet-cli -A     # draw, list, change: `help` says how\n\
         \x20 cargo xtask lab exec hv0 tcpdump -ni uplink udp # packets in the tunnel\n\
         \x20 cargo xtask lab exec hv0 midonet ask status     # an agent; flows, connections, counters\n\
         \x20 cargo xtask lab status                          # what runs, and its logs in {}\n\
         Stop it with:\n\
         \x20 cargo xtask lab down",
        directory()
    )
}
