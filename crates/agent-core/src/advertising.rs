//! Router advertisements that nobody asked for: when each port sends the next (RFC 4861 §6.2).

use std::collections::BTreeMap;

use mn_ids::PortId;
use mn_packet::Mac;
use mn_packet::ndp::{PrefixInformation, RouterAdvertisement};
use mn_time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How many come in quick succession when there is something new to say (RFC 4861 §10,
/// `MAX_INITIAL_RTR_ADVERTISEMENTS`).
const QUICK: u8 = 3;
/// The longest time between those (`MAX_INITIAL_RTR_ADVERT_INTERVAL`).
const QUICK_EVERY: Duration = Duration::from_secs(16);
/// The shortest time between two to all nodes (`MIN_DELAY_BETWEEN_RAS`).
const APART: Duration = Duration::from_secs(3);

/// What a router's port says, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Speaker {
    pub mac: Mac,
    /// `None`: it advertises nothing.
    pub advertisement: Option<RouterAdvertisement>,
    /// The longest time between two (`MaxRtrAdvInterval`).
    pub interval: Duration,
}

/// The ports that this host speaks for.
#[derive(Debug, Default)]
pub struct Advertising {
    ports: BTreeMap<PortId, Speaking>,
    random: u64,
}

#[derive(Debug)]
struct Speaking {
    speaker: Speaker,
    next_at: Option<Instant>,
    said_at: Option<Instant>,
    /// How many more come quickly.
    quick: u8,
    /// What was said and does not hold any more: hosts are told so as long as others come quickly.
    withdrawn: Vec<PrefixInformation>,
}

impl Advertising {
    /// No port yet. The seed spreads hosts' advertisements over time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { ports: BTreeMap::new(), random: seed }
    }

    /// The ports to speak for from now on. One that is new, or says something new, speaks at once.
    /// One that falls silent says so first (RFC 4861 §6.2.5); one that is not here any more does
    /// not: another host may speak for it.
    pub fn set(&mut self, wanted: BTreeMap<PortId, Speaker>, now: Instant) {
        self.ports.retain(|port, _| wanted.contains_key(port));
        for (port, speaker) in wanted {
            match self.ports.get_mut(&port) {
                Some(speaking) => speaking.change(speaker, now),
                None => {
                    let next_at = speaker.advertisement.is_some().then_some(now);
                    let (said_at, quick, withdrawn) = (None, QUICK, Vec::new());
                    let new = Speaking { speaker, next_at, said_at, quick, withdrawn };
                    self.ports.insert(port, new);
                }
            }
        }
    }

    /// The frames that are due now, to be sent from the egress of their ports.
    pub fn due(&mut self, now: Instant) -> Vec<(PortId, Vec<u8>)> {
        let random = &mut self.random;
        let due = self.ports.iter_mut();
        due.filter(|(_, speaking)| speaking.next_at.is_some_and(|at| at <= now))
            .map(|(port, speaking)| (*port, speaking.say(next(random), now)))
            .collect()
    }
}

impl Speaking {
    fn change(&mut self, speaker: Speaker, now: Instant) {
        if self.speaker == speaker {
            return;
        }
        let speaks = speaker.advertisement.is_some() || self.speaker.advertisement.is_some();
        if speaker.advertisement != self.speaker.advertisement {
            let old = self.speaker.advertisement.take().map(|said| said.prefixes);
            self.withdrawn.extend(old.into_iter().flatten());
        }
        self.speaker = speaker;
        let holds = self.speaker.advertisement.as_ref().map_or(&[][..], |now| &now.prefixes);
        let same =
            |a: &PrefixInformation, b: &PrefixInformation| (a.prefix, a.len) == (b.prefix, b.len);
        self.withdrawn.retain(|old| !holds.iter().any(|new| same(old, new)));
        if speaks {
            self.quick = QUICK;
            let earliest = self.said_at.map_or(now, |at| at + APART);
            self.next_at = Some(earliest.max(now));
        }
    }

    /// The frame to send, with `chance` deciding when the next is due.
    fn say(&mut self, chance: u64, now: Instant) -> Vec<u8> {
        let mut advertisement = self.speaker.advertisement.clone().unwrap_or_default();
        let over = |old: &PrefixInformation| PrefixInformation { valid: 0, preferred: 0, ..*old };
        advertisement.prefixes.extend(self.withdrawn.iter().map(over));
        if self.speaker.advertisement.is_none() {
            advertisement.source_mac = Some(self.speaker.mac);
        }
        self.said_at = Some(now);
        self.quick = self.quick.saturating_sub(1);
        let longest = self.speaker.interval;
        let shortest = if longest < APART * 3 { longest * 3 / 4 } else { longest / 3 };
        let spread = (longest - shortest).as_millis() as u64;
        let mut wait = shortest + Duration::from_millis(chance % spread.max(1));
        if self.quick > 0 {
            wait = wait.min(QUICK_EVERY);
        } else {
            self.withdrawn.clear();
        }
        let speaks_on = self.speaker.advertisement.is_some() || self.quick > 0;
        self.next_at = speaks_on.then_some(now + wait.max(APART));
        advertisement.frame(self.speaker.mac, None)
    }
}

/// The next number of a sequence without pattern (Knuth's MMIX generator).
fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}
