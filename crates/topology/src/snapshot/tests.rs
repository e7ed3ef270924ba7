use std::net::IpAddr;

use mn_flow::Tag;
use mn_ids::{BridgeId, Kind, Object, PortId, RouteId, RouterId};
use mn_packet::{EtherType, IpPrefix, Mac, to_v6};
use uuid::Uuid;

use super::*;
use crate::{
    AnyObject, Bridge, Chain, ChainSegment, IfAddr, Port, PortKind, RaMode, Route, RouteTarget,
    Router, RouterPort,
};

fn id<K: Kind>(number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn bridge(number: u128) -> Bridge {
    Bridge {
        id: id(number),
        tenant_id: None,
        name: None,
        admin_state_up: true,
        inbound_filter_id: None,
        outbound_filter_id: None,
        inbound_mirror_ids: Vec::new(),
        outbound_mirror_ids: Vec::new(),
        qos_policy_id: None,
    }
}

fn router(number: u128) -> Router {
    Router {
        id: id(number),
        tenant_id: None,
        name: None,
        admin_state_up: true,
        inbound_filter_id: None,
        outbound_filter_id: None,
        load_balancer_id: None,
        inbound_mirror_ids: Vec::new(),
        outbound_mirror_ids: Vec::new(),
        as_number: 0,
        ecmp: crate::Ecmp::Flow,
    }
}

fn port(number: u128, kind: PortKind, peer: Option<u128>) -> Port {
    Port { peer_id: peer.map(id), ..Port::new(id(number), kind) }
}

fn bridge_port(number: u128, bridge: u128, peer: Option<u128>) -> Port {
    port(number, PortKind::Bridge { bridge_id: id(bridge), vlan_id: 0 }, peer)
}

const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xa1]);

fn router_port(number: u128, router: u128, addr: [u8; 4], peer: Option<u128>) -> Port {
    let kind = PortKind::Router(RouterPort {
        router_id: id(router),
        mac: ROUTER_MAC,
        addresses: vec![IfAddr { addr: IpAddr::from(addr), len: 24 }],
        ra_mode: RaMode::Off,
        ra_prefixes: Vec::new(),
        ra_interval: None,
    });
    port(number, kind, peer)
}

fn route(number: u128, router: u128, dst: &str) -> Route {
    Route {
        id: id(number),
        router_id: id(router),
        src: IpPrefix::ANY_V4,
        dst: dst.parse().unwrap(),
        target: RouteTarget::Blackhole,
        weight: 0,
        attributes: None,
        learned: false,
        path: None,
    }
}

fn change(object: impl Into<AnyObject>) -> (ObjectKey, Option<AnyObject>) {
    let object = object.into();
    (object.key(), Some(object))
}

fn deletion(object: &impl Object) -> (ObjectKey, Option<AnyObject>) {
    (object.key(), None)
}

/// Bridge 1 with the ports 11 (exterior) and 12, linked with port 21 of router 2.
fn loaded() -> Snapshot {
    let selectors =
        [Loaded::of(id::<mn_ids::Bridge>(1).into()), Loaded::of(id::<mn_ids::Router>(2).into())];
    let objects = [
        change(bridge(1)),
        change(bridge_port(11, 1, None)),
        change(bridge_port(12, 1, Some(21))),
        change(router(2)),
        change(router_port(21, 2, [10, 0, 0, 1], Some(12))),
        change(route(31, 2, "10.1.0.0/16")),
    ];
    Snapshot::default().apply(objects, &selectors.concat()).0
}

fn tags(
    snapshot: &Snapshot,
    changes: impl IntoIterator<Item = (ObjectKey, Option<AnyObject>)>,
) -> Vec<Tag> {
    snapshot.apply(changes, &[]).1
}

