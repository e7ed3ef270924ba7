//! A pool with the members that new connections may go to.

use core::net::IpAddr;
use core::num::NonZeroU16;
use core::ops::Deref;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mn_ids::{PoolId, PoolMemberId};

use super::maglev::Maglev;
use super::{Lookup, Single};
use crate::object::{Health, IpVersion, LbMethod, Pool, PoolMember};

/// A loaded pool. Derefs to the stored object.
#[derive(Clone, Debug)]
pub struct PoolView {
    pool: Arc<Pool>,
    eligible: Box<[Eligible]>,
    members: Members,
    dead: Arc<BTreeSet<PoolMemberId>>,
    /// Of a pool that chooses by hash.
    maglev: Option<Arc<Maglev>>,
}

type Members = Arc<BTreeMap<PoolMemberId, Arc<PoolMember>>>;

/// What a member may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// New connections, and those it has.
    Eligible,
    /// Those it has: it is administratively down.
    Draining,
    /// None: its monitor found it dead.
    Dead,
    /// None: it is not of its pool's IP version.
    OtherVersion,
}

/// A member that new connections may go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Eligible {
    pub id: PoolMemberId,
    pub address: IpAddr,
    pub port: NonZeroU16,
    /// The weights of all members up to this one, itself included.
    until: u64,
}

impl PoolView {
    /// The members that new connections may go to, in the order of their ids: those that are up,
    /// were not found dead where the pool has a monitor, and are of the pool's IP version. What the
    /// pool's own state is, is the caller's to ask.
    #[must_use]
    pub const fn eligible(&self) -> &[Eligible] {
        &self.eligible
    }

    /// All its members, whatever their state.
    pub fn members(&self) -> impl Iterator<Item = &PoolMember> {
        self.members.values().map(Arc::as_ref)
    }

    /// Those that are eligible, each with its share.
    pub fn weighed(&self) -> impl Iterator<Item = (&Eligible, u64)> {
        weighed(&self.eligible)
    }

    /// The weights of all that are eligible.
    #[must_use]
    pub fn total_weight(&self) -> u64 {
        self.eligible.last().map_or(0, |last| last.until)
    }

    /// The member that has this part of the total weight: over all parts every member is chosen as
    /// often as its weight says. `None` from the total weight on. A binary search.
    #[must_use]
    pub fn at_weight(&self, part: u64) -> Option<&Eligible> {
        self.eligible.get(self.eligible.partition_point(|member| member.until <= part))
    }

    /// The member that a pool which chooses by hash has for this hash; `None` where nobody is
    /// eligible, or it chooses otherwise.
    #[must_use]
    pub fn at_hash(&self, hash: u64) -> Option<&Eligible> {
        self.eligible.get(self.maglev.as_ref()?.at(hash)?)
    }

    /// Every member and what it may have, in the order of their ids.
    pub fn standings(&self) -> impl Iterator<Item = (&PoolMember, Standing)> {
        self.members.values().map(|member| (&**member, self.standing(member)))
    }

    /// Where a member is that may keep the connections it has: whoever was not found dead. Its being
    /// down, or the pool's, keeps only new ones away.
    #[must_use]
    pub fn keeper(&self, id: PoolMemberId) -> Option<(IpAddr, NonZeroU16)> {
        let member = self.members.get(&id)?;
        let keeps = matches!(self.standing(member), Standing::Eligible | Standing::Draining);
        keeps.then_some((member.address, member.protocol_port))
    }

    fn standing(&self, member: &PoolMember) -> Standing {
        standing(&self.pool, &self.dead, member)
    }

    /// A member, if new connections may go to it.
    #[must_use]
    pub fn member(&self, id: PoolMemberId) -> Option<&Eligible> {
        let found = self.eligible.binary_search_by_key(&id, |member| member.id).ok()?;
        self.eligible.get(found)
    }

    /// The share of an eligible member.
    #[must_use]
    pub fn weight(&self, id: PoolMemberId) -> Option<u64> {
        let found = self.eligible.binary_search_by_key(&id, |member| member.id).ok()?;
        let before = found.checked_sub(1).map_or(0, |before| self.eligible[before].until);
        Some(self.eligible[found].until - before)
    }

    /// Whether flows read the same of both.
    fn is_as(&self, other: &Self) -> bool {
        let read = |pool: &Pool| (pool.admin_state_up, pool.protocol, pool.lb_method);
        read(&self.pool) == read(&other.pool) && self.eligible == other.eligible
    }
}

fn weighed(eligible: &[Eligible]) -> impl Iterator<Item = (&Eligible, u64)> {
    eligible.iter().scan(0, |before, member| {
        let weight = member.until - *before;
        *before = member.until;
        Some((member, weight))
    })
}

