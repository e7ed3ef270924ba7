//! A host of a lab: a namespace on the underlay with an agent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

use crate::{LabError, Namespace, Outcome};

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// What the agent calls it, and `lab exec`: hv0, hv1, …
    pub name: String,
    pub namespace: Namespace,
    /// Its address in the underlay, the tunnel's end.
    pub address: String,
    /// The agent's directory.
    pub root: PathBuf,
}

impl Host {
    /// The agent's answer to a request, by its socket.
    ///
    /// # Errors
    /// When no agent answers, or something that is no JSON.
    pub fn ask(&self, request: &Value) -> Outcome<Value> {
        let path = self.root.join("agent.sock");
        let asked = || {
            let mut socket = UnixStream::connect(&path)?;
            writeln!(socket, "{request}")?;
            let mut line = String::new();
            BufReader::new(socket).read_line(&mut line)?;
            Ok::<String, std::io::Error>(line)
        };
        let line = asked().map_err(LabError::machine(format!("ask {}", path.display())))?;
        serde_json::from_str(&line).map_err(|e| LabError::unexpected(line, e.to_string()))
    }
}
