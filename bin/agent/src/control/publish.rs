//! What this host tells everyone.

use mn_agent_api::HostReport;
use mn_agent_core::{Place, Row};
use mn_flow::PortNo;
use mn_ids::PortId;
use mn_nsdb::{Entry, Op, Owner, Revision, TableId, TableKind};

use super::Control;
use crate::rows;

/// A port that forwards here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ActivePort {
    pub(crate) interface: String,
    pub(crate) port: PortId,
    pub(crate) number: PortNo,
}

impl Control {
    /// Writes what the state database has not been told yet. Before this host is registered it
    /// has no name to write under: then it all waits.
    pub(super) fn publish(&mut self) {
        self.show_active();
        if self.state.epoch.is_none() || !self.state.bound_known {
            return;
        }
        self.publish_places();
        self.publish_floods();
        self.publish_report();
        self.publish_healths();
    }

    fn show_active(&self) {
        let state = &self.state;
        let active = state.attached.iter().filter_map(|(interface, at)| {
            let number = *state.local.ports.get(&at.port)?;
            Some(ActivePort { interface: interface.clone(), port: at.port, number })
        });
        let active: Vec<ActivePort> = active.collect();
        self.active.send_if_modified(|shown| {
            let changed = *shown != active;
            if changed {
                *shown = active;
            }
            changed
        });
    }

    fn publish_places(&mut self) {
        let places = self.state.port_keys.clone();
        for (port, key) in &places {
            if self.state.told_places.get(port) != Some(key) {
                let place = Place { host: self.host.id, key: *key };
                self.write(&Row::Location(*port, Some(place)));
            }
        }
        for port in std::mem::take(&mut self.state.gone_places) {
            if !places.contains_key(&port) {
                self.write(&Row::Location(port, None));
            }
        }
        self.state.told_places = places;
    }

    fn publish_floods(&mut self) {
        let floods = self.state.floods.clone();
        for (bridge, flood) in &floods {
            if self.state.told_floods.get(bridge) != Some(flood) {
                let value = Some((flood.key, flood.ports.clone().into()));
                self.write(&Row::FloodGroup { bridge: *bridge, host: self.host.id, value });
            }
        }
        for bridge in std::mem::take(&mut self.state.gone_floods) {
            if !floods.contains_key(&bridge) {
                self.write(&Row::FloodGroup { bridge, host: self.host.id, value: None });
            }
        }
        self.state.told_floods = floods;
    }

    fn publish_report(&mut self) {
        let Some(epoch) = self.state.epoch else { return };
        let report = HostReport {
            host: self.host.id,
            name: self.host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
            interfaces: self.state.links.values().map(|link| link.interface.clone()).collect(),
            active_ports: self.state.port_keys.keys().copied().collect(),
            tunnel_mtu: self.own_mtu(),
        };
        if self.state.told_report.as_ref() == Some(&report) {
            return;
        }
        let value = serde_json::to_string(&report).expect("a report has string keys only");
        let table = TableId::global(TableKind::HostReport);
        let owner = Owner::Host { id: self.host.id, epoch };
        let key = self.host.id.to_string();
        self.send(Op::PutEntry {
            table,
            entry: Entry { key, value, owner, revision: Revision::ZERO },
        });
        self.state.told_report = Some(report);
    }

    /// Writes or removes this host's own entry.
    pub(super) fn write(&self, row: &Row) {
        let Some(epoch) = self.state.epoch else { return };
        let owner = Owner::Host { id: self.host.id, epoch };
        let (table, key) = rows::place_of(row);
        self.send(match rows::value_of(row, epoch) {
            Some(value) => {
                Op::PutEntry { table, entry: Entry { key, value, owner, revision: Revision::ZERO } }
            }
            None => Op::RemoveEntry { table, key, owner },
        });
    }

    fn send(&self, op: Op) {
        if self.ops.try_send(op).is_err() {
            tracing::error!("too many writes wait for the state database; one is lost");
        }
    }
}
