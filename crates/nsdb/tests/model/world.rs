//! A few objects that refer to one another in every way there is, as typed values.
//!
//! What a reference is and what clearing does is said here a second time, by other means than
//! field paths.

use mn_ids::{Class, HostId, ObjectKey, OnDelete, Reference};
use serde_json::{Value, json};
use uuid::Uuid;

pub const fn key(class: Class, n: u8) -> ObjectKey {
    ObjectKey { class, id: Uuid::from_u128(((class as u128) << 64) | n as u128) }
}

pub fn host(n: u8) -> HostId {
    HostId::from_uuid(key(Class::Host, n).id)
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub enum Thing {
    /// A bridge, a router, a host: refers to nothing.
    Plain,
    Port {
        bridge: ObjectKey,
        peer: Option<ObjectKey>,
        host: Option<ObjectKey>,
    },
    /// Rules: each may jump to a chain and test a group.
    Chain(Vec<(Option<ObjectKey>, Option<ObjectKey>)>),
    Group(Vec<ObjectKey>),
}

impl Thing {
    /// One of a class, its references chosen by the numbers.
    pub fn choose(class: Class, numbers: [u8; 3]) -> Self {
        let [a, b, c] = numbers;
        let some = |class, n: u8| (n % 4 != 3).then(|| key(class, n % 4));
        match class {
            Class::Port => Self::Port {
                bridge: key(Class::Bridge, a % 3),
                peer: some(Class::Port, b),
                host: some(Class::Host, c),
            },
            Class::Chain => {
                let rules = [(a, b), (b, c), (c, a)].into_iter().take(usize::from(a % 4));
                let rule = |(to, group)| (some(Class::Chain, to), some(Class::PortGroup, group));
                Self::Chain(rules.map(rule).collect())
            }
            Class::PortGroup => {
                let mut ports: Vec<_> =
                    [a, b, c].iter().filter_map(|n| some(Class::Port, *n)).collect();
                ports.sort();
                ports.dedup();
                Self::Group(ports)
            }
            _ => Self::Plain,
        }
    }

    pub fn json(&self) -> Value {
        let id = |key: &Option<ObjectKey>| key.map(|key| key.id);
        match self {
            Self::Plain => json!({}),
            Self::Port { bridge, peer, host } => {
                json!({"bridge_id": bridge.id, "peer_id": id(peer), "host_id": id(host)})
            }
            Self::Chain(rules) => {
                let rule = |(to, group): &(Option<_>, Option<_>)| json!({"action": {"chain_id": id(to)}, "test": {"group": {"is": id(group)}}});
                json!({"rules": rules.iter().map(rule).collect::<Vec<_>>()})
            }
            Self::Group(ports) => {
                json!({"port_ids": ports.iter().map(|p| p.id).collect::<Vec<_>>()})
            }
        }
    }

    /// What it refers to, each once, in order.
    pub fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        let mut add = |field: &str, to: Option<ObjectKey>, on_delete| {
            let field = field.to_owned();
            references.extend(to.map(|to| Reference { field, to, on_delete }));
        };
        match self {
            Self::Plain => {}
            Self::Port { bridge, peer, host } => {
                add("bridge_id", Some(*bridge), OnDelete::Cascade);
                add("peer_id", *peer, OnDelete::Clear);
                add("host_id", *host, OnDelete::Refuse);
            }
            Self::Chain(rules) => {
                for (to, group) in rules {
                    add("rules.action.chain_id", *to, OnDelete::Clear);
                    add("rules.test.group", *group, OnDelete::Refuse);
                }
            }
            Self::Group(ports) => {
                ports.iter().for_each(|port| add("port_ids", Some(*port), OnDelete::Clear));
            }
        }
        sorted(references)
    }

    /// Whether it goes when `gone` goes.
    pub fn goes_with(&self, gone: ObjectKey) -> bool {
        matches!(self, Self::Port { bridge, .. } if *bridge == gone)
    }

    /// Loses what refers to `gone` and may be lost; says whether there was such a thing.
    pub fn clear(&mut self, gone: ObjectKey) -> bool {
        let before = self.clone();
        match self {
            Self::Plain => {}
            Self::Port { peer, .. } => *peer = peer.filter(|peer| *peer != gone),
            Self::Chain(rules) => rules.retain(|(to, _)| *to != Some(gone)),
            Self::Group(ports) => ports.retain(|port| *port != gone),
        }
        *self != before
    }
}

pub fn sorted(mut references: Vec<Reference>) -> Vec<Reference> {
    references.sort_by_key(|reference| (reference.field.clone(), reference.to));
    references.dedup();
    references
}
