//! `/metrics` for Prometheus.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mn_flow::DropCause;
use mn_telemetry::{EXPOSITION_TYPE, exposition, names};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::handle::{Handle, all_drops};
use crate::presses::pressed;
use crate::worker::report::{Count, Report};

/// The longest request head.
const HEAD_MAX: usize = 8 * 1024;
/// How long a client may take to ask.
const ASK_FOR: Duration = Duration::from_secs(1);

/// Serves an agent's metrics to Prometheus for ever, one scrape after another.
pub async fn serve(listener: TcpListener, handle: Handle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answered = tokio::time::timeout(ASK_FOR, answer(stream, &handle)).await;
                if let Ok(Err(error)) = answered {
                    tracing::debug!(%error, "a scrape broke");
                }
            }
            Err(error) => tracing::warn!(%error, "a scrape could not connect"),
        }
    }
}

async fn answer(mut stream: TcpStream, handle: &Handle) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let (status, body) = if head.starts_with(b"GET /metrics ") {
        match text(handle) {
            Ok(text) => ("200 OK", text),
            Err(error) => ("500 Internal Server Error", error.to_string()),
        }
    } else {
        ("404 Not Found", "only /metrics is here\n".to_owned())
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {EXPOSITION_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await
}

/// All metrics of this moment.
fn text(handle: &Handle) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    for (name, help, of) in COUNTERS {
        let vec = IntCounterVec::new(Opts::new(*name, *help), &["worker"])?;
        each_worker(&handle.reports, |worker, report| {
            vec.with_label_values(&[worker]).inc_by(of(report).get());
        });
        registry.register(Box::new(vec))?;
    }
    for (name, help, of) in GAUGES {
        let vec = IntGaugeVec::new(Opts::new(*name, *help), &["worker"])?;
        each_worker(&handle.reports, |worker, report| {
            vec.with_label_values(&[worker]).set(of(report).get() as i64);
        });
        registry.register(Box::new(vec))?;
    }
    state(handle, &registry)?;
    ports(handle, &registry)?;
    objects(handle, &registry)?;
    health(handle, &registry)?;
    rules(handle, &registry)?;
    exposition(&registry)
}

fn each_worker(reports: &[Arc<Report>], mut each: impl FnMut(&str, &Report)) {
    for (number, report) in reports.iter().enumerate() {
        each(&number.to_string(), report);
    }
}

/// A metric, what it is, and where a worker has it.
type Metric = (&'static str, &'static str, fn(&Report) -> &Count);

const COUNTERS: &[Metric] = &[
    (names::AGENT_UPCALLS, "Packets the datapath asked about", |r| &r.upcalls),
    (names::AGENT_SIMULATIONS, "Walks through the topology", |r| &r.simulations),
    (names::AGENT_FLOWS_INSTALLED, "Flows installed", |r| &r.installed),
    (names::AGENT_FLOWS_INVALIDATED, "Flows removed for a change", |r| &r.invalidated),
    (names::AGENT_FLOWS_EXPIRED, "Flows removed for their age", |r| &r.expired),
    (names::AGENT_FLOWS_EVICTED, "Flows removed for want of room", |r| &r.evicted),
    (names::AGENT_FLOWS_ADOPTED, "Adopted flows that stayed", |r| &r.adopted),
    (names::AGENT_FLOWS_REPLACED, "Adopted flows that were changed or removed", |r| &r.replaced),
    (names::AGENT_LEFT_PACKETS, "Packets carried by flows that left", |r| &r.left_packets),
    (names::AGENT_LEFT_OCTETS, "Octets carried by flows that left", |r| &r.left_octets),
    (names::AGENT_FAILURES, "Datapath operations that failed", |r| &r.failed),
    (names::AGENT_MOVED_ADDRESSES, "Addresses heard at another MAC than before", |r| {
        &r.moved_addresses
    }),
    (names::AGENT_NAT_TRANSLATIONS_MADE, "Address translations chosen", |r| &r.translated),
    (names::AGENT_NAT_EXHAUSTED, "Leases of ports asked for in vain", |r| &r.nat_exhausted),
    (names::AGENT_CLIENTS_UNTIED, "Clients that were not tied to their member", |r| &r.untied),
    (names::AGENT_SEGMENTS_UNTOLD, "Segments that flows could not tell of", |r| &r.untold),
    (names::AGENT_UNHEARD, "Messages lost to a full queue", |r| &r.unheard),
];

const GAUGES: &[Metric] = &[
    (names::AGENT_FLOWS, "Flows installed now", |r| &r.flows),
    (names::AGENT_FLOWS_UNVERIFIED, "Adopted flows not yet decided anew", |r| &r.unverified),
    (names::AGENT_NAT_TRANSLATIONS, "Address translations remembered", |r| &r.translations),
    (names::AGENT_NAT_BLOCKS, "Blocks of 64 ports leased", |r| &r.nat_blocks),
    (names::AGENT_WAITING, "Packets that wait for an answer", |r| &r.waiting),
];

/// What is held of the topology.
fn objects(handle: &Handle, registry: &Registry) -> Result<(), prometheus::Error> {
    let help = "Objects of the topology that are held, by class";
    let held = IntGaugeVec::new(Opts::new(names::AGENT_OBJECTS, help), &["class"])?;
    for (class, count) in handle.objects.borrow().iter() {
        held.with_label_values(&[class.name()]).set(*count as i64);
    }
    registry.register(Box::new(held))
}

