//! The database and its watchers, compared with a model step by step.

mod model;
mod view;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mn_ids::{Class, ObjectKey};
use mn_nsdb::database::Database;
use mn_nsdb::watchers::Watchers;
use mn_nsdb::{Entry, Op, Revision, Selector, SessionId, TableId, TableKind, Transaction, TxError};
use mn_time::Instant;
use proptest::prelude::*;
use uuid::Uuid;

use model::{Act, GRACE_FOR, Model, Refusal, TTL, owner};
use view::View;
use world::{Thing, host, key};

const WATCHERS: u8 = 3;
/// Few, so that watchers are often too slow.
const BATCHES_MAX: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Transact(Vec<Choice>),
    Open(u8),
    Close(u8),
    Renew(u8),
    Pass(u8),
    Restart,
    Watch(u8, [u8; 3]),
    Unwatch(u8, [u8; 3]),
    Take(u8),
}

/// Numbers that decide on one operation.
type Choice = [u8; 6];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => prop::collection::vec(any::<Choice>(), 1..6).prop_map(Step::Transact),
        2 => any::<u8>().prop_map(Step::Open),
        1 => any::<u8>().prop_map(Step::Close),
        1 => any::<u8>().prop_map(Step::Renew),
        2 => (0..40_u8).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        3 => (0..WATCHERS, any::<[u8; 3]>()).prop_map(|(w, c)| Step::Watch(w, c)),
        2 => (0..WATCHERS, any::<[u8; 3]>()).prop_map(|(w, c)| Step::Unwatch(w, c)),
        2 => (0..WATCHERS).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 1..150)
}

const CLASSES: [Class; 7] = [
    Class::Bridge,
    Class::Port,
    Class::Chain,
    Class::PortGroup,
    Class::Host,
    Class::Port,
    Class::Router,
];

const TABLES: [TableKind; 5] = [
    TableKind::Mac,
    TableKind::HostReport,
    TableKind::Location,
    TableKind::FloodGroup,
    TableKind::BridgePorts,
];

fn object(class: u8, n: u8) -> ObjectKey {
    key(CLASSES[usize::from(class) % CLASSES.len()], n % 3)
}

/// A table, and a key in it.
fn place(kind: u8, n: u8) -> (TableId, String) {
    match TABLES[usize::from(kind) % TABLES.len()] {
        kind @ TableKind::HostReport => (TableId::global(kind), host(n % 3).to_string()),
        kind @ TableKind::Location => {
            (TableId::global(kind), key(Class::Port, n % 3).id.to_string())
        }
        kind => (TableId::of(kind, key(Class::Bridge, n % 3)), format!("0/{}", n % 2)),
    }
}

fn selector([kind, a, b]: [u8; 3]) -> Selector {
    let of = object(a, b);
    match kind % 5 {
        0 => Selector::Object(of),
        1 => Selector::Class(of.class),
        2 => Selector::Referrers { to: of, class: CLASSES[1 + usize::from(kind / 5) % 3] },
        3 => Selector::Table(place(a, b).0),
        _ => Selector::Entry {
            table: TableId::global(TableKind::Location),
            key: key(Class::Port, b % 3).id,
        },
    }
}

/// The operation that numbers decide on, most of them such that they are not refused.
fn act(model: &Model, [kind, class, n, a, b, c]: Choice) -> Act {
    let of = object(class, n);
    let mut thing = Thing::choose(of.class, [a, b, c]);
    if a % 8 != 1 {
        let absent = thing.references().into_iter().map(|reference| reference.to);
        absent.filter(|to| !model.objects.contains_key(to)).for_each(|to| {
            thing.clear(to);
        });
    }
    let there = model.objects.get(&of);
    let version = there.map_or(Revision::ZERO, |object| object.version);
    let expected = if a % 16 == 0 { Revision(version.0 + 1) } else { version };
    let (table, key) = place(class, n);
    match kind % 16 {
        1..=3 if there.is_none() && b % 8 != 0 => Act::Create(of, thing),
        0 => Act::Check(of, expected),
        1 => Act::Delete(of, Some(expected)),
        2 | 3 => Act::Delete(of, None),
        4..=6 => Act::Put(table, key, owner(model, c)),
        7 => Act::Remove(table, key, owner(model, c)),
        8 if b % 4 == 0 => Act::Create(of, thing),
        _ if there.is_none() => Act::Create(of, thing),
        _ => Act::Update(of, thing, expected),
    }
}

