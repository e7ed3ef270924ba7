//! Sequences.

use std::collections::BTreeSet;

use super::Fixture;
use super::scene::Scene;

pub async fn numbers_are_never_given_twice(fixture: impl Fixture) {
    const TAKERS: usize = 8;
    const EACH: usize = 25;
    let scene = Scene::of(&fixture).await;
    assert_eq!(scene.store.next_number("other").await.expect("a number"), 1);
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..TAKERS {
        let store = fixture.store().await;
        takers.spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..EACH {
                taken.push(store.next_number("tunnel_key").await.expect("a number"));
            }
            assert!(taken.is_sorted(), "later is greater");
            taken
        });
    }
    let all: BTreeSet<u64> = takers.join_all().await.into_iter().flatten().collect();
    assert_eq!(all, (1..=(TAKERS * EACH) as u64).collect());
    assert_eq!(scene.store.next_number("other").await.expect("a number"), 2);
}