fn standing(pool: &Pool, dead: &BTreeSet<PoolMemberId>, member: &PoolMember) -> Standing {
    if Some(IpVersion::of(member.address)) != pool.ip_version {
        Standing::OtherVersion
    } else if pool.health_monitor_id.is_some() && dead.contains(&member.id) {
        Standing::Dead
    } else if member.admin_state_up {
        Standing::Eligible
    } else {
        Standing::Draining
    }
}

/// What of a pool flows see differently than before.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Changed {
    /// How it chooses, or whom from.
    pub(super) pool: bool,
    /// Members that may keep connections no longer, or again, or are somewhere else.
    pub(super) members: Vec<PoolMemberId>,
}

impl Changed {
    fn between(old: Option<&PoolView>, new: Option<&PoolView>) -> Self {
        let pool = match (old, new) {
            (Some(old), Some(new)) => !old.is_as(new),
            (old, new) => old.is_some() != new.is_some(),
        };
        let keeper = |view: Option<&PoolView>, id| view.and_then(|view| view.keeper(id));
        let ids = old.into_iter().chain(new).flat_map(|view| view.members.keys().copied());
        let mut members: Vec<PoolMemberId> =
            ids.filter(|id| old.is_some() && keeper(old, *id) != keeper(new, *id)).collect();
        members.sort_unstable();
        members.dedup();
        Self { pool, members }
    }
}

impl Deref for PoolView {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

/// A pool on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolEntry {
    pub(super) pool: Single<Pool>,
    pub(super) members_complete: bool,
    members: Members,
    /// The members that were found dead. They may be told before the members.
    dead: Arc<BTreeSet<PoolMemberId>>,
    view: Option<Arc<PoolView>>,
}

impl PoolEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, PoolView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.pool.watched && self.pool.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    /// The pool without its members.
    pub(super) fn lookup_alone(&self) -> Lookup<'_, Pool> {
        match &self.pool.value {
            Some(pool) => Lookup::Loaded(pool),
            None if self.pool.watched => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    pub(super) fn set_member(&mut self, id: PoolMemberId, new: Option<Arc<PoolMember>>) {
        let members = Arc::make_mut(&mut self.members);
        match new {
            Some(member) => drop(members.insert(id, member)),
            None => drop(members.remove(&id)),
        }
    }

    /// What the checks of a member say; `None`: nothing.
    pub(super) fn set_health(&mut self, id: PoolMemberId, health: Option<Health>) {
        let is_dead = health == Some(Health::Inactive);
        if self.dead.contains(&id) == is_dead {
            return;
        }
        let dead = Arc::make_mut(&mut self.dead);
        if is_dead {
            dead.insert(id)
        } else {
            dead.remove(&id)
        };
    }

    pub(super) fn members(&self) -> impl Iterator<Item = PoolMemberId> + '_ {
        self.members.keys().copied()
    }

    /// Whether nothing is known or watched.
    pub(super) fn is_empty(&self) -> bool {
        !(self.pool.watched || self.members_complete)
            && self.pool.value.is_none()
            && self.members.is_empty()
            && self.dead.is_empty()
    }

    /// Makes the view from the parts, once all are there; says what flows see of it now.
    pub(super) fn compile(&mut self) -> Changed {
        let pool = self.pool.value.as_ref().filter(|_| self.members_complete);
        let new = pool.map(|pool| Arc::new(self.view_of(pool)));
        let changed = Changed::between(self.view.as_deref(), new.as_deref());
        self.view = new;
        changed
    }

    fn view_of(&self, pool: &Arc<Pool>) -> PoolView {
        let may =
            |member: &&Arc<PoolMember>| standing(pool, &self.dead, member) == Standing::Eligible;
        let eligible = self.members.values().filter(may).scan(0, |until, member| {
            *until += u64::from(member.weight.get());
            let (address, port) = (member.address, member.protocol_port);
            Some(Eligible { id: member.id, address, port, until: *until })
        });
        let eligible: Box<[Eligible]> = eligible.collect();
        PoolView {
            pool: Arc::clone(pool),
            maglev: self.maglev_of(pool, &eligible),
            eligible,
            members: Arc::clone(&self.members),
            dead: Arc::clone(&self.dead),
        }
    }

    /// The table of a pool that chooses by hash: that of before where the same members are in it.
    fn maglev_of(&self, pool: &Pool, eligible: &[Eligible]) -> Option<Arc<Maglev>> {
        if pool.lb_method != LbMethod::ConsistentHash {
            return None;
        }
        let before = self.view.as_ref().filter(|view| *view.eligible == *eligible);
        before.and_then(|view| view.maglev.clone()).or_else(|| {
            let weighed =
                weighed(eligible).map(|(member, weight)| (member.id.uuid().as_u128(), weight));
            Some(Arc::new(Maglev::new(&weighed.collect::<Vec<_>>())))
        })
    }
}

/// What the checks of a member came to; `None`: nobody checks it.
pub type Verdict = (PoolId, PoolMemberId, Option<Health>);
