//! What happened between two moments.

use std::collections::HashMap;
use std::hash::Hash;

use mn_agent_api::{DropCount, Link, PortRow};
use mn_ids::{HostId, PortId, RuleId};
use serde::Serialize;

use super::Sample;

/// Rates are a second's. Lists begin with what is busiest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Picture {
    pub host: HostId,
    pub name: String,
    pub link: Link,
    /// Over how long it was looked.
    pub seconds: f64,
    pub flows: usize,
    /// Adopted ones that are not decided anew yet.
    pub unverified: usize,
    /// Packets that wait for an answer.
    pub waiting: usize,
    pub upcalls_per_second: f64,
    pub simulations_per_second: f64,
    pub installed_per_second: f64,
    /// Flows that left, whatever for.
    pub left_per_second: f64,
    pub drops: Vec<Dropped>,
    pub rules: Vec<DroppedBy>,
    pub ports: Vec<Port>,
}

/// Packets dropped for a cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Dropped {
    pub cause: String,
    /// The port they came in by, or could not leave by; null where that is no bound one.
    pub port: Option<PortId>,
    pub interface: Option<String>,
    pub packets: u64,
    pub packets_per_second: f64,
}

/// Packets dropped by a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DroppedBy {
    pub rule: RuleId,
    pub packets: u64,
    pub packets_per_second: f64,
}

/// What a port carries, seen from the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Port {
    pub port: PortId,
    pub interface: String,
    pub rx_packets_per_second: f64,
    pub rx_bits_per_second: f64,
    pub tx_packets_per_second: f64,
    pub tx_bits_per_second: f64,
    pub dropped_per_second: f64,
}

impl Picture {
    pub fn of(before: &Sample, now: &Sample) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        // Counts of an agent begin anew with it.
        let rate = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now) as f64 / seconds;
        let (then, work) = (&before.activity.work, &now.activity.work);
        Self {
            host: now.status.host,
            name: now.status.name.clone(),
            link: now.status.link,
            seconds,
            flows: now.status.flows,
            unverified: now.status.unverified,
            waiting: now.status.waiting,
            upcalls_per_second: rate(then.upcalls, work.upcalls),
            simulations_per_second: rate(then.simulations, work.simulations),
            installed_per_second: rate(then.installed, work.installed),
            left_per_second: rate(then.left, work.left),
            drops: drops(before, now, &rate),
            rules: rules(before, now, &rate),
            ports: ports(before, now, &rate),
        }
    }
}

type Rate<'a> = &'a dyn Fn(u64, u64) -> f64;

