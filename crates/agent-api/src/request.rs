//! What an agent can be asked.

use mn_api_types::walk::WalkRequest;
use serde::{Deserialize, Serialize};

/// One line to the agent's socket. The answer is one line too.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How the agent is.
    Status,
    /// The flows that are installed, with their use; at most `limit`.
    Flows { limit: usize },
    /// Tracked connections; at most `limit`.
    Connections { limit: usize },
    /// What ports have carried and what was dropped.
    Counters,
    /// What it has done and carried, in one answer.
    Activity,
    /// Walks a described packet through the topology, without side effects.
    Walk(Box<WalkRequest>),
}