#[test]
fn a_device_is_loaded_when_all_that_belongs_to_it_is() {
    let one: BridgeId = id(1);
    let selectors = Loaded::of(one.into());
    let mut snapshot = Snapshot::default().apply([change(bridge(1))], &[]).0;
    for selector in selectors {
        assert!(matches!(snapshot.bridge(one), Lookup::NotLoaded), "before {selector:?}");
        snapshot = snapshot.apply([], &[selector]).0;
    }
    assert!(matches!(snapshot.bridge(one), Lookup::Loaded(_)));
}

#[test]
fn absence_is_known_only_of_what_is_watched() {
    let snapshot = Snapshot::default().apply([], &[Loaded::Object(id::<mn_ids::Port>(7).into())]).0;
    assert!(matches!(snapshot.port(id(7)), Lookup::Absent));
    assert!(matches!(snapshot.port(id(8)), Lookup::NotLoaded));

    // Port 11 came with its bridge; deleted, nobody would hear of it coming back.
    let snapshot = loaded().apply([deletion(&bridge_port(11, 1, None))], &[]).0;
    assert!(matches!(snapshot.port(id(11)), Lookup::NotLoaded));
}

#[test]
fn a_bridge_knows_the_routers_it_is_linked_to_whichever_came_first() {
    let far = |snapshot: &Snapshot| match snapshot.bridge(id(1)) {
        Lookup::Loaded(bridge) => bridge.links()[0].far,
        other => panic!("{other:?}"),
    };
    let linked = FarEnd::Router { router: id(2), mac: ROUTER_MAC };
    let snapshot = loaded();
    assert_eq!(far(&snapshot), linked);
    let near_first =
        snapshot.apply([deletion(&router_port(21, 2, [10, 0, 0, 1], Some(12)))], &[]).0;
    assert_eq!(far(&near_first), FarEnd::Unknown);
    let again = near_first.apply([change(router_port(21, 2, [10, 0, 0, 1], Some(12)))], &[]).0;
    assert_eq!(far(&again), linked);
}

#[test]
fn a_change_that_no_flow_reads_invalidates_nothing() {
    let snapshot = loaded();
    let renamed = Bridge { name: Some("blue".into()), ..bridge(1) };
    let shown = Port { vif_id: Some("vif".into()), tunnel_key: 9, ..bridge_port(11, 1, None) };
    let noted = Route { attributes: Some("note".into()), ..route(31, 2, "10.1.0.0/16") };
    assert_eq!(tags(&snapshot, [change(renamed), change(shown), change(noted)]), []);
}

#[test]
fn each_change_touches_what_read_it() {
    let snapshot = loaded();
    let down = Bridge { admin_state_up: false, ..bridge(1) };
    assert_eq!(tags(&snapshot, [change(down)]), [Tag::Bridge(id(1))]);

    let flood = Tag::Flood { bridge: id(1), vlan: None };
    assert_eq!(tags(&snapshot, [change(bridge_port(13, 1, None))]), [flood, Tag::Port(id(13))]);
    assert_eq!(tags(&snapshot, [deletion(&bridge_port(11, 1, None))]), [flood, Tag::Port(id(11))]);

    let to = |addr: [u8; 4], len| Tag::Route { router: id(2), addr: to_v6(addr.into()), len };
    assert_eq!(tags(&snapshot, [deletion(&route(31, 2, "10.1.0.0/16"))]), [to([10, 1, 0, 0], 112)]);
    let heavier = Route { weight: 9, ..route(31, 2, "10.1.0.0/16") };
    assert_eq!(tags(&snapshot, [change(heavier)]), [to([10, 1, 0, 0], 112)]);
    let readdressed = router_port(21, 2, [10, 0, 0, 2], Some(12));
    assert_eq!(
        tags(&snapshot, [change(readdressed)]),
        [Tag::Port(id(21)), to([10, 0, 0, 1], 128), to([10, 0, 0, 2], 128)]
    );
    assert_eq!(
        tags(&snapshot, [change(bridge_port(12, 1, None))]),
        [Tag::Mac { bridge: id(1), vlan: None, mac: ROUTER_MAC }, Tag::Port(id(12))]
    );
}

