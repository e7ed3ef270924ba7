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

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the MidoNet workspace", version)]
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
    #[command(subcommand)]
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
    Completions { shell: clap_complete::Shell },
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
