//! Tasks of the workspace: `cargo xtask TASK`. What each does is said by `cargo xtask --help`.

mod arrows;
mod bench;
mod command;
mod demo;
mod features;
mod lab;
mod licences;
mod metadata;
mod old_kernel;
mod package;
mod packages;
mod paint;
mod preflight;
mod spdx;
mod test_run;
mod tidy;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                     a cloud on this machine, to see and to try
  cargo xtask test                     every test; as root
  cargo xtask lab exec web ping -c 3 10.1.2.12
  cargo xtask bench --quick            a first look at speed
  cargo xtask package                  a .deb
  cargo xtask preflight --quick        before a commit

What a task does, and its examples: cargo xtask TASK --help";

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
#[command(about = "Tasks of the MidoNet workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up a cloud of two hosts on this machine, draw a network, check it with real traffic
    Demo(demo::Options),
    /// Measure speed beside a raw veth pair, Linux bridge and router, and kernel VXLAN
    Bench(bench::Options),
    /// Explore the demo's lab
    #[command(subcommand, after_help = lab::EXAMPLES)]
    Lab(lab::Task),
    /// Run every test there is, labs in network namespaces included (needs root)
    Test(test_run::Options),
    /// Run the datapath's tests on Linux 6.1, in an emulated machine (needs root)
    OldKernel(old_kernel::Options),
    /// Do what CI does: formatting, lints, documentation, checks of the tree, tests
    Preflight(preflight::Options),
    /// Compare the dependencies between our crates with arrows.toml
    Arrows,
    /// Check lengths, names and leftovers in the source
    #[command(after_help = "Examples:\n  cargo xtask tidy\n  cargo xtask tidy --bless")]
    Tidy {
        /// Write today's long functions down as the limit
        #[arg(long)]
        bless: bool,
    },
    /// Check licences and banned crates of everything we depend on against deny.toml
    Licences,
    /// Install the Debian packages that builds and labs need
    Setup,
    /// Make a Debian package of the release build
    Package(package::Options),
    /// Print a completion script for this command
    #[command(
        after_help = "Examples:\n  cargo xtask completions bash > /etc/bash_completion.d/cargo-xtask"
    )]
    Completions {
        /// The shell that is to complete
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(options) => demo::run_demo(&options),
        Task::Bench(options) => bench::run_bench(&options),
        Task::Lab(task) => lab::run(&task),
        Task::Test(options) => test_run::run_all(&options),
        Task::OldKernel(options) => old_kernel::run_tests(&options),
        Task::Preflight(options) => preflight::run_steps(&options),
        Task::Arrows => arrows::check(),
        Task::Tidy { bless } => tidy::check(bless),
        Task::Licences => licences::check(),
        Task::Package(options) => package::build(&options),
        Task::Setup => packages::install_missing(),
        Task::Completions { shell } => {
            let name = "cargo-xtask";
            clap_complete::generate(shell, &mut Arguments::command(), name, &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command below one, with its whole name.
    fn all(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let mut found = vec![(name.to_owned(), command.clone())];
        for inner in command.get_subcommands().filter(|it| it.get_name() != "help") {
            found.extend(all(inner, &format!("{name} {}", inner.get_name())));
        }
        found
    }

    #[test]
    fn every_task_says_what_each_argument_is_and_shows_how_it_is_called() {
        for (name, command) in all(&Arguments::command(), "cargo xtask") {
            assert!(command.get_about().is_some(), "{name}");
            let mut asks = command.get_arguments().filter(|it| !it.is_hide_set());
            assert!(asks.all(|it| it.get_help().is_some()), "{name}: an argument without a word");
            if command.get_arguments().count() == 0 && !command.has_subcommands() {
                continue;
            }
            let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(shown.contains(&format!("  {name}")), "{name}: no example of it");
        }
    }
}
