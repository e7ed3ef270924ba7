//! The options of `midonet-cli`.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::walk::Asked;

const EXAMPLES: &str = "\
Examples:
  midonet-cli                                            a session, with aliases and completion
  midonet-cli -A --midonet-url http://127.0.0.1:8181/midonet-api -e 'list host'
  BRIDGE=$(midonet-cli -e 'bridge create name blue')     prints the new bridge's identifier
  midonet-cli -e bridge list name blue || echo none      fails when there is none
  midonet-cli < commands.txt                             a command a line
  midonet-cli --json -e 'router list'                    for programs
  midonet-cli walk hv0/tap0 10.0.1.5 --proto tcp --dport 80

Settings come from ~/.midonetrc (section [cli]: api_url, username, password, project_id, tenant, ca_file,
disable_ssl_certificate_validation), then from MIDO_API_URL, MIDO_USER, MIDO_PASSWORD, MIDO_PROJECT_ID,
MIDO_TENANT, MIDO_CA_FILE and MIDO_DISABLE_SSL_CERTIFICATE_VALIDATION, then from options.

Exit status: 0 the last command succeeded; 1 it failed, or the server cannot be used; 2 settings or options
are missing or wrong.";

/// Draws and shows virtual networks over MidoNet's REST API.
#[derive(Clone, Debug, Parser)]
#[command(name = "midonet-cli", bin_name = "midonet-cli", version, after_help = EXAMPLES)]
#[command(max_term_width = 100, next_help_heading = "Server, session and output")]
pub struct Args {
    /// Do not ask for user, password and project.
    #[arg(short = 'A', long, global = true)]
    pub no_auth: bool,
    /// Base URL of the API, such as http://127.0.0.1:8181/midonet-api.
    #[arg(long, value_name = "URL", global = true)]
    pub midonet_url: Option<String>,
    /// Certificates to trust, in PEM, instead of the public authorities.
    #[arg(long, value_name = "FILE", global = true)]
    pub ca_file: Option<String>,
    /// `true` believes any server: for laboratories.
    #[arg(long = "disable_ssl_certificate_validation", value_name = "VALUE", global = true)]
    pub disable_ssl_certificate_validation: Option<String>,
    /// User name.
    #[arg(short, long, global = true)]
    pub user: Option<String>,
    /// Project to log in to.
    #[arg(short = 'i', long, value_name = "ID", global = true)]
    pub project_id: Option<String>,
    /// Tenant to work for: bounds lists, owns new objects.
    #[arg(long, value_name = "ID", global = true)]
    pub tenant: Option<String>,
    /// Ask for the password (in a terminal only).
    #[arg(short, long, global = true)]
    pub password: bool,
    /// Show the requests.
    #[arg(short, long, global = true)]
    pub debug: bool,
    /// Print objects as JSON, as the API has them.
    #[arg(long, global = true)]
    pub json: bool,
    /// Run one command and exit; objects go by their identifiers, hosts by their names too.
    #[arg(help_heading = "Instead of a session", short, long, num_args = 1.., value_name = "COMMAND", allow_hyphen_values = true)]
    pub eval: Option<Vec<String>>,
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What to do instead of taking commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    Walk(Asked),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:\n  midonet-cli completions bash")]
    Completions {
        /// The shell that is to complete.
        shell: Shell,
    },
    /// Print the manual page.
    #[command(hide = true, after_help = "Examples:\n  midonet-cli man | man -l -")]
    Man,
    /// Words that are no command.
    #[command(external_subcommand)]
    Unknown(#[expect(dead_code, reason = "only that there are any counts")] Vec<String>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_make_sense_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn all_words_after_e_are_one_command() {
        let args = Args::parse_from(["midonet-cli", "-A", "-e", "bridge", "list", "name", "x"]);
        assert_eq!(args.eval.unwrap().join(" "), "bridge list name x");
        let args = Args::parse_from(["midonet-cli", "-e", "bridge list name x"]);
        assert_eq!(args.eval.unwrap().join(" "), "bridge list name x");
    }
}
