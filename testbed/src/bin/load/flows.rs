//! Datagrams each of which is a new flow, at a rate.
//!
//! A socket for each would measure sockets, and there are no more than 64,000 ports: so they are
//! written here, with source addresses of a whole range, which need not exist. The receiver does
//! not answer them.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn,
    SockaddrStorage, connect, sendmmsg, socket,
};
use serde_json::{Value, json};

use super::{BATCH, ask};

/// Where new flows come from, and how many there are a second.
#[derive(Args)]
pub struct Flows {
    #[arg(long)]
    to: SocketAddrV4,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Datagrams a second; they are spread evenly.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// The first source address.
    #[arg(long)]
    from: Ipv4Addr,
    /// How many source addresses there are.
    #[arg(long, default_value_t = 128)]
    sources: u32,
}

/// Ports below are not used, above all.
const PORT_MIN: u16 = 1024;
const PORTS: u64 = (1 << 16) - PORT_MIN as u64;
/// The most datagrams sent at once where they are late.
const LATE_MAX: u64 = BATCH as u64;
/// Runs begin so many tuples a second apart, so that a run whose rate is no higher meets no flow
/// of the run before.
const TUPLES_A_SECOND: f64 = 100_000.0;
/// How often it is looked whether a datagram is due.
const TICK: Duration = Duration::from_micros(50);
/// How long the last datagrams may be on their way.
const DRAIN: Duration = Duration::from_millis(500);

const IP_LEN: usize = 20;
const UDP_LEN: usize = 8;
/// Makes frames of 64 octets.
const PAYLOAD_LEN: usize = 22;
const PACKET_LEN: usize = IP_LEN + UDP_LEN + PAYLOAD_LEN;

/// Sends for so long; what was sent, what arrived, and how much of it was lost.
pub fn flows(flows: &Flows) -> io::Result<Value> {
    let to = SocketAddr::V4(flows.to);
    ask(to)?;
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw)?;
    connect(raw.as_raw_fd(), &SockaddrIn::from(flows.to))?;
    // Sleeping longer than asked for would turn an even rate into bursts.
    nix::sys::prctl::set_timerslack(1)?;
    let mut packets = [packet(flows.to); BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let total = (flows.rate as f64 * flows.seconds) as u64;
    let first = first_tuple();
    let begun = Instant::now();
    let mut sent = 0;
    while sent < total {
        let due = (begun.elapsed().as_secs_f64() * flows.rate as f64) as u64;
        let count = due.min(total).saturating_sub(sent).min(LATE_MAX) as usize;
        if count == 0 {
            thread::sleep(TICK);
            continue;
        }
        for (number, packet) in (first + sent..).zip(&mut packets[..count]) {
            set_tuple(packet, flows, number);
        }
        let parts: Vec<[IoSlice<'_>; 1]> =
            packets[..count].iter().map(|packet| [IoSlice::new(packet)]).collect();
        let none = [const { None }; BATCH];
        let fd = raw.as_raw_fd();
        match sendmmsg(fd, &mut headers, &parts, none, [], MsgFlags::empty()) {
            Ok(results) => sent += results.count() as u64,
            Err(nix::errno::Errno::ENOBUFS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    thread::sleep(DRAIN);
    let received = ask(to)?;
    Ok(json!({
        "sent": sent, "received": received, "seconds": elapsed,
        "flows_per_s": sent as f64 / elapsed,
        "lost": 1.0 - received as f64 / sent.max(1) as f64,
    }))
}

/// Where this run begins: further than the one before has come.
fn first_tuple() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * TUPLES_A_SECOND) as u64
}

/// An IP packet without source, to be completed.
fn packet(to: SocketAddrV4) -> [u8; PACKET_LEN] {
    let mut packet = [b'.'; PACKET_LEN];
    let (ip, udp) = packet.split_at_mut(IP_LEN);
    ip.fill(0);
    // The kernel writes length and checksum (raw(7)).
    (ip[0], ip[8], ip[9]) = (0x45, 64, 17);
    ip[16..].copy_from_slice(&to.ip().octets());
    udp[2..4].copy_from_slice(&to.port().to_be_bytes());
    let len = (UDP_LEN + PAYLOAD_LEN) as u16;
    udp[4..6].copy_from_slice(&len.to_be_bytes());
    // No checksum (RFC 768).
    udp[6..8].fill(0);
    packet
}

fn set_tuple(packet: &mut [u8; PACKET_LEN], flows: &Flows, number: u64) {
    let source = (number / PORTS % u64::from(flows.sources.max(1))) as u32;
    let port = PORT_MIN + (number % PORTS) as u16;
    let address = Ipv4Addr::from_bits(flows.from.to_bits().wrapping_add(source));
    packet[12..16].copy_from_slice(&address.octets());
    packet[IP_LEN..IP_LEN + 2].copy_from_slice(&port.to_be_bytes());
}
