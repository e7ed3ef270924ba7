//! A topology with its state, and packets sent into it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mn_flow::Tag;
use mn_ids::{Class, Id, Kind, ObjectKey, PortId};
use mn_packet::Mac;
use mn_simulation::{Buffers, Entry, Inputs, Packet, neighbor_query, simulate, walk::Walk};
use mn_time::Instant;
use mn_topology::snapshot::{Loaded, Lookup, Snapshot};
use mn_topology::{AnyObject, Port, PortKind};

use crate::packet::{Built, build};
use crate::reader::read;
use crate::sent::Sent;
use crate::{Tables, named};

/// A machine behind a port.
#[derive(Clone, Debug)]
pub struct Station {
    pub port: PortId,
    pub mac: Mac,
    pub addrs: Vec<IpAddr>,
    /// The device of its port, by name.
    pub device: String,
}

/// A topology, what is learned in it, and the machines behind its ports.
#[derive(Clone, Debug)]
pub struct Lab {
    text: String,
    pub objects: BTreeMap<ObjectKey, AnyObject>,
    /// Every object there ever was: of those, absence is known too.
    known: BTreeSet<ObjectKey>,
    pub snapshot: Snapshot,
    pub tables: Tables,
    pub stations: BTreeMap<String, Station>,
    /// The largest packet of the underlay's tunnels.
    pub mtu: u32,
}

impl Lab {
    /// Reads a lab; all of it is loaded.
    ///
    /// # Panics
    ///
    /// For a text that is no lab: the test is wrong.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let read = read(text);
        let objects: BTreeMap<ObjectKey, AnyObject> =
            read.objects.into_iter().map(|object| (object.key(), object)).collect();
        let known = objects.keys().copied().collect();
        Self {
            text: text.to_owned(),
            snapshot: whole(&objects, &known),
            objects,
            known,
            tables: read.tables,
            stations: read.stations,
            mtu: 1450,
        }
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The snapshot made of all objects at once, whatever changes led to them.
    #[must_use]
    pub fn loaded_at_once(&self) -> Snapshot {
        whole(&self.objects, &self.known)
    }

    /// Forgets everything learned.
    #[must_use]
    pub fn forget(mut self) -> Self {
        self.tables = Tables::default();
        self
    }

    /// Puts an object there or changes it; returns what that touches.
    pub fn put(&mut self, object: impl Into<AnyObject>) -> Vec<Tag> {
        let object = object.into();
        let key = object.key();
        self.objects.insert(key, object.clone());
        self.known.insert(key);
        self.change(key, Some(object))
    }

    /// Deletes an object; returns what that touches.
    pub fn delete(&mut self, key: impl Into<ObjectKey>) -> Vec<Tag> {
        let key = key.into();
        self.objects.remove(&key);
        self.change(key, None)
    }

    fn change(&mut self, key: ObjectKey, object: Option<AnyObject>) -> Vec<Tag> {
        let (snapshot, tags) = self.snapshot.apply([(key, object)], &Loaded::of(key));
        self.snapshot = snapshot;
        tags
    }

    /// The frame with which a router's port asks for a neighbour.
    ///
    /// # Panics
    ///
    /// Where the port is no router's, or has no address to ask with.
    #[must_use]
    pub fn query(&self, port: &str, addr: &str) -> Vec<u8> {
        let Lookup::Loaded(object) = self.snapshot.port(named(port)) else {
            panic!("there is no port {port}");
        };
        neighbor_query(object, addr.parse().unwrap()).expect("it has an address to ask with")
    }

    /// Changes a port.
    pub fn port(&mut self, name: &str, change: impl FnOnce(&mut Port)) -> Vec<Tag> {
        let key = named::<mn_ids::Port>(name).into();
        let Some(AnyObject::Port(port)) = self.objects.get(&key) else {
            panic!("there is no port {name:?}")
        };
        let mut port = port.clone();
        change(&mut port);
        self.put(port)
    }

