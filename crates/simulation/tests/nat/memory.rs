//! Which remembered translations hold, and what flows depend on.

use mn_flow::{DropCause, Tag};
use mn_simulation::nat::{NatBinding, NatOrigin, Way};
use mn_simulation::walk::{NatTold, Step};
use mn_simulation::{Effect, Entry};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Sent, named, rule};
use mn_topology::AnyObject;

use crate::stories::{addr, world};
use crate::traffic::{Ends, back, only};

const PRE: &str = "rev-snat to 203.0.113.2/32";
const POST: &str = "snat 203.0.113.2@1000-1999 out-port edge.street";

#[track_caller]
fn made(sent: &Sent<'_>) -> NatBinding {
    let made = |effect: &Effect| match effect {
        Effect::Translate(binding) => Some(*binding),
        _ => None,
    };
    sent.buffers.effects.iter().find_map(made).expect("a translation is made")
}

/// A lab with one connection through it, the binding, and the answer's frame.
fn connected() -> (Lab, NatBinding, Built) {
    let mut lab = world(PRE, POST);
    let sent = lab.send("vm1 > out tcp 80");
    let (binding, arrived) = (made(&sent), only(&sent));
    let answer = Ends::of(&arrived.headers).answer().packet(64);
    let built = back(&lab, &arrived, &answer).built;
    lab.tables.translations.insert(binding);
    (lab, binding, built)
}

fn answer<'a>(lab: &'a Lab, built: &Built) -> Sent<'a> {
    lab.inject("the answer", Entry::Ingress(built.port), built)
}

#[test]
fn both_directions_carry_the_translation_s_tag() {
    let (lab, binding, built) = connected();
    lab.send("vm1 > out tcp 80").tagged(Tag::Nat(binding.tag()));
    answer(&lab, &built).arrives("vm1", 1).tagged(Tag::Nat(binding.tag()));
}

#[test]
fn an_answer_nothing_is_remembered_of_depends_on_what_may_come_late() {
    let (mut lab, binding, built) = connected();
    lab.tables.translations.all.clear();
    let early = answer(&lab, &built);
    early.drops(DropCause::NoRoute).tagged(Tag::Nat(binding.answer_tag()));
    let told = |step: &Step| matches!(step, Step::Nat { told: NatTold::Unknown, .. });
    assert!(early.walk.steps.iter().any(told));
    // Another connection's state does not touch it.
    let mut other = binding;
    other.key.tuple.dst_port = 81;
    assert!(!early.buffers.tags.contains(&Tag::Nat(other.answer_tag())));
    assert_ne!(binding.key.tag(Way::Forward), binding.key.tag(Way::Back));
}

fn set_rules(lab: &mut Lab, chain: &str, rules: &[(&str, &str)]) -> Vec<Tag> {
    let Some(AnyObject::Chain(mut object)) =
        lab.objects.get(&named::<mn_ids::Chain>(chain).into()).cloned()
    else {
        panic!("{chain} is no chain")
    };
    object.rules = rules.iter().map(|(id, text)| rule::rule(named(id), text)).collect();
    lab.put(object)
}

#[test]
fn a_translation_whose_rule_is_gone_is_not_used() {
    let touched = |tags: &[Tag], sent: &[Tag]| {
        tags.iter().any(|tag| sent.iter().any(|read| tag.touches(read)))
    };
    // The rule is deleted; it says something else; another rule has its place.
    let changes: [&[(&str, &str)]; 3] = [
        &[],
        &[("post:0", "snat 203.0.113.2@2000-2999 out-port edge.street")],
        &[("another", POST)],
    ];
    for rules in changes {
        let (mut lab, binding, built) = connected();
        let before = answer(&lab, &built).buffers.tags;
        let tags = set_rules(&mut lab, "post", rules);
        assert!(touched(&tags, &before), "{rules:?}: the answer's flow goes");
        answer(&lab, &built).drops(DropCause::NoRoute);
        let sent = lab.send("vm1 > out tcp 80");
        let src = Ends::of(&only(&sent).headers);
        if rules.is_empty() {
            assert_eq!(src.src, addr("10.0.1.5"));
        } else {
            let new = made(&sent);
            assert!((new.by, new.to) != (binding.by, binding.to), "{new:?}");
            assert_eq!(src.src_port, new.to.port);
        }
    }
}

#[test]
fn a_device_s_translations_are_its_own() {
    let (mut lab, binding, built) = connected();
    let mut other = binding;
    other.key.device = mn_topology::DeviceId::Router(named("other"));
    lab.tables.translations.all = vec![other];
    answer(&lab, &built).drops(DropCause::NoRoute);
    assert_eq!(made(&lab.send("vm1 > out tcp 80")).key, binding.key);
}

#[test]
fn an_answer_waits_for_the_chain_that_its_translation_is_of() {
    let (mut lab, binding, built) = connected();
    let mut elsewhere = binding;
    let chain = mn_ids::Id::from_uuid(uuid::Uuid::from_u128(99));
    let rule = binding.by.rule().unwrap();
    elsewhere.by = NatOrigin::Rule { chain, rule };
    lab.tables.translations.all = vec![elsewhere];
    let sent = answer(&lab, &built);
    let wanted = vec![chain.into()];
    assert_eq!(sent.outcome, mn_simulation::Outcome::Load(wanted));
}

#[test]
fn the_walk_tells_what_was_chosen_and_what_was_found() {
    let (lab, binding, built) = connected();
    let told = |sent: &Sent<'_>| -> Vec<NatTold> {
        let told = |step: &Step| if let Step::Nat { told, .. } = step { Some(*told) } else { None };
        sent.walk.steps.iter().filter_map(told).collect()
    };
    let from = binding.key.tuple.end(binding.key.kind);
    assert_eq!(told(&answer(&lab, &built)), [NatTold::Known { from: binding.to, to: from }]);
    assert_eq!(
        told(&lab.send("vm1 > out tcp 80")),
        [NatTold::Known { from, to: binding.to }],
        "no rule of `pre` is about it"
    );
    assert!(matches!(told(&lab.send("vm2 > out tcp 80"))[..], [NatTold::New { .. }]));
    assert_eq!(told(&lab.send("vm2 > out proto 47")), [NatTold::NotTranslatable]);
}
