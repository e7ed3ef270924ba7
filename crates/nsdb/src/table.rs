//! State tables: what agents learn and tell one another.

use mn_ids::{HostId, ObjectKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Revision;

/// What a state table is about. Keys and values are JSON by the table's own schema, given here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Of a bridge. Key `VLAN/MAC` (VLAN 0: untagged), value `{"port": ID}`.
    Mac,
    /// Of a bridge: static and learned addresses for ARP suppression. Key: the address, value
    /// `{"mac": MAC}`.
    BridgeNeighbor,
    /// Of a router. Key: the address, value `{"mac": MAC, "port": ID}`.
    Neighbor,
    /// Of the whole cloud (device: nil). Key: the port's id, value `{"host": ID, "tunnel_key": N,
    /// "epoch": N}`. Durable: outlives its owner's session.
    Location,
    /// Of a bridge: the exact ports each host delivers a flood to. Key: `VLAN/HOST`, value
    /// `{"tunnel_key": N, "ports": [ID, …]}`. Durable like locations.
    FloodGroup,
    /// Of the whole cloud (device: nil). Key: the host's id, value: what the agent reports of
    /// itself and its interfaces (`agent-api::HostReport`). Gone when the session ends.
    HostReport,
}

impl TableKind {
    /// Whether entries stay when their owner's session has ended.
    #[must_use]
    pub const fn is_durable(self) -> bool {
        matches!(self, Self::Location | Self::FloodGroup)
    }
}

/// Names one table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TableId {
    pub kind: TableKind,
    /// The device it is of; nil for the tables of the whole cloud. The table goes with the device.
    pub device: Uuid,
}

impl TableId {
    /// The table of this kind of one device.
    #[must_use]
    pub fn of(kind: TableKind, device: impl Into<ObjectKey>) -> Self {
        Self { kind, device: device.into().id }
    }

    /// The table of this kind that the whole cloud shares.
    #[must_use]
    pub const fn global(kind: TableKind) -> Self {
        Self { kind, device: Uuid::nil() }
    }
}

/// Who wrote an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// An operator: stays until removed.
    Persistent,
    /// One life of a host's agent. The host's next epoch takes its entries over; when the session
    /// ends and no other comes within the grace time, they go (unless the table is durable).
    Host { id: HostId, epoch: u64 },
}

/// One entry of a table. Per key several owners may have one; the learned one with the highest
/// revision wins, then the persistent one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub owner: Owner,
    /// When it was written. The engine sets it; what a writer gives is ignored.
    #[serde(default)]
    pub revision: Revision,
}
