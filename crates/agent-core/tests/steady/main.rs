//! New flows, one after the other, as a worker takes them: what each costs once everything has
//! grown.

mod count;
mod translations;

use std::net::Ipv6Addr;

use mn_agent_core::{
    FlowTable, LocalView, Means, NewFlow, StateTables, Translation, limits, translate,
};
use mn_flow::{Cookie, Expiry, Field, FlowKey, FlowMask, PortNo, Tag};
use mn_ids::Id;
use mn_simulation::{Buffers, Decision, Entry, Inputs, Outcome, Packet, simulate};
use mn_testkit::packet::{Built, build};
use mn_testkit::{CLOUD, Lab};
use mn_time::{Duration, Instant};

/// Two ways through the cloud, and one to where nothing is accepted.
const PACKETS: [&str; 3] = ["vm1 > vm3 udp 53", "vm1 > vm2 udp 53", "vm1 > vm3 udp 99"];

/// A worker's part of a new flow, without the datapath's.
struct Worker {
    lab: Lab,
    local: LocalView,
    tables: StateTables,
    packets: [Built; 3],
    buffers: Buffers,
    translation: Translation,
    flows: FlowTable,
    leaving: Vec<mn_agent_core::Leaving>,
    now: Instant,
}

impl Worker {
    fn new(flows_max: usize) -> Self {
        // A rule that reads the source port of UDP makes each new port a new flow.
        let lab = Lab::read(&CLOUD.replace("accept ipv4 tcp dport 80", "drop ipv4 udp sport 1"));
        let mut local = LocalView::new(Id::random(), 1450);
        for (station, number) in lab.stations.values().zip(16..) {
            local.add_port(station.port, PortNo(number));
        }
        Self {
            local,
            tables: StateTables::default(),
            packets: PACKETS.map(|text| build(&lab, text)),
            buffers: Buffers::default(),
            translation: Translation::default(),
            flows: FlowTable::new(0, 1, flows_max),
            leaving: Vec::new(),
            now: Instant::ZERO,
            lab,
        }
    }

    fn simulate(&mut self, number: u64) -> (FlowKey, Decision) {
        let built = &self.packets[number as usize % self.packets.len()];
        let key = FlowKey { tp_src: 1024 + (number % 60_000) as u16, ..built.key };
        let packet = Packet { key, frame: &built.frame, gso_size: 0 };
        let entry = Entry::Ingress(built.port);
        let inputs = Inputs { now: self.now, seed: number, entry, mtu: 1450 };
        let (snapshot, tables) = (&self.lab.snapshot, &self.lab.tables);
        match simulate(snapshot, tables, &inputs, &packet, &mut self.buffers, None) {
            Outcome::Decided(decision) => (key, decision),
            other => panic!("{other:?}"),
        }
    }

    /// The packet of a new flow, from simulation to the flow table, with what time does meanwhile.
    fn take(&mut self, number: u64) {
        self.now = self.now + Duration::from_micros(10);
        let (key, decision) = self.simulate(number);
        let (actions, in_port) = (&self.buffers.actions, key.in_port);
        let (tables, local, bound) = (&self.tables, &self.local, &|_| None);
        let means = Means { tables, local, bound, only: None };
        translate(actions, in_port, decision.drop, &means, &mut self.translation);
        assert!(self.translation.missing.is_empty());
        self.buffers.tags.extend_from_slice(&self.translation.tags);
        if self.flows.is_full() {
            self.flows.evict(limits::evict_batch(self.flows.len()), &mut self.leaving);
        }
        let mask = decision.mask | Field::InPort.into();
        let (tags, expiry) = (&self.buffers.tags, decision.expiry);
        let flow =
            NewFlow { key, mask, tags, expiry, groups: &self.translation.groups, follows: None };
        self.flows.insert(&flow, self.now);
        if number.is_multiple_of(100) {
            let places = self.flows.places().div_ceil(limits::EXPIRE_LOOKS);
            self.flows.expire(self.now, places, &mut self.leaving);
        }
        self.leaving.clear();
    }
}

