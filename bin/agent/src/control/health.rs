//! Which members this host checks, and what it says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mn_agent_core::health::{Assigned, Checkers, MemberKey, Target, Whereabouts, whereabouts};
use mn_agent_core::{Holding, Row, TableName, limits};
use mn_ids::{HealthMonitorId, ObjectKey, PoolId, RouterId};
use mn_simulation::{Buffers, address_toward};
use mn_time::Instant;
use mn_topology::snapshot::{Lookup, PoolView};
use mn_topology::{DeviceId, Health, HealthMonitor, PoolMember};

use super::Control;
use super::advertise::router_ports;
use crate::clock;

/// Between two looks at who is to be checked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a verdict of ours stays when another host is to give it: until that one has.
const YIELD_WITHIN: Duration = Duration::from_secs(30);

/// What is known of checks.
#[derive(Debug, Default)]
pub(super) struct Healths {
    /// Something changed that decides who is checked here.
    due: bool,
    looked_at: Instant,
    /// What the checking thread was told.
    assigned: BTreeMap<MemberKey, Target>,
    /// What it says; or what was said before this host took over.
    verdicts: BTreeMap<MemberKey, Health>,
    /// What this host has in the state table.
    told: BTreeMap<MemberKey, Health>,
    /// Of those, whom another host is to speak for, or of whom it is not known, and until when this
    /// one waits for that.
    yielding: BTreeMap<MemberKey, Instant>,
    buffers: Buffers,
}

/// What one look found.
#[derive(Default)]
struct Found {
    /// Checked here.
    own: BTreeMap<MemberKey, Target>,
    /// Checked by another host.
    others: BTreeSet<MemberKey>,
    /// It is not known yet who checks them.
    undecided: BTreeSet<MemberKey>,
    /// Looked at: of their members, but for the undecided, it is known whether somebody checks them.
    pools: BTreeSet<PoolId>,
    missing: BTreeSet<Holding>,
    used: BTreeSet<Holding>,
}

impl Healths {
    /// Something may have changed.
    pub(super) const fn note_change(&mut self) {
        self.due = true;
    }

    /// This host has a new session: what was said before may be lost.
    pub(super) fn say_again(&mut self) {
        self.told.clear();
        self.due = true;
    }

    /// What was said of members who are another's by now, or of whom it is not known, holds until
    /// then.
    fn note_yielding(&mut self, found: &Found, until: Instant) {
        self.yielding.retain(|key, _| found.may_be_others(*key));
        for key in self.told.keys().filter(|key| found.may_be_others(**key)) {
            self.yielding.entry(*key).or_insert(until);
        }
    }
}

impl Control {
    /// Finds out who is to be checked here, when something changed.
    pub(super) fn look_after_members(&mut self) {
        let now = clock::now();
        let healths = &self.state.healths;
        let wait = if healths.due { LOOK_EVERY } else { limits::USES_EVERY };
        if now.since(healths.looked_at) < wait {
            return;
        }
        self.state.healths.due = false;
        self.state.healths.looked_at = now;
        let found = self.find_members(now);
        for holding in &found.missing {
            self.subscriptions.load(*holding);
        }
        for holding in &found.used {
            self.subscriptions.holdings.note_use(*holding, now);
        }
        self.take_over_own(&found.pools);
        self.assign(found, now);
    }

    /// Takes verdicts of the checking thread.
    pub(super) fn take_verdicts(&mut self, verdicts: Vec<(MemberKey, Health)>) {
        for (key, health) in verdicts {
            // One that comes late is another host's to give.
            let Some(target) = self.state.healths.assigned.get(&key) else { continue };
            let status = match health {
                Health::Active => "ACTIVE",
                Health::Inactive => "INACTIVE",
            };
            tracing::info!(
                pool = %key.0,
                member = %key.1,
                addr = %target.address,
                port = target.port,
                status,
                event = "member-health",
                "a member's checks came to another verdict"
            );
            self.state.healths.verdicts.insert(key, health);
        }
    }

    /// Tells the state table what it has not been told.
    pub(super) fn publish_healths(&mut self) {
        let healths = &self.state.healths;
        let new: Vec<_> = healths
            .verdicts
            .iter()
            .filter(|(key, health)| healths.told.get(*key) != Some(*health))
            .map(|(key, health)| (*key, *health))
            .collect();
        for (key, health) in new {
            self.write_health(key, Some(health));
            self.state.healths.told.insert(key, health);
        }
        self.withdraw_healths();
    }

