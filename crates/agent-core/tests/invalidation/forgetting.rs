//! An agent that gives up what nothing needs decides as one that never forgets: beside changes,
//! traffic and the end of watches in any order, for the packet at hand and for every flow it has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use mn_agent_core::{FlowTable, Holding, Holdings, NewFlow, Row, StateTables, TableName};
use mn_flow::{Cookie, Expiry, Tag};
use mn_ids::{Class, Id, ObjectKey};
use mn_simulation::Buffers;
use mn_time::{Duration, Instant};
use mn_topology::AnyObject;
use mn_topology::snapshot::{Loaded, Snapshot};

use crate::world::{Dice, Probe, Told, Verdict, World};

const UNUSED_FOR: Duration = Duration::from_secs(100);

/// An agent that holds only what its traffic needs.
struct Agent {
    snapshot: Snapshot,
    tables: StateTables,
    holdings: Holdings,
    /// What the state database tells it of.
    selectors: BTreeSet<Loaded>,
    watched_tables: HashSet<TableName>,
    /// Given up; the state database has not heard of it yet.
    ending: Vec<Holding>,
    flows: FlowTable,
    live: BTreeMap<Cookie, (Probe, Verdict)>,
    /// How often something was loaded, and forgotten.
    loaded: usize,
    forgotten: usize,
}

impl Agent {
    fn new() -> Self {
        Self {
            snapshot: Snapshot::default(),
            tables: StateTables::default(),
            holdings: Holdings::new(UNUSED_FOR),
            selectors: BTreeSet::new(),
            watched_tables: HashSet::new(),
            ending: Vec::new(),
            flows: FlowTable::new(0, 1, 4096),
            live: BTreeMap::new(),
            loaded: 0,
            forgotten: 0,
        }
    }

    /// The first picture of something.
    fn load(&mut self, holding: Holding, world: &World, now: Instant) {
        self.holdings.hold(holding, now);
        // Asked for again before its end: the end comes first, as it does in the order of commands.
        if self.ending.contains(&holding) {
            self.end(holding);
        }
        self.loaded += 1;
        let (selectors, tables) = parts(holding);
        self.selectors.extend(&selectors);
        let shown = world.objects.iter().filter(|(key, object)| {
            matching(**key, object).any(|selector| selectors.contains(&selector))
        });
        let shown: Vec<_> = shown.map(|(key, object)| (*key, Some(object.clone()))).collect();
        let (snapshot, mut tags) = self.snapshot.apply(shown, &selectors);
        self.snapshot = snapshot;
        for table in tables {
            let rows = world.rows.iter().filter(|change| table_of(&change.row) == table);
            rows.for_each(|change| self.tables.apply(change, &mut tags));
            self.tables.complete(table);
            self.watched_tables.insert(table);
        }
        self.invalidate(&tags);
    }

    /// What the state database tells it of a change.
    fn hear(&mut self, told: Told) {
        let mut tags = Vec::new();
        match told {
            Told::Object(key, objects) => {
                let [before, after] = *objects;
                let watched = |object: &Option<AnyObject>| {
                    let object = object.as_ref();
                    object.is_some_and(|object| {
                        matching(key, object).any(|selector| self.selectors.contains(&selector))
                    })
                };
                let (was, is) = (watched(&before), watched(&after));
                if was || is {
                    let object = after.filter(|_| is);
                    (self.snapshot, tags) = self.snapshot.apply([(key, object)], &[]);
                }
            }
            Told::Row(change) => {
                if self.watched_tables.contains(&table_of(&change.row)) {
                    self.tables.apply(&change, &mut tags);
                }
            }
        }
        self.invalidate(&tags);
    }

    /// Flows are noted as used, idle ones leave, and what nothing needs is given up.
    fn tick(&mut self, dice: &mut Dice, now: Instant) {
        for cookie in self.live.keys() {
            if dice.below(3) > 0 {
                self.flows.note_use(*cookie, now);
            }
        }
        let mut leaving = Vec::new();
        self.flows.expire(now, usize::MAX, &mut leaving);
        leaving.iter().for_each(|flow| drop(self.live.remove(&flow.cookie)));
        for holding in self.flows.tags().filter_map(Holding::of) {
            self.holdings.note_use(holding, now);
        }
        self.ending.extend(self.holdings.give_up(now));
    }

    /// The state database tells the end of something that was given up.
    fn end(&mut self, holding: Holding) {
        self.forgotten += 1;
        self.ending.retain(|ending| *ending != holding);
        let (selectors, tables) = parts(holding);
        self.selectors.retain(|selector| !selectors.contains(selector));
        self.watched_tables.retain(|table| !tables.contains(table));
        let (snapshot, mut tags) = self.snapshot.forget(&selectors);
        self.snapshot = snapshot;
        self.tables.forget(&tables, &mut tags);
        self.invalidate(&tags);
    }

    fn invalidate(&mut self, tags: &[Tag]) {
        let mut leaving = Vec::new();
        self.flows.invalidate(tags, &mut leaving);
        leaving.iter().for_each(|flow| drop(self.live.remove(&flow.cookie)));
    }

