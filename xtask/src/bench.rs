//! `cargo xtask bench`: how fast packets go, beside what the kernel does without us.
//!
//! Layouts are measured in turns inside each round, so that a disturbance of the machine meets all
//! of them. Senders and request servers are pinned to CPU 0, receivers of streams and datagrams to
//! CPU 1: unpinned, request rates vary by a factor of four on machines whose cores wake each other
//! slowly.

mod layout;
mod measure;
mod report;
mod statistics;

use clap::Args;

use self::layout::Layouts;
use self::measure::Series;
use crate::command::{Outcome, cargo, root, run};
use crate::packages;

#[derive(Args)]
pub struct Options {
    /// Three short rounds instead of nine: for a first look, not for figures
    #[arg(long)]
    quick: bool,
    /// Rounds; below nine no figure fails
    #[arg(long)]
    rounds: Option<usize>,
    /// Only layouts whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Set by the bench itself when it has built everything for speed
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds for speed, measures, prints and writes what was found.
///
/// # Errors
/// When a layout cannot be set up, or a figure that must be reached is out of reach.
pub fn run_bench(options: &Options) -> Outcome {
    if !nix::unistd::Uid::effective().is_root() {
        return Err("the bench needs root: namespaces and BPF".to_owned());
    }
    packages::install_missing()?;
    if !options.built {
        return rebuilt(options);
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 9 });
    let seconds = if options.quick { 0.5 } else { 1.0 };
    println!("Setting up the layouts");
    let layouts = Layouts::start().map_err(|e| e.to_string())?;
    let chosen: Vec<&layout::Layout> = layouts
        .all
        .iter()
        .filter(|l| options.only.as_ref().is_none_or(|only| l.name.contains(only.as_str())))
        .collect();
    let mut series = Series::default();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        measure::round(&chosen, seconds, &mut series);
    }
    let path = report::write(&root(), &chosen, &series)?;
    println!("{}", report::table(&chosen, &series));
    let (musts, reached) = report::musts(&series, rounds);
    println!("{musts}\nwritten to {}", path.display());
    if reached { Ok(()) } else { Err("a figure that must be reached is out of reach".to_owned()) }
}

/// Builds in release mode and starts this program anew from there, so that it finds the fast
/// programs beside itself.
fn rebuilt(options: &Options) -> Outcome {
    let bins = ["-p", "midonet", "-p", "mn-testbed", "-p", "xtask", "--bins"];
    run(cargo().args(["build", "--release", "--locked"]).args(bins))?;
    let mut again = cargo();
    again.args(["run", "--release", "--quiet", "-p", "xtask", "--", "bench", "--built"]);
    if options.quick {
        again.arg("--quick");
    }
    if let Some(rounds) = options.rounds {
        again.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(only) = &options.only {
        again.args(["--only", only]);
    }
    run(&mut again)
}
