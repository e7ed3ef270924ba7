//! What a change touches contains every flow whose verdict it changes.

use mn_flow::{DropCause, Expiry, Tag, VirtualAction};
use mn_ids::{Class, ObjectKey, RuleId};
use mn_packet::IpPrefix;
use mn_simulation::{Entry, Outcome};
use mn_testkit::packet::Built;
use mn_testkit::{Lab, Random, mac, named};
use mn_topology::{AnyObject, IfAddr, PortKind, Route, RouteTarget};

use crate::world::{CHAINS, MIRRORS, POLICIES, Spec, cases, lab, mirror, policy, rules};

/// What one flow does, and what it depends on.
struct Flow {
    built: Built,
    verdict: Verdict,
    tags: Vec<Tag>,
}

type Verdict = (Vec<VirtualAction>, Option<(DropCause, Option<RuleId>)>, mn_flow::FlowMask);

fn flow(lab: &Lab, built: &Built) -> Option<Flow> {
    let sent = lab.inject("a random packet", Entry::Ingress(built.port), built);
    let Outcome::Decided(decision) = sent.outcome else { return None };
    if decision.expiry == Expiry::None {
        return None;
    }
    Some(Flow {
        built: built.clone(),
        verdict: (sent.buffers.actions, decision.drop, decision.mask),
        tags: sent.buffers.tags,
    })
}

#[test]
fn every_flow_that_a_change_changes_is_touched_by_it() {
    let (mut changed, mut touched, mut kept, mut heard) = (0_u64, 0_u64, 0_u64, 0_u64);
    for seed in 0..cases(300) {
        let mut draw = Random::new(seed ^ 0x5eed);
        let mut lab = lab(&mut draw);
        for _ in 0..6 {
            let flows = flows(&lab, &mut draw);
            let before = lab.clone();
            let (what, tags) = change(&mut lab, &mut draw);
            for was in flows {
                let is = flow(&lab, &was.built);
                let differs = is.is_none_or(|is| !is_kept(&was.verdict, &is.verdict));
                let hit = tags.iter().any(|tag| was.tags.iter().any(|read| tag.touches(read)));
                changed += u64::from(differs);
                let by_neighbor = |tag: &Tag| matches!(tag, Tag::BridgeNeighbor { .. });
                heard += u64::from(differs && tags.iter().any(by_neighbor));
                touched += u64::from(hit);
                kept += u64::from(!hit);
                assert!(
                    hit || !differs,
                    "seed {seed}: {what} touches {tags:?}, not this flow:\n{:#?}\nwas {:?}\nis {:?}\ntags {:?}\n{}",
                    was.built.key,
                    was.verdict,
                    flow(&lab, &was.built).map(|is| is.verdict),
                    was.tags,
                    before.text(),
                );
            }
        }
    }
    // The law is worth something only if changes changed flows, and left others alone.
    assert!(changed > 1000 && kept > 4 * touched, "{changed} {touched} {kept}");
    assert!(heard > 2, "{heard} flows changed because an address moved");
}

#[test]
fn a_snapshot_changed_step_by_step_is_the_one_loaded_at_once() {
    let mut delivered = 0;
    for seed in 0..cases(100) {
        let mut draw = Random::new(seed ^ 0xabc);
        let mut lab = lab(&mut draw);
        let mut story = Vec::new();
        for _ in 0..8 {
            story.push(change(&mut lab, &mut draw).0);
        }
        let mut fresh = lab.clone();
        fresh.snapshot = lab.loaded_at_once();
        let stations: Vec<_> = lab.stations.values().map(|station| station.port).collect();
        for _ in 0..40 {
            let Some(built) = Spec::random(&mut draw).build(draw.pick(&stations)) else { continue };
            let entry = Entry::Ingress(built.port);
            let (a, b) = (lab.inject("it", entry, &built), fresh.inject("it", entry, &built));
            delivered += a.arrivals().len();
            assert_eq!(
                (&a.outcome, &a.buffers.actions, &a.buffers.effects, &a.buffers.tags),
                (&b.outcome, &b.buffers.actions, &b.buffers.effects, &b.buffers.tags),
                "seed {seed}: {story:#?}\n{}\n{:#?}\nat once\n{:#?}",
                lab.text(),
                a.walk,
                b.walk,
            );
        }
    }
    assert!(delivered > 500, "{delivered}");
}

/// Whether the flow as it was is still right for all its packets: it does the same, and saw all that
/// the verdict now reads.
fn is_kept(was: &Verdict, is: &Verdict) -> bool {
    (&was.0, was.1) == (&is.0, is.1) && was.2.covers(is.2)
}

fn flows(lab: &Lab, draw: &mut Random) -> Vec<Flow> {
    let stations: Vec<_> = lab.stations.values().map(|station| station.port).collect();
    let mut flows = Vec::new();
    for _ in 0..40 {
        let built = Spec::random(draw).build(draw.pick(&stations));
        flows.extend(built.and_then(|built| flow(lab, &built)));
    }
    flows
}

