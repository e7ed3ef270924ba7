//! The state database as agents see it: the suite of all engines over gRPC, and what only a
//! network does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use mn_cluster::{Node, ProcessError, Settings};
use mn_ids::BridgeId;
use mn_nsdb::conformance::{Fixture, GRACE_FOR};
use mn_nsdb::database::Database;
use mn_nsdb::{Change, Engine, Op, Selector, Store, Transaction, TxError, WatchEvent};
use mn_nsdb_remote::{Remote, RequestHandler, Tls};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

/// Settings for this machine only. `nsdb`: where agents are served.
fn settings(root: &Path, nsdb: &str, more: &[&str]) -> Settings {
    let root = root.to_str().expect("temporary directories have plain names");
    let any = "127.0.0.1:0";
    let args = ["cluster", "--root", root, "--rest", any, "--metrics", any, "--nsdb", nsdb];
    Command::parse_from(args.iter().chain(more)).settings
}

fn remote(address: SocketAddr) -> Remote {
    let nodes = vec![format!("http://{address}")];
    Remote::new(&mn_nsdb_remote::Settings { nodes, tls: Tls::Insecure }).unwrap()
}

/// A cluster node that keeps its database in memory, and can die.
struct OverGrpc {
    root: TempDir,
    engine: Engine,
    process: Process,
}

/// A node with threads of its own: when they end its connections break, as with a process.
struct Process {
    node: Node,
    runtime: Option<Runtime>,
}

