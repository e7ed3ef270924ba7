//! The mask is all that a verdict read.

use mn_flow::{Expiry, FlowMask, Tag, VirtualAction};
use mn_ids::RuleId;
use mn_simulation::{Effect, Entry, Outcome};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Random, Sent};

use crate::world::{PARTS, Spec, cases, lab};

/// What one flow does with each of its packets.
type Verdict = (Vec<VirtualAction>, Option<(mn_flow::DropCause, Option<RuleId>)>, Expiry);

fn verdict(sent: &Sent<'_>) -> Option<(Verdict, FlowMask)> {
    let Outcome::Decided(decision) = sent.outcome else { return None };
    let actions = sent.buffers.actions.clone();
    Some(((actions, decision.drop, decision.expiry), decision.mask))
}

fn send<'a>(lab: &'a Lab, built: &Built) -> Sent<'a> {
    lab.inject("a random packet", Entry::Ingress(built.port), built)
}

#[test]
fn packets_that_agree_on_the_mask_have_one_verdict() {
    let (mut flows, mut twins, mut delivered, mut neighbors) = (0, 0, 0, 0);
    for seed in 0..cases(400) {
        let mut draw = Random::new(seed);
        let mut lab = lab(&mut draw);
        if draw.one_in(3) {
            lab = lab.forget();
        }
        let stations: Vec<_> = lab.stations.values().map(|station| station.port).collect();
        for _ in 0..25 {
            let port = draw.pick(&stations);
            let spec = Spec::random(&mut draw);
            let Some(built) = spec.build(port) else { continue };
            let sent = send(&lab, &built);
            let Some((expected, mask)) = verdict(&sent) else { continue };
            if expected.2 == Expiry::None {
                continue;
            }
            flows += 1;
            delivered += u64::from(expected.1.is_none());
            let by_neighbor = |tag: &Tag| matches!(tag, Tag::BridgeNeighbor { .. });
            neighbors += u64::from(sent.buffers.tags.iter().any(by_neighbor));
            for _ in 0..8 {
                let Some(twin) = twin(&spec, &built, mask, &mut draw) else { continue };
                if twin.key == built.key {
                    continue;
                }
                twins += 1;
                let other = send(&lab, &twin);
                let got = verdict(&other).map(|(verdict, _)| verdict);
                assert_eq!(
                    got.as_ref(),
                    Some(&expected),
                    "seed {seed}: {mask:?}\n{:#?}\n{:#?}\n{}\n{:#?}\nand\n{:#?}",
                    built.key,
                    twin.key,
                    lab.text(),
                    sent.walk,
                    other.walk,
                );
                let emits = |effect: &Effect| matches!(effect, Effect::Emit { .. });
                assert!(!other.buffers.effects.iter().any(emits), "seed {seed}");
            }
        }
    }
    // The law is worth something only if it was tried.
    assert!(neighbors > 30, "{neighbors} flows of ARP and neighbour discovery");
    assert!(flows > 1000 && delivered > 300 && twins > 4000, "{flows} {delivered} {twins}");
}

/// Another packet that falls into the same flow: parts are changed one after the other as long as
/// the mask does not see it.
fn twin(spec: &Spec, built: &Built, mask: FlowMask, draw: &mut Random) -> Option<Built> {
    let seen = mask.apply(&built.key);
    let mut twin = spec.clone();
    for _ in 0..2 * PARTS {
        let mut changed = twin.clone();
        changed.change(draw.below(PARTS), draw);
        let fits = changed.build(built.port).is_some_and(|it| mask.apply(&it.key) == seen);
        if fits {
            twin = changed;
        }
    }
    twin.build(built.port)
}
