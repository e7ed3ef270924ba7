//! A pool with the members that new connections may go to.

use core::net::IpAddr;
use core::num::NonZeroU16;
use core::ops::Deref;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mn_ids::{PoolId, PoolMemberId};

use super::{Lookup, Single};
use crate::object::{Health, IpVersion, Pool, PoolMember};

/// A loaded pool. Derefs to the stored object.
#[derive(Clone, Debug)]
pub struct PoolView {
    pool: Arc<Pool>,
    members: Arc<BTreeMap<PoolMemberId, Arc<PoolMember>>>,
    eligible: Box<[Eligible]>,
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
    members: Arc<BTreeMap<PoolMemberId, Arc<PoolMember>>>,
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

    /// Makes the view from the parts, once all are there; says whether flows see another pool now.
    pub(super) fn compile(&mut self) -> bool {
        let pool = self.pool.value.as_ref().filter(|_| self.members_complete);
        let new = pool.map(|pool| Arc::new(self.view_of(pool)));
        let same = match (&self.view, &new) {
            (Some(old), Some(new)) => old.is_as(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        self.view = new;
        !same
    }

    fn view_of(&self, pool: &Arc<Pool>) -> PoolView {
        let may = |member: &&Arc<PoolMember>| {
            member.admin_state_up
                && Some(IpVersion::of(member.address)) == pool.ip_version
                && !(pool.health_monitor_id.is_some() && self.dead.contains(&member.id))
        };
        let eligible = self.members.values().filter(may).scan(0, |until, member| {
            *until += u64::from(member.weight.get());
            let (address, port) = (member.address, member.protocol_port);
            Some(Eligible { id: member.id, address, port, until: *until })
        });
        let members = Arc::clone(&self.members);
        PoolView { pool: Arc::clone(pool), members, eligible: eligible.collect() }
    }
}

/// What the checks of a member came to; `None`: nobody checks it.
pub type Verdict = (PoolId, PoolMemberId, Option<Health>);
