//! Objects with their names.

use mn_api_types::walk::Named;
use mn_ids::{ChainId, HostId, Id, Kind, MirrorId, ObjectKey, PortId, QosPolicyId};
use mn_topology::DeviceId;
use mn_topology::snapshot::{Lookup, Snapshot};

/// Finds the names of objects.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    snapshot: &'a Snapshot,
}

impl<'a> Names<'a> {
    /// The names a snapshot knows. Those it does not know can be filled in later, by who has the
    /// state database at hand.
    #[must_use]
    pub const fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot }
    }

    /// A port; its own name is that of its interface, where it has one.
    #[must_use]
    pub fn port(&self, id: PortId) -> Named {
        let name = match self.snapshot.port(id) {
            Lookup::Loaded(port) => port.interface_name.clone(),
            Lookup::Absent | Lookup::NotLoaded => None,
        };
        named(id, name)
    }

    #[must_use]
    pub fn device(&self, device: DeviceId) -> Named {
        match device {
            DeviceId::Bridge(id) => named(
                id,
                match self.snapshot.bridge(id) {
                    Lookup::Loaded(bridge) => bridge.name.clone(),
                    Lookup::Absent | Lookup::NotLoaded => None,
                },
            ),
            DeviceId::Router(id) => named(
                id,
                match self.snapshot.router(id) {
                    Lookup::Loaded(router) => router.name.clone(),
                    Lookup::Absent | Lookup::NotLoaded => None,
                },
            ),
        }
    }

    #[must_use]
    pub fn chain(&self, id: ChainId) -> Named {
        named(
            id,
            match self.snapshot.chain(id) {
                Lookup::Loaded(chain) => chain.name.clone(),
                Lookup::Absent | Lookup::NotLoaded => None,
            },
        )
    }

    /// A mirror. Mirrors have no names.
    #[must_use]
    pub fn mirror(&self, id: MirrorId) -> Named {
        named(id, None)
    }

    /// A policy of service quality.
    #[must_use]
    pub fn qos_policy(&self, id: QosPolicyId) -> Named {
        let name = match self.snapshot().qos_policy(id) {
            Lookup::Loaded(policy) => policy.name.clone(),
            Lookup::Absent | Lookup::NotLoaded => None,
        };
        named(id, name)
    }

    /// What has no name: load balancers, their pools and virtual addresses, insertions.
    #[must_use]
    pub fn nameless<K: Kind>(&self, id: Id<K>) -> Named {
        named(id, None)
    }

    /// A host. A snapshot knows no hosts' names.
    #[must_use]
    pub fn host(&self, id: HostId) -> Named {
        named(id, None)
    }

    pub(crate) const fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }
}

fn named<K: Kind>(id: Id<K>, name: Option<String>) -> Named {
    let ObjectKey { class, id } = id.into();
    Named { kind: class.name().to_owned(), id, name }
}
