//! A host of a lab: a namespace on the underlay with an agent.

use std::path::PathBuf;

use crate::Namespace;

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
