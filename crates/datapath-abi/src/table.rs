//! The other tables.

use core::mem::offset_of;

use crate::ActionSlot;
use crate::plain::plain;

/// Sizes of tables and lists.
pub mod limits {
    pub const KEY_WORDS: usize = 11;
    pub const SLOTS_MAX: usize = 21;
    pub const MASKS_MAX: usize = 128;
    pub const CHUNK_FLOWS: usize = 16_384;
    pub const CHUNKS_MAX: usize = 128;
    pub const BUCKET_ENTRIES: usize = 7;
    pub const PORTS_MAX: usize = 4096;
    pub const PEERS_MAX: usize = 4096;
    pub const GROUPS_MAX: usize = 4096;
    pub const SEGMENTS_MAX: usize = 8192;
    pub const SEGMENT_OUTPUTS: usize = 30;
    pub const SEGMENTS_CHAINED: usize = 32;
    pub const INJECT_SLOTS: usize = 64;
    pub const RINGS_MAX: usize = 64;
    pub const METERS_MAX: usize = 4096;
    pub const IFACES_DIRECT: usize = 4096;
    pub const ZONES_MAX: usize = 4096;
    pub const LOCALS_MAX: usize = 8;
    /// The first and the last source port of tunnelled packets: what Linux uses by itself.
    pub const TUNNEL_SOURCE_PORTS: [u16; 2] = [32768, 60999];
}

use limits::{KEY_WORDS, LOCALS_MAX, MASKS_MAX, SEGMENT_OUTPUTS, SLOTS_MAX};

/// `struct config`: what all programs read.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Config {
    /// Of the hash; odd, random, never changed.
    pub seed: [u64; KEY_WORDS + 1],
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub heartbeat_at: u64,
    pub bucket_mask: u32,
    pub guess_mask: u32,
    pub rings: u32,
    pub tunnel_ifindex: u32,
    /// No packet up to this size is too big for any output.
    pub mtu_min: u32,
    /// Which of `order` is in use.
    pub order_active: u32,
    pub order_len: [u32; 2],
    /// Mask numbers, the busiest first.
    pub order: [[u16; MASKS_MAX]; 2],
    pub mask: [[u64; KEY_WORDS]; MASKS_MAX],
}

impl Config {
    pub const HEARTBEAT_AT: usize = offset_of!(Self, heartbeat_at);
    pub const TUNNEL_IFINDEX_AT: usize = offset_of!(Self, tunnel_ifindex);
    pub const MTU_MIN_AT: usize = offset_of!(Self, mtu_min);
    pub const ORDER_ACTIVE_AT: usize = offset_of!(Self, order_active);
    pub const RINGS_AT: usize = offset_of!(Self, rings);

    /// Where the length of an order is.
    #[must_use]
    pub const fn order_len_at(order: usize) -> usize {
        offset_of!(Self, order_len) + 4 * order
    }

    /// Where an order is.
    #[must_use]
    pub const fn order_at(order: usize) -> usize {
        offset_of!(Self, order) + 2 * MASKS_MAX * order
    }

    /// Where a mask is.
    #[must_use]
    pub const fn mask_at(mask: usize) -> usize {
        offset_of!(Self, mask) + 8 * KEY_WORDS * mask
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: [0; KEY_WORDS + 1],
            heartbeat_at: 0,
            bucket_mask: 0,
            guess_mask: 0,
            rings: 0,
            tunnel_ifindex: 0,
            mtu_min: 0,
            order_active: 0,
            order_len: [0; 2],
            order: [[0; MASKS_MAX]; 2],
            mask: [[0; KEY_WORDS]; MASKS_MAX],
        }
    }
}

/// `struct port`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Port {
    /// 0: not attached.
    pub ifindex: u32,
    /// [`Port::PEER_REDIRECT`] or nothing.
    pub flags: u32,
    /// The largest IP packet.
    pub mtu: u32,
    /// Upcalls: tokens a second.
    pub rate: u32,
    /// Upcalls: the bucket, as the time it takes to fill.
    pub burst_ns: u64,
    /// Upcalls: when the bucket would be full again.
    pub arrival_at: u64,
    /// Where connections of its device are tracked; 0: nowhere.
    pub zone: u32,
    pub zero: u32,
}

impl Port {
    /// Its interface's peer may be reached straight.
    pub const PEER_REDIRECT: u32 = 1;
    pub const IFINDEX_AT: usize = offset_of!(Self, ifindex);
    pub const ZONE_AT: usize = offset_of!(Self, zone);
}

/// `struct port_stats`, one per processor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct PortStats {
    pub rx_packets: u64,
    pub rx_octets: u64,
    pub tx_packets: u64,
    pub tx_octets: u64,
    pub rx_dropped: u64,
    pub zero: [u64; 3],
}