impl Process {
    async fn start(engine: &Engine, settings: Settings) -> Result<Self, ProcessError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let engine = Arc::new(engine.clone());
        let node = runtime.spawn(async move { Node::serve(engine, &settings).await });
        node.await.unwrap().map(|node| Self { node, runtime: Some(runtime) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is left of a dead node.
struct Remains {
    root: TempDir,
    engine: Engine,
    address: SocketAddr,
}

impl OverGrpc {
    async fn of(engine: Engine) -> Self {
        let root = TempDir::new().unwrap();
        let settings = settings(root.path(), "127.0.0.1:0", &["--insecure"]);
        let process = Process::start(&engine, settings).await.unwrap();
        Self { root, engine, process }
    }

    fn address(&self) -> SocketAddr {
        self.process.node.nsdb[0]
    }

    fn die(self) -> Remains {
        let address = self.address();
        Remains { root: self.root, engine: self.engine, address }
    }
}

impl Remains {
    /// The node starts again on the same address.
    async fn back(self) -> OverGrpc {
        let Self { root, engine, address } = self;
        for _ in 0..100 {
            // The old listener's socket may take a moment to go.
            let settings = settings(root.path(), &address.to_string(), &["--insecure"]);
            if let Ok(process) = Process::start(&engine, settings).await {
                return OverGrpc { root, engine, process };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{address} stays in use");
    }
}

#[async_trait]
impl Fixture for OverGrpc {
    async fn start() -> Self {
        Self::of(Engine::with(Database::new(GRACE_FOR))).await
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(remote(self.address()))
    }
}

mn_nsdb::conformance!(OverGrpc);

fn create(bridge: BridgeId, name: &str) -> Op {
    let json = format!(r#"{{"id":"{bridge}","name":"{name}"}}"#);
    Op::Create { key: bridge.into(), json, references: Vec::new() }
}

async fn write(store: &dyn Store, op: Op) {
    store.transact(Transaction { ops: vec![op] }).await.unwrap();
}

async fn next(watch: &mut dyn mn_nsdb::Watch) -> WatchEvent {
    let event = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
    event.expect("an event comes").expect("the watch goes on")
}

/// The changes of the next batch.
async fn batch(watch: &mut dyn mn_nsdb::Watch) -> Vec<Change> {
    loop {
        if let WatchEvent::Batch(batch) = next(watch).await {
            return batch.changes;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_the_death_of_its_node_and_misses_nothing() {
    let cluster = OverGrpc::start().await;
    let (gone, stays, new) = (BridgeId::random(), BridgeId::random(), BridgeId::random());
    write(&cluster.engine, create(gone, "gone")).await;
    write(&cluster.engine, create(stays, "stays")).await;
    let remote = remote(cluster.address());
    let mut watch = remote.watch().await.unwrap();
    watch.add(&[Selector::Class(mn_ids::Class::Bridge)]).await.unwrap();
    assert_eq!(batch(watch.as_mut()).await.len(), 2);

    let down = cluster.die();
    while next(watch.as_mut()).await != WatchEvent::Disconnected {}
    let unreachable = remote.get(stays.into()).await;
    assert!(matches!(unreachable, Err(mn_nsdb::ReadError::Unavailable(_))), "{unreachable:?}");
    let delete = Op::Delete { key: gone.into(), expected: None };
    write(&down.engine, delete).await;
    write(&down.engine, create(new, "new")).await;
    let _cluster = down.back().await;

    assert_eq!(next(watch.as_mut()).await, WatchEvent::Reconnected);
    let mut changes: Vec<_> =
        batch(watch.as_mut()).await.into_iter().map(key_and_presence).collect();
    changes.sort();
    let mut expected = vec![(gone, false), (stays, true), (new, true)];
    expected.sort();
    assert_eq!(changes, expected);
}

fn key_and_presence(change: Change) -> (BridgeId, bool) {
    match change {
        Change::Object(change) => (BridgeId::from_uuid(change.key.id), change.stored.is_some()),
        Change::Entry(_) => panic!("no table is watched"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_cannot_be_sent_is_told_from_one_whose_answer_is_lost() {
    let cluster = OverGrpc::start().await;
    let remote = remote(cluster.address());
    write(&remote, create(BridgeId::random(), "first")).await;
    let _down = cluster.die();
    // Calls right after the death may meet the dying connection: their answers are lost. Once it is
    // dead nothing is sent at all.
    for attempt in 0.. {
        let transaction = Transaction { ops: vec![create(BridgeId::random(), "second")] };
        match remote.transact(transaction).await {
            Err(TxError::Unavailable(_)) => break,
            Err(TxError::Undecided { .. }) if attempt < 20 => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_node_is_used_when_one_dies() {
    let engine = Engine::memory();
    let (first, second) = (OverGrpc::of(engine.clone()).await, OverGrpc::of(engine).await);
    let nodes = [&first, &second].map(|node| format!("http://{}", node.address())).to_vec();
    let settings = mn_nsdb_remote::Settings { nodes, tls: Tls::Insecure };
    let remote = Remote::new(&settings).unwrap();
    let bridge = BridgeId::random();
    write(&remote, create(bridge, "red")).await;
    let _down = first.die();
    let read = async || remote.get(bridge.into()).await;
    // One read may be lost with the first node.
    let stored = match read().await {
        Ok(stored) => stored,
        Err(_) => read().await.unwrap(),
    };
    assert!(stored.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_node_of_the_right_authority_is_trusted() {
    let root = TempDir::new().unwrap();
    let settings = settings(root.path(), "127.0.0.1:0", &[]);
    let node = Node::serve(Arc::new(Engine::memory()), &settings).await.unwrap();
    let nodes = vec![format!("https://{}", node.nsdb[0])];
    let remote = |pem: &Path| {
        let tls = Tls::Authority(std::fs::read_to_string(pem).unwrap());
        Remote::new(&mn_nsdb_remote::Settings { nodes: nodes.clone(), tls }).unwrap()
    };
    write(&remote(&root.path().join("tls/ca.pem")), create(BridgeId::random(), "red")).await;

    let other = TempDir::new().unwrap();
    let other_settings = self::settings(other.path(), "127.0.0.1:0", &[]);
    let _other = Node::serve(Arc::new(Engine::memory()), &other_settings).await.unwrap();
    let stranger = remote(&other.path().join("tls/ca.pem"));
    let refused = stranger.list(mn_ids::Class::Bridge).await;
    assert!(matches!(refused, Err(mn_nsdb::ReadError::Unavailable(_))), "{refused:?}");
}

/// Answers with what it was asked, in capitals.
struct Shout;

#[async_trait]
impl RequestHandler for Shout {
    async fn handle(&self, request: &str) -> String {
        request.to_uppercase()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_reach_the_agent_that_serves_and_no_other() {
    let cluster = OverGrpc::start().await;
    let (host, away) = (mn_ids::HostId::random(), mn_ids::HostId::random());
    let remote = remote(cluster.address());
    let serving = tokio::spawn(async move { remote.serve(host, Arc::new(Shout)).await });
    let agents = cluster.process.node.agents();
    for _ in 0..200 {
        if agents.count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(agents.ask(host, "who is there".to_owned()).await.unwrap(), "WHO IS THERE");
    assert_eq!(agents.ask(away, String::new()).await, Err(mn_cluster::NoAnswer::Away(away)));
    serving.abort();
}

/// How long a receiver may sit on the acknowledgement of a segment, on Linux.
const DELAYED_ACK: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_an_answer_nor_a_watched_change_waits_for_an_acknowledgement_of_tcp() {
    let cluster = OverGrpc::start().await;
    let remote = remote(cluster.address());
    let mut watch = remote.watch().await.unwrap();
    watch.add(&[Selector::Class(mn_ids::Class::Bridge)]).await.unwrap();
    batch(watch.as_mut()).await;
    // A connection's first segments are acknowledged at once whatever was said.
    let (mut answered, mut heard) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let begun_at = std::time::Instant::now();
        write(&remote, create(BridgeId::random(), &number.to_string())).await;
        answered.push(begun_at.elapsed());
        batch(watch.as_mut()).await;
        heard.push(begun_at.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for mut times in [answered, heard] {
        let late = &mut times[20..];
        late.sort();
        assert!(late[20] < DELAYED_ACK / 2, "{late:?}");
    }
}

/// The first picture of many objects, far beyond what a message may have, is one batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_picture_of_100_000_objects_is_one_batch() {
    const OBJECTS: usize = 100_000;
    let engine = Engine::memory();
    let json = |id: BridgeId| {
        let name = "a bridge with a name of some length, as they are in large clouds: ".repeat(3);
        format!(r#"{{"id": "{id}", "name": "{name}"}}"#)
    };
    for _ in 0..OBJECTS / 500 {
        let ids = (0..500).map(|_| BridgeId::random());
        let make = |id: BridgeId| Op::Create { key: id.into(), json: json(id), references: vec![] };
        engine.transact(Transaction { ops: ids.map(make).collect() }).await.unwrap();
    }
    let node = OverGrpc::of(engine).await;
    let store = remote(node.address());
    let begun = std::time::Instant::now();
    let mut watch = store.watch().await.unwrap();
    let everything = Selector::Class(mn_ids::Class::Bridge);
    watch.add(&[everything]).await.unwrap();
    let batch = loop {
        match watch.next().await.unwrap() {
            WatchEvent::Batch(batch) if batch.complete.contains(&everything) => break batch,
            WatchEvent::Batch(batch) => assert!(batch.changes.is_empty(), "half of a picture"),
            WatchEvent::Disconnected | WatchEvent::Reconnected => {}
        }
    };
    let shown = begun.elapsed();
    assert_eq!(batch.changes.len(), OBJECTS);
    let bytes: usize = batch
        .changes
        .iter()
        .map(|change| match change {
            Change::Object(object) => object.stored.as_ref().map_or(0, |stored| stored.json.len()),
            Change::Entry(_) => 0,
        })
        .sum();
    eprintln!("{OBJECTS} objects shown within {shown:?}");
    assert!(shown < Duration::from_secs(60), "{shown:?}");
    assert!(bytes > mn_wire::MESSAGE_BYTES_MAX, "{bytes}: one message could have had it");
}
