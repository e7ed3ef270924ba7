//! What control thread and packet workers tell one another.

use std::net::IpAddr;
use std::sync::Arc;

use mn_agent_core::{Holding, Lease, LocalView, MacPlace, Need, RowChange, TableName};
use mn_datapath::InstalledFlow;
use mn_flow::{Cookie, ScopedAddr, Tag};
use mn_ids::{BridgeId, L2InsertionId, ObjectKey, PortId, RouterId, RuleId};
use mn_packet::Mac;
use mn_simulation::Entry;
use mn_time::Instant;
use mn_topology::snapshot::Snapshot;
use mn_topology::{DeviceId, NatTarget};

use super::nat::{Leased, Translated};
use super::peers::Told;
use super::walk::{WalkAsked, Walked};

/// The world as of one revision: what a worker decides by from here on, and what that changes.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) local: Arc<LocalView>,
    /// Tables of which nothing is known any more; said before the rows.
    pub(crate) forgotten: Vec<TableName>,
    pub(crate) rows: Vec<RowChange>,
    pub(crate) complete: Vec<TableName>,
    /// What changed, besides what the rows change.
    pub(crate) tags: Vec<Tag>,
}

/// Something an agent learned, ahead of the state tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    Mac(MacPlace, PortId),
    BridgeNeighbor {
        bridge: BridgeId,
        addr: IpAddr,
        mac: Mac,
    },
    Neighbor {
        router: RouterId,
        port: PortId,
        addr: ScopedAddr,
        mac: Mac,
    },
    /// Nobody answers for it.
    NeighborGone {
        router: RouterId,
        addr: ScopedAddr,
    },
}

/// A packet of our own that nobody asked for.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) entry: Entry,
    pub(crate) frame: Vec<u8>,
    pub(crate) reach: Reach,
}

/// How far a packet of our own goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// Wherever the network takes it.
    All,
    /// To this host's ports alone: other hosts send their own.
    Here,
}

/// To a worker.
#[derive(Debug)]
pub(crate) enum ToWorker {
    News(Arc<News>),
    /// Another worker learned this.
    Heard(Heard),
    /// This MAC aged before the table showed it.
    Unlearn(MacPlace),
    /// When the datapath last used these flows.
    Uses(Vec<(Cookie, Instant)>),
    /// Flows of an earlier agent, and when this one began to look for them.
    Adopt(Vec<InstalledFlow>, Instant),
    /// Another worker, by its number, tells of a translation.
    Translated {
        from: u8,
        told: Translated,
    },
    /// Another host tells of translations.
    Told(Told),
    /// An answer to [`FromWorker::Ports`].
    Ports(Leased),
    /// These blocks are another host's now.
    PortsLost(Lease),
    /// A rule that will want ports was loaded for this device.
    Prepare {
        device: DeviceId,
        rule: RuleId,
        targets: Vec<NatTarget>,
    },
    /// Sends a frame of ours.
    Send(Announcement),
    /// Tells what would become of a packet.
    Walk(Box<WalkAsked>),
}

/// From a worker.
#[derive(Debug)]
pub(crate) enum FromWorker {
    /// A walk needs these.
    Load(Vec<ObjectKey>),
    /// A walk needs to know where these are.
    Places(Vec<PortId>),
    Heard {
        worker: usize,
        heard: Heard,
    },
    /// A heartbeat came back from the inspecting machine of an insertion.
    Heartbeat(L2InsertionId),
    /// A MAC moved too often and is held where it is.
    MacHeld(MacPlace),
    /// MACs that flows are from or to, and what else flows read.
    InUse {
        macs: Vec<MacPlace>,
        held: Vec<Holding>,
    },
    /// Ports run short.
    Ports {
        worker: usize,
        need: Need,
    },
    /// These ports are of no use any more.
    GiveBack(Lease),
    /// An answer to [`ToWorker::Walk`].
    Walked(Box<Walked>),
}
