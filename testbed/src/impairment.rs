//! A wire that treats the datagrams of one UDP port badly: some are lost, some come twice, and all
//! come late, each by its own time, so that they overtake one another.
//!
//! A classic BPF filter takes them out where they enter the underlay; this process sees them
//! before that, and sends what is to arrive out by the interface of the host it is for. The kernel
//! needs no queueing discipline that delays.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, send};

use crate::frames::open;
use crate::{Lab, LabError, Namespace, Outcome};

/// What frames that the interface itself sends are marked with: from linux/if_packet.h.
const PACKET_OUTGOING: u8 = 4;
/// Where an IPv4 header without options and a UDP header behind it have what is looked at.
const IP_DESTINATION: std::ops::Range<usize> = 30..34;
const UDP_CHECKSUM: std::ops::Range<usize> = 40..42;
/// Where the payload of such a datagram begins.
const PAYLOAD: usize = 42;
/// Datagrams kept for whoever wants to send them again.
const TAPE_MAX: usize = 1000;
/// How often the sending thread looks whether it is to stop.
const NAP: Duration = Duration::from_millis(20);

/// How badly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Of a hundred.
    pub lost: u64,
    /// Of a hundred; each copy may be lost and is late by its own.
    pub twice: u64,
    /// Each is late by something between nothing and this.
    pub late: Duration,
    /// Of the chances.
    pub seed: u64,
}

/// A datagram that came by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passed {
    /// Places of the hosts in the lab.
    pub from: usize,
    pub to: usize,
    pub frame: Vec<u8>,
}

impl Passed {
    /// What the datagram says.
    pub fn payload(&self) -> &[u8] {
        self.frame.get(PAYLOAD..).unwrap_or_default()
    }
}

/// The datagrams of one port between the hosts of a lab, until it is dropped.
#[derive(Debug)]
pub struct Impairment {
    shared: Arc<Shared>,
    underlay: Namespace,
    interfaces: Vec<String>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// By the places of their hosts in the lab.
    sockets: Vec<OwnedFd>,
    addresses: Vec<Ipv4Addr>,
    port: u16,
    flying: Mutex<Flying>,
    /// Something is to be sent earlier than was known.
    hurry: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Flying {
    trouble: Trouble,
    /// By when they are to arrive, and in the order they came.
    frames: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    count: u64,
    tape: Vec<Passed>,
}

impl Impairment {
    /// Takes the datagrams to this port over, with no trouble yet.
    ///
    /// # Errors
    /// When the underlay's interfaces cannot be watched or filtered.
    pub fn start(lab: &Lab, port: u16) -> Outcome<Self> {
        let underlay = lab.underlay().clone();
        let interfaces: Vec<String> = lab.hosts.iter().map(|host| host.name.clone()).collect();
        let mut sockets = Vec::new();
        for interface in interfaces.clone() {
            let failed = LabError::machine(format!("watch {interface} of the underlay"));
            sockets.push(underlay.enter(move || open(&interface))?.map_err(failed)?);
        }
        let addresses = lab.hosts.iter().filter_map(|host| host.address.parse().ok()).collect();
        let (flying, hurry, stop) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { sockets, addresses, port, flying, hurry, stop });
        let mut threads = Vec::new();
        for at in 0..interfaces.len() {
            let watching = Arc::clone(&shared);
            threads.push(thread::spawn(move || watching.watch(at)));
        }
        let carrying = Arc::clone(&shared);
        threads.push(thread::spawn(move || carrying.carry()));
        let taken = Self { shared, underlay, interfaces, threads };
        for interface in &taken.interfaces {
            taken.filter(interface, port)?;
        }
        Ok(taken)
    }

    /// From now on it is as bad as this.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.flying().trouble = trouble;
    }

    /// The first thousand datagrams since it was asked last.
    pub fn take_tape(&self) -> Vec<Passed> {
        std::mem::take(&mut self.shared.flying().tape)
    }

    /// Sends a frame to a host, whoever made it.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub fn deliver(&self, host: usize, frame: &[u8]) -> Outcome {
        self.shared.send(host, frame).map_err(LabError::machine("send a frame"))
    }

    /// Drops what is to this port where it enters the underlay.
    fn filter(&self, interface: &str, port: u16) -> Outcome {
        let lines = [
            // The type of the frame is IPv4, the protocol UDP, and the port this one: 2 is
            // TC_ACT_SHOT of linux/pkt_cls.h.
            "40 0 0 12".to_owned(),
            "21 0 5 2048".to_owned(),
            "48 0 0 23".to_owned(),
            "21 0 3 17".to_owned(),
            "40 0 0 36".to_owned(),
            format!("21 0 1 {port}"),
            "6 0 0 2".to_owned(),
            "6 0 0 0".to_owned(),
        ];
        let program = format!("{},{}", lines.len(), lines.join(","));
        self.underlay.run(&format!("tc qdisc add dev {interface} clsact"))?;
        let add = ["filter", "add", "dev", interface, "ingress", "bpf", "da", "bytecode", &program];
        crate::finish(self.underlay.command("tc").args(add)).map(drop)
    }
}

