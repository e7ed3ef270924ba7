//! What the datapath matches and does: flow keys, masks, actions, and what a flow depends on.
//!
//! `simulation` produces these, `datapath` installs them; neither knows the other.

mod action;
mod drop;
mod extract;
mod key;
mod mask;
mod mix;
mod number;
mod packet;
mod scoped_addr;
mod tag;

pub use action::{Action, Expiry, Rewrite, VirtualAction, diff};
pub use drop::DropCause;
pub use extract::{TunnelOrigin, extract};
pub use key::{Class, Conn, FlowKey, Fragment, TcpClass};
pub use mask::{Field, FlowMask};
pub use mix::mix;
pub use number::{Cookie, GroupIndex, KeyKind, PeerIndex, PortNo, TunnelKey, Zone};
pub use packet::{Trace, TracedPacket};
pub use scoped_addr::{ParseScopedAddrError, ScopedAddr};
pub use tag::{NatTag, PathTag, Tag};