#[test]
fn the_counter_sees_what_is_allocated() {
    assert_eq!(count::allocations(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(9)))), 1);
    let (_kept, octets) = count::octets(|| vec![0_u64; 100]);
    assert_eq!(octets, 800);
}

#[test]
fn a_new_flow_allocates_nothing_be_the_table_full_or_not() {
    // Room is made all the time, then flows are replaced and expire: nothing is used here.
    for flows_max in [4_096, 1 << 20] {
        let mut worker = Worker::new(flows_max);
        let grown = 70_000;
        (0..grown).for_each(|number| worker.take(number));
        let allocations =
            count::allocations(|| (grown..grown + 20_000).for_each(|number| worker.take(number)));
        assert_eq!(allocations, 0, "of 20,000 new flows, at most {flows_max} at once");
    }
}

fn key(number: u32) -> FlowKey {
    let nw_src = Ipv6Addr::from_bits(0xffff_0a00_0000 | u128::from(number));
    FlowKey { in_port: PortNo(16), nw_src, ..FlowKey::default() }
}

/// Octets a flow takes in a table that holds so many, where so many have the same tags.
fn octets_of_a_flow(flows: u32, alike: u32) -> i64 {
    let mask = FlowMask::nw_src(128) | Field::InPort.into();
    let (table, octets) = count::octets(|| {
        let mut table = FlowTable::new(0, 1, flows as usize);
        let mut leaving = Vec::new();
        for number in 0..flows + flows / 4 {
            if table.is_full() {
                table.evict(limits::evict_batch(table.len()), &mut leaving);
                leaving.clear();
            }
            let port = |n: u32| {
                let own = if n == 0 { number / alike } else { n };
                Tag::Port(Id::from_uuid(uuid::Uuid::from_u128(u128::from(own) << 32 | 7)))
            };
            let tags: [Tag; 10] = std::array::from_fn(|n| port(n as u32));
            let expiry = Expiry::Idle;
            let flow =
                NewFlow { key: key(number), mask, tags: &tags, expiry, groups: &[], follows: None };
            let now = Instant::ZERO + Duration::from_micros(number.into());
            let _: (Cookie, _) = table.insert(&flow, now);
        }
        table
    });
    octets / table.len() as i64
}

#[test]
fn a_flow_takes_at_most_300_octets_of_the_agents_memory() {
    for alike in [4, 16, 1024] {
        let octets = octets_of_a_flow(1 << 17, alike);
        println!("{octets} octets a flow where {alike} flows have the same tags");
        assert!(octets <= 300, "{octets} octets a flow where {alike} have the same tags");
    }
}

/// Nanoseconds each of so many takes.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn nanoseconds(count: u64, mut what: impl FnMut(u64)) -> f64 {
    let begun = std::time::Instant::now();
    (0..count).for_each(&mut what);
    begun.elapsed().as_nanos() as f64 / count as f64
}

/// What `cargo xtask bench` reads: one figure a line, as JSON.
#[test]
#[ignore = "a measurement: run by the bench, built for speed"]
fn figures() {
    let mut worker = Worker::new(1 << 18);
    // The first of the packets: it is routed and filtered.
    let mut routed = |number| {
        std::hint::black_box(worker.simulate(number * PACKETS.len() as u64));
    };
    let simulated: Vec<f64> = (0..9).map(|_| nanoseconds(200_000, &mut routed)).collect();
    let entered: Vec<f64> =
        (0..9).map(|_| nanoseconds(200_000, |number| worker.take(number))).collect();
    let memory: Vec<i64> = vec![octets_of_a_flow(1 << 18, 1024)];
    println!("{{\"simulated_ns\":{simulated:?}}}");
    println!("{{\"entered_ns\":{entered:?}}}");
    println!("{{\"octets_of_a_flow\":{memory:?}}}");
}
