//! What is watched.

use std::collections::HashSet;

use mn_ids::{Class, HostId, ObjectKey, PortId};
use mn_nsdb::{Selector, TableId, TableKind};
use mn_topology::snapshot::Loaded;

/// The selectors asked for so far.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    asked: HashSet<Selector>,
    new: Vec<Selector>,
}

impl Subscriptions {
    /// What every agent watches: its own host, the ports bound to it, the tunnel zones.
    pub(crate) fn of_host(host: HostId) -> Self {
        let mut all = Self::default();
        all.want(Selector::Object(host.into()));
        all.want(Selector::Referrers { to: host.into(), class: Class::Port });
        all.want(Selector::Class(Class::TunnelZone));
        all
    }

    /// An object with all that belongs to it: what its lookup needs, and its tables.
    pub(crate) fn object(&mut self, key: ObjectKey) {
        for loaded in Loaded::of(key) {
            self.want(selector(loaded));
        }
        let tables: &[TableKind] = match key.class {
            Class::Bridge => &[TableKind::Mac, TableKind::BridgeNeighbor, TableKind::FloodGroup],
            Class::Router => &[TableKind::Neighbor],
            _ => &[],
        };
        for kind in tables {
            self.want(Selector::Table(TableId { kind: *kind, device: key.id }));
        }
    }

    /// Where a port is.
    pub(crate) fn place(&mut self, port: PortId) {
        let table = TableId::global(TableKind::Location);
        self.want(Selector::Entry { table, key: port.uuid() });
    }

    /// What a host reports.
    pub(crate) fn report(&mut self, host: HostId) {
        let table = TableId::global(TableKind::HostReport);
        self.want(Selector::Entry { table, key: host.uuid() });
    }

    /// What was added since the last call.
    pub(crate) fn take_new(&mut self) -> Vec<Selector> {
        std::mem::take(&mut self.new)
    }

    /// Everything: after a new watch was opened.
    pub(crate) fn all(&self) -> Vec<Selector> {
        self.asked.iter().copied().collect()
    }

    fn want(&mut self, selector: Selector) {
        if self.asked.insert(selector) {
            self.new.push(selector);
        }
    }
}

fn selector(loaded: Loaded) -> Selector {
    match loaded {
        Loaded::Object(key) => Selector::Object(key),
        Loaded::Referrers { to, class } => Selector::Referrers { to, class },
    }
}

/// What a complete selector means to a snapshot.
pub(crate) fn loaded(selector: &Selector) -> Option<Loaded> {
    match *selector {
        Selector::Object(key) => Some(Loaded::Object(key)),
        Selector::Referrers { to, class } => Some(Loaded::Referrers { to, class }),
        Selector::Class(_) | Selector::Table(_) | Selector::Entry { .. } => None,
    }
}
