//! State tables: what agents learn and tell one another.

use mn_ids::{Class, HostId, ObjectKey};
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
    /// Of a router. Key: the address, where it is link-local with the port of its link
    /// (`fe80::1%ID`), value `{"mac": MAC, "port": ID}`.
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
    /// Of a router: blocks of 64 ports leased for address translation. Key: `ADDRESS/BLOCK`, value
    /// `{}`. Exclusive.
    RouterPorts,
    /// Likewise of a bridge.
    BridgePorts,
    /// Of the whole cloud (device: nil). Key: the tunnel zone's id, value `{"secret": HEX}`: what
    /// its members authenticate state messages with. The first agent that needs it makes it.
    /// Exclusive. Shown to agents alone.
    ZoneSecret,
    /// Of a pool: what the checks of its members came to. Key: the member's id, value `{"status":
    /// "ACTIVE"}` or `{"status": "INACTIVE"}`. The last verdict counts, whichever host's it is.
    MemberHealth,
    /// Of an L2 insertion: whether its inspecting machine is there. Key: the service port's id, value
    /// `{"status": "ACTIVE"}` or `{"status": "INACTIVE"}`. The last verdict counts.
    InsertionHealth,
}

impl TableKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Mac,
        Self::BridgeNeighbor,
        Self::Neighbor,
        Self::Location,
        Self::FloodGroup,
        Self::HostReport,
        Self::RouterPorts,
        Self::BridgePorts,
        Self::ZoneSecret,
        Self::MemberHealth,
        Self::InsertionHealth,
    ];

    /// As in stored data: `flood_group`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::BridgeNeighbor => "bridge_neighbor",
            Self::Neighbor => "neighbor",
            Self::Location => "location",
            Self::FloodGroup => "flood_group",
            Self::HostReport => "host_report",
            Self::RouterPorts => "router_ports",
            Self::BridgePorts => "bridge_ports",
            Self::ZoneSecret => "zone_secret",
            Self::MemberHealth => "member_health",
            Self::InsertionHealth => "insertion_health",
        }
    }

    /// How long entries stay when their owner's session has ended.
    #[must_use]
    pub const fn lifetime(self) -> Lifetime {
        match self {
            Self::Mac
            | Self::BridgeNeighbor
            | Self::Neighbor
            | Self::RouterPorts
            | Self::BridgePorts
            | Self::MemberHealth
            | Self::InsertionHealth => Lifetime::Grace,
            Self::Location | Self::FloodGroup | Self::ZoneSecret => Lifetime::Durable,
            Self::HostReport => Lifetime::Session,
        }
    }

    /// Whether entries stay when their owner's session has ended.
    #[must_use]
    pub const fn is_durable(self) -> bool {
        matches!(self.lifetime(), Lifetime::Durable)
    }

    /// Whether a key is one owner's alone: while a host has an entry of a key, no other can write
    /// one. Such an entry is a lease.
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::RouterPorts | Self::BridgePorts | Self::ZoneSecret)
    }

    /// What an entry is about: it needs that object, and goes with it.
    #[must_use]
    pub const fn subject(self) -> Subject {
        match self {
            Self::Mac | Self::BridgeNeighbor | Self::FloodGroup | Self::BridgePorts => {
                Subject::Device(Class::Bridge)
            }
            Self::Neighbor | Self::RouterPorts => Subject::Device(Class::Router),
            Self::Location => Subject::Key(Class::Port),
            Self::HostReport => Subject::Key(Class::Host),
            Self::ZoneSecret => Subject::Key(Class::TunnelZone),
            Self::MemberHealth => Subject::Device(Class::Pool),
            Self::InsertionHealth => Subject::Device(Class::L2Insertion),
        }
    }
}

/// How long a host's entries stay when its session has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// They go with the session.
    Session,
    /// They stay for the grace time, and longer if the host opens its next session within it.
    Grace,
    /// They stay until somebody removes them, or the host or what they are about is deleted.
    Durable,
}

/// The object an entry is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The device of its table, of this class.
    Device(Class),
    /// The object of this class whose id is the entry's key.
    Key(Class),
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

/// The entry of one key that counts: the learned one with the highest revision, else the
/// persistent one.
///
/// ```
/// # use mn_nsdb::{Entry, Owner, Revision, winner};
/// # use mn_ids::HostId;
/// let entry = |owner, revision| Entry {
///     key: "0/02:00:00:00:00:01".to_owned(),
///     value: "{}".to_owned(),
///     owner,
///     revision: Revision(revision),
/// };
/// let host = Owner::Host { id: HostId::random(), epoch: 1 };
/// let entries = [entry(host, 4), entry(Owner::Persistent, 9)];
/// assert_eq!(winner(&entries), Some(&entries[0]));
/// ```
#[must_use]
pub fn winner<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<&'a Entry> {
    let rank = |entry: &Entry| (entry.owner != Owner::Persistent, entry.revision, entry.owner);
    entries.into_iter().max_by_key(|entry| rank(entry))
}
