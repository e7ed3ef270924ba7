//! What an agent has loaded of the topology.

/// An immutable picture of what is loaded.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {}
