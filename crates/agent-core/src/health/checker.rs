//! All checks of one host: when each is due, and what they come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mn_flow::mix;
use mn_ids::RouterId;
use mn_packet::to_v6;
use mn_simulation::nat::Endpoint;
use mn_simulation::{CHECK_PORT_FIRST, CheckKey};
use mn_time::{Duration, Instant};
use mn_topology::Health;

use super::{Assigned, Awaited, Goal, MemberKey, Probe, Tally, Target};

/// Between the first checks of members that come together.
const APART: Duration = Duration::from_millis(1);

/// What is to be done.
#[derive(Debug, Default)]
pub struct Told {
    /// Frames for routers to send.
    pub frames: Vec<(RouterId, Vec<u8>)>,
    /// Verdicts that are other than before.
    pub verdicts: Vec<(MemberKey, Health)>,
    /// Checks that passed and that failed.
    pub passed: u64,
    pub failed: u64,
}

/// A member under watch.
#[derive(Debug)]
struct Watched {
    target: Target,
    tally: Tally,
    /// When the next check begins.
    next_at: Instant,
    probe: Option<Probe>,
}

/// The checks of one host.
#[derive(Debug)]
pub struct Checker {
    awaited: Arc<Awaited>,
    members: HashMap<MemberKey, Watched>,
    talks: HashMap<CheckKey, MemberKey>,
    /// What is due when.
    agenda: BTreeSet<(Instant, MemberKey)>,
    port: u16,
    random: u64,
}

impl Checker {
    /// None yet. `seed` is for numbers that nobody should guess.
    #[must_use]
    pub fn new(awaited: Arc<Awaited>, seed: u64) -> Self {
        let port = CHECK_PORT_FIRST | seed as u16;
        let (members, talks, agenda) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Self { awaited, members, talks, agenda, port, random: seed | 1 }
    }

