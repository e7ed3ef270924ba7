//! Whose agent hears what a neighbour says.

use mn_flow::ScopedAddr;
use mn_ids::{HostId, PortId, RouterId};
use mn_packet::Mac;
use mn_topology::snapshot::{Lookup, Snapshot};
use mn_topology::{Port, PortKind};

use crate::{LocalView, MacPlace, StateTables};

/// Who hears a neighbour's answer. Its frames are seen by the agent of the host where they enter,
/// and nowhere else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hearing {
    /// This agent.
    Here,
    /// The agent of another host.
    At(HostId),
    /// It is not known where the neighbour is.
    Unknown,
}

/// Links between bridges that are followed to a station.
const LINKS_MAX: usize = 4;

impl Hearing {
    /// Who hears a known neighbour of a router.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        tables: &StateTables,
        local: &LocalView,
        (router, addr): (RouterId, ScopedAddr),
    ) -> Self {
        let Some((mac, port)) = tables.neighbor(router, addr) else { return Self::Unknown };
        let Some(port) = behind(snapshot, tables, mac, port) else { return Self::Unknown };
        if local.ports.contains_key(&port) {
            return Self::Here;
        }
        tables.place(port).map_or(Self::Unknown, |place| Self::At(place.host))
    }
}

/// The port bound to an interface by which a MAC behind `port` enters: the port itself, or the one
/// its bridge, or a bridge linked to that, has learned it on.
fn behind(snapshot: &Snapshot, tables: &StateTables, mac: Mac, mut port: PortId) -> Option<PortId> {
    for _ in 0..LINKS_MAX {
        let near = loaded(snapshot, port)?;
        if near.binding().is_some() {
            return Some(port);
        }
        let far = loaded(snapshot, near.peer_id?)?;
        let PortKind::Bridge { bridge_id, .. } = far.kind else { return None };
        port = tables.mac_port(MacPlace { bridge: bridge_id, vlan: far.vlan(), mac })?;
    }
    None
}

fn loaded(snapshot: &Snapshot, port: PortId) -> Option<&Port> {
    match snapshot.port(port) {
        Lookup::Loaded(port) => Some(port),
        Lookup::Absent | Lookup::NotLoaded => None,
    }
}