impl PortStats {
    /// What two have counted together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            rx_packets: self.rx_packets + other.rx_packets,
            rx_octets: self.rx_octets + other.rx_octets,
            tx_packets: self.tx_packets + other.tx_packets,
            tx_octets: self.tx_octets + other.tx_octets,
            rx_dropped: self.rx_dropped + other.rx_dropped,
            zero: [0; 3],
        }
    }
}

/// `struct drop_key`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct DropKey {
    pub port: u32,
    pub cause: u32,
}

/// `struct iface`: the port of an interface.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Iface {
    pub ifindex: u32,
    pub port: u32,
}

/// `struct peer`: another host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Peer {
    /// IPv4 as IPv4-mapped; all zero: no peer.
    pub remote: [u8; 16],
    pub local: [u8; 16],
    /// The largest inner IP packet.
    pub mtu: u32,
    /// [`Peer::V6`] or nothing.
    pub flags: u32,
}

impl Peer {
    /// Its addresses are of IPv6.
    pub const V6: u32 = 1;
}

/// `struct underlay`: what the programs know of the network between hosts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Underlay {
    /// When the routes were the kernel's, nanoseconds of `CLOCK_MONOTONIC`. After two seconds they
    /// are not believed any more.
    pub followed_at: u64,
    /// The UDP port, as on the wire; 0: tunnelled packets are the kernel's to make and to take.
    pub port: u16,
    pub zero: [u16; 3],
    /// Tunnel addresses of this host, IPv4 as IPv4-mapped; all zero: none.
    pub local: [[u8; 16]; LOCALS_MAX],
}

impl Underlay {
    pub const FOLLOWED_AT: usize = offset_of!(Self, followed_at);
    pub const LOCAL_AT: usize = offset_of!(Self, local);
}

/// `struct route`: the way to a peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Route {
    /// 0: the kernel has to find it.
    pub ifindex: u32,
    /// Of the next hop: `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// An IPv4 address in the first four.
    pub next_hop: [u8; 16],
}

/// What a tunnel key names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum DeliveryKind {
    Retired = 0,
    Port = 1,
    Segment = 2,
}

/// `struct delivery`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Delivery {
    /// A [`DeliveryKind`].
    pub kind: u32,
    /// The port, or the first segment.
    pub index: u32,
}

/// `struct segment`: a piece of a list of outputs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Segment {
    pub len: u32,
    /// 0: the last.
    pub next: u32,
    pub output: [ActionSlot; SEGMENT_OUTPUTS],
}

/// `struct inject`: what happens to a packet the agent sends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Inject {
    pub slots: u32,
    pub zero: u32,
    pub actions: [ActionSlot; SLOTS_MAX],
}

/// `struct upcall`; the frame follows.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct UpcallHeader {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    pub key: crate::FlowKey,
    /// Octets of the frame.
    pub len: u32,
    pub gso_size: u16,
    /// 0 miss, 1 TTL, 2 too big, 3 copy.
    pub reason: u8,
    pub zero: u8,
}

/// `struct followed`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Followed {
    /// Of the flow.
    pub cookie: u64,
    /// The TCP bits of the class.
    pub class: u8,
    pub zero: [u8; 7],
}

/// `struct bell`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Bell {
    /// The worker waits, and nobody has woken it yet.
    pub asleep: u32,
    /// A packet sent there wakes it; 0: there is none.
    pub ifindex: u32,
}

impl Bell {
    pub const ASLEEP_AT: usize = offset_of!(Self, asleep);
    pub const IFINDEX_AT: usize = offset_of!(Self, ifindex);
}

/// `struct meter`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Meter {
    pub packets: u64,
    pub octets: u64,
}

impl Meter {
    pub const PACKETS_AT: usize = offset_of!(Self, packets);
    pub const OCTETS_AT: usize = offset_of!(Self, octets);
}

plain!(
    Config,
    Port,
    PortStats,
    DropKey,
    Iface,
    Peer,
    Underlay,
    Route,
    Delivery,
    Segment,
    Inject,
    UpcallHeader,
    Followed,
    Bell,
    Meter
);

// The same numbers stand in `bpf/abi.h`. Change both or neither.
const _: () = {
    assert!(offset_of!(Config, heartbeat_at) == 96);
    assert!(offset_of!(Config, order) == 136);
    assert!(offset_of!(Config, mask) == 648);
    assert!(size_of::<Config>() == 11912);
    assert!(size_of::<Port>() == 40);
    assert!(size_of::<PortStats>() == 64);
    assert!(size_of::<Peer>() == 40);
    assert!(size_of::<Underlay>() == 144);
    assert!(offset_of!(Underlay, local) == 16);
    assert!(size_of::<Route>() == 24);
    assert!(size_of::<Delivery>() == 8);
    assert!(size_of::<Segment>() == 248);
    assert!(size_of::<Inject>() == 176);
    assert!(size_of::<UpcallHeader>() == 104);
    assert!(size_of::<Followed>() == 16);
    assert!(size_of::<Bell>() == 8);
};
