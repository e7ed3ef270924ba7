//! Load balancers, pools, and what belongs to them.

use std::sync::Arc;

use mn_flow::Tag;
use mn_ids::{LoadBalancerId, PoolId, PoolMemberId};
use mn_packet::to_v6;
use uuid::Uuid;

use super::super::Snapshot;
use super::super::pool::Verdict;
use super::{Next, replace};
use crate::object::{HealthMonitor, LoadBalancer, Pool, PoolMember, Vip};

impl Snapshot {
    /// The snapshot after these verdicts on members of pools, and what they touch of what flows have
    /// read, each tag once. Verdicts come from a state table; who keeps that says when its watch
    /// ends, too, by a verdict of `None` on each.
    #[must_use]
    pub fn judge(&self, verdicts: impl IntoIterator<Item = Verdict>) -> (Self, Vec<Tag>) {
        let mut next = Next::after(self);
        for (pool, member, health) in verdicts {
            next.snapshot.pools.entry(pool.uuid()).set_health(member, health);
            next.pools.insert(pool);
        }
        next.finish()
    }
}

impl Next {
    pub(super) fn load_balancer(&mut self, id: LoadBalancerId, new: Option<LoadBalancer>) {
        let entry = self.snapshot.load_balancers.entry(id.uuid());
        let read = |balancer: &LoadBalancer| balancer.admin_state_up;
        if entry.balancer.value.as_deref().map(read) != new.as_ref().map(read) {
            self.tags.insert(Tag::LoadBalancer(id));
        }
        entry.balancer.value = new.map(Arc::new);
        self.load_balancers.insert(id);
    }

    pub(super) fn vip(&mut self, id: Uuid, new: Option<Vip>) {
        let new = new.map(Arc::new);
        let old = match &new {
            Some(vip) => self.snapshot.vips.insert(id, Arc::clone(vip)),
            None => self.snapshot.vips.remove(id),
        };
        if old == new {
            return;
        }
        for vip in [&old, &new].into_iter().flatten() {
            let Some(load_balancer) = vip.load_balancer_id else { continue };
            self.tags.insert(Tag::Vip { load_balancer, addr: to_v6(vip.address) });
            self.load_balancers.insert(load_balancer);
        }
        let of = |vip: &Option<Arc<Vip>>| vip.as_ref().and_then(|vip| vip.load_balancer_id);
        if let (Some(id), Some(old)) = (of(&old), &old) {
            self.snapshot.load_balancers.entry(id.uuid()).vips.remove(old);
        }
        if let (Some(id), Some(new)) = (of(&new), new) {
            self.snapshot.load_balancers.entry(id.uuid()).vips.insert(new);
        }
    }

    pub(super) fn pool(&mut self, id: PoolId, new: Option<Pool>) {
        self.snapshot.pools.entry(id.uuid()).pool.value = new.map(Arc::new);
        self.pools.insert(id);
    }

    pub(super) fn pool_member(&mut self, id: PoolMemberId, new: Option<PoolMember>) {
        let new = new.map(Arc::new);
        let old = match &new {
            Some(member) => self.snapshot.pool_members.insert(id.uuid(), Arc::clone(member)),
            None => self.snapshot.pool_members.remove(id.uuid()),
        };
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.snapshot.pools.entry(old.pool_id.uuid()).set_member(id, None);
            self.pools.insert(old.pool_id);
        }
        if let Some(new) = new {
            self.pools.insert(new.pool_id);
            self.snapshot.pools.entry(new.pool_id.uuid()).set_member(id, Some(new));
        }
    }

    /// Checks are no flow's concern: only what they come to.
    pub(super) fn health_monitor(&mut self, id: Uuid, new: Option<HealthMonitor>) {
        replace(&mut self.snapshot.health_monitors, id, new);
    }

    pub(super) fn rebuild_load_balancer(&mut self, id: LoadBalancerId) {
        let entry = self.snapshot.load_balancers.entry(id.uuid());
        entry.compile();
        if entry.is_empty() {
            self.snapshot.load_balancers.remove(id.uuid());
        }
    }

    pub(super) fn rebuild_pool(&mut self, id: PoolId) {
        let entry = self.snapshot.pools.entry(id.uuid());
        let changed = entry.compile();
        if changed.pool {
            self.tags.insert(Tag::Pool(id));
        }
        let members = changed.members.into_iter();
        self.tags.extend(members.map(|member| Tag::PoolMember { pool: id, member }));
        if entry.is_empty() {
            self.snapshot.pools.remove(id.uuid());
        }
    }
}
