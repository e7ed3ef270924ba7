//! First contact: a station that asks every millisecond until somebody answers.
//!
//! It speaks for itself, past the guest's stack: a stack asks for a neighbour once a second, and
//! what that second hides is what is to be seen here.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mn_packet::ndp::{self, NdMessage};
use mn_packet::{
    Arp, ArpOp, EtherType, EthernetHeader, IcmpHeader, IpProtocol, Layers, Mac, Network, ip_packet,
};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::frames::open;
use crate::vm::GUEST;
use crate::{LabError, Namespace, Outcome};

/// Between two probes.
const EVERY: Duration = Duration::from_millis(1);
/// Tells the probes of this tool from what else is on the wire.
const IDENTIFIER: [u8; 2] = *b"mn";

/// Who asks whom.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The asking station.
    pub mac: Mac,
    pub from: IpAddr,
    /// The neighbour that takes its packets: a gateway, or the other station itself.
    pub via: IpAddr,
    pub to: IpAddr,
}

/// A station that asks every millisecond: for its neighbour until that answers, then for the
/// other station.
#[derive(Debug)]
pub struct Contact {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// When it heard what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// The neighbour's MAC was told.
    pub neighbor: Option<Instant>,
    /// The other station answered.
    pub answered: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    route: Route,
    mac: Mutex<Option<Mac>>,
    met: Mutex<Met>,
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Contact {
    /// Starts asking from a guest's interface.
    ///
    /// # Errors
    /// When there is no such interface or no socket for it.
    pub fn start(guest: &Namespace, route: Route) -> Outcome<Self> {
        let failed = LabError::machine(format!("a socket in {}", guest.name()));
        let socket = Arc::new(guest.enter(|| open(GUEST))?.map_err(failed)?);
        let shared = Arc::new(Shared {
            route,
            mac: Mutex::default(),
            met: Mutex::default(),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let (asking, hearing) = (Arc::clone(&shared), Arc::clone(&shared));
        let ear = Arc::clone(&socket);
        let threads = vec![
            thread::spawn(move || hearing.hear(&ear)),
            thread::spawn(move || asking.ask(&socket)),
        ];
        Ok(Self { shared, threads })
    }

    /// What it has heard so far.
    pub fn met(&self) -> Met {
        *self.shared.met.lock().expect("nothing panics under this lock")
    }

    /// How many probes it has sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Waits until the other station answers; when that was.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn answered(&self, patience: Duration) -> Outcome<Instant> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(at) = self.met().answered {
                return Ok(at);
            }
            thread::sleep(EVERY);
        }
        let what = format!("{} answers {}", self.shared.route.to, self.shared.route.from);
        let neighbor = self.met().neighbor.map_or("unknown", |_| "known");
        let what = format!("{what} (its neighbour is {neighbor}, {} probes sent)", self.sent());
        Err(LabError::Late { what, seconds: patience.as_secs_f64() })
    }
}

impl Drop for Contact {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there was printed there.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn ask(&self, socket: &OwnedFd) {
        let mut due = Instant::now();
        for number in 0_u16.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let mac = *self.mac.lock().expect("nothing panics under this lock");
            let frame = match mac {
                None => self.route.question(),
                Some(mac) => self.route.echo(mac, number),
            };
            // What is lost on an interface that is not ready is asked again.
            if send(socket.as_raw_fd(), &frame, MsgFlags::empty()).is_ok() {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            due += EVERY;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn hear(&self, socket: &OwnedFd) {
        let mut frame = [0; 2048];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(length) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) else {
                continue;
            };
            let now = Instant::now();
            let mut met = self.met.lock().expect("nothing panics under this lock");
            match self.route.heard(&frame[..length]) {
                Some(Heard::Neighbor(mac)) if met.neighbor.is_none() => {
                    met.neighbor = Some(now);
                    *self.mac.lock().expect("nothing panics under this lock") = Some(mac);
                }
                Some(Heard::Answer) => drop(met.answered.get_or_insert(now)),
                Some(Heard::Neighbor(_)) | None => {}
            }
        }
    }
}

