//! Tracked connections, and fragments whose first was seen.

use core::mem::offset_of;

use crate::plain::plain;

/// `struct connection_key`: the two ends of a connection in a zone, sorted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C, align(8))]
pub struct ConnectionKey {
    pub zone: u32,
    /// Number of the outer tag, and the bit that says there is one.
    pub vlan: u16,
    pub proto: u8,
    pub zero: u8,
    pub low: [u8; 16],
    pub high: [u8; 16],
    pub low_port: [u8; 2],
    pub high_port: [u8; 2],
    pub zero2: u32,
}

/// `struct connection`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Connection {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub used_at: u64,
    pub made_at: u64,
    pub port: u32,
    /// `enum conn_state`.
    pub state: u8,
    /// See [`Connection::FORWARD_LOW`] and the rest.
    pub flags: u8,
    pub zero: u16,
}

impl Connection {
    /// The first packet came from the low end.
    pub const FORWARD_LOW: u8 = 1;
    /// The forward direction has ended; the bit above, the return direction.
    pub const FIN: u8 = 2;
    /// The forward direction has reset; the bit above, the return direction.
    pub const RST: u8 = 8;
}

/// `struct zone`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Zone {
    /// Connections in it.
    pub connections: u32,
    pub zero: u32,
}

/// `struct rate_limit`: frames to several receivers that a port may send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct RateLimit {
    /// Theoretical arrival time (GCRA), `CLOCK_MONOTONIC`.
    pub arrival_at: u64,
    /// The bucket, as the time it takes to fill.
    pub burst_ns: u64,
    /// Frames a second; 0: no limit.
    pub rate: u32,
    pub zero: u32,
}

/// `struct share`: how many connections count as a port's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Share {
    pub connections: u32,
    /// 0: no limit.
    pub max: u32,
}

impl Zone {
    pub const CONNECTIONS_AT: usize = offset_of!(Self, connections);
}

impl Share {
    pub const CONNECTIONS_AT: usize = offset_of!(Self, connections);
    pub const MAX_AT: usize = offset_of!(Self, max);
}

/// `struct bandwidth`: how many octets a port carries one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct Bandwidth {
    /// When the bucket would be full again.
    pub arrival_at: u64,
    /// The bucket, as the time it takes to fill.
    pub burst_ns: u64,
    /// Nanoseconds an octet takes, shifted by [`Bandwidth::SHIFT`]; 0: no limit.
    pub octet_time: u64,
    pub zero: u64,
}

impl Bandwidth {
    pub const SHIFT: u32 = 16;
}

/// `struct port_bandwidth`: of what is sent by what is behind the port, and of what that gets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct PortBandwidth {
    pub way: [Bandwidth; 2],
}

plain!(PortBandwidth);
plain!(ConnectionKey, Connection, RateLimit, Share, Zone);

// The same numbers stand in `bpf/abi.h`. Change both or neither.
const _: () = {
    assert!(size_of::<ConnectionKey>() == 48);
    assert!(offset_of!(ConnectionKey, low) == 8);
    assert!(size_of::<Connection>() == 24);
    assert!(size_of::<RateLimit>() == 24);
    assert!(size_of::<PortBandwidth>() == 64);
    // Contracts §7: 200 octets of kernel memory per connection. A hash map adds 48 to key and
    // value, the allocator 8 and what is missing to 128, and the table has 16 for each of up to two
    // times as many entries.
    assert!(48 + size_of::<ConnectionKey>() + size_of::<Connection>() + 8 <= 128);
};
