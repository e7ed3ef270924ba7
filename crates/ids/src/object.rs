//! Objects as the state database sees them: a class, an identifier, and references.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Id, Kind};

macro_rules! classes {
    ($($class:ident = $name:literal;)*) => {
        /// The class of a stored object. The name is its path in the state database and its word in messages.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Class { $(#[doc = $name] $class,)* }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$class),*];

            /// Singular, lower case, without spaces: `tunnel_zone`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$class => $name),* }
            }
        }
    };
}

// Append only: stored data and the wire use the names.
classes! {
    Bridge = "bridge";
    Chain = "chain";
    DhcpSubnet = "dhcp_subnet";
    DhcpV6Subnet = "dhcp_v6_subnet";
    Host = "host";
    IpAddrGroup = "ip_addr_group";
    Port = "port";
    PortGroup = "port_group";
    Route = "route";
    Router = "router";
    Rule = "rule";
    TunnelZone = "tunnel_zone";
    SystemState = "system_state";
    ChainSegment = "chain_segment";
    LoadBalancer = "load_balancer";
    Pool = "pool";
    PoolMember = "pool_member";
    Vip = "vip";
    HealthMonitor = "health_monitor";
    Mirror = "mirror";
    QosPolicy = "qos_policy";
    L2Insertion = "l2_insertion";
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let found = Self::ALL.iter().copied().find(|class| class.name() == text);
        found.ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// A class name that no class has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no class of objects")]
pub struct UnknownClass(pub String);

/// Names one object in the state database.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ObjectKey {
    pub class: Class,
    pub id: Uuid,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.id)
    }
}

impl<K: Kind> From<Id<K>> for ObjectKey {
    fn from(id: Id<K>) -> Self {
        Self { class: K::CLASS, id: id.uuid() }
    }
}

/// What becomes of the referring object when the object it refers to is deleted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// The reference is cleared: the field becomes null, or the list loses the identifier (or,
    /// where the list holds objects, every element whose member named by `field`'s last part is it).
    Clear,
    /// The referring object is deleted too.
    Cascade,
    /// The deletion is refused while the reference stands.
    Refuse,
}

/// A reference from one object to another.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Reference {
    /// The JSON field that holds it: `peer_id`; in a list of objects with a dot: `members.host_id`.
    pub field: String,
    /// What it refers to.
    pub to: ObjectKey,
    pub on_delete: OnDelete,
}

/// An object the state database keeps.
pub trait Object: Serialize + for<'de> Deserialize<'de> + Clone + Send + Sync + 'static {
    /// The kind that identifies it.
    type Kind: Kind;

    /// Its identifier.
    fn id(&self) -> Id<Self::Kind>;

    /// Everything it refers to, in no particular order.
    fn references(&self) -> Vec<Reference>;

    /// Its name in the state database.
    fn key(&self) -> ObjectKey {
        self.id().into()
    }
}
