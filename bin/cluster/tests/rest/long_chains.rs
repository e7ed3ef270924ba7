//! Chains that are too long for one document.

use std::time::{Duration, Instant};

use axum::http::Method;
use mn_ids::{Class, RuleId};
use mn_nsdb::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::api::{Api, len, text};

async fn add(api: &Api, chain: &Value, position: usize) -> String {
    let id = RuleId::random().to_string();
    let rule = json!({"id": id, "type": "drop", "position": position, "nwProto": 6,
        "nwSrcAddress": "10.0.0.0", "nwSrcLength": 8, "tpDst": {"start": 80, "end": 80}});
    let reply = api.call(Method::POST, text(&chain["rules"]), Some(&rule)).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    id
}

/// The identifiers of a chain's rules; their positions must be those in the list.
async fn listed(api: &Api, chain: &Value) -> Vec<String> {
    let rules = api.get(text(&chain["rules"])).await;
    let rules = rules.as_array().unwrap();
    for (rule, position) in rules.iter().zip(1..) {
        assert_eq!(rule["position"], position);
    }
    rules.iter().map(|rule| text(&rule["id"]).to_owned()).collect()
}

async fn segments(api: &Api) -> usize {
    api.store.list(Class::ChainSegment).await.unwrap().len()
}

#[test]
fn rules_of_a_long_chain_stand_where_they_are_put() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..10_u8), 200..300);
    let config = Config { cases: 4, failure_persistence: None, ..Config::default() };
    let done = TestRunner::new(config).run(&edits, |edits| {
        runtime.block_on(async {
            let api = Api::new();
            let chain = api.create("/chains", json!({"name": "long"})).await;
            let mut want: Vec<String> = Vec::new();
            for (index, sort) in edits {
                let place = match sort {
                    0 | 1 => want.len(),
                    2 | 3 => 0,
                    4 if !want.is_empty() => {
                        let id = want.remove(index.index(want.len()));
                        api.delete(&format!("/rules/{id}")).await;
                        continue;
                    }
                    _ => index.index(want.len() + 1),
                };
                want.insert(place, add(&api, &chain, place + 1).await);
            }
            prop_assert_eq!(&listed(&api, &chain).await, &want);
            prop_assert!(segments(&api).await > 0, "it was not long");
            for index in [0, want.len() / 2, want.len() - 1] {
                let rule = api.get(&format!("/rules/{}", want[index])).await;
                prop_assert_eq!(&rule["position"], index + 1);
                prop_assert_eq!(&rule["chainId"], &chain["id"]);
            }
            let beyond = json!({"type": "drop", "position": want.len() + 2});
            api.refused_field(400, text(&chain["rules"]), beyond, "position").await;
            let again = json!({"id": want[want.len() - 1], "type": "drop"});
            api.refused_field(409, text(&chain["rules"]), again, "id").await;
            // A node that was started later finds them too.
            let other = api.restarted();
            for id in &want {
                prop_assert_eq!(
                    other.status(Method::DELETE, &format!("/rules/{id}"), None).await,
                    204
                );
            }
            prop_assert_eq!(
                (len(&api.get(text(&chain["rules"])).await), segments(&api).await),
                (0, 0)
            );
            Ok(())
        })
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

#[tokio::test]
async fn jumps_of_a_long_chain_go_with_the_chain_they_lead_to_and_close_no_loop() {
    let api = Api::new();
    let long = api.create("/chains", json!({"name": "long"})).await;
    let target = api.create("/chains", json!({"name": "target"})).await;
    for _ in 0..300 {
        add(&api, &long, 1).await;
    }
    let jump = |to: &Value, position: u32| json!({"type": "jump", "position": position, "jumpChainId": to["id"]});
    api.create(text(&long["rules"]), jump(&target, 290)).await;
    let back = api.call(Method::POST, text(&target["rules"]), Some(&jump(&long, 1))).await;
    assert_eq!(back.status, 400, "{}", back.body);
    assert_eq!(len(&api.get(text(&long["rules"])).await), 301);
    let middle = listed(&api, &long).await[295].clone();
    api.delete(text(&target["uri"])).await;
    assert_eq!(len(&api.get(text(&long["rules"])).await), 300);
    // The places after the jump are one less, also in the index of this node.
    assert_eq!(api.get(&format!("/rules/{middle}")).await["position"], 295);
    add(&api, &long, 295).await;
    assert_eq!(api.get(&format!("/rules/{middle}")).await["position"], 296);

    api.delete(text(&long["uri"])).await;
    assert_eq!(segments(&api).await, 0);
    assert_eq!(api.status(Method::GET, &format!("/rules/{middle}"), None).await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_chain_is_never_seen_half_while_two_nodes_write_it() {
    let api = Api::over(Engine::memory(), mn_cluster::rest::Settings::default());
    let chain = api.create("/chains", json!({"name": "long"})).await;
    for _ in 0..200 {
        add(&api, &chain, 1).await;
    }
    let mut writers = Vec::new();
    for node in [api.clone(), api.restarted()] {
        let chain = chain.clone();
        writers.push(tokio::spawn(async move {
            let mut added = Vec::new();
            for _ in 0..100 {
                // Others write too: now and then a request is overtaken for good, and asked again.
                let id = RuleId::random().to_string();
                let rule = json!({"id": id, "type": "accept", "position": 100});
                loop {
                    let reply = node.call(Method::POST, text(&chain["rules"]), Some(&rule)).await;
                    match reply.status.as_u16() {
                        201 => break,
                        409 => {}
                        other => panic!("{other} {}", reply.body),
                    }
                }
                added.push(id);
            }
            added
        }));
    }
    let mut seen = 200;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let now = listed(&api, &chain).await.len();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    let there = listed(&api, &chain).await;
    assert_eq!(there.len(), 400);
    assert!(all.iter().all(|id| there.contains(id)));
}

/// Also prints how long it takes; `MIDONET_LONG=1` makes it 20,000 rules on a disk.
#[tokio::test]
async fn a_chain_of_thousands_of_rules_is_written_and_read_at_a_steady_speed() {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    let rules = if long { 20_000 } else { 1_200 };
    let directory = tempfile::tempdir().unwrap();
    let api = if long {
        let engine = mn_nsdb_embedded::open(&directory.path().join("nsdb")).unwrap();
        Api::over(engine, mn_cluster::rest::Settings::default())
    } else {
        Api::new()
    };
    let chain = api.create("/chains", json!({"name": "long"})).await;
    let mut quarters = Vec::new();
    let (mut middle, mut there) = (String::new(), 0);
    for _ in 0..4 {
        // The fastest: what else the machine does is not measured.
        let mut fastest = Duration::MAX;
        for _ in 0..rules / 4 {
            let started = Instant::now();
            middle = add(&api, &chain, there / 2 + 1).await;
            there += 1;
            fastest = fastest.min(started.elapsed());
        }
        quarters.push(fastest);
    }
    let read = Instant::now();
    assert_eq!(len(&api.get(text(&chain["rules"])).await), rules);
    let read = read.elapsed();
    let one = Instant::now();
    api.get(&format!("/rules/{middle}")).await;
    eprintln!(
        "{rules} rules: fastest of each quarter {quarters:?}, list {read:?}, one {:?}",
        one.elapsed()
    );
    // Not each slower than the one before: writing one rule does not write them all.
    assert!(quarters[3] < quarters[1] * 3, "{quarters:?}");
    for stored in api.store.list(Class::ChainSegment).await.unwrap() {
        assert!(stored.json.len() < 128 * 1024, "{}", stored.json.len());
    }
}