    /// Takes back what is not this host's to say: at once where nobody checks the member any more,
    /// else when who does has spoken.
    fn withdraw_healths(&mut self) {
        let now = clock::now();
        let healths = &self.state.healths;
        let strange = healths.told.keys().filter(|key| !healths.assigned.contains_key(*key));
        for key in strange.copied().collect::<Vec<_>>() {
            let until = self.state.healths.yielding.get(&key).copied();
            let beaten = self.state.tables.lost_health(key.0, key.1, self.host.id);
            if until.is_some_and(|until| now < until) && !beaten {
                continue;
            }
            self.state.healths.told.remove(&key);
            self.state.healths.yielding.remove(&key);
            // With a pool that is deleted its table went.
            if !matches!(self.state.snapshot.pool(key.0), Lookup::Absent) {
                self.write_health(key, None);
            }
        }
    }

    fn write_health(&self, (pool, member): MemberKey, health: Option<Health>) {
        self.write(&Row::MemberHealth { pool, member, health });
    }

    /// What an earlier life of this host's agent said counts as said.
    fn take_over_own(&mut self, pools: &BTreeSet<PoolId>) {
        for pool in pools {
            for (member, health) in self.state.tables.healths_of(*pool, self.host.id) {
                self.state.healths.told.entry((*pool, member)).or_insert(health);
            }
        }
    }

    fn assign(&mut self, mut found: Found, now: Instant) {
        let healths = &mut self.state.healths;
        // Who is checked here goes on being checked until it is known that another does it.
        for key in &found.undecided {
            found.own.extend(healths.assigned.get(key).map(|target| (*key, target.clone())));
        }
        healths.note_yielding(&found, now + YIELD_WITHIN);
        if found.own == healths.assigned {
            return;
        }
        let tables = &self.state.tables;
        let before = |(pool, member): MemberKey| tables.verdict(pool, member).2;
        let assigned = found
            .own
            .iter()
            .map(|(key, target)| (*key, Assigned { target: target.clone(), before: before(*key) }));
        if !self.health.assign(assigned.collect()) {
            healths.due = true;
            return;
        }
        for key in found.own.keys().filter(|key| !healths.assigned.contains_key(*key)) {
            healths.verdicts.extend(before(*key).map(|health| (*key, health)));
        }
        healths.verdicts.retain(|key, _| found.own.contains_key(key));
        healths.assigned = found.own;
    }

    /// Everybody who is checked behind the routers next to this host's ports.
    fn find_members(&mut self, now: Instant) -> Found {
        let mut found = Found::default();
        let mut buffers = std::mem::take(&mut self.state.healths.buffers);
        let active = self.state.local.ports.keys().copied();
        let mut routers = BTreeSet::new();
        for port in router_ports(&self.state.snapshot, active) {
            if let Lookup::Loaded(port) = self.state.snapshot.port(port)
                && let DeviceId::Router(router) = port.device()
            {
                routers.insert(router);
            }
        }
        for router in routers {
            self.find_behind(router, &mut found, &mut buffers, now);
        }
        self.state.healths.buffers = buffers;
        found
    }

    fn find_behind(
        &self,
        router: RouterId,
        found: &mut Found,
        buffers: &mut Buffers,
        now: Instant,
    ) {
        let Some(view) = found.need(router, self.state.snapshot.router(router)) else { return };
        let Some(balancer) = view.load_balancer_id else { return };
        let looked_up = self.state.snapshot.load_balancer(balancer);
        let Some(balancer) = found.need(balancer, looked_up) else { return };
        let up = balancer.vips().filter(|vip| balancer.admin_state_up && vip.admin_state_up);
        let pools: BTreeSet<PoolId> = up.map(|vip| vip.pool_id).collect();
        let all = balancer.vips().map(|vip| vip.pool_id);
        found.pools.extend(all.filter(|pool| !pools.contains(pool)));
        for pool in pools {
            // Of those that have no monitor the members are not loaded.
            let looked_up = self.state.snapshot.pool_alone(pool);
            let Some(alone) = found.see(Holding::Alone(pool.into()), looked_up) else { continue };
            let Some(monitor) = alone.health_monitor_id.filter(|_| alone.admin_state_up) else {
                found.pools.insert(pool);
                continue;
            };
            let Some(pool) = found.need(pool, self.state.snapshot.pool(pool)) else { continue };
            self.find_in_pool(router, (pool, monitor), found, buffers, now);
        }
    }

