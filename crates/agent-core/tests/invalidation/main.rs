//! Issue 2 §3: of many live flows, a change removes every one whose verdict it changes, and only
//! flows that read what changed; survivors stay as they are. The oracle decides about every flow
//! anew, before and after.

mod forgetting;
mod world;

use std::collections::BTreeMap;

use mn_agent_core::{FlowTable, NewFlow};
use mn_flow::{Cookie, Expiry, Tag};
use mn_simulation::Buffers;
use mn_time::Instant;
use world::{Dice, Probe, Verdict, World};

struct Live {
    probe: Probe,
    verdict: Verdict,
    tags: Vec<Tag>,
}

/// Enters the flow of a probe; nothing where it waits for a neighbour.
fn enter(
    world: &World,
    probe: Probe,
    table: &mut FlowTable,
    live: &mut BTreeMap<Cookie, Live>,
    buffers: &mut Buffers,
) {
    let (verdict, tags) = world.decide(&probe, buffers);
    let Verdict::Flow { mask, .. } = verdict else { return };
    let flow = NewFlow {
        key: probe.key,
        mask,
        tags: &tags,
        expiry: Expiry::Idle,
        groups: &[],
        follows: None,
    };
    let (cookie, replaced) = table.insert(&flow, Instant::ZERO);
    if let Some(replaced) = replaced {
        live.remove(&replaced.cookie);
    }
    live.insert(cookie, Live { probe, verdict, tags });
}

fn play(seed: u64, routers: u128, flows: usize, changes: usize) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(routers);
    let mut table = FlowTable::new(0, 1, 2 * flows);
    let (mut live, mut buffers) = (BTreeMap::new(), Buffers::default());
    for _ in 0..100 * flows {
        if live.len() < flows {
            enter(&world, world.probe(&mut dice), &mut table, &mut live, &mut buffers);
        }
    }
    assert_eq!(live.len(), flows, "seed {seed}");
    let (mut removed_in_all, mut changed_in_all) = (0, 0);
    for step in 0..changes {
        let (what, tags) = world.change(&mut dice);
        let mut leaving = Vec::new();
        table.invalidate(&tags, &mut leaving);
        let mut gone = Vec::new();
        for flow in leaving {
            let flow = live.remove(&flow.cookie).expect("a flow leaves once");
            let reads = |read: &Tag| tags.iter().any(|tag| tag.touches(read));
            assert!(flow.tags.iter().any(reads), "seed {seed} step {step}, {what}: read none");
            changed_in_all +=
                usize::from(world.decide(&flow.probe, &mut buffers).0 != flow.verdict);
            gone.push(flow.probe);
        }
        removed_in_all += gone.len();
        for (cookie, flow) in &live {
            let (now, _) = world.decide(&flow.probe, &mut buffers);
            assert_eq!(now, flow.verdict, "seed {seed} step {step}, {what}: {:?}", flow.probe.key);
            let Verdict::Flow { mask, .. } = flow.verdict else { continue };
            assert_eq!(table.cookie_of(&flow.probe.key, mask), Some(*cookie));
        }
        for probe in gone {
            enter(&world, probe, &mut table, &mut live, &mut buffers);
        }
        assert_eq!(table.len(), live.len());
    }
    assert!(changed_in_all > 0, "seed {seed}: nothing was tested");
    println!("seed {seed}: {removed_in_all} removed, {changed_in_all} of them had to be");
}

#[test]
fn a_change_removes_every_flow_whose_verdict_it_changes_and_survivors_keep_their_cookies() {
    for seed in 0..4 {
        play(seed, 5, 400, 60);
    }
}

/// The numbers that must be stood; minutes without optimisation.
#[test]
#[ignore = "long: run by the long tests"]
fn ten_thousand_flows_over_fifty_routers_stay_true_through_two_hundred_changes() {
    play(1, 50, 10_000, 200);
}
