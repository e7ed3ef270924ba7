//! The cluster process by itself: what was drawn survives its death.

use mn_testbed::{Lab, Outcome, Plan};

#[test]
fn what_was_drawn_before_kill_9_of_the_cluster_is_there_after_it() -> Outcome {
    let mut lab = Lab::start(&Plan { hosts: 0, ..Plan::new("cluster-killed") })?;
    let mut drawn = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            drawn.push(lab.control.bridge(&format!("bridge-{round}-{number}"))?);
        }
        lab.process("cluster")?.kill();
        lab.start_cluster()?;
        let bridges = lab.control.rest().get("/bridges")?;
        let ids: Vec<&str> =
            bridges.as_array().into_iter().flatten().filter_map(|b| b["id"].as_str()).collect();
        let missing = drawn.iter().filter(|id| !ids.contains(&id.as_str())).count();
        assert_eq!((missing, ids.len()), (0, drawn.len()), "after round {round}");
    }
    Ok(())
}

#[test]
fn a_cluster_that_is_asked_to_stop_ends_by_itself() -> Outcome {
    let mut lab = Lab::start(&Plan { hosts: 0, ..Plan::new("cluster-stopped") })?;
    assert!(lab.process("cluster")?.stop(), "it had to be killed");
    Ok(())
}
