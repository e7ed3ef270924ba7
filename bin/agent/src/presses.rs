//! Which ports run into limits: the counts, and the events.

use std::collections::BTreeMap;
use std::sync::Arc;

use mn_agent_core::{Capacities, PortLimit, PortLimits, Pressure};
use mn_datapath::Datapath;
use mn_flow::{DropCause, PortNo};
use mn_time::Instant;
use tokio::sync::watch;

use crate::control::ActivePort;
use crate::handle::{Drops, all_drops};
use crate::worker::report::Report;

/// How often each port ran into each limit since the agent's start, and in the datapath's part since
/// that was made: what was dropped for it, and what workers noted.
pub(crate) fn pressed(
    drops: &Drops,
    reports: &[Arc<Report>],
) -> BTreeMap<(PortNo, PortLimit), u64> {
    let mut all = BTreeMap::new();
    for ((port, cause), count) in drops {
        if let Some(limit) = PortLimit::of(*cause) {
            *all.entry((*port, limit)).or_default() += count;
        }
    }
    for report in reports {
        if let Ok(pressed) = report.pressed.lock() {
            for (key, count) in pressed.iter() {
                *all.entry(*key).or_default() += count;
            }
        }
    }
    all
}

/// Says so, as events in the log.
pub(crate) struct Presses {
    pub(crate) datapath: Arc<dyn Datapath>,
    pub(crate) reports: Arc<[Arc<Report>]>,
    pub(crate) ports: watch::Receiver<Vec<ActivePort>>,
    pub(crate) limits: PortLimits,
    pub(crate) connections: u32,
    pub(crate) buckets: Capacities,
    pub(crate) pressure: Pressure,
    /// Packets that found the table of connections full, as of the last look.
    pub(crate) no_room: u64,
}

impl Presses {
    /// What an earlier agent has counted is no event of this one.
    pub(crate) fn begin(&mut self) {
        let Ok(drops) = all_drops(&*self.datapath, &self.reports) else { return };
        for ((port, limit), count) in pressed(&drops, &self.reports) {
            self.pressure.begin(port, limit, count);
        }
        self.no_room = table_full(&drops);
    }

    /// Says which ports ran into which limits lately.
    pub(crate) fn say(&mut self, now: Instant) {
        let Ok(drops) = all_drops(&*self.datapath, &self.reports) else { return };
        for ((number, limit), count) in pressed(&drops, &self.reports) {
            let Some(times) = self.pressure.rises(number, limit, count, now) else { continue };
            let port = self.ports.borrow().iter().find(|port| port.number == number).cloned();
            let (port, interface) = port.map_or_else(Default::default, |active| {
                (active.port.to_string(), active.interface)
            });
            tracing::warn!(
                event = "port-limit",
                port,
                interface,
                number = number.0,
                limit = limit.name(),
                max = self.max(limit),
                times,
                "a port has run into its limit of {}",
                limit.name(),
            );
        }
        let no_room = table_full(&drops);
        if no_room > self.no_room {
            tracing::warn!(
                event = DropCause::ConnectionTable.name(),
                packets = no_room - self.no_room,
                "connections are refused: {}",
                DropCause::ConnectionTable.description().trim(),
            );
            self.no_room = no_room;
        }
    }

    fn max(&self, limit: PortLimit) -> u32 {
        match limit {
            PortLimit::Upcalls => self.buckets.vm,
            PortLimit::Flows => self.limits.flows,
            PortLimit::Connections => self.connections,
            PortLimit::NatPorts => self.limits.nat_ports,
            PortLimit::Macs => self.limits.macs,
            PortLimit::Broadcasts => self.limits.broadcasts,
        }
    }
}

fn table_full(drops: &Drops) -> u64 {
    let full = drops.iter().filter(|((_, cause), _)| *cause == DropCause::ConnectionTable);
    full.map(|(_, count)| count).sum()
}