    fn find_in_pool(
        &self,
        router: RouterId,
        (pool, monitor): (&PoolView, HealthMonitorId),
        found: &mut Found,
        buffers: &mut Buffers,
        now: Instant,
    ) {
        let looked_up = self.state.snapshot.health_monitor(monitor);
        let Some(monitor) = found.need(monitor, looked_up) else { return };
        if !monitor.admin_state_up {
            found.pools.insert(pool.id);
            return;
        }
        if !self.state.tables.is_loaded(TableName::MemberHealth(pool.id)) {
            return;
        }
        found.pools.insert(pool.id);
        for member in pool.members() {
            let key = (pool.id, member.id);
            match self.checker_of(router, (member, monitor), buffers, now, &mut found.used) {
                Err(missing) => {
                    found.missing.extend(missing);
                    found.undecided.insert(key);
                }
                Ok(Some((host, target))) if host == self.host.id => {
                    found.own.insert(key, target);
                }
                Ok(Some(_)) => drop(found.others.insert(key)),
                Ok(None) => {}
            }
        }
    }

    /// The host that checks a member; what is missing to say so.
    fn checker_of(
        &self,
        router: RouterId,
        (member, monitor): (&PoolMember, &HealthMonitor),
        buffers: &mut Buffers,
        now: Instant,
        used: &mut BTreeSet<Holding>,
    ) -> Result<Option<(mn_ids::HostId, Target)>, Vec<Holding>> {
        let (snapshot, tables) = (&*self.state.snapshot, &self.state.tables);
        let toward = address_toward(snapshot, router, member.address);
        let Some((out, own)) = toward.map_err(|key| vec![Holding::Object(key)])? else {
            return Ok(None);
        };
        let seconds = |value: std::num::NonZeroU32| Duration::from_secs(value.get().into());
        let target = Target {
            router,
            own,
            address: member.address,
            port: member.protocol_port,
            check: monitor.check.clone(),
            delay: seconds(monitor.delay),
            timeout: seconds(monitor.timeout),
            max_retries: monitor.max_retries,
        };
        let at = match whereabouts(snapshot, tables, (&target, out), buffers, now) {
            Whereabouts::Load(missing) => {
                return Err(missing.into_iter().map(Holding::Object).collect());
            }
            at => at,
        };
        let checkers = Checkers { tables, local: &self.state.local };
        used.extend(at.ports().iter().copied().map(Holding::Place));
        let host = checkers.of(member.id, &at);
        let host =
            host.map_err(|ports| ports.into_iter().map(Holding::Place).collect::<Vec<_>>())?;
        Ok(host.map(|host| (host, target)))
    }
}

impl Found {
    /// Whether another host checks a member, as far as is known, or it is not known who does. Of
    /// pools that were not looked at nothing is known: they are being loaded, or this host has no
    /// port near them any more.
    fn may_be_others(&self, key: MemberKey) -> bool {
        let own = self.own.contains_key(&key);
        let unknown = self.undecided.contains(&key) || !self.pools.contains(&key.0);
        self.others.contains(&key) || unknown && !own
    }

    /// Something that is needed: it is loaded, if it is not, and stays so.
    fn need<'a, T>(
        &mut self,
        key: impl Into<ObjectKey>,
        looked_up: Lookup<'a, T>,
    ) -> Option<&'a T> {
        self.see(Holding::Object(key.into()), looked_up)
    }

    fn see<'a, T>(&mut self, holding: Holding, looked_up: Lookup<'a, T>) -> Option<&'a T> {
        match looked_up {
            Lookup::Loaded(object) => {
                self.used.insert(holding);
                Some(object)
            }
            Lookup::Absent => None,
            Lookup::NotLoaded => {
                self.missing.insert(holding);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_verdict_holds_while_it_is_not_known_who_checks_the_member() {
        let (pool, far) = (PoolId::random(), PoolId::random());
        let [loading, unchecked, others] = [(); 3].map(|()| (pool, mn_ids::PoolMemberId::random()));
        let unseen = (far, mn_ids::PoolMemberId::random());
        let keys = [loading, unchecked, others, unseen];
        let told = keys.into_iter().map(|key| (key, Health::Inactive)).collect();
        let mut healths = Healths { told, ..Healths::default() };
        let mut found = Found::default();
        found.pools.insert(pool);
        found.undecided.insert(loading);
        found.others.insert(others);
        healths.note_yielding(&found, at(30));
        let yielding: BTreeSet<_> = healths.yielding.keys().copied().collect();
        assert_eq!(yielding, BTreeSet::from([loading, others, unseen]), "nobody checks one");
        // It is known by and by; the time does not begin anew meanwhile.
        found.undecided.clear();
        healths.note_yielding(&found, at(60));
        assert_eq!(healths.yielding, BTreeMap::from([(others, at(30)), (unseen, at(30))]));
        found.pools.insert(far);
        healths.note_yielding(&found, at(60));
        assert_eq!(healths.yielding, BTreeMap::from([(others, at(30))]));
    }
}
