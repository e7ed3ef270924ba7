//! Which ports run into limits: the counts, and the events.

use std::collections::BTreeMap;
use std::sync::Arc;

use mn_agent_core::{Capacities, PortLimit, PortLimits, Pressure};
use mn_datapath::{Datapath, DatapathError};
use mn_flow::{DropCause, PortNo};
use mn_time::Instant;
use tokio::sync::watch;

use crate::Parts;
use crate::control::ActivePort;
use crate::handle::all_drops;
use crate::worker::report::Report;

/// How often each port ran into each limit since the agent's start, and in the datapath's part since
/// that was made.
pub(crate) fn pressed(
    datapath: &dyn Datapath,
    reports: &[Arc<Report>],
) -> Result<BTreeMap<(PortNo, PortLimit), u64>, DatapathError> {
    let mut all = BTreeMap::new();
    for ((port, cause), count) in all_drops(datapath, reports)? {
        if let Some(limit) = PortLimit::of(cause) {
            *all.entry((port, limit)).or_default() += count;
        }
    }
    for report in reports {
        if let Ok(pressed) = report.pressed.lock() {
            for (key, count) in pressed.iter() {
                *all.entry(*key).or_default() += count;
            }
        }
    }
    Ok(all)
}

/// Says so, as events in the log.
pub(crate) struct Presses {
    datapath: Arc<dyn Datapath>,
    reports: Arc<[Arc<Report>]>,
    ports: watch::Receiver<Vec<ActivePort>>,
    limits: PortLimits,
    connections: u32,
    buckets: Capacities,
    pressure: Pressure,
    /// Packets that found the table of connections full, as of the last look.
    no_room: u64,
}

impl Presses {
    pub(crate) fn new(
        parts: &Parts,
        reports: Arc<[Arc<Report>]>,
        ports: watch::Receiver<Vec<ActivePort>>,
    ) -> Self {
        Self {
            datapath: Arc::clone(&parts.datapath),
            reports,
            ports,
            limits: parts.limits,
            connections: parts.connections.port_max,
            buckets: parts.buckets,
            pressure: Pressure::default(),
            no_room: 0,
        }
    }

    /// What an earlier agent has counted is no event of this one.
    pub(crate) fn begin(&mut self) {
        for ((port, limit), count) in pressed(&*self.datapath, &self.reports).into_iter().flatten()
        {
            self.pressure.begin(port, limit, count);
        }
        self.no_room = self.table_full();
    }

    /// Says which ports ran into which limits lately.
    pub(crate) fn say(&mut self, now: Instant) {
        for ((number, limit), count) in
            pressed(&*self.datapath, &self.reports).into_iter().flatten()
        {
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
        let no_room = self.table_full();
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

    fn table_full(&self) -> u64 {
        let drops = self.datapath.drops().unwrap_or_default().into_iter();
        drops.filter(|it| it.1 == DropCause::ConnectionTable).map(|it| it.2).sum()
    }
}
