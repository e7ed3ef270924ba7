//! The REST API over a database of its own, on a port of this machine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mn_api_types::Media;
use mn_client::{Client, Server};
use mn_cluster::rest::{Settings, router};
use mn_ids::HostId;
use mn_nsdb::{Engine, Entry, Op, Owner, Revision, Store, TableId, TableKind, Transaction};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// How long a host that reports lives: longer than any script.
const SESSION_FOR: Duration = Duration::from_secs(600);

/// A server that ends with the value.
pub struct Lab {
    base: String,
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl Lab {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        // The engine has a task of its own.
        let within = runtime.enter();
        let store: Arc<dyn Store> = Arc::new(Engine::memory());
        drop(within);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let api = router(store.clone(), Settings::default());
        runtime.spawn(async move { axum::serve(listener, api).await });
        Self { base: format!("http://{address}/midonet-api"), store, runtime }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Does what agents do: `host NAME`, `interface HOST JSON`.
    pub fn obey(&self, order: &str) {
        match order.split_once(' ') {
            Some(("host", name)) => self.make_host(name),
            Some(("interface", rest)) => {
                let (host, interface) = rest.split_once(' ').expect("@interface HOST JSON");
                let interface = serde_json::from_str(interface).expect("the interface is JSON");
                self.report(host, interface);
            }
            _ => panic!("@{order} is no order"),
        }
    }

    fn make_host(&self, name: &str) {
        let host = json!({ "id": HostId::random(), "name": name });
        let uri = self.hosts();
        self.client().create(&uri, &Media::HOST, &host).expect("the host is made");
    }

    /// Adds an interface to what the host's agent reports.
    fn report(&self, host: &str, interface: Value) {
        let uri = self.hosts();
        let hosts: Vec<Value> = self.client().list(&uri, &Media::HOST).expect("there are hosts");
        let found = hosts.iter().find(|one| one["name"] == host).expect("the host is there");
        self.runtime.block_on(self.publish(host, &found["id"], interface));
    }

    async fn publish(&self, name: &str, id: &Value, interface: Value) {
        let host: HostId = id.as_str().and_then(|id| id.parse().ok()).expect("hosts have ids");
        let session = self.store.open_session(host, SESSION_FOR).await.expect("a session");
        let report = json!({ "host": id, "name": name, "version": "1", "epoch": session.epoch,
            "interfaces": [interface], "active_ports": [] });
        let entry = Entry {
            key: host.to_string(),
            value: report.to_string(),
            owner: Owner::Host { id: host, epoch: session.epoch },
            revision: Revision::ZERO,
        };
        let table = TableId::global(TableKind::HostReport);
        let ops = vec![Op::PutEntry { table, entry }];
        self.store.transact(Transaction { ops }).await.expect("the report is stored");
    }

    /// Where hosts are.
    fn hosts(&self) -> String {
        let client = self.client();
        let root = client.root().expect("the server answers");
        root.collection("hosts").expect("there are hosts").to_owned()
    }

    fn client(&self) -> Client {
        Client::new(Server::new(self.base())).expect("the trust is the usual")
    }
}

/// What is random, by what is written for it.
#[derive(Default)]
pub struct Hidden {
    known: HashMap<String, String>,
    ids: usize,
    macs: usize,
}

impl Hidden {
    /// Writes names for what is random.
    pub fn hide(&mut self, text: &str) -> String {
        let mut hidden = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_hexdigit() || c == '-' || c == ':' {
                word.push(c);
                continue;
            }
            // A colon after an identifier is none of it.
            let bare = word.trim_end_matches(':');
            hidden.push_str(&self.name(bare));
            hidden.push_str(&word[bare.len()..]);
            word.clear();
            hidden.extend((c != '\0').then_some(c));
        }
        hidden
    }

    /// Writes what is random for its names.
    pub fn reveal(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, (real, name)| text.replace(name, real))
    }

    fn name(&mut self, word: &str) -> String {
        if word.parse::<HostId>().is_ok() && word.len() == 36 {
            let count = &mut self.ids;
            let new = || {
                *count += 1;
                format!("<id{count}>")
            };
            return self.known.entry(word.to_owned()).or_insert_with(new).clone();
        }
        // Random addresses are locally administered; those of the scripts have zeros.
        if word.len() == 17 && word.starts_with("02:") && !word.contains("00:00") {
            let count = &mut self.macs;
            let new = || {
                *count += 1;
                format!("<mac{count}>")
            };
            return self.known.entry(word.to_owned()).or_insert_with(new).clone();
        }
        word.to_owned()
    }
}
