//! ABI version 1, frozen: what an agent of today must be able to read of a datapath of then.
//!
//! Nothing here ever changes but [`upgrade`], which says what each value means in today's layout. A
//! change of a layout adds to today's version; the first change after a release freezes that one
//! beside this, and this one's `upgrade` then leads there.
//!
//! Only what lives on is here: not the agent's own lists (`inject`) nor the table of guesses.

use core::mem::offset_of;

use crate::plain::plain;

mod upgrade;

/// The version these layouts belong to.
pub const VERSION: u32 = 1;

/// Sizes of tables and lists.
pub mod limits {
    pub const KEY_WORDS: usize = 11;
    pub const SLOTS_MAX: usize = 21;
    pub const MASKS_MAX: usize = 128;
    pub const CHUNK_FLOWS: usize = 4096;
    pub const CHUNKS_MAX: usize = 512;
    pub const BUCKET_ENTRIES: usize = 7;
    pub const SEGMENT_OUTPUTS: usize = 30;
    pub const SEGMENTS_CHAINED: usize = 32;
    pub const RINGS_MAX: usize = 64;
}

use limits::{BUCKET_ENTRIES, KEY_WORDS, MASKS_MAX, SEGMENT_OUTPUTS, SLOTS_MAX};

/// `struct action`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct ActionSlot {
    pub op: u8,
    pub slots: u8,
    pub argument: [u8; 6],
}

/// `struct flow_key`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct FlowKey {
    pub in_port: u32,
    pub tun_key: u32,
    pub tun_src: [u8; 16],
    pub eth_dst: [u8; 6],
    pub eth_type: [u8; 2],
    pub eth_src: [u8; 6],
    pub vlan: [u8; 2],
    pub nw_src: [u8; 16],
    pub nw_dst: [u8; 16],
    pub inner_vlan: [u8; 2],
    pub nw_proto: u8,
    pub nw_tos: u8,
    pub class: u8,
    pub conn: u8,
    pub tp_src: [u8; 2],
    pub tp_dst: [u8; 2],
    pub zero: [u8; 6],
}

/// [`Flow::state`] of a flow in use.
pub const FLOW_LIVE: u32 = 1;

/// `struct flow`. Keys and masks are words here, [`FlowKey`] octet for octet.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct Flow {
    pub state: u32,
    pub mask: u16,
    pub slots: u8,
    pub hops: u8,
    pub packets: u64,
    pub octets: u64,
    pub used_at: u64,
    pub cookie: u64,
    pub key: [u64; KEY_WORDS],
    pub actions: [ActionSlot; SLOTS_MAX],
    pub first: [u64; KEY_WORDS],
}

impl Flow {
    /// Where [`Flow::packets`] is.
    pub const PACKETS_AT: usize = offset_of!(Self, packets);
    /// Where [`Flow::octets`] is.
    pub const OCTETS_AT: usize = offset_of!(Self, octets);
}

/// `struct bucket`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct Bucket {
    pub overflow: u32,
    pub zero: u32,
    /// `tag << 32 | flow`; 0: none. A flow's number is one more than its place.
    pub entry: [u64; BUCKET_ENTRIES],
}

/// `struct config`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Config {
    pub seed: [u64; KEY_WORDS + 1],
    pub heartbeat_at: u64,
    pub bucket_mask: u32,
    pub guess_mask: u32,
    pub rings: u32,
    pub tunnel_ifindex: u32,
    pub mtu_min: u32,
    pub order_active: u32,
    pub order_len: [u32; 2],
    pub order: [[u16; MASKS_MAX]; 2],
    pub mask: [[u64; KEY_WORDS]; MASKS_MAX],
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
    pub ifindex: u32,
    pub flags: u32,
    pub mtu: u32,
    pub rate: u32,
    pub burst_ns: u64,
    pub arrival_at: u64,
}

/// `struct port_stats`.
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

/// `struct drop_key`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct DropKey {
    pub port: u32,
    pub cause: u32,
}

/// `struct peer`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Peer {
    pub remote: [u8; 16],
    pub local: [u8; 16],
    pub mtu: u32,
    pub flags: u32,
}

/// `struct delivery`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Delivery {
    pub kind: u32,
    pub index: u32,
}

/// `struct segment`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Segment {
    pub len: u32,
    pub next: u32,
    pub output: [ActionSlot; SEGMENT_OUTPUTS],
}

/// `struct upcall`; the frame follows.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct UpcallHeader {
    pub at: u64,
    pub key: FlowKey,
    pub len: u32,
    pub gso_size: u16,
    pub reason: u8,
    pub zero: u8,
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
    ActionSlot,
    FlowKey,
    Flow,
    Bucket,
    Config,
    Port,
    PortStats,
    DropKey,
    Peer,
    Delivery,
    Segment,
    UpcallHeader,
    Meter
);

const _: () = {
    assert!(size_of::<ActionSlot>() == 8);
    assert!(size_of::<FlowKey>() == 88);
    assert!(size_of::<Flow>() == 384);
    assert!(offset_of!(Flow, key) == 40);
    assert!(offset_of!(Flow, actions) == 128);
    assert!(offset_of!(Flow, first) == 296);
    assert!(size_of::<Bucket>() == 64);
    assert!(offset_of!(Config, heartbeat_at) == 96);
    assert!(offset_of!(Config, order) == 136);
    assert!(offset_of!(Config, mask) == 648);
    assert!(size_of::<Config>() == 11912);
    assert!(size_of::<Port>() == 32);
    assert!(size_of::<PortStats>() == 64);
    assert!(size_of::<Peer>() == 40);
    assert!(size_of::<Delivery>() == 8);
    assert!(size_of::<Segment>() == 248);
    assert!(size_of::<UpcallHeader>() == 104);
};
