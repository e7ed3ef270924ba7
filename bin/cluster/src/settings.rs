//! What a cluster node is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Runs a cluster node: the REST API and the state database.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  midonet cluster --root /var/lib/midonet-cluster
      Serves the REST API on port 8181 and agents on port 2346, both with TLS. A certificate
      authority is made in ROOT/tls at the first start; agents and clients trust ROOT/tls/ca.pem.
  midonet cluster --root /tmp/lab --rest 127.0.0.1:8181 --nsdb 10.0.0.1:2346 --insecure
      The same in plain text, for a lab.")]
pub struct Settings {
    /// Where this node keeps its database and certificates.
    #[arg(long, value_name = "DIR", env = "MIDONET_CLUSTER_ROOT")]
    pub root: PathBuf,

    /// What keeps the state database.
    #[arg(long, value_enum, default_value_t = Engine::Embedded)]
    pub engine: Engine,

    /// Where the REST API listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8181")]
    pub rest: SocketAddr,

    /// Where agents are served. May be given more than once.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:2346")]
    pub nsdb: Vec<SocketAddr>,

    /// Where metrics are served in plain text, at /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7301")]
    pub metrics: SocketAddr,

    /// Serves everything in plain text. For labs: whoever can reach the ports controls the network.
    #[arg(long)]
    pub insecure: bool,

    /// A name or address this node's certificate is to be valid for, besides `localhost` and the
    /// addresses it listens on. May be given more than once.
    #[arg(long = "tls-name", value_name = "NAME")]
    pub tls_names: Vec<String>,

    /// A certificate chain (PEM) to use instead of a generated one.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "insecure")]
    pub tls_certificate: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

/// What keeps the state database.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Engine {
    /// A file under the node's root. Nothing acknowledged is lost.
    Embedded,
    /// Memory alone: everything is gone when the process ends. For tests.
    Memory,
}
