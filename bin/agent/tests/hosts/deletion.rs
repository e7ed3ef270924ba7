//! A host that is deleted.

use mn_ids::ObjectKey;
use mn_nsdb::{Op, Revision, Store, TableId, TableKind, Transaction, TxError};
use mn_topology::AnyObject;

use crate::lab::{Lab, until};

impl Lab {
    async fn delete(&self, key: ObjectKey) -> Result<Revision, TxError> {
        let op = Op::Delete { key, expected: None };
        self.store.transact(Transaction { ops: vec![op] }).await
    }

    /// Whether the state database has anything of this host in the table of places.
    async fn has_place(&self, port: mn_ids::PortId) -> bool {
        let entries = self.store.entries(TableId::global(TableKind::Location)).await;
        entries.expect("a store").iter().any(|entry| entry.key == port.to_string())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_bindings_cannot_be_deleted_and_one_without_leaves_no_place() {
    let mut lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, port) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    let host = lab.hosts[1].id;
    let refused = lab.delete(host.into()).await;
    assert!(
        matches!(&refused, Err(TxError::InUse { user, .. }) if *user == port.into()),
        "{refused:?}"
    );
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 1).await, "nothing was half deleted");

    lab.change(port.into(), |object| {
        if let AnyObject::Port(port) = object {
            (port.host_id, port.interface_name) = (None, None);
        }
    })
    .await;
    until("its place is cleared", || async { !lab.has_place(port).await }).await;
    lab.stop_agent(1).await;
    lab.delete(host.into()).await.expect("nothing refers to it");
    until("it is no peer any more", || async { lab.status(0).await.peers == 0 }).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_deleted_while_its_agent_lives_registers_again_and_serves_ports() {
    let lab = Lab::new(1).await;
    let bridge = lab.bridge().await;
    let host = lab.hosts[0].id;
    until("it is registered", || async { lab.status(0).await.epoch > 0 }).await;
    lab.delete(host.into()).await.expect("nothing is bound to it");
    until("it is there again", || async {
        lab.store.get(host.into()).await.expect("a store").is_some()
    })
    .await;
    until("it has a session", || async {
        let sessions = lab.store.sessions().await.expect("a store");
        sessions.iter().any(|session| session.host == host)
    })
    .await;
    lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    lab.stop().await;
}