    /// The machine of this name.
    #[must_use]
    pub fn station(&self, name: &str) -> &Station {
        self.stations.get(name).unwrap_or_else(|| panic!("there is no machine {name:?}"))
    }

    /// Simulates a packet, see [`crate::packet`]; nothing is learned from it.
    #[must_use]
    pub fn send(&self, text: &str) -> Sent<'_> {
        let built = build(self, text);
        self.inject(text, Entry::Ingress(built.port), &built)
    }

    /// Simulates a frame of our own that leaves by a port.
    #[must_use]
    pub fn emit(&self, port: PortId, frame: &[u8]) -> Sent<'_> {
        let built = Built::of(port, frame.to_vec());
        self.inject("a packet of our own", Entry::Egress(port), &built)
    }

    /// Simulates a packet that has been built, where it enters.
    #[must_use]
    pub fn inject(&self, text: &str, entry: Entry, built: &Built) -> Sent<'_> {
        let mut buffers = Buffers::default();
        let mut walk = Walk::default();
        let packet = Packet { key: built.key, frame: &built.frame, gso_size: built.gso_size };
        let inputs = Inputs { now: Instant::ZERO, seed: 0, entry, mtu: self.mtu };
        let outcome =
            simulate(&self.snapshot, &self.tables, &inputs, &packet, &mut buffers, Some(&mut walk));
        Sent { lab: self, text: text.to_owned(), built: built.clone(), outcome, buffers, walk }
    }

    /// What an identifier is called in the text, for messages.
    #[must_use]
    pub fn name_of<K: Kind>(&self, id: Id<K>) -> String {
        let names = self.objects.values().filter_map(|object| match object {
            AnyObject::Port(port) => Some(self.port_name(port)),
            AnyObject::Bridge(bridge) => bridge.name.clone(),
            AnyObject::Router(router) => router.name.clone(),
            AnyObject::Chain(chain) => chain.name.clone(),
            _ => None,
        });
        names.into_iter().find(|name| named::<K>(name) == id).unwrap_or_else(|| id.to_string())
    }

    fn port_name(&self, port: &Port) -> String {
        let stations = self.stations.iter().find(|(_, station)| station.port == port.id);
        if let (Some((name, _)), PortKind::Bridge { .. }) = (stations, &port.kind) {
            return name.clone();
        }
        let devices = self.objects.values().filter_map(|object| match object {
            AnyObject::Bridge(bridge) => bridge.name.as_deref(),
            AnyObject::Router(router) => router.name.as_deref(),
            _ => None,
        });
        let devices: Vec<&str> = devices.chain(self.stations.keys().map(String::as_str)).collect();
        let pairs = devices.iter().flat_map(|a| devices.iter().map(move |b| format!("{a}.{b}")));
        pairs
            .into_iter()
            .find(|name| named::<mn_ids::Port>(name) == port.id)
            .or_else(|| port.interface_name.clone())
            .unwrap_or_else(|| port.id.to_string())
    }

    /// The ports of a router, for finding a machine's gateway.
    pub(crate) fn router_ports(&self) -> impl Iterator<Item = &Port> {
        self.objects.values().filter_map(|object| match object {
            AnyObject::Port(port) if matches!(port.kind, PortKind::Router(_)) => Some(port),
            _ => None,
        })
    }

    /// Every object of a class, by key.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = (&ObjectKey, &AnyObject)> {
        self.objects.iter().filter(move |(key, _)| key.class == class)
    }
}

/// All objects, and all selectors of everything known complete.
fn whole(objects: &BTreeMap<ObjectKey, AnyObject>, known: &BTreeSet<ObjectKey>) -> Snapshot {
    let complete: Vec<Loaded> = known.iter().flat_map(|key| Loaded::of(*key)).collect();
    let changes = objects.iter().map(|(key, object)| (*key, Some(object.clone())));
    Snapshot::default().apply(changes, &complete).0
}