/// Makes one random change; says what, and what it touches.
fn change(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    match draw.below(13) {
        0..4 => change_port(lab, draw),
        4 => change_device(lab, draw),
        5 => change_chain(lab, draw),
        6 => change_group(lab, draw),
        7 | 8 => change_route(lab, draw),
        9 => change_mirror(lab, draw),
        10 => change_policy(lab, draw),
        _ => change_learned(lab, draw),
    }
}

fn pick(lab: &Lab, class: Class, draw: &mut Random) -> Option<(ObjectKey, AnyObject)> {
    let all: Vec<_> = lab.of_class(class).collect();
    if all.is_empty() {
        return None;
    }
    let (key, object) = draw.pick(&all);
    Some((*key, object.clone()))
}

fn change_port(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let Some((key, AnyObject::Port(mut port))) = pick(lab, Class::Port, draw) else {
        unreachable!("labs have ports")
    };
    let chain = draw.one_in(2).then(|| named(draw.pick(&CHAINS)));
    match draw.below(13) {
        12 => port.qos_policy_id = held(draw),
        10 => port.pre_out_filter_mirror_ids = hung(draw),
        11 => port.inbound_mirror_ids = hung(draw),
        0 | 1 => port.admin_state_up = !port.admin_state_up,
        2 => port.inbound_filter_id = chain,
        3 => port.outbound_filter_id = chain,
        4 => port.host_id = if port.host_id.is_some() { None } else { Some(named("host")) },
        5 => {
            let mut tags = Vec::new();
            // Both ends of a link name each other.
            if let Some(far) = port.peer_id.take()
                && let Some(AnyObject::Port(mut far)) = lab.objects.get(&far.into()).cloned()
            {
                far.peer_id = None;
                tags = lab.put(far);
            }
            tags.extend(lab.put(port));
            return (format!("{key} unlinked"), tags);
        }
        6 => return (format!("{key} deleted"), lab.delete(key)),
        7 => {
            port.id = mn_ids::PortId::from_uuid(uuid::Uuid::from_u128(u128::from(draw.number())));
            port.peer_id = None;
            port.host_id = Some(named("host"));
            port.interface_name = Some("new".to_owned());
            return (format!("a port like {key} added"), lab.put(port));
        }
        _ => match &mut port.kind {
            PortKind::Bridge { vlan_id, .. } if port.peer_id.is_some() => {
                *vlan_id = draw.pick(&[0, 7, 8]);
            }
            PortKind::Bridge { .. } => port.admin_state_up = true,
            PortKind::Router(kind) if draw.one_in(2) => kind.mac = mac("02::77"),
            PortKind::Router(kind) => {
                let addr = draw.pick(&["10.0.2.8", "10.0.1.6", "203.0.113.5"]).parse().unwrap();
                kind.addresses = vec![IfAddr { addr, len: 24 }];
            }
        },
    }
    (format!("{key} changed"), lab.put(port))
}

fn change_device(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let chain = draw.one_in(2).then(|| named(draw.pick(&CHAINS)));
    let class = draw.pick(&[Class::Bridge, Class::Router]);
    let what = draw.below(7);
    let Some((key, object)) = pick(lab, class, draw) else { unreachable!("labs have devices") };
    let tags = match object {
        AnyObject::Bridge(mut bridge) => {
            match what {
                0 => bridge.admin_state_up = !bridge.admin_state_up,
                1 => bridge.inbound_filter_id = chain,
                2 => bridge.outbound_filter_id = chain,
                3 => bridge.inbound_mirror_ids = hung(draw),
                4 => bridge.outbound_mirror_ids = hung(draw),
                5 => bridge.qos_policy_id = held(draw),
                _ => bridge.name = Some("other".to_owned()),
            }
            lab.put(bridge)
        }
        AnyObject::Router(mut router) => {
            match what {
                0 => router.admin_state_up = !router.admin_state_up,
                1 => router.inbound_filter_id = chain,
                2 => router.outbound_filter_id = chain,
                3 => router.inbound_mirror_ids = hung(draw),
                4 => router.outbound_mirror_ids = hung(draw),
                _ => router.as_number += 1,
            }
            lab.put(router)
        }
        other => unreachable!("{other:?} is no device"),
    };
    (format!("{key} changed"), tags)
}

fn change_chain(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let index = draw.below(CHAINS.len());
    let text = format!("chain {}\n{}", CHAINS[index], rules(draw, index));
    let chain = Lab::read(&text).objects.into_values().next().expect("the text has a chain");
    let tags = lab.put(chain);
    (format!("{text} written"), tags)
}

