//! The secrets of zones, and whom state is exchanged with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mn_flowstate::ZoneKey;
use mn_ids::{HostId, Id, PortId, TunnelZoneId};
use mn_nsdb::{Entry, EntryChange, Op, Owner, Revision, Store, TableId, TableKind, Transaction};
use mn_topology::DeviceId;
use serde::{Deserialize, Serialize};

use super::Control;
use crate::clock;
use crate::exchange::Neighbour;

/// Between two tries to make a secret.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of secrets, and done with them.
#[derive(Default)]
pub(crate) struct Secrets {
    by_zone: HashMap<TunnelZoneId, ZoneKey>,
    /// Zones of which it is known whether they have a secret.
    read: BTreeSet<TunnelZoneId>,
    /// Zones for which a secret was made here, and when.
    made: HashMap<TunnelZoneId, mn_time::Instant>,
    /// Some secret is another.
    changed: bool,
    /// What the exchange was told: where each host is, and by which zone.
    told: BTreeMap<HostId, (TunnelZoneId, mn_datapath::PeerAddresses)>,
    /// The ports whose devices' translations were asked for.
    asked: BTreeSet<PortId>,
}

impl Secrets {
    /// The state database has shown what there is for this zone.
    pub(super) fn read(&mut self, zone: TunnelZoneId) {
        self.read.insert(zone);
    }
}

/// A secret as it is stored. Not printable.
#[derive(Deserialize, Serialize)]
struct Stored {
    secret: String,
}

impl Control {
    /// Tells the exchange whom to talk with, by which secret, and of which devices.
    pub(super) fn reconcile_exchange(&mut self) {
        if !self.state.zones_known {
            return;
        }
        let zones: Vec<TunnelZoneId> = self.own_zones().map(|(zone, _)| zone.id).collect();
        for zone in zones {
            self.subscriptions.secret(zone);
            if self.secrets.read.contains(&zone) && !self.secrets.by_zone.contains_key(&zone) {
                self.make_secret(zone);
            }
        }
        let mut neighbours = self.neighbours();
        neighbours.retain(|_, (zone, _)| self.secrets.by_zone.contains_key(zone));
        if std::mem::take(&mut self.secrets.changed) || neighbours != self.secrets.told {
            let peers = neighbours.iter().filter_map(|(host, (zone, at))| {
                let key = self.secrets.by_zone.get(zone)?.clone();
                Some(Neighbour { host: *host, local: at.local, remote: at.remote, key })
            });
            self.exchange.set_peers(peers.collect());
            self.secrets.told = neighbours;
        }
        self.ask_for_state();
    }

    /// A port that newly is here may have connections that other hosts know.
    fn ask_for_state(&mut self) {
        let here: BTreeSet<PortId> = self.state.local.ports.keys().copied().collect();
        let new: Vec<PortId> = here.difference(&self.secrets.asked).copied().collect();
        if new.is_empty() && !self.state.news.changed {
            return;
        }
        let bound = |port: &PortId| self.state.bound.get(port).map(mn_topology::Port::device);
        let mut again: BTreeSet<DeviceId> = new.iter().filter_map(bound).collect();
        let devices: BTreeSet<DeviceId> = self.devices_around().into_iter().collect();
        // What is behind a new port's bridge is around it too.
        if again.iter().any(|device| matches!(device, DeviceId::Bridge(_))) {
            again.extend(devices.iter().filter(|it| matches!(it, DeviceId::Router(_))));
        }
        self.exchange.want(devices, &again);
        self.secrets.asked = here;
    }

    /// Takes what the state database says of a zone's secret. It is nowhere printed.
    pub(super) fn take_secret(&mut self, change: &EntryChange) {
        let Ok(zone) = change.key.parse::<TunnelZoneId>() else { return };
        let key = change.entry.as_ref().and_then(|entry| {
            let stored: Stored = serde_json::from_str(&entry.value).ok()?;
            ZoneKey::from_hex(&stored.secret).ok()
        });
        match key {
            Some(key) => drop(self.secrets.by_zone.insert(zone, key)),
            None if change.entry.is_some() => {
                tracing::error!(%zone, "the zone's secret cannot be read");
            }
            // Its writer's next life has it; if not, who comes next makes another.
            None => return,
        }
        self.secrets.changed = true;
    }

    /// Makes the zone's secret, unless another agent is faster.
    fn make_secret(&mut self, zone: TunnelZoneId) {
        let Some(epoch) = self.state.epoch else { return };
        let now = clock::now();
        if self.secrets.made.get(&zone).is_some_and(|at| now.since(*at) < RETRY_AFTER) {
            return;
        }
        self.secrets.made.insert(zone, now);
        let owner = Owner::Host { id: self.host.id, epoch };
        tokio::spawn(write_secret(Arc::clone(&self.store), zone, owner));
    }
}

async fn write_secret(store: Arc<dyn Store>, zone: TunnelZoneId, owner: Owner) {
    // 244 random bits.
    let half = || Id::<mn_ids::Host>::random().uuid().simple().to_string();
    let stored = Stored { secret: half() + &half() };
    let Ok(value) = serde_json::to_string(&stored) else { return };
    let entry = Entry { key: zone.to_string(), value, owner, revision: Revision::ZERO };
    let table = TableId::global(TableKind::ZoneSecret);
    let op = Op::PutEntry { table, entry };
    match store.transact(Transaction { ops: vec![op] }).await {
        Ok(_) => tracing::info!(%zone, "the zone has a secret for state messages"),
        // Another agent was faster, or it is tried again.
        Err(error) => tracing::debug!(%zone, %error, "no secret was made"),
    }
}
