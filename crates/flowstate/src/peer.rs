//! This host's half of the talk with another.

use core::num::NonZeroU64;

use mn_ids::HostId;
use mn_time::Instant;

use crate::cause::Refused;
use crate::incoming::Incoming;
use crate::key::ZoneKey;
use crate::message::{Body, Header, claimed_sender, open, seal};
use crate::outgoing::Outgoing;
use crate::pace::{Quality, repeat_after};
use crate::record::Record;
use crate::window::Window;

/// Which life of a host's agent: greater for every later one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub NonZeroU64);

/// What a datagram brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer is in another life than was known, or was not known.
    Began,
    /// The peer could not keep all it had to tell: what it knows is to be asked for.
    Lost,
    Record(Record),
}

/// How a datagram was taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// Records that were here already: said again because an acknowledgement was late.
    pub repeated: u64,
}

/// One other host.
#[derive(Debug)]
pub struct Peer {
    own: (HostId, Epoch),
    host: HostId,
    key: ZoneKey,
    /// The life it is in, as far as it is known.
    epoch: Option<Epoch>,
    /// Datagrams sent so far.
    sequence: u64,
    window: Window,
    /// How well the peer's datagrams come.
    quality: Quality,
    outgoing: Outgoing,
    incoming: Incoming,
    owes_ack: bool,
    /// It is to be told which life this host is in, as an answer to what it said in that life of
    /// its own.
    owes_hello: Option<u64>,
    greeting: Greeting,
}

/// Greetings while nothing is known of the peer.
#[derive(Debug, Default)]
struct Greeting {
    due: Instant,
    tries: u32,
}

impl Peer {
    /// Another host of a zone, of which nothing is known yet.
    #[must_use]
    pub fn new(own: HostId, epoch: Epoch, host: HostId, key: ZoneKey) -> Self {
        Self {
            own: (own, epoch),
            host,
            key,
            epoch: None,
            sequence: 0,
            window: Window::default(),
            quality: Quality::default(),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            owes_ack: false,
            owes_hello: None,
            greeting: Greeting::default(),
        }
    }

    /// Who a datagram says it is from: the peer that is to judge it.
    #[must_use]
    pub fn sender(datagram: &[u8]) -> Option<HostId> {
        claimed_sender(datagram)
    }

    /// The zone has another secret.
    pub fn set_key(&mut self, key: ZoneKey) {
        self.key = key;
    }

    /// Has something for the peer. It goes out by [`Self::poll`].
    pub fn tell(&mut self, record: Record) {
        self.outgoing.push(record);
    }

    /// How many records the peer is not known to have.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.outgoing.len()
    }

    /// Whether its agent seems not to be there.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.epoch.is_none() || self.outgoing.is_away()
    }

    /// How many records were dropped because the peer was away for too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.outgoing.dropped()
    }

    /// The next datagram to be sent now; to be called until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(to_epoch) = self.owes_hello.take() {
            return Some(self.seal(to_epoch, &Body::Hello));
        }
        let Some(epoch) = self.epoch else {
            if self.greeting.due > now {
                return None;
            }
            self.greeting.due = now + repeat_after(self.greeting.tries);
            self.greeting.tries += 1;
            return Some(self.seal(0, &Body::Hello));
        };
        let epoch = epoch.0.get();
        if std::mem::take(&mut self.owes_ack) {
            return Some(self.seal(epoch, &Body::Ack(self.incoming.ack())));
        }
        let records = self.outgoing.due(now)?;
        Some(self.seal(epoch, &Body::Records(records)))
    }

    /// When [`Self::poll`] has something to send.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        if self.owes_hello.is_some() || self.owes_ack && self.epoch.is_some() {
            return Some(Instant::ZERO);
        }
        match self.epoch {
            None => Some(self.greeting.due),
            Some(_) => self.outgoing.next_due(),
        }
    }

    /// Takes a datagram that came from the peer's address; adds what it says to `out`. What it
    /// said is acknowledged by the next [`Self::poll`]: it must be safe by then.
    ///
    /// # Errors
    ///
    /// Why it was not taken. It then had no effect, but for telling the peer which life this is.
    pub fn receive(&mut self, datagram: &[u8], out: &mut Vec<Event>) -> Result<Received, Refused> {
        let (header, body) = open(datagram, &self.key)?;
        if header.from != self.host || header.to != self.own.0 {
            return Err(Refused::Forged);
        }
        let from = NonZeroU64::new(header.from_epoch).map(Epoch).ok_or(Refused::Malformed)?;
        if self.epoch.is_some_and(|known| from < known) {
            return Err(Refused::Replayed);
        }
        if header.to_epoch != self.own.1.0.get() {
            // It does not know this life; whether it is fresh cannot be told.
            self.owes_hello = Some(header.from_epoch);
            return match body {
                Body::Hello if header.to_epoch == 0 => Ok(Received::default()),
                _ => Err(Refused::Stale),
            };
        }
        if self.epoch != Some(from) {
            self.begin(from, out);
        }
        let gap = self.window.gap(header.sequence);
        if !self.window.take(header.sequence) {
            return Err(Refused::Replayed);
        }
        match gap {
            Some(0) => self.quality.note_well(),
            missing => self.quality.note_bad(missing.unwrap_or(1)),
        }
        self.outgoing.heard_of(header.quality);
        Ok(self.take(body, out))
    }

    /// The peer has begun a life: it knows nothing, and its numbers begin anew.
    fn begin(&mut self, epoch: Epoch, out: &mut Vec<Event>) {
        self.epoch = Some(epoch);
        self.window = Window::default();
        self.incoming = Incoming::default();
        self.outgoing.again();
        self.greeting = Greeting::default();
        out.push(Event::Began);
    }

    fn take(&mut self, body: Body, out: &mut Vec<Event>) -> Received {
        match body {
            Body::Records(records) => {
                let mut said = Vec::new();
                let taken = self.incoming.take(&records, &mut said);
                self.owes_ack = true;
                if taken.lost {
                    out.push(Event::Lost);
                }
                out.extend(said.into_iter().map(Event::Record));
                self.outgoing.awake();
                Received { repeated: taken.repeated }
            }
            Body::Ack(ack) => {
                self.outgoing.acknowledged(&ack);
                Received::default()
            }
            Body::Hello => {
                self.outgoing.awake();
                Received::default()
            }
        }
    }

    fn seal(&mut self, to_epoch: u64, body: &Body) -> Vec<u8> {
        self.sequence += 1;
        let (from, Epoch(epoch)) = self.own;
        let header = Header {
            from,
            to: self.host,
            from_epoch: epoch.get(),
            to_epoch,
            sequence: self.sequence,
            quality: self.quality,
        };
        seal(&header, body, &self.key)
    }
}
