//! Sessions: who is alive, and what becomes of a host's entries when it is not.
//!
//! ```text
//!              open                    ttl without a sign, or close
//!   (nothing) ──────► session alive ─────────────────────────────────► grace ──► entries gone
//!                        ▲  │ open: the epoch rises, entries are taken over │
//!                        └──┴◄──────────────── open ◄──────────────────────┘
//! ```
//!
//! Timers are not stored: a database that is loaded starts all of them in full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mn_ids::HostId;
use mn_time::Instant;

use super::staging::Staging;
use super::write::EntryKey;
use super::{Commit, Database};
use crate::{Entry, Lifetime, Owner, Session, SessionId, TxError};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Timer {
    Session(SessionId),
    Grace(HostId),
}

/// When sessions and grace times end.
#[derive(Debug)]
pub(super) struct Timers {
    grace_for: Duration,
    due: BTreeSet<(Instant, Timer)>,
    ends_at: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(super) fn new(grace_for: Duration) -> Self {
        Self { grace_for, due: BTreeSet::new(), ends_at: BTreeMap::new() }
    }

    fn start(&mut self, timer: Timer, at: Instant) {
        self.stop(timer);
        self.due.insert((at, timer));
        self.ends_at.insert(timer, at);
    }

    fn stop(&mut self, timer: Timer) {
        if let Some(at) = self.ends_at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.stop(timer);
        Some(timer)
    }
}

impl Database {
    /// Opens a session for a host, ending one it had, whose entries it takes over. `id` is new.
    pub fn open_session(
        &mut self,
        id: SessionId,
        host: HostId,
        ttl: Duration,
        now: Instant,
    ) -> (Session, Commit) {
        let mut staging = Staging::new(&mut self.state);
        if let Some(earlier) = staging.state.by_host.get(&host).copied() {
            staging.set_session(earlier, None);
            self.timers.stop(Timer::Session(earlier));
        }
        let epoch = staging.state.epochs.get(&host).map_or(1, |last| last + 1);
        let session = Session { id, host, epoch, ttl };
        staging.set_epoch(host, epoch);
        staging.set_session(id, Some(session));
        staging.take_over(host, epoch);
        self.timers.stop(Timer::Grace(host));
        self.timers.start(Timer::Session(id), now + ttl);
        (session, staging.commit())
    }

    /// Notes a sign of life. Stores nothing.
    ///
    /// # Errors
    ///
    /// [`TxError::NoSession`]: it has ended.
    pub fn renew_session(&mut self, id: SessionId, now: Instant) -> Result<(), TxError> {
        let session = self.state.sessions.get(&id).ok_or(TxError::NoSession(id))?;
        self.timers.start(Timer::Session(id), now + session.ttl);
        Ok(())
    }

    /// Ends a session at once; its grace time begins.
    ///
    /// # Errors
    ///
    /// [`TxError::NoSession`]: it has ended.
    pub fn close_session(&mut self, id: SessionId, now: Instant) -> Result<Commit, TxError> {
        if !self.state.sessions.contains_key(&id) {
            return Err(TxError::NoSession(id));
        }
        let mut staging = Staging::new(&mut self.state);
        end_session(&mut staging, &mut self.timers, id, now);
        Ok(staging.commit())
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Instant> {
        self.timers.due.first().map(|(at, _)| *at)
    }

    /// Ends the sessions and grace times that are over.
    pub fn expire(&mut self, now: Instant) -> Commit {
        let mut staging = Staging::new(&mut self.state);
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Session(id) => end_session(&mut staging, &mut self.timers, id, now),
                Timer::Grace(host) => staging.drop_entries(host, Lifetime::Grace),
            }
        }
        staging.commit()
    }

    /// Starts every timer in full: the database was just loaded.
    pub(super) fn start_timers(&mut self, now: Instant) {
        for session in self.state.sessions.values() {
            self.timers.start(Timer::Session(session.id), now + session.ttl);
        }
        for host in self.state.epochs.keys().filter(|host| !self.state.by_host.contains_key(host)) {
            self.timers.start(Timer::Grace(*host), now + self.timers.grace_for);
        }
    }
}

fn end_session(staging: &mut Staging<'_>, timers: &mut Timers, id: SessionId, now: Instant) {
    timers.stop(Timer::Session(id));
    // Gone already where its host was deleted.
    let Some(host) = staging.state.sessions.get(&id).map(|session| session.host) else { return };
    staging.set_session(id, None);
    staging.drop_entries(host, Lifetime::Session);
    timers.start(Timer::Grace(host), now + timers.grace_for);
}

impl Staging<'_> {
    /// Gives a host's entries to its present life. Who wins stays as it was: revisions are kept.
    fn take_over(&mut self, host: HostId, epoch: u64) {
        let owner = Owner::Host { id: host, epoch };
        for key in self.state.entries_of(host) {
            let place = (key.key.clone(), key.owner);
            let entry = self.state.tables.get(&key.table).and_then(|table| table.get(&place));
            let Some(entry) = entry.cloned() else { continue };
            self.remove_entry(key.clone());
            self.set_entry(EntryKey { owner, ..key }, Some(Entry { owner, ..entry }));
        }
    }

    fn drop_entries(&mut self, host: HostId, lifetime: Lifetime) {
        for key in self.state.entries_of(host) {
            if key.table.kind.lifetime() == lifetime {
                self.remove_entry(key);
            }
        }
    }
}