/// What a frame tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Heard {
    Neighbor(Mac),
    Answer,
}

impl Route {
    /// Who has the neighbour's address?
    fn question(&self) -> Vec<u8> {
        match (self.from, self.via) {
            (IpAddr::V4(from), IpAddr::V4(via)) => Arp::request(self.mac, from, via).frame(),
            (IpAddr::V6(from), IpAddr::V6(via)) => ndp::solicit(self.mac, from, via),
            _ => Vec::new(),
        }
    }

    /// Are you there?
    fn echo(&self, via: Mac, number: u16) -> Vec<u8> {
        let v6 = self.to.is_ipv6();
        let [high, low] = number.to_be_bytes();
        let [first, second] = IDENTIFIER;
        let ty = if v6 { 128 } else { IcmpHeader::ECHO_REQUEST };
        let header = IcmpHeader { ty, code: 0, rest: [first, second, high, low] };
        let message = header.message(self.from, self.to, b"is anybody there?");
        let protocol = if v6 { IpProtocol::ICMPV6 } else { IpProtocol::ICMP };
        let ether_type = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let packet = ip_packet(self.from, self.to, 64, protocol, &message);
        EthernetHeader::untagged(self.mac, via, ether_type).frame(&packet)
    }

    fn heard(&self, frame: &[u8]) -> Option<Heard> {
        match Layers::of(frame).ok()?.network {
            Network::Arp(arp) => (arp.op == ArpOp::REPLY && IpAddr::V4(arp.sender) == self.via)
                .then_some(Heard::Neighbor(arp.sender_mac)),
            Network::Ip(ip) => match ip.payload {
                [0 | 129, 0, _, _, first, second, ..] if ip.src == self.to => {
                    ([*first, *second] == IDENTIFIER).then_some(Heard::Answer)
                }
                payload if ip.protocol == IpProtocol::ICMPV6 => self.advertised(payload),
                _ => None,
            },
            Network::Other => None,
        }
    }

    fn advertised(&self, message: &[u8]) -> Option<Heard> {
        match NdMessage::parse(message).ok()?? {
            NdMessage::NeighborAdvertisement(told) if IpAddr::V6(told.target) == self.via => {
                told.target_mac.map(Heard::Neighbor)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use mn_packet::echo_reply;

    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn route(from: &str, via: &str, to: &str) -> Route {
        let addr = |text: &str| text.parse().unwrap();
        Route { mac: OWN, from: addr(from), via: addr(via), to: addr(to) }
    }

    #[test]
    fn only_the_neighbor_and_the_other_station_are_heard() {
        let route = route("10.0.0.1", "10.0.0.254", "10.0.9.9");
        let asked = Arp::parse(&route.question()[14..]).unwrap();
        assert_eq!(route.heard(&asked.reply(FAR).frame()), Some(Heard::Neighbor(FAR)));
        assert_eq!(route.heard(&route.question()), None, "its own question is no answer");
        let other = Arp::request(OWN, [10, 0, 0, 1].into(), [10, 0, 0, 7].into());
        assert_eq!(route.heard(&other.reply(FAR).frame()), None);
        let echo = route.echo(FAR, 7);
        assert_eq!(route.heard(&echo), None);
        assert_eq!(route.heard(&echo_reply(&echo, FAR).unwrap()), Some(Heard::Answer));
    }

    #[test]
    fn it_asks_for_addresses_of_both_versions() {
        let route = route("2001:db8::1", "2001:db8::fe", "2001:db8:1::9");
        let question = route.question();
        let layers = Layers::of(&question).unwrap();
        let via = "2001:db8::fe".parse().unwrap();
        let from = "2001:db8::1".parse().unwrap();
        let told = ndp::advertise(&layers.ethernet, from, via, FAR, true);
        assert_eq!(route.heard(&told), Some(Heard::Neighbor(FAR)));
        let echo = route.echo(FAR, 7);
        assert_eq!(route.heard(&echo_reply(&echo, FAR).unwrap()), Some(Heard::Answer));
    }
}