    /// Its verdict, once everything for it is loaded; it becomes a flow.
    fn decide(
        &mut self,
        probe: &Probe,
        world: &World,
        buffers: &mut Buffers,
        now: Instant,
    ) -> Verdict {
        for _ in 0..20 {
            match world.decide_by(&self.snapshot, &self.tables, probe, buffers) {
                Ok((verdict, tags)) => {
                    if let Verdict::Flow { mask, .. } = verdict {
                        let (key, expiry) = (probe.key, Expiry::Idle);
                        let flow =
                            NewFlow { key, mask, tags: &tags, expiry, groups: &[], follows: None };
                        let (cookie, replaced) = self.flows.insert(&flow, now);
                        replaced.iter().for_each(|flow| drop(self.live.remove(&flow.cookie)));
                        self.live.insert(cookie, (probe.clone(), verdict.clone()));
                    }
                    return verdict;
                }
                Err(missing) => {
                    missing.into_iter().for_each(|holding| self.load(holding, world, now));
                }
            }
        }
        panic!("it never has enough: {:?}", probe.key);
    }

    fn objects(&self) -> usize {
        self.snapshot.held().iter().map(|(_, count)| count).sum()
    }
}

/// What shows a thing whole.
fn parts(holding: Holding) -> (Vec<Loaded>, Vec<TableName>) {
    let key = match holding {
        Holding::Place(port) => return (Vec::new(), vec![TableName::Location(port)]),
        Holding::Alone(key) => return (vec![Loaded::Object(key)], Vec::new()),
        Holding::Object(key) => key,
    };
    let tables = match key.class {
        Class::Bridge => {
            let id = Id::from_uuid(key.id);
            vec![TableName::Mac(id), TableName::BridgeNeighbor(id), TableName::FloodGroup(id)]
        }
        Class::Router => vec![TableName::Neighbor(Id::from_uuid(key.id))],
        _ => Vec::new(),
    };
    (Loaded::of(key), tables)
}

/// Every selector that matches an object.
fn matching(key: ObjectKey, object: &AnyObject) -> impl Iterator<Item = Loaded> {
    let referrers = object.references().into_iter();
    let referrers = referrers.map(move |it| Loaded::Referrers { to: it.to, class: key.class });
    referrers.chain([Loaded::Object(key)])
}

fn table_of(row: &Row) -> TableName {
    match row {
        Row::Mac(place, _) => TableName::Mac(place.bridge),
        Row::BridgeNeighbor { bridge, .. } => TableName::BridgeNeighbor(*bridge),
        Row::Neighbor { router, .. } => TableName::Neighbor(*router),
        Row::Location(port, _) => TableName::Location(*port),
        Row::FloodGroup { bridge, .. } => TableName::FloodGroup(*bridge),
        Row::MemberHealth { pool, .. } => TableName::MemberHealth(*pool),
        Row::InsertionHealth { insertion, .. } => TableName::InsertionHealth(*insertion),
    }
}

fn play(seed: u64, steps: usize) -> Agent {
    let mut dice = Dice::new(seed);
    let mut world = World::new(6);
    world.told.clear();
    let (mut agent, mut buffers, mut oracle) =
        (Agent::new(), Buffers::default(), Buffers::default());
    let mut now = Instant::ZERO;
    for step in 0..steps {
        match dice.below(8) {
            0 => {
                let (_, tags) = world.change(&mut dice);
                std::mem::take(&mut world.told).into_iter().for_each(|told| agent.hear(told));
                // Who the peers are is not loaded: everybody knows.
                let peers: Vec<Tag> =
                    tags.into_iter().filter(|tag| matches!(tag, Tag::Peer(_))).collect();
                agent.invalidate(&peers);
            }
            1 | 2 => {
                now = now + Duration::from_secs(dice.below(60) as u64);
                agent.tick(&mut dice, now);
            }
            3 if !agent.ending.is_empty() => {
                let which = dice.below(agent.ending.len() as u128) as usize;
                let holding = agent.ending[which];
                agent.end(holding);
            }
            _ => {
                // Traffic of a while is that of a few networks.
                let few = [(step / 50) as u64 % 6, (step / 70) as u64 % 6];
                let probe = world.probe(&mut dice);
                if !few.contains(&world.router_of(&probe)) {
                    continue;
                }
                let verdict = agent.decide(&probe, &world, &mut buffers, now);
                let (want, _) = world.decide(&probe, &mut oracle);
                assert_eq!(verdict, want, "seed {seed} step {step}: {:?}", probe.key);
                assert_eq!(buffers.effects, oracle.effects, "seed {seed} step {step}");
            }
        }
        for (probe, verdict) in agent.live.values() {
            let (want, _) = world.decide(probe, &mut oracle);
            assert_eq!(*verdict, want, "seed {seed} step {step}, a flow: {:?}", probe.key);
        }
    }
    // Nothing happens any more.
    for _ in 0..100 {
        now = now + Duration::from_secs(10);
        let mut leaving = Vec::new();
        agent.flows.expire(now, usize::MAX, &mut leaving);
        agent.ending.extend(agent.holdings.give_up(now));
    }
    agent.ending.clone().into_iter().for_each(|holding| agent.end(holding));
    agent
}

#[test]
fn who_forgets_what_nothing_needs_decides_as_one_who_never_forgets() {
    for seed in 0..6 {
        let agent = play(seed, 3000);
        let (loaded, forgotten) = (agent.loaded, agent.forgotten);
        println!("seed {seed}: {loaded} loaded, {forgotten} forgotten");
        assert!(forgotten > 100, "seed {seed}: nothing was tested");
        assert_eq!(loaded, forgotten, "in the end all of it is given up");
        assert_eq!((agent.objects(), agent.holdings.len()), (0, 0), "nothing is held any more");
    }
}
