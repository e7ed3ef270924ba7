//! A host of a lab: a namespace on the underlay with an agent.

use std::path::PathBuf;
use std::process::Command;

use crate::namespace::finish;
use crate::process::program;
use crate::{Namespace, Outcome};

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
    /// Asks the agent over its own socket, as `midonet agentctl` does.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn ask(&self, words: &[&str]) -> Outcome<String> {
        let mut command = self.control(words)?;
        finish(&mut command)
    }

    /// The command that asks the agent.
    ///
    /// # Errors
    /// When the program was not built.
    pub fn control(&self, words: &[&str]) -> Outcome<Command> {
        let mut command = self.namespace.command(program("midonet")?);
        command.args(["dpctl", "--root"]).arg(&self.root).args(words);
        Ok(command)
    }
}
