//! What clients are told when the state database does not do what it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use mn_cluster::rest::Settings;
use mn_ids::{Class, HostId, Object, ObjectKey};
use mn_nsdb::{
    Engine, Entry, Op, ReadError, Revision, Session, SessionId, Store, Stored, TableId,
    Transaction, TxError, Watch,
};
use mn_topology::{Availability, SystemState};
use serde_json::json;

use crate::api::{Api, text};

const SOUND: u8 = 0;
const UNREACHABLE: u8 = 1;
const LOSES_ANSWERS: u8 = 2;
/// Somebody else closes the API just before the next transaction.
const IS_CLOSED_FIRST: u8 = 3;

/// A database that fails as it is told.
struct Failing {
    engine: Engine,
    mode: Arc<AtomicU8>,
}

impl Failing {
    fn fails(&self, mode: u8) -> bool {
        self.mode.load(Ordering::SeqCst) == mode
    }

    fn reads(&self) -> Result<(), ReadError> {
        if self.fails(UNREACHABLE) { Err(ReadError::Unavailable("cut off".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(&self, key: ObjectKey) -> Result<Option<Stored>, ReadError> {
        self.reads()?;
        self.engine.get(key).await
    }

    async fn list(&self, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.reads()?;
        self.engine.list(class).await
    }

    async fn referrers(&self, to: ObjectKey, class: Class) -> Result<Vec<Stored>, ReadError> {
        self.reads()?;
        self.engine.referrers(to, class).await
    }

    async fn entries(&self, table: TableId) -> Result<Vec<Entry>, ReadError> {
        self.reads()?;
        self.engine.entries(table).await
    }

    async fn entries_at(&self, table: TableId, key: &str) -> Result<Vec<Entry>, ReadError> {
        self.reads()?;
        self.engine.entries_at(table, key).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Revision, TxError> {
        if self.fails(UNREACHABLE) {
            return Err(TxError::Unavailable("cut off".into()));
        }
        let closed_first =
            self.mode.compare_exchange(IS_CLOSED_FIRST, SOUND, Ordering::SeqCst, Ordering::SeqCst);
        if closed_first.is_ok() {
            self.engine.transact(closing()).await?;
        }
        let revision = self.engine.transact(transaction).await?;
        if self.fails(LOSES_ANSWERS) {
            return Err(TxError::Undecided { waited: Duration::from_secs(1) });
        }
        Ok(revision)
    }

    async fn next_number(&self, sequence: &str) -> Result<u64, TxError> {
        self.engine.next_number(sequence).await
    }

    async fn watch(&self) -> Result<Box<dyn Watch>, ReadError> {
        self.engine.watch().await
    }

    async fn open_session(&self, host: HostId, ttl: Duration) -> Result<Session, TxError> {
        self.engine.open_session(host, ttl).await
    }

    async fn renew_session(&self, session: SessionId) -> Result<(), TxError> {
        self.engine.renew_session(session).await
    }

    async fn close_session(&self, session: SessionId) -> Result<(), TxError> {
        self.engine.close_session(session).await
    }

    async fn sessions(&self) -> Result<Vec<Session>, ReadError> {
        self.engine.sessions().await
    }
}

fn closing() -> Transaction {
    let state = SystemState { availability: Availability::ReadOnly, ..SystemState::default() };
    let json = serde_json::to_string(&state).unwrap();
    Transaction { ops: vec![Op::Create { key: state.key(), json, references: Vec::new() }] }
}

fn failing() -> (Api, Arc<AtomicU8>) {
    let mode = Arc::new(AtomicU8::new(SOUND));
    let store = Failing { engine: Engine::memory(), mode: mode.clone() };
    (Api::over(store, Settings::default()), mode)
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_said_to_be_and_comes_back() {
    let (api, mode) = failing();
    let bridge = api.device("bridges", "b").await;
    mode.store(UNREACHABLE, Ordering::SeqCst);
    for (method, path) in [
        (Method::GET, "/bridges"),
        (Method::POST, "/bridges"),
        (Method::PUT, text(&bridge["uri"])),
        (Method::DELETE, text(&bridge["uri"])),
    ] {
        let reply = api.call(method.clone(), path, Some(&json!({}))).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &json!(503)), "{method}");
        assert_eq!(reply.headers["retryafter"], "3");
    }
    mode.store(SOUND, Ordering::SeqCst);
    assert_eq!(api.get("/bridges").await, json!([bridge]));
}

#[tokio::test]
async fn a_client_that_chose_the_id_finds_out_what_a_lost_answer_hid() {
    let (api, mode) = failing();
    mode.store(LOSES_ANSWERS, Ordering::SeqCst);
    let bridge = json!({"id": mn_ids::BridgeId::random(), "name": "b"});
    let reply = api.call(Method::POST, "/bridges", Some(&bridge)).await;
    assert_eq!(reply.status, 503);
    assert!(text(&reply.body["message"]).contains("may have been done"), "{}", reply.body);
    mode.store(SOUND, Ordering::SeqCst);
    api.refused_field(409, "/bridges", bridge.clone(), "id").await;
    let read = api.get(&format!("/bridges/{}", text(&bridge["id"]))).await;
    assert_eq!(read["name"], "b");
}

#[tokio::test]
async fn a_change_that_began_before_the_system_was_closed_changes_nothing_after() {
    let (api, mode) = failing();
    mode.store(IS_CLOSED_FIRST, Ordering::SeqCst);
    let fault = api.refused(503, Method::POST, "/bridges", json!({"name": "late"})).await;
    assert!(text(&fault["message"]).contains("READONLY"), "{fault}");
    assert_eq!(api.get("/system_state").await["availability"], "READONLY");
    assert_eq!(api.get("/bridges").await, json!([]));
}
