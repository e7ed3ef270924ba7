//! What octets on the wire mean: addresses, headers, checksums. No decisions.
//!
//! One file has one protocol: a struct of its fields, `split` or `parse` that never panics, and an
//! emitter. [`Layers`] takes a whole frame apart.

pub mod dhcpv4;
pub mod dhcpv6;
pub mod icmp;
pub mod ndp;

mod arp;
mod checksum;
mod ethernet;
mod frame;
mod ip;
mod ipv4;
mod ipv6;
mod layers;
mod options;
mod tcp;
mod udp;
mod vlan;
mod vxlan;
mod wire;

pub use arp::{Arp, ArpOp};
pub use checksum::{
    checksum, checksum_update, checksum_update_octets, pseudo_header, transport_checksum,
    udp_checksum,
};
pub use ethernet::{EtherType, Mac, MacError};
pub use frame::EthernetHeader;
pub use icmp::{IcmpError, IcmpHeader, echo_reply};
pub use ip::{IpPrefix, IpProtocol, PrefixError, from_v6, to_v6};
pub use ipv4::{Ipv4Header, Ipv4Packet};
pub use ipv6::{EXTENSIONS_MAX, FragmentHeader, Ipv6Header, Upper, walk_extensions};
pub use layers::{IpPacket, Layers, Network, eth_type_of, ip_packet};
pub use tcp::{TcpFlags, TcpHeader, reset_frame};
pub use udp::UdpHeader;
pub use vlan::{VlanId, VlanIdError, VlanTag};
pub use vxlan::VxlanHeader;
pub use wire::WireError;