    /// How many members are checked here.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// These are to be checked from now on, and no others. What is checked otherwise than before
    /// is checked at once; its verdict holds on meanwhile.
    pub fn assign(
        &mut self,
        assigned: &BTreeMap<MemberKey, Assigned>,
        now: Instant,
        told: &mut Told,
    ) {
        let gone = self.members.keys().filter(|key| !assigned.contains_key(*key));
        for key in gone.copied().collect::<Vec<_>>() {
            self.unschedule(key);
            self.drop_probe(key, told);
            self.members.remove(&key);
        }
        let mut begins = now;
        for (key, Assigned { target, before }) in assigned {
            if self.members.get(key).is_some_and(|watched| watched.target == *target) {
                continue;
            }
            self.unschedule(*key);
            match self.members.get_mut(key) {
                Some(watched) => {
                    watched.target = target.clone();
                    self.drop_probe(*key, told);
                }
                None => {
                    let tally = Tally::after(*before);
                    let target = target.clone();
                    let watched = Watched { target, tally, next_at: now, probe: None };
                    self.members.insert(*key, watched);
                }
            }
            if let Some(watched) = self.members.get_mut(key) {
                watched.next_at = begins;
                self.agenda.insert((begins, *key));
                begins = begins + APART;
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, told: &mut Told) {
        while let Some((at, key)) = self.agenda.first().copied() {
            if at > now {
                return;
            }
            self.agenda.remove(&(at, key));
            self.go_on(key, now, told);
            self.schedule(key);
        }
    }

    /// A frame of a conversation.
    pub fn hear(&mut self, talk: &CheckKey, frame: &[u8], told: &mut Told) {
        let Some(key) = self.talks.get(talk).copied() else { return };
        self.unschedule(key);
        let mut frames = Vec::new();
        let watched = self.members.get_mut(&key);
        let done = watched
            .and_then(|watched| watched.probe.as_mut())
            .and_then(|probe| probe.hear(frame, &mut frames));
        told.frames.extend(frames.into_iter().map(|frame| (talk.router, frame)));
        self.conclude(key, done, told);
        self.schedule(key);
    }

    fn go_on(&mut self, key: MemberKey, now: Instant, told: &mut Told) {
        let Some(watched) = self.members.get_mut(&key) else { return };
        let router = watched.target.router;
        let mut frames = Vec::new();
        let done = watched.probe.as_mut().and_then(|probe| probe.tick(now, &mut frames));
        told.frames.extend(frames.drain(..).map(|frame| (router, frame)));
        self.conclude(key, done, told);
        let Some(watched) = self.members.get(&key) else { return };
        if watched.probe.is_none() && watched.next_at <= now {
            self.begin(key, now, told);
        }
    }

    fn begin(&mut self, key: MemberKey, now: Instant, told: &mut Told) {
        let (isn, talk) = (self.next_random() as u32, self.free_talk(key));
        let Some(watched) = self.members.get_mut(&key) else { return };
        // From the last one's time, so that checks keep their distance from each other; one that
        // took longer than the interval is followed at once.
        watched.next_at = watched.next_at + watched.target.delay;
        if watched.next_at <= now {
            watched.next_at = now + watched.target.delay;
        }
        // While all conversations with it are under way this check is left out.
        let Some(talk) = talk else { return };
        let goal = Goal::of(&watched.target.check, &talk);
        let mut frames = Vec::new();
        let probe = Probe::start(talk, goal, isn, (now, watched.target.timeout), &mut frames);
        watched.probe = Some(probe);
        self.talks.insert(talk, key);
        told.frames.extend(frames.into_iter().map(|frame| (talk.router, frame)));
    }

    /// A conversation that is not under way, which is awaited from now on.
    fn free_talk(&mut self, key: MemberKey) -> Option<CheckKey> {
        let target = &self.members.get(&key)?.target;
        let mut talk = CheckKey {
            router: target.router,
            protocol: Goal::protocol(&target.check),
            own: Endpoint { addr: to_v6(target.own), port: 0 },
            member: Endpoint { addr: to_v6(target.address), port: target.port.get() },
        };
        for _ in 0..u16::MAX - CHECK_PORT_FIRST {
            self.port = self.port.wrapping_add(1) | CHECK_PORT_FIRST;
            talk.own.port = self.port;
            if !self.talks.contains_key(&talk) {
                self.awaited.insert(talk);
                return Some(talk);
            }
        }
        None
    }

    fn conclude(&mut self, key: MemberKey, done: Option<bool>, told: &mut Told) {
        let Some(passed) = done else { return };
        self.forget_probe(key);
        let Some(watched) = self.members.get_mut(&key) else { return };
        *(if passed { &mut told.passed } else { &mut told.failed }) += 1;
        if let Some(health) = watched.tally.count(passed, watched.target.max_retries) {
            told.verdicts.push((key, health));
        }
    }

    fn drop_probe(&mut self, key: MemberKey, told: &mut Told) {
        let mut frames = Vec::new();
        if let Some(probe) = self.forget_probe(key) {
            probe.hang_up(&mut frames);
            let router = probe.key().router;
            told.frames.extend(frames.into_iter().map(|frame| (router, frame)));
        }
    }

    fn forget_probe(&mut self, key: MemberKey) -> Option<Probe> {
        let probe = self.members.get_mut(&key)?.probe.take()?;
        self.talks.remove(probe.key());
        self.awaited.remove(probe.key());
        Some(probe)
    }

    fn schedule(&mut self, key: MemberKey) {
        if let Some(at) = self.at(key) {
            self.agenda.insert((at, key));
        }
    }

    fn unschedule(&mut self, key: MemberKey) {
        if let Some(at) = self.at(key) {
            self.agenda.remove(&(at, key));
        }
    }

    /// When something is to be done about a member.
    fn at(&self, key: MemberKey) -> Option<Instant> {
        let watched = self.members.get(&key)?;
        Some(watched.probe.as_ref().map_or(watched.next_at, Probe::due_at))
    }

    fn next_random(&mut self) -> u64 {
        self.random = mix(self.random, 1);
        self.random
    }
}