#[test]
fn a_port_that_is_bound_elsewhere_touches_what_is_sent_to_it() {
    let bound = |host: u128| Port {
        host_id: Some(id(host)),
        interface_name: Some("tap0".into()),
        ..bridge_port(11, 1, None)
    };
    let (snapshot, tags_of_first) = loaded().apply([change(bound(1))], &[]);
    assert_eq!(tags_of_first, [Tag::Location(id(11)), Tag::Port(id(11))]);
    assert_eq!(tags(&snapshot, [change(bound(2))]), [Tag::Location(id(11))]);
    let renamed = Port { interface_name: Some("tap1".into()), ..bound(1) };
    assert_eq!(tags(&snapshot, [change(renamed)]), []);
}

#[test]
fn a_chain_is_touched_by_its_rules_and_not_by_its_name() {
    let chain =
        Chain { id: id(5), tenant_id: None, name: None, rules: Vec::new(), segments: Vec::new() };
    let snapshot = Snapshot::default().apply([change(chain.clone())], &[]).0;
    let named = Chain { name: Some("in".into()), ..chain.clone() };
    assert_eq!(tags(&snapshot, [change(named)]), []);
    let rule = crate::Rule {
        id: id(6),
        condition: crate::Condition::default(),
        action: crate::RuleAction::Drop,
        meter_name: None,
    };
    let longer = Chain { rules: vec![rule], ..chain };
    assert_eq!(tags(&snapshot, [change(longer)]), [Tag::Chain(id(5))]);
}

#[test]
fn a_route_touches_the_lookups_it_overlaps_and_no_others() {
    let tag = |addr: &str, len: u8| {
        let prefix = IpPrefix::new(addr.parse().unwrap(), len).unwrap();
        Tag::Route { router: id(2), addr: to_v6(addr.parse().unwrap()), len: prefix.len_in_key() }
    };
    let change = tag("10.1.0.0", 16);
    assert!(change.touches(&tag("10.1.2.3", 32)));
    assert!(change.touches(&tag("10.0.0.0", 8)));
    assert!(!change.touches(&tag("10.2.0.0", 16)));
    assert!(!change.touches(&tag("10.0.2.3", 32)));
    assert!(change.touches(&tag("10.1.0.0", 16)));
}

#[test]
fn what_is_forgotten_is_not_loaded_any_more_and_its_readers_are_told() {
    let router: RouterId = id(2);
    let (snapshot, tags) = loaded().forget(&Loaded::of(router.into()));
    assert!(matches!(snapshot.router(router), Lookup::NotLoaded));
    assert!(matches!(snapshot.port(id(21)), Lookup::NotLoaded));
    assert!(matches!(snapshot.bridge(id(1)), Lookup::Loaded(_)));
    assert!(tags.contains(&Tag::Router(router)) && tags.contains(&Tag::Port(id(21))));
    let again = snapshot.apply([], &[Loaded::Object(router.into())]).0;
    assert!(matches!(again.router(router), Lookup::Absent));
}

#[test]
fn a_router_has_routes_to_its_own_addresses() {
    let snapshot = loaded();
    let Lookup::Loaded(router) = snapshot.router(id(2)) else { panic!("loaded above") };
    let own = router.routes().search(EtherType::IPV4, to_v6([10, 0, 0, 1].into()));
    let first = own.groups().next().map(|group| (group[0].id, group[0].target));
    let port: PortId = id(21);
    assert_eq!(first, Some((None::<RouteId>, RouteTarget::Local { next_hop_port: port })));
}

fn rule(number: u128) -> crate::Rule {
    crate::Rule {
        id: id(number),
        condition: crate::Condition::default(),
        action: crate::RuleAction::Accept,
        meter_name: None,
    }
}

/// A chain of rule 1 and, in segments, the others in order.
fn long_chain(segments: &[u128]) -> Chain {
    let segments = segments.iter().map(|number| id(*number)).collect();
    Chain { id: id(5), tenant_id: None, name: None, rules: vec![rule(1)], segments }
}