impl Drop for Impairment {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there was printed there.
            drop(thread.join());
        }
        for interface in &self.interfaces {
            // The lab may be gone, and its namespaces with it.
            drop(self.underlay.run(&format!("tc qdisc del dev {interface} clsact")));
        }
    }
}

impl Shared {
    fn flying(&self) -> MutexGuard<'_, Flying> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, host: usize, frame: &[u8]) -> std::io::Result<()> {
        send(self.sockets[host].as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }

    /// Notes what comes from a host.
    fn watch(&self, from: usize) {
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, sender)) =
                recvfrom::<LinkAddr>(self.sockets[from].as_raw_fd(), &mut buffer)
            else {
                continue;
            };
            if sender.is_some_and(|sender| sender.pkttype() == PACKET_OUTGOING) {
                continue;
            }
            let frame = &buffer[..length];
            if let Some(to) = self.host_of(frame) {
                let mut frame = frame.to_vec();
                // The sender's interface has not computed it: none (RFC 768).
                frame[UDP_CHECKSUM].fill(0);
                self.flying().post(Passed { from, to, frame });
                self.hurry.notify_one();
            }
        }
    }

    /// Which host a datagram to our port is for.
    fn host_of(&self, frame: &[u8]) -> Option<usize> {
        let ours = frame.len() >= PAYLOAD
            && frame[12..15] == [8, 0, 0x45]
            && frame[23] == 17
            && frame[36..38] == self.port.to_be_bytes();
        let to: [u8; 4] = frame.get(IP_DESTINATION)?.try_into().ok()?;
        self.addresses.iter().position(|address| ours && address.octets() == to)
    }

    /// Sends what is due.
    fn carry(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut flying = self.flying();
            let now = Instant::now();
            let due = flying.frames.first_key_value().map(|(place, _)| *place);
            match due {
                Some(place) if place.0 <= now => {
                    let frame = flying.frames.remove(&place);
                    drop(flying);
                    if let Some((to, frame)) = frame {
                        // What a dark host does not take is lost, as on any wire.
                        drop(self.send(to, &frame));
                    }
                }
                _ => {
                    let wait = due.map_or(NAP, |(at, _)| at.duration_since(now).min(NAP));
                    drop(self.hurry.wait_timeout(flying, wait));
                }
            }
        }
    }
}

impl Flying {
    fn post(&mut self, passed: Passed) {
        let trouble = self.trouble;
        let copies = 1 + u64::from(self.chance(100) < trouble.twice);
        for _ in 0..copies {
            if self.chance(100) >= trouble.lost {
                let micros = u64::try_from(trouble.late.as_micros()).unwrap_or(u64::MAX);
                let late = Duration::from_micros(self.chance(micros.saturating_add(1)));
                self.count += 1;
                let place = (Instant::now() + late, self.count);
                self.frames.insert(place, (passed.to, passed.frame.clone()));
            }
        }
        if self.tape.len() < TAPE_MAX {
            self.tape.push(passed);
        }
    }

    /// A number below this: SplitMix64, the seed being its state.
    fn chance(&mut self, below: u64) -> u64 {
        self.trouble.seed = self.trouble.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.trouble.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_lost_come_twice_and_are_late_as_was_said_and_again_with_the_same_seed() {
        let trouble = Trouble { lost: 30, twice: 10, late: Duration::from_millis(50), seed: 7 };
        let passed = Passed { from: 0, to: 1, frame: vec![1] };
        let [one, two] = [(); 2].map(|()| {
            let mut flying = Flying { trouble, ..Flying::default() };
            let begun = Instant::now();
            (0..10_000).for_each(|_| flying.post(passed.clone()));
            let late = flying.frames.keys().filter(|(at, _)| *at - begun > trouble.late / 2);
            (flying.frames.len(), late.count() > 3000, flying.trouble.seed)
        });
        // Four times the deviation that chance has, to both sides.
        assert!((7_500..7_900).contains(&one.0), "0.7 of 1.1: {}", one.0);
        assert!(one.1);
        assert_eq!((one.0, one.2), (two.0, two.2));
    }
}