fn op(act: &Act) -> Op {
    let text = |thing: &Thing| (thing.json().to_string(), thing.references());
    match act.clone() {
        Act::Create(key, thing) => {
            let (json, references) = text(&thing);
            Op::Create { key, json, references }
        }
        Act::Update(key, thing, expected) => {
            let (json, references) = text(&thing);
            Op::Update { key, json, references, expected }
        }
        Act::Delete(key, expected) => Op::Delete { key, expected },
        Act::Check(key, expected) => Op::Check { key, expected },
        Act::Put(table, key, owner) => {
            let (value, revision) = (String::new(), Revision::ZERO);
            Op::PutEntry { table, entry: Entry { key, value, owner, revision } }
        }
        Act::Remove(table, key, owner) => Op::RemoveEntry { table, key, owner },
    }
}

fn refusal(error: &TxError) -> Refusal {
    match error {
        TxError::Exists { .. } => Refusal::Exists,
        TxError::Missing { .. } => Refusal::Missing,
        TxError::Conflict { .. } => Refusal::Conflict,
        TxError::Dangling { .. } => Refusal::Dangling,
        TxError::InUse { .. } => Refusal::InUse,
        TxError::Stale { .. } => Refusal::Stale,
        TxError::Taken { .. } => Refusal::Taken,
        other => panic!("{other}"),
    }
}

/// One of everything there can be, without references where that may be.
fn all_things() -> Vec<Act> {
    let classes = CLASSES.into_iter().collect::<BTreeSet<_>>().into_iter();
    let all = classes.flat_map(|class| (0..3).map(move |n| key(class, n)));
    let numbers = |key: ObjectKey| [if key.class == Class::Chain { 0 } else { 3 }, 3, 3];
    all.map(|key| Act::Create(key, Thing::choose(key.class, numbers(key)))).collect()
}

/// The model that stories begin with.
fn beginning() -> Model {
    Model::default().transact(&all_things()).expect("nothing refuses this")
}

/// Both, side by side.
struct Pair {
    database: Database,
    model: Model,
    watchers: Watchers,
    views: Vec<View>,
    /// The model at every revision.
    history: BTreeMap<Revision, Model>,
    now: Instant,
    sessions: u128,
}

impl Pair {
    fn new() -> Self {
        let mut watchers = Watchers::new(BATCHES_MAX);
        let views = (0..WATCHERS).map(|_| View::new(&mut watchers)).collect();
        let (mut database, model) = (Database::new(GRACE_FOR), beginning());
        let ops = all_things().iter().map(op).collect();
        database.transact(Transaction { ops }).expect("nothing refuses this");
        let history = BTreeMap::from([(model.revision, model.clone())]);
        Self { database, model, watchers, views, history, now: Instant::ZERO, sessions: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Transact(choices) => self.transact(&choices),
            Step::Open(n) => {
                self.sessions += 1;
                let (id, host) = (SessionId(Uuid::from_u128(self.sessions)), host(n % 3));
                let (session, commit) = self.database.open_session(id, host, TTL, self.now);
                self.watchers.publish(&commit);
                assert_eq!(session, self.model.open(host, id, self.now));
            }
            Step::Close(n) => {
                let session = self.model.sessions.get(&host(n % 3)).map(|(session, _)| session.id);
                let id = session.unwrap_or(SessionId(Uuid::max()));
                let closed = self.database.close_session(id, self.now);
                assert_eq!(closed.is_ok(), session.is_some());
                self.watchers.publish(&closed.unwrap_or_default());
                self.model.close(host(n % 3), self.now);
            }
            Step::Renew(n) => {
                if let Some((session, end)) = self.model.sessions.get_mut(&host(n % 3)) {
                    *end = self.now + TTL;
                    self.database.renew_session(session.id, self.now).expect("it is alive");
                }
            }
            Step::Pass(millis) => {
                self.now = self.now + Duration::from_millis(millis.into());
                let commit = self.database.expire(self.now);
                self.watchers.publish(&commit);
                self.model.expire(self.now);
            }
            Step::Restart => self.restart(),
            Step::Watch(view, choice) => {
                let id = self.views[usize::from(view)].id;
                self.watchers.add(id, &[selector(choice)], &self.database);
            }
            Step::Unwatch(view, choice) => {
                let view = &mut self.views[usize::from(view)];
                let watched = view.watched(choice[1]).filter(|_| choice[0] % 4 != 0);
                let chosen = watched.unwrap_or_else(|| selector(choice));
                view.remove(chosen, &mut self.watchers, &self.database);
            }
            Step::Take(view) => {
                self.views[usize::from(view)].take(&mut self.watchers, &self.history);
            }
        }
        self.history.insert(self.model.revision, self.model.clone());
        self.compare();
    }

