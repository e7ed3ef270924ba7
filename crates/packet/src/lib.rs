//! What octets on the wire mean: addresses, headers, checksums. No decisions.

mod ethernet;
mod ip;
mod vlan;

pub use ethernet::{EtherType, Mac, MacError};
pub use ip::{IpPrefix, IpProtocol, PrefixError, from_v6, to_v6};
pub use vlan::{VlanId, VlanIdError, VlanTag};
