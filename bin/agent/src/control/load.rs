//! What the state database tells.

use std::sync::Arc;

use mn_agent_core::{Holding, Owner, Row, RowChange, TableName, limits};
use mn_ids::{Class, ObjectKey, PoolId, PoolMemberId};
use mn_nsdb::{Batch, Change, ObjectChange, Selector, TableKind, WatchEvent};
use mn_topology::AnyObject;
use mn_topology::snapshot::Loaded;

use super::Control;
use super::holdings::around;
use crate::clock;
use crate::rows;
use crate::subscriptions::loaded;

impl Control {
    pub(super) fn take_event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Batch(batch) => self.take_batch(&batch),
            WatchEvent::Disconnected => {
                tracing::warn!("the state database cannot be reached; going on with what is known");
                self.state.stale_since.get_or_insert_with(clock::now);
            }
            WatchEvent::Reconnected => tracing::info!("the state database is back"),
        }
    }

    /// All changes of one revision become one snapshot: no packet sees half of them.
    fn take_batch(&mut self, batch: &Batch) {
        if self.state.stale_since.take().is_some() {
            self.state.reporting_from = clock::now() + limits::DOUBT_FOR;
        }
        self.state.revision = self.state.revision.max(batch.revision.0);
        self.take_ended(&batch.ended);
        let (mut objects, mut judged) = (Vec::new(), Vec::new());
        for change in &batch.changes {
            match change {
                Change::Object(change) => objects.extend(self.take_object(change)),
                Change::Entry(change) if change.table.kind == TableKind::HostReport => {
                    self.take_report(change);
                }
                Change::Entry(change) if change.table.kind == TableKind::ZoneSecret => {
                    self.take_secret(change);
                }
                Change::Entry(change) => match rows::decode(change) {
                    Ok(Some(row)) if let Row::MemberHealth { pool, member, .. } = row.row => {
                        self.state.tables.apply(&row, &mut Vec::new());
                        judged.push((pool, member));
                    }
                    Ok(Some(row)) => {
                        self.state.tables.apply(&row, &mut Vec::new());
                        self.note_own(&row);
                        self.yield_to(&row.row);
                        self.state.news.rows.push(row);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "an entry of a state table is ignored"),
                },
            }
        }
        let complete: Vec<Loaded> = batch.complete.iter().filter_map(loaded).collect();
        let (snapshot, tags) = self.state.snapshot.apply(objects, &complete);
        self.state.snapshot = Arc::new(snapshot);
        self.state.news.tags.extend(tags);
        self.judge(&judged);
        self.state.news.changed = true;
        self.state.healths.note_change();
        for selector in &batch.complete {
            self.take_complete(selector);
        }
    }

    /// Tells the snapshot what the checks of these members came to.
    fn judge(&mut self, members: &[(PoolId, PoolMemberId)]) {
        if members.is_empty() {
            return;
        }
        let tables = &self.state.tables;
        let verdicts = members.iter().map(|(pool, member)| tables.verdict(*pool, *member));
        let (snapshot, tags) = self.state.snapshot.judge(verdicts);
        self.state.snapshot = Arc::new(snapshot);
        self.state.news.tags.extend(tags);
    }

    /// Notes what an object means to this host, and hands it on to the snapshot.
    fn take_object(&mut self, change: &ObjectChange) -> Option<(ObjectKey, Option<AnyObject>)> {
        let object = match &change.stored {
            None => None,
            Some(stored) => match AnyObject::decode(change.key.class, &stored.json) {
                Ok(object) => Some(object),
                Err(error) => {
                    tracing::error!(key = %change.key, %error, "an object is ignored");
                    return None;
                }
            },
        };
        match &object {
            Some(AnyObject::Port(port)) if port.host_id == Some(self.host.id) => {
                self.state.bound.insert(port.id, port.clone());
            }
            Some(AnyObject::TunnelZone(zone)) => {
                self.state.zones.insert(zone.id, zone.clone());
            }
            Some(AnyObject::PortGroup(group)) if group.stateful => {
                self.state.groups.insert(group.id, group.clone());
                self.state.groups_changed = true;
            }
            Some(AnyObject::Host(host)) if host.id == self.host.id => {
                self.state.host_known = true;
            }
            _ => self.forget(change.key, object.is_none()),
        }
        Some((change.key, object))
    }

    fn forget(&mut self, key: ObjectKey, gone: bool) {
        match key.class {
            Class::Port => drop(self.state.bound.remove(&mn_ids::Id::from_uuid(key.id))),
            Class::PortGroup => {
                let was = self.state.groups.remove(&mn_ids::Id::from_uuid(key.id));
                self.state.groups_changed |= was.is_some();
            }
            Class::TunnelZone => drop(self.state.zones.remove(&mn_ids::Id::from_uuid(key.id))),
            Class::Host if gone && key.id == self.host.id.uuid() => self.host_is_gone(),
            _ => {}
        }
    }

    /// Somebody deleted this host while its agent lives: it registers again.
    fn host_is_gone(&mut self) {
        self.state.host_known = false;
        if self.state.epoch.is_none() {
            return;
        }
        tracing::warn!("this host was deleted; its agent lives, so it registers again");
        // Its session and all its entries went with it.
        self.doubt.notify_one();
    }

    fn take_complete(&mut self, selector: &Selector) {
        match selector {
            Selector::Referrers { to, class: Class::Port } if to.id == self.host.id.uuid() => {
                self.state.bound_known = true;
            }
            Selector::Object(key) if key.id == self.host.id.uuid() && !self.state.host_known => {
                self.host_is_gone();
            }
            Selector::Class(Class::TunnelZone) => self.state.zones_known = true,
            Selector::Entry { table, key } if table.kind == TableKind::ZoneSecret => {
                self.secrets.read(mn_ids::Id::from_uuid(*key));
            }
            _ => {}
        }
        if let Some(table) = rows::table_of(selector) {
            self.state.tables.complete(table);
            self.state.news.complete.push(table);
        }
    }

    /// What this host learned ages here, also where an earlier agent learned it.
    fn note_own(&mut self, change: &RowChange) {
        if change.owner != Owner::Host(self.host.id) {
            return;
        }
        match change.row {
            Row::Mac(place, Some(port)) => {
                self.state.ages.hear(place, port, clock::now());
            }
            Row::Neighbor { router, addr, value: Some(_) } => {
                self.state.neighbor_ages.hear(router, addr, clock::now());
            }
            _ => {}
        }
    }

    /// Withdraws an entry of ours that another's beats (contracts §4).
    fn yield_to(&mut self, row: &Row) {
        if let Row::Mac(place, Some(_)) = row
            && self.state.tables.lost_mac(*place, self.host.id)
        {
            self.state.ages.forget(*place);
            self.write(&Row::Mac(*place, None));
        }
    }

    /// Loads what a first packet of one of this host's ports is going to need.
    pub(super) fn preload(&mut self) {
        if !self.state.news.changed {
            return;
        }
        let (snapshot, tables) = (&self.state.snapshot, &self.state.tables);
        let subscriptions = &mut self.subscriptions;
        around(snapshot, self.state.bound.values(), &mut |holding| match holding {
            Holding::Object(key) if !snapshot.is_loaded(key) => subscriptions.object(key),
            Holding::Place(port) if !tables.is_loaded(TableName::Location(port)) => {
                subscriptions.place(port);
            }
            Holding::Object(_) | Holding::Alone(_) | Holding::Place(_) => {}
        });
    }
}
