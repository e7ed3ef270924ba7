//! Numbered datagrams with a checksum of their own: what was lost, doubled or damaged on the way,
//! and for how long nothing came.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::{LabError, Namespace, Outcome};

/// Number, length of the whole, checksum of number and filling.
const HEADER_BYTES: usize = 16;
/// Room for seconds of datagrams.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// How long the last datagrams may take to arrive.
const STRAGGLERS_FOR: Duration = Duration::from_millis(300);

/// Sends numbered datagrams until it is stopped.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Probe {
    /// Starts sending from a namespace, one datagram of `size` octets `every` so often.
    ///
    /// # Errors
    /// When no socket can be made there.
    pub fn start(from: &Namespace, to: SocketAddr, size: usize, every: Duration) -> Outcome<Self> {
        let any: SocketAddr =
            if to.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
        let socket = from
            .enter(move || UdpSocket::bind(any).and_then(|s| s.connect(to).map(|()| s)))?
            .map_err(LabError::machine(format!("a socket to {to}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let size = size.max(HEADER_BYTES);
        let thread = thread::spawn(move || send(&socket, size, every, &stopped));
        Ok(Self { stop, thread })
    }

    /// Stops; how many were sent.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn send(socket: &UdpSocket, size: usize, every: Duration, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    let start = Instant::now();
    let mut due = start;
    while !stop.load(Ordering::Relaxed) {
        // A refusal (an ICMP error of a datagram before) is what some tests are about: the next
        // datagram goes out all the same, and what did not arrive is counted by the receiver.
        if socket.send(&datagram(sent, size)).is_ok() {
            sent += 1;
        }
        due += every;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

fn datagram(number: u64, size: usize) -> Vec<u8> {
    let mut octets = vec![0; size];
    // A filling that differs from datagram to datagram and octet to octet.
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for octet in &mut octets[HEADER_BYTES..] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *octet = state.to_le_bytes()[3];
    }
    octets[..8].copy_from_slice(&number.to_be_bytes());
    let length = u32::try_from(size).expect("datagrams are shorter than 64 KiB");
    octets[8..12].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&octets);
    octets[12..16].copy_from_slice(&sum.to_be_bytes());
    octets
}

/// FNV-1a over everything but the checksum itself. Unlike the Internet checksum, it notices octets
/// that changed places.
fn checksum(octets: &[u8]) -> u32 {
    let covered = octets[..12].iter().chain(&octets[HEADER_BYTES..]);
    covered.fold(0x811C_9DC5, |sum, &octet| (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

/// The number of a datagram that is whole.
fn number_of(octets: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(octets.get(..8)?.try_into().ok()?);
    let length = u32::from_be_bytes(octets.get(8..12)?.try_into().ok()?);
    let sum = u32::from_be_bytes(octets.get(12..16)?.try_into().ok()?);
    (length as usize == octets.len() && sum == checksum(octets)).then_some(number)
}

/// Receives numbered datagrams until it is stopped.
#[derive(Debug)]
pub struct Arrivals {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Received>,
}

/// What arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// How often each number came.
    pub numbers: BTreeMap<u64, u32>,
    /// Datagrams whose checksum or length did not fit.
    pub damaged: u64,
    /// The longest time between two arrivals.
    pub longest_gap: Duration,
    /// When the first came, after listening began.
    pub first_after: Option<Duration>,
}

impl Received {
    /// How many of the first `sent` numbers never came.
    pub fn lost(&self, sent: u64) -> u64 {
        let came = self.numbers.range(..sent).count();
        sent - u64::try_from(came).expect("a count fits 64 bits")
    }

    /// How many came more than once.
    pub fn doubled(&self) -> usize {
        self.numbers.values().filter(|&&times| times > 1).count()
    }
}

impl Arrivals {
    /// Listens in a namespace.
    ///
    /// # Errors
    /// When the address is taken or not there.
    pub fn listen(at: &Namespace, address: SocketAddr) -> Outcome<Self> {
        let bind = move || {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            // A receiver that does not get the CPU for a while must not look like a lossy path.
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = at.enter(bind)?.map_err(LabError::machine(format!("listen at {address}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || receive(&socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Waits for stragglers, stops, and says what arrived.
    pub fn stop(self) -> Received {
        thread::sleep(STRAGGLERS_FOR);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Received {
    let mut received = Received::default();
    let mut buffer = vec![0; 65_536];
    let start = Instant::now();
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let now = Instant::now();
        received.first_after.get_or_insert(now - start);
        let gap = last.replace(now).map_or(Duration::ZERO, |before| now - before);
        received.longest_gap = received.longest_gap.max(gap);
        match number_of(&buffer[..length]) {
            Some(number) => *received.numbers.entry(number).or_default() += 1,
            None => received.damaged += 1,
        }
    }
    received
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_known_by_its_number_and_damage_is_noticed() {
        let whole = datagram(77, 100);
        assert_eq!(number_of(&whole), Some(77));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(number_of(&damaged), None, "octet {at}");
        }
        let mut swapped = whole.clone();
        swapped.swap(40, 42);
        assert_eq!(number_of(&swapped), None);
        assert_eq!(number_of(&whole[..99]), None);
        assert_eq!(number_of(&[]), None);
    }

    #[test]
    fn what_is_lost_and_doubled_is_counted() {
        let numbers = BTreeMap::from([(0, 1), (1, 2), (3, 1)]);
        let received = Received { numbers, ..Received::default() };
        assert_eq!(received.lost(4), 1);
        assert_eq!(received.doubled(), 1);
    }
}
