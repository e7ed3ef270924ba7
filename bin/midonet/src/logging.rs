//! Where logs go and how they look.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged, to standard error.
#[derive(Args)]
pub struct Settings {
    /// What is logged: error, warn, info, debug or trace; also per part, as in `info,mn_agent=debug`.
    #[arg(long, global = true, env = "MIDONET_LOG", default_value = "info", value_name = "FILTER")]
    log: String,

    /// How a line looks.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Starts logging. A filter that cannot be read is said so and `info` used.
    pub fn start(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|error| {
            eprintln!("midonet: --log {}: {error}; using info", self.log);
            EnvFilter::new("info")
        });
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = std::io::stderr().is_terminal() && !plain;
        let logging = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(colour);
        match self.log_format {
            Format::Text => logging.init(),
            Format::Json => logging.json().init(),
        }
    }
}
