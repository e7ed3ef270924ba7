//! The one binary. It answers to `midonet COMMAND` and, through links, to the names of the guides.

mod generate;
mod logging;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  midonet cluster --root /var/lib/midonet/cluster --tls-name api.example.net
  midonet agent --cluster https://10.0.0.1:2346 --ca /etc/midolman/ca.pem
  midonet cli -e list host             the same as midonet-cli -e list host
  midonet ask status                   how this host's agent is
  midonet top                          what it does, live
  midonet generate completions bash    for the shell; the package brings them";

/// Virtual networks for a cloud.
#[derive(Parser)]
#[command(name = "midonet", version, propagate_version = true, after_help = EXAMPLES)]
struct Midonet {
    #[command(flatten)]
    logging: logging::Settings,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the agent of this host: it connects its interfaces to virtual networks.
    Agent(mn_agent::Settings),
    /// Runs a cluster node: the REST API and the state database.
    Cluster(mn_cluster::Settings),
    /// Takes commands about virtual networks: `midonet-cli`.
    #[command(disable_help_flag = true)]
    Cli {
        /// As `midonet cli --help` says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Asks this host's agent how it is, and what it has installed, tracked and counted.
    Ask(mn_agent::Question),
    /// Shows live what this host's agent does: flows, drops by cause and rule, the busiest ports.
    Top(mn_agent::Top),
    /// Takes away the datapath that an agent left behind: nothing is forwarded then.
    #[command(after_help = "\
Examples:
  midonet remove-datapath                        after the last agent of this host
  midonet remove-datapath --root /tmp/lab/hv1")]
    RemoveDatapath {
        /// The agent's directory.
        #[arg(long, value_name = "DIR", default_value = "/var/lib/midonet/agent")]
        root: std::path::PathBuf,
    },
    /// Writes man pages and completion scripts.
    #[command(subcommand, hide = true)]
    #[command(after_help = "Examples:\n  midonet generate completions bash")]
    Generate(generate::Generate),
}

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if let Some(command) = args.first().and_then(|name| linked_command(name)) {
        args.insert(1, command.into());
    }
    // The CLI reads its own options, some of which are spelled as ours.
    if args.get(1).is_some_and(|command| command == "cli") {
        return mn_cli::run(&args[1..]);
    }
    let midonet = Midonet::parse_from(args);
    midonet.logging.start();
    match midonet.command {
        Command::Cli { args } => mn_cli::run(std::iter::once("midonet-cli".into()).chain(args)),
        Command::Agent(settings) => asynchronous(async { Ok(mn_agent::run(settings).await?) }),
        Command::Cluster(settings) => asynchronous(cluster(settings)),
        Command::Ask(question) => match mn_agent::ask(&question) {
            Ok(answer) => {
                // Nothing to do about a closed terminal.
                let _ = writeln!(std::io::stdout(), "{answer}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        },
        Command::Top(settings) => match mn_agent::top(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Command::RemoveDatapath { root } => match mn_agent::remove(&root) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Command::Generate(generate) => match generate.run(Midonet::command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
    }
}

/// The subcommand that a link to this binary stands for.
fn linked_command(name: &std::ffi::OsStr) -> Option<&'static str> {
    match Path::new(name).file_name()?.to_str()? {
        "midonet-cli" => Some("cli"),
        "midolman" => Some("agent"),
        _ => None,
    }
}

/// Runs a program of tasks to its end; says why where it fails.
fn asynchronous(program: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// Prints an error with everything that caused it.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprint!("midonet: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprint!(": {cause}");
        source = cause.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

async fn cluster(settings: mn_cluster::Settings) -> Result<(), Box<dyn std::error::Error>> {
    if settings.insecure {
        tracing::warn!("--insecure: whoever can reach this node's ports controls the network");
    }
    if settings.engine == mn_cluster::Engine::Memory {
        tracing::warn!("--engine memory: everything is gone when this process ends");
    }
    let node = mn_cluster::Node::start(&settings).await?;
    tracing::info!(rest = %node.rest, agents = ?node.nsdb, metrics = %node.metrics, "serving");
    node.run().await?;
    tracing::info!("stopped");
    Ok(())
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
    fn every_command_says_what_each_argument_is_and_shows_how_it_is_called() {
        // `midonet cli` hands everything on to `midonet-cli`.
        let ours = all(&Midonet::command(), "midonet").into_iter();
        let ours = ours.filter(|(name, _)| name != "midonet cli");
        for (name, command) in ours.chain(all(&mn_cli::command(), "midonet-cli")) {
            assert!(command.get_about().is_some(), "{name}");
            let mut asks = command.get_arguments().filter(|it| !it.is_hide_set());
            assert!(asks.all(|it| it.get_help().is_some()), "{name}: an argument without a word");
            let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(shown.contains(&format!("  {name}")), "{name}: no example of it");
        }
    }
}