/// Checks of members of pools.
fn health(handle: &Handle, registry: &Registry) -> Result<(), prometheus::Error> {
    let help = "Members of pools that are checked here";
    let members = IntGauge::new(names::AGENT_HEALTH_MEMBERS, help)?;
    members.set(handle.health.members.get() as i64);
    registry.register(Box::new(members))?;
    let opts = Opts::new(names::AGENT_HEALTH_CHECKS, "Checks of members of pools, by result");
    let checks = IntCounterVec::new(opts, &["result"])?;
    for (result, count) in [("passed", &handle.health.passed), ("failed", &handle.health.failed)] {
        checks.with_label_values(&[result]).inc_by(count.get());
    }
    registry.register(Box::new(checks))
}

/// State between hosts.
fn state(handle: &Handle, registry: &Registry) -> Result<(), prometheus::Error> {
    let counts = &handle.exchange.counts;
    let counters = [
        (names::AGENT_STATE_SENT, "State messages sent", &counts.sent),
        (names::AGENT_STATE_UNSENT, "State messages the network refused", &counts.unsent),
        (names::AGENT_STATE_RECEIVED, "State messages received", &counts.received),
        (names::AGENT_STATE_TOLD, "State records peers are to have", &counts.told),
        (names::AGENT_STATE_TAKEN, "State records taken from peers", &counts.taken),
        (names::AGENT_STATE_REPEATED, "State records that came again", &counts.repeated),
        (names::AGENT_STATE_DROPPED, "State records given up", &counts.dropped),
    ];
    for (name, help, count) in counters {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(count.get());
        registry.register(Box::new(counter))?;
    }
    let gauges = [
        (names::AGENT_STATE_COPIES, "Copies of other hosts' translations", &counts.copies),
        (names::AGENT_STATE_OWED, "State records not yet acknowledged", &counts.owed),
    ];
    for (name, help, count) in gauges {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(count.get() as i64);
        registry.register(Box::new(gauge))?;
    }
    let help = "State messages not taken, by cause";
    let refused = IntCounterVec::new(Opts::new(names::AGENT_STATE_REFUSED, help), &["cause"])?;
    for (cause, count) in counts.refused() {
        refused.with_label_values(&[cause.name()]).inc_by(count);
    }
    registry.register(Box::new(refused))
}

/// Drops by rule, as of the last sweep.
fn rules(handle: &Handle, registry: &Registry) -> Result<(), prometheus::Error> {
    let help = "Packets that a rule dropped, by rule";
    let drops = IntCounterVec::new(Opts::new(names::AGENT_RULE_DROPS, help), &["rule"])?;
    if let Ok(counted) = handle.rule_drops.lock() {
        for (rule, packets) in counted.totals() {
            drops.with_label_values(&[&rule.to_string()]).inc_by(*packets);
        }
    }
    registry.register(Box::new(drops))
}

fn ports(handle: &Handle, registry: &Registry) -> Result<(), prometheus::Error> {
    let labels = ["port", "interface", "direction"];
    let packets = IntCounterVec::new(
        Opts::new(names::AGENT_PORT_PACKETS, "Packets of a port, seen from the network"),
        &labels,
    )?;
    let octets = IntCounterVec::new(
        Opts::new(names::AGENT_PORT_OCTETS, "Octets of a port, seen from the network"),
        &labels,
    )?;
    let drops = IntCounterVec::new(
        Opts::new(names::AGENT_DROPS, "Packets sent nowhere, by cause"),
        &["port", "cause"],
    )?;
    let connections = IntGaugeVec::new(
        Opts::new(names::AGENT_CONNECTIONS, "Tracked connections that count as a port's"),
        &["port"],
    )?;
    let active = handle.active_ports();
    for port in &active {
        if let Ok((_, count)) = handle.datapath.tracking(port.number) {
            connections.with_label_values(&[&port.port.to_string()]).set(count as i64);
        }
        let Ok(counters) = handle.datapath.port_counters(port.number) else { continue };
        for (direction, count) in [("rx", counters.rx), ("tx", counters.tx)] {
            let labels = [&port.port.to_string(), &port.interface, direction];
            packets.with_label_values(&labels).inc_by(count.packets);
            octets.with_label_values(&labels).inc_by(count.octets);
        }
    }
    let limited = IntCounter::new(
        names::AGENT_HTB_DROPS,
        "Packets without a token: of their port in the datapath, or of the buckets in the agent",
    )?;
    let all = all_drops(&*handle.datapath, &handle.reports).unwrap_or_default();
    for ((number, cause), count) in &all {
        if *cause == DropCause::UpcallLimit {
            limited.inc_by(*count);
        }
        let port = active.iter().find(|port| port.number == *number);
        let port = port.map_or_else(String::new, |port| port.port.to_string());
        drops.with_label_values(&[port.as_str(), cause.name()]).inc_by(*count);
    }
    let pressure = IntCounterVec::new(
        Opts::new(names::AGENT_PORT_PRESSURE, "How often a port ran into a limit of its own"),
        &["port", "limit"],
    )?;
    for ((number, limit), count) in pressed(&all, &handle.reports) {
        if let Some(port) = active.iter().find(|port| port.number == number) {
            let labels = [port.port.to_string(), limit.name().to_owned()];
            pressure.with_label_values(&labels).inc_by(count);
        }
    }
    registry.register(Box::new(pressure))?;
    registry.register(Box::new(limited))?;
    registry.register(Box::new(connections))?;
    registry.register(Box::new(packets))?;
    registry.register(Box::new(octets))?;
    registry.register(Box::new(drops))
}
