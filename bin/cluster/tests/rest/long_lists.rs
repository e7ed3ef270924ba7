//! Lists of many objects.

use std::time::Instant;

use mn_ids::{BridgeId, Object, PortId};
use mn_nsdb::{Op, Transaction};
use mn_topology::{Port, PortKind};
use serde_json::json;

use crate::api::{Api, len, text};

fn port(bridge: BridgeId) -> Port {
    Port::new(PortId::random(), PortKind::Bridge { bridge_id: bridge, vlan_id: 0 })
}

#[tokio::test]
async fn ten_thousand_ports_are_listed_whole() {
    let api = Api::new();
    let bridge = api.device("bridges", "b").await;
    let id: BridgeId = text(&bridge["id"]).parse().unwrap();
    for _ in 0..20 {
        let make = |port: Port| Op::Create {
            key: port.key(),
            json: serde_json::to_string(&port).unwrap(),
            references: port.references(),
        };
        let ops = (0..500).map(|_| make(port(id))).collect();
        api.store.transact(Transaction { ops }).await.unwrap();
    }
    let begun = Instant::now();
    let ports = api.get(text(&bridge["ports"])).await;
    eprintln!("10,000 ports listed and parsed in {:?}", begun.elapsed());
    assert_eq!(len(&ports), 10_000);
    let mut ids: Vec<_> = ports.as_array().unwrap().iter().map(|port| text(&port["id"])).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10_000);
    // Every field is there, null where it has no value.
    assert_eq!((&ports[0]["peerId"], &ports[0]["active"]), (&json!(null), &json!(false)));
}
