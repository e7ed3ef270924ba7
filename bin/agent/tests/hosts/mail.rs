//! What carries state messages between the hosts of a test, well or badly.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mn_agent::StatePath;
use mn_flow::TunnelKey;

use crate::lab::Seen;

/// How badly: in hundred, and how much later at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub lost: u64,
    pub twice: u64,
    pub late: Duration,
}

/// Datagrams on their way, of all hosts.
#[derive(Default)]
pub struct Mail {
    flying: Mutex<Flying>,
    arrived: Condvar,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Flying {
    /// By when they arrive, and in the order they were sent.
    datagrams: BTreeMap<(Instant, u64), Datagram>,
    count: u64,
    chance: u64,
    /// The last ones, for whoever wants to send them again.
    tape: Vec<Datagram>,
    /// Addresses whose datagrams go nowhere.
    cut: Vec<IpAddr>,
}

#[derive(Clone, Debug)]
pub struct Datagram {
    pub from: IpAddr,
    pub to: IpAddr,
    pub octets: Vec<u8>,
}

impl Flying {
    fn below_hundred(&mut self) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33) % 100
    }
}

impl Mail {
    pub fn trouble(&self, trouble: Trouble) {
        *self.trouble.lock().expect("no panic") = trouble;
    }

    /// Nothing goes to or from an address any more; or again.
    pub fn cut(&self, addr: IpAddr, cut: bool) {
        let mut flying = self.flying.lock().expect("no panic");
        flying.cut.retain(|other| *other != addr);
        if cut {
            flying.cut.push(addr);
        }
    }

    /// What was sent lately.
    pub fn tape(&self) -> Vec<Datagram> {
        self.flying.lock().expect("no panic").tape.clone()
    }

    /// Delivers a datagram, whoever made it.
    pub fn deliver(&self, datagram: Datagram) {
        self.send(datagram, Duration::ZERO);
        self.arrived.notify_all();
    }

    fn send(&self, datagram: Datagram, late: Duration) {
        let mut flying = self.flying.lock().expect("no panic");
        flying.count += 1;
        let place = (Instant::now() + late, flying.count);
        flying.datagrams.insert(place, datagram);
    }

    fn post(&self, datagram: Datagram) {
        let trouble = *self.trouble.lock().expect("no panic");
        let mut lates = Vec::new();
        {
            let mut flying = self.flying.lock().expect("no panic");
            if flying.cut.contains(&datagram.from) || flying.cut.contains(&datagram.to) {
                return;
            }
            if flying.tape.len() < 1000 {
                flying.tape.push(datagram.clone());
            }
            let copies = 1 + u64::from(flying.below_hundred() < trouble.twice);
            for _ in 0..copies {
                if flying.below_hundred() >= trouble.lost {
                    lates.push(trouble.late * flying.below_hundred() as u32 / 100);
                }
            }
        }
        lates.into_iter().for_each(|late| self.send(datagram.clone(), late));
        self.arrived.notify_all();
    }

    fn take(&self, locals: &[IpAddr], wait: Duration, woken: &AtomicBool) -> Option<Datagram> {
        let end = Instant::now() + wait;
        let mut flying = self.flying.lock().expect("no panic");
        loop {
            let now = Instant::now();
            let here = |(_, datagram): &(&(Instant, u64), &Datagram)| locals.contains(&datagram.to);
            let next = flying.datagrams.iter().find(here).map(|(place, _)| *place);
            if let Some(place) = next.filter(|(at, _)| *at <= now) {
                return flying.datagrams.remove(&place);
            }
            if now >= end || woken.swap(false, Ordering::Relaxed) {
                return None;
            }
            let until = next.map_or(end, |(at, _)| at.min(end));
            let wait = until.saturating_duration_since(now);
            flying = self.arrived.wait_timeout(flying, wait).expect("no panic").0;
        }
    }
}

/// One host's end of it.
pub struct Post {
    mail: Arc<Mail>,
    locals: Mutex<Vec<IpAddr>>,
    woken: AtomicBool,
}

impl Post {
    pub fn new(mail: &Arc<Mail>) -> Self {
        Self { mail: Arc::clone(mail), locals: Mutex::default(), woken: AtomicBool::new(false) }
    }
}

impl StatePath for Post {
    fn listen(&self, locals: &[IpAddr]) -> io::Result<()> {
        *self.locals.lock().expect("no panic") = locals.to_vec();
        Ok(())
    }

    fn send(&self, from: IpAddr, to: IpAddr, datagram: &[u8]) -> io::Result<()> {
        self.mail.post(Datagram { from, to, octets: datagram.to_vec() });
        Ok(())
    }

    fn receive(&self, wait: Duration, buffer: &mut [u8]) -> io::Result<Option<(IpAddr, usize)>> {
        let locals = self.locals.lock().expect("no panic").clone();
        let Some(datagram) = self.mail.take(&locals, wait, &self.woken) else { return Ok(None) };
        let len = datagram.octets.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram.octets[..len]);
        Ok(Some((datagram.from, len)))
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Relaxed);
        self.mail.arrived.notify_all();
    }
}

/// Frames that went between hosts, by key.
pub fn copies(seen: &[Seen]) -> BTreeMap<(usize, TunnelKey), usize> {
    let mut copies = BTreeMap::new();
    for one in seen {
        let Seen::Between { from, key } = one else { continue };
        *copies.entry((*from, *key)).or_default() += 1;
    }
    copies
}