    fn transact(&mut self, choices: &[Choice]) {
        let acts: Vec<Act> = choices.iter().map(|choice| act(&self.model, *choice)).collect();
        let ops = acts.iter().map(op).collect();
        match (self.database.transact(Transaction { ops }), self.model.transact(&acts)) {
            (Ok(commit), Ok(model)) => {
                assert_eq!(commit.revision, model.revision);
                self.watchers.publish(&commit);
                self.model = model;
            }
            (Err(error), Err(want)) => assert_eq!(refusal(&error), want, "{error}; {acts:?}"),
            (got, want) => panic!("{got:?} instead of {:?}; {acts:?}", want.map(|_| "success")),
        }
    }

    fn restart(&mut self) {
        self.now = Instant::ZERO;
        let dump = self.database.dump();
        self.database = Database::load(dump, GRACE_FOR, self.now).expect("a dump loads");
        self.model.restart(self.now);
        self.watchers = Watchers::new(BATCHES_MAX);
        self.views = (0..WATCHERS).map(|_| View::new(&mut self.watchers)).collect();
    }

    fn compare(&self) {
        let (dump, model) = (self.database.dump(), &self.model);
        assert_eq!(dump.revision, model.revision);
        assert_eq!(dump.objects.len(), model.objects.len());
        for (object, (key, want)) in dump.objects.iter().zip(&model.objects) {
            let stored = &object.stored;
            assert_eq!(
                (stored.key, stored.created, stored.version),
                (*key, want.created, want.version)
            );
            let json: serde_json::Value = serde_json::from_str(&stored.json).expect("JSON");
            assert_eq!(json, want.thing.json(), "{key}");
            assert_eq!(world::sorted(object.references.clone()), want.thing.references(), "{key}");
            let referrers = Selector::Referrers { to: *key, class: Class::Port };
            let found = self.database.referrers(*key, Class::Port);
            let found: BTreeMap<_, _> = found.map(|port| (port.key, port.version)).collect();
            assert_eq!(found, model.matched(referrers), "{key}");
        }
        let entries: BTreeMap<_, _> = dump
            .entries
            .iter()
            .map(|(table, entry)| ((*table, entry.key.clone(), entry.owner), entry.revision))
            .collect();
        assert_eq!(entries, model.entries);
        let mut sessions: Vec<_> = model.sessions.values().map(|(session, _)| *session).collect();
        sessions.sort_by_key(|session| session.id);
        assert_eq!(dump.sessions, sessions);
        assert_eq!(dump.epochs, model.epochs);
    }

    fn end(mut self) {
        for view in &mut self.views {
            while view.take(&mut self.watchers, &self.history) {}
            view.check_latest(&self.model);
        }
    }
}

/// How many stories are told: by default a slice, with `MIDONET_LONG=1` more.
fn cases() -> u32 {
    if std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1") { 20_000 } else { 400 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_database_and_its_watchers_do_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        steps.into_iter().for_each(|step| pair.step(step));
        pair.end();
    }
}

/// The story tellers are worth something: what they do is mostly not refused, and every refusal
/// comes about.
#[test]
fn random_stories_meet_every_refusal_and_are_mostly_accepted() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut refused) = (0, BTreeMap::new());
    for _ in 0..100 {
        let mut model = beginning();
        let steps = steps().new_tree(&mut runner).expect("a story").current();
        for step in steps {
            match step {
                Step::Transact(choices) => {
                    let acts: Vec<Act> = choices.iter().map(|c| act(&model, *c)).collect();
                    match model.transact(&acts) {
                        Ok(next) => (model, accepted) = (next, accepted + 1),
                        Err(refusal) => *refused.entry(format!("{refusal:?}")).or_insert(0) += 1,
                    }
                }
                Step::Open(n) => {
                    model.open(host(n % 3), SessionId(Uuid::nil()), Instant::ZERO);
                }
                _ => {}
            }
        }
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
    let refused: u32 = refused.values().sum();
    assert!(accepted > refused, "{accepted} accepted, {refused} refused");
}