/// The rows of the moment before, by what they are of.
fn by<'a, K: Eq + Hash, R>(rows: &'a [R], key: impl Fn(&'a R) -> K) -> HashMap<K, &'a R> {
    rows.iter().map(|row| (key(row), row)).collect()
}

/// Puts the busiest first.
fn sort<R>(rows: &mut [R], busy: impl Fn(&R) -> (f64, u64)) {
    rows.sort_by(|a, b| {
        let ((a, a_all), (b, b_all)) = (busy(a), busy(b));
        b.total_cmp(&a).then(b_all.cmp(&a_all))
    });
}

fn drops(before: &Sample, now: &Sample, rate: Rate<'_>) -> Vec<Dropped> {
    let then = by(&before.activity.drops, |row| (row.port, &row.cause));
    let interfaces = by(&now.activity.ports, |row| row.port);
    let row = |row: &DropCount| Dropped {
        cause: row.cause.clone(),
        port: row.port,
        interface: row.port.and_then(|it| interfaces.get(&it)).map(|it| it.interface.clone()),
        packets: row.packets,
        packets_per_second: rate(
            then.get(&(row.port, &row.cause)).map_or(0, |it| it.packets),
            row.packets,
        ),
    };
    let mut rows: Vec<_> = now.activity.drops.iter().map(row).collect();
    sort(&mut rows, |row| (row.packets_per_second, row.packets));
    rows
}

fn rules(before: &Sample, now: &Sample, rate: Rate<'_>) -> Vec<DroppedBy> {
    let then = by(&before.activity.rules, |row| row.rule);
    let mut rows: Vec<_> = (now.activity.rules.iter())
        .map(|row| DroppedBy {
            rule: row.rule,
            packets: row.packets,
            packets_per_second: rate(then.get(&row.rule).map_or(0, |it| it.packets), row.packets),
        })
        .collect();
    sort(&mut rows, |row| (row.packets_per_second, row.packets));
    rows
}

fn ports(before: &Sample, now: &Sample, rate: Rate<'_>) -> Vec<Port> {
    let then = by(&before.activity.ports, |row| row.port);
    let row = |row: &PortRow| {
        let of = |count: fn(&PortRow) -> u64| {
            rate(then.get(&row.port).map_or(0, |it| count(it)), count(row))
        };
        Port {
            port: row.port,
            interface: row.interface.clone(),
            rx_packets_per_second: of(|it| it.rx_packets),
            rx_bits_per_second: of(|it| it.rx_octets) * 8.0,
            tx_packets_per_second: of(|it| it.tx_packets),
            tx_bits_per_second: of(|it| it.tx_octets) * 8.0,
            dropped_per_second: of(|it| it.rx_dropped),
        }
    };
    let mut rows: Vec<_> = now.activity.ports.iter().map(row).collect();
    sort(&mut rows, |row| (row.rx_bits_per_second + row.tx_bits_per_second, 0));
    rows
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use mn_agent_api::{Activity, RuleDrop, Status, Work};
    use uuid::Uuid;

    use super::*;

    pub fn status() -> Status {
        Status {
            host: HostId::from_uuid(Uuid::from_u128(1)),
            name: "hv0".to_owned(),
            version: "1".to_owned(),
            epoch: 1,
            pid: 1,
            link: Link::Connected,
            revision: 1,
            ports: std::collections::BTreeMap::new(),
            peers: 1,
            tunnel_mtu: None,
            flows: 12,
            unverified: 0,
            adopted: 0,
            replaced: 0,
            adoption_ms: 0,
            waiting: 3,
            translations: 0,
        }
    }

    pub fn port(number: u128) -> PortId {
        PortId::from_uuid(Uuid::from_u128(number))
    }

    /// Where so much was counted of the first of each kind, and a tenth of it of the second.
    pub fn activity(count: u64) -> Activity {
        let both = [(1, count), (2, count / 10)];
        let row = |(number, count): (u128, u64)| PortRow {
            port: port(number),
            interface: format!("vm{number}"),
            rx_packets: count,
            rx_octets: count * 100,
            tx_packets: 0,
            tx_octets: 0,
            rx_dropped: count / 2,
        };
        let drop = |(number, packets): (u128, u64)| DropCount {
            port: (number == 1).then(|| port(number)),
            cause: ["rule", "no-route"][number as usize - 1].to_owned(),
            packets,
        };
        Activity {
            work: Work { upcalls: count, simulations: count, installed: count / 2, left: 0 },
            ports: both.map(row).into(),
            drops: both.map(drop).into(),
            rules: vec![RuleDrop { rule: RuleId::from_uuid(Uuid::from_u128(9)), packets: count }],
        }
    }

    pub fn sample(count: u64, at: Instant) -> Sample {
        Sample { status: status(), activity: activity(count), at }
    }

    #[test]
    fn rates_are_what_came_between_and_the_busiest_is_first() {
        let begun = Instant::now();
        let (before, now) = (sample(1000, begun), sample(3000, begun + Duration::from_secs(2)));
        let picture = Picture::of(&before, &now);
        assert_eq!(picture.upcalls_per_second, 1000.0);
        assert_eq!(picture.ports[0].interface, "vm1");
        assert_eq!(picture.ports[0].rx_bits_per_second, 800_000.0);
        assert_eq!(picture.ports[1].rx_packets_per_second, 100.0);
        let [first, second] = &picture.drops[..] else { panic!("{:?}", picture.drops) };
        assert_eq!((first.interface.as_deref(), first.packets), (Some("vm1"), 3000));
        assert_eq!((second.port, second.packets_per_second), (None, 100.0));
        assert_eq!(picture.rules[0].packets_per_second, 1000.0);
        // The agent was started anew.
        let anew = Picture::of(&now, &sample(500, now.at + Duration::from_secs(1)));
        assert_eq!(anew.upcalls_per_second, 500.0);
    }
}