fn segment(number: u128, chain: u128, rules: &[u128]) -> ChainSegment {
    let rules = rules.iter().map(|number| rule(*number)).collect();
    ChainSegment { id: id(number), chain_id: id(chain), rules }
}

fn rules_of(snapshot: &Snapshot, chain: u128) -> Option<Vec<u128>> {
    let Lookup::Loaded(chain) = snapshot.chain(id(chain)) else { return None };
    Some(chain.rules().map(|rule| rule.id.uuid().as_u128()).collect())
}

#[test]
fn a_long_chain_is_its_segments_in_the_order_that_it_names() {
    let chain = long_chain(&[12, 11]);
    let parts = [
        change(chain.clone()),
        change(segment(11, 5, &[4, 5])),
        change(segment(12, 5, &[2, 3])),
        // Comes along because of a jump; nobody watches its chain.
        change(segment(13, 6, &[9])),
    ];
    let (snapshot, _) =
        Snapshot::default().apply(parts, &Loaded::of(id::<mn_ids::Chain>(5).into()));
    assert_eq!(rules_of(&snapshot, 5), Some(vec![1, 2, 3, 4, 5]));
    assert_eq!(rules_of(&snapshot, 6), None);

    // One segment is edited, with its chain.
    let edit = [change(chain.clone()), change(segment(12, 5, &[2, 7, 3]))];
    let (edited, tags) = snapshot.apply(edit, &[]);
    assert_eq!(rules_of(&edited, 5), Some(vec![1, 2, 7, 3, 4, 5]));
    assert_eq!(tags, [Tag::Chain(id(5))]);
    // One is split: the rules are the same, and no flow is to go.
    let split = [
        change(long_chain(&[12, 14, 11])),
        change(segment(12, 5, &[2, 7])),
        change(segment(14, 5, &[3])),
    ];
    let (split, tags) = edited.apply(split, &[]);
    assert_eq!(rules_of(&split, 5), Some(vec![1, 2, 7, 3, 4, 5]));
    assert_eq!(tags, []);
}

#[test]
fn a_chain_that_lacks_a_segment_is_not_asked() {
    let key = id::<mn_ids::Chain>(5).into();
    let named = [change(long_chain(&[11])), change(segment(12, 5, &[2]))];
    let (snapshot, _) = Snapshot::default().apply(named, &Loaded::of(key));
    assert!(matches!(snapshot.chain(id(5)), Lookup::NotLoaded));
    let (snapshot, tags) = snapshot.apply([change(segment(11, 5, &[3]))], &[]);
    assert_eq!((rules_of(&snapshot, 5), tags), (Some(vec![1, 3]), vec![Tag::Chain(id(5))]));

    // It is deleted with its segments, in whatever order.
    let gone = [11, 12].map(|number| (id::<mn_ids::ChainSegment>(number).into(), None));
    let (snapshot, tags) = snapshot.apply(gone.into_iter().chain([(key, None)]), &[]);
    assert!(matches!(snapshot.chain(id(5)), Lookup::Absent));
    assert_eq!(tags, [Tag::Chain(id(5))]);
}

#[test]
fn a_chain_that_is_forgotten_takes_its_segments_along() {
    let key = id::<mn_ids::Chain>(5).into();
    let parts = [change(long_chain(&[11])), change(segment(11, 5, &[2]))];
    let (snapshot, _) = Snapshot::default().apply(parts, &Loaded::of(key));
    let (snapshot, tags) = snapshot.forget(&Loaded::of(key));
    assert!(matches!(snapshot.chain(id(5)), Lookup::NotLoaded));
    assert_eq!(tags, [Tag::Chain(id(5))]);
    // What is told later starts from nothing.
    let (snapshot, _) = snapshot.apply([change(long_chain(&[11]))], &[Loaded::Object(key)]);
    assert!(matches!(snapshot.chain(id(5)), Lookup::NotLoaded));
}