fn change_mirror(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let name = draw.pick(&MIRRORS);
    let key: ObjectKey = named::<mn_ids::Mirror>(name).into();
    if draw.one_in(3) {
        return (format!("{key} deleted"), lab.delete(key));
    }
    let text = mirror(draw, name);
    let mirror = Lab::read(&text).objects.into_values().next().expect("the text has a mirror");
    let tags = lab.put(mirror);
    (format!("{text} written"), tags)
}

fn change_policy(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let name = draw.pick(&POLICIES);
    let key: ObjectKey = named::<mn_ids::QosPolicy>(name).into();
    if draw.one_in(3) {
        return (format!("{key} deleted"), lab.delete(key));
    }
    let text = policy(draw, name);
    let policy = Lab::read(&text).objects.into_values().next().expect("the text has a policy");
    let tags = lab.put(policy);
    (format!("{text} written"), tags)
}

/// One of the policies, or none.
fn held(draw: &mut Random) -> Option<mn_ids::QosPolicyId> {
    draw.one_in(2).then(|| named(draw.pick(&POLICIES)))
}

/// Some of the mirrors, or none.
fn hung(draw: &mut Random) -> Vec<mn_ids::MirrorId> {
    MIRRORS.iter().filter(|_| draw.one_in(3)).map(|name| named(name)).collect()
}

fn change_group(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let names = ["vm1", "vm2", "vm4", "edge.up"];
    if draw.one_in(2) {
        let Some((key, AnyObject::PortGroup(mut group))) = pick(lab, Class::PortGroup, draw) else {
            unreachable!("labs have port groups")
        };
        group.port_ids = names.iter().filter(|_| draw.one_in(2)).map(|name| named(name)).collect();
        return (format!("{key} changed"), lab.put(group));
    }
    let Some((key, AnyObject::IpAddrGroup(mut group))) = pick(lab, Class::IpAddrGroup, draw) else {
        unreachable!("labs have address groups")
    };
    let addrs = ["10.0.1.5", "10.0.1.6", "10.0.2.7", "fd01::6"];
    group.addrs =
        addrs.iter().filter(|_| draw.one_in(2)).map(|addr| addr.parse().unwrap()).collect();
    (format!("{key} changed"), lab.put(group))
}

fn change_route(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let Some((key, AnyObject::Route(mut route))) = pick(lab, Class::Route, draw) else {
        unreachable!("labs have routes")
    };
    let dst: IpPrefix = draw
        .pick(&[
            "10.0.2.0/24",
            "10.0.2.7/32",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "203.0.113.0/25",
            "fd02::/48",
        ])
        .parse()
        .unwrap();
    match draw.below(5) {
        0 => return (format!("{key} deleted"), lab.delete(key)),
        1 => route.weight = draw.below(8) as u32,
        2 => route.target = draw.pick(&[RouteTarget::Blackhole, RouteTarget::Reject]),
        3 => route.attributes = Some("a note".to_owned()),
        _ => {
            let id = mn_ids::RouteId::from_uuid(uuid::Uuid::from_u128(u128::from(draw.number())));
            let src = if dst.network().is_ipv4() { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 };
            route = Route { id, dst, src, ..route };
        }
    }
    (format!("{route:?} written"), lab.put(route))
}

/// A MAC moves or is forgotten, a neighbour changes or is forgotten: who keeps the tables raises
/// the tags.
fn change_learned(lab: &mut Lab, draw: &mut Random) -> (String, Vec<Tag>) {
    let macs: Vec<_> = lab.tables.macs.keys().copied().collect();
    let neighbors: Vec<_> = lab.tables.neighbors.keys().copied().collect();
    let stations: Vec<_> = lab.tables.bridge_neighbors.keys().copied().collect();
    if draw.one_in(2) && !stations.is_empty() {
        let (bridge, addr) = draw.pick(&stations);
        if draw.one_in(2) {
            lab.tables.bridge_neighbors.remove(&(bridge, addr));
        } else {
            lab.tables.bridge_neighbors.insert((bridge, addr), mac("02::55"));
        }
        return (format!("{addr} moved"), vec![Tag::BridgeNeighbor { bridge, addr }]);
    }
    if draw.one_in(2) && !macs.is_empty() {
        let (bridge, vlan, mac) = draw.pick(&macs);
        if draw.one_in(2) {
            lab.tables.macs.remove(&(bridge, vlan, mac));
        } else {
            lab.tables.macs.insert((bridge, vlan, mac), named(draw.pick(&["vm1", "vm3", "vm5"])));
        }
        return (format!("{mac} moved"), vec![Tag::Mac { bridge, vlan, mac }]);
    }
    let Some((router, addr)) = (!neighbors.is_empty()).then(|| draw.pick(&neighbors)) else {
        return ("nothing".to_owned(), Vec::new());
    };
    lab.tables.neighbors.insert((router, addr), mac("02::55"));
    (format!("{addr} has another MAC"), vec![Tag::Neighbor { router, addr }])
}
