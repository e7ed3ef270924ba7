//! Any stored object, for code that handles them all alike.

use mn_ids::{Class, Object, ObjectKey, Reference};

use crate::object::{
    Bridge, Chain, ChainSegment, DhcpSubnet, DhcpV6Subnet, HealthMonitor, Host, IpAddrGroup,
    L2Insertion, LoadBalancer, Mirror, Pool, PoolMember, Port, PortGroup, QosPolicy, Route, Router,
    SystemState, TunnelZone, Vip,
};

macro_rules! any {
    ($($class:ident),*) => {
        /// One stored object of any class.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(
            clippy::large_enum_variant,
            reason = "ports are the largest and the most; each is moved out as soon as it comes"
        )]
        pub enum AnyObject { $($class($class),)* }

        impl AnyObject {
            /// Decodes a stored document.
            ///
            /// # Errors
            ///
            /// The document is not an object of this class in this version's schema. `Rule` has no
            /// documents of its own: rules are stored in their chain.
            pub fn decode(class: Class, json: &str) -> Result<Self, DecodeError> {
                let wrong = |source| DecodeError { class, source };
                match class {
                    $(Class::$class => serde_json::from_str(json).map(Self::$class).map_err(wrong),)*
                    Class::Rule => Err(wrong(serde::de::Error::custom("rules are stored in their chain"))),
                }
            }

            /// The document to store.
            #[must_use]
            pub fn encode(&self) -> String {
                let json = match self { $(Self::$class(object) => serde_json::to_string(object),)* };
                json.expect("objects have string keys and finite numbers only")
            }

            /// Its name in the state database.
            #[must_use]
            pub fn key(&self) -> ObjectKey {
                match self { $(Self::$class(object) => object.key(),)* }
            }

            /// Everything it refers to.
            #[must_use]
            pub fn references(&self) -> Vec<Reference> {
                match self { $(Self::$class(object) => object.references(),)* }
            }
        }

        $(impl From<$class> for AnyObject {
            fn from(object: $class) -> Self { Self::$class(object) }
        })*
    };
}

any!(
    Bridge,
    Chain,
    ChainSegment,
    DhcpSubnet,
    DhcpV6Subnet,
    HealthMonitor,
    Host,
    IpAddrGroup,
    L2Insertion,
    LoadBalancer,
    Mirror,
    Pool,
    PoolMember,
    Port,
    PortGroup,
    QosPolicy,
    Route,
    Router,
    SystemState,
    TunnelZone,
    Vip
);

/// A stored document that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored {class} cannot be decoded")]
pub struct DecodeError {
    pub class: Class,
    pub source: serde_json::Error,
}
