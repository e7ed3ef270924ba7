//! What the datapath's programs and the agent share: keys and values of maps, octet for octet.
//!
//! `datapath/bpf/abi.h` has the same in C; both sides assert the same numbers. A change of any of
//! them is a new [`ABI_VERSION`].

#![no_std]
#![expect(unsafe_code, reason = "values are read and written as the octets they share with C")]

mod action;
mod connection;
mod flow;
mod plain;
mod table;
pub mod v1;

pub use action::{ActionSlot, Op, WITH_PORT};
pub use connection::{Bandwidth, Connection, ConnectionKey, PortBandwidth, RateLimit, Share, Zone};
pub use flow::{Bucket, Flow, FlowKey, FlowState, Guess};
pub use plain::Plain;
pub use table::{
    Bell, Config, Delivery, DeliveryKind, DropKey, Followed, Iface, Inject, Meter, Peer, Port,
    PortStats, Route, Segment, Underlay, UpcallHeader, limits,
};

/// The version of everything in this crate; part of the path the maps are pinned under.
///
/// The versions before it that can still be read are beside it, frozen: [`v1`].
pub const ABI_VERSION: u32 = 3;
