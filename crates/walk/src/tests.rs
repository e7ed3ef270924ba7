//! Two networks and a router between them; packets are described, walked and told.

use std::net::IpAddr;

use mn_api_types::walk::{AnswerWalk, Step, VerdictKind, Walk as Document, WalkRequest};
use mn_flow::{FlowKey, PortNo, ScopedAddr, extract};
use mn_ids::{BridgeId, Id, Kind, ObjectKey, PortId, RouterId};
use mn_packet::Mac;
use mn_simulation::nat::{Endpoint, SourceChoice, SourceWanted, addresses};
use mn_simulation::{Known, NeighborState, Outcome, StateView};
use mn_time::Instant;
use mn_topology::AnyObject;
use mn_topology::snapshot::{Loaded, Snapshot};
use uuid::Uuid;

use crate::{
    After, DescribeError, Described, Hints, Names, NoAnswer, Place, Setting, Story, Tunnel, Way,
    describe, document,
};

fn id<K: Kind>(n: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(n))
}

const VM1: &str = "02:00:00:00:00:11";
const VM2: &str = "02:00:00:00:00:22";

/// One document a line; small numbers stand for identifiers: `@11`.
const TOPOLOGY: &str = r#"
    bridge {"id":"@1","name":"red"}
    bridge {"id":"@2","name":"blue"}
    router {"id":"@3","name":"edge","outbound_filter_id":"@51","inbound_filter_id":"@52"}
    chain {"id":"@51","name":"out","rules":[{"id":"@61","condition":{"nw_proto":{"is":6},"tp_dst":{"is":{"start":443,"end":443}},"fragment_policy":"unfragmented"},"action":{"type":"snat","then":"accept","targets":[{"addr_from":"10.0.2.1","addr_to":"10.0.2.1","port_from":7000,"port_to":7001}]}}]}
    chain {"id":"@52","name":"in","rules":[{"id":"@62","action":{"type":"rev_snat","then":"accept"}}]}
    chain {"id":"@53","name":"to vm1","rules":[{"id":"@63","condition":{"match_return_flow":true},"action":{"type":"accept"}},{"id":"@64","condition":{"nw_proto":{"is":17}},"action":{"type":"drop"}}]}
    chain {"id":"@54","name":"from vm1","rules":[{"id":"@65","condition":{"match_forward_flow":true},"action":{"type":"accept"}}]}
    port {"id":"@11","inbound_filter_id":"@54","outbound_filter_id":"@53","type":"bridge","bridge_id":"@1","host_id":"@90","interface_name":"vm1"}
    port {"id":"@22","type":"bridge","bridge_id":"@2","host_id":"@91","interface_name":"vm2"}
    port {"id":"@12","type":"bridge","bridge_id":"@1","peer_id":"@31"}
    port {"id":"@21","type":"bridge","bridge_id":"@2","peer_id":"@32"}
    port {"id":"@31","type":"router","router_id":"@3","peer_id":"@12","mac":"02:00:00:00:00:31","addresses":[{"addr":"10.0.1.1","len":24}]}
    port {"id":"@32","type":"router","router_id":"@3","peer_id":"@21","mac":"02:00:00:00:00:32","addresses":[{"addr":"10.0.2.1","len":24}]}
    route {"id":"@41","router_id":"@3","src":"0.0.0.0/0","dst":"10.0.2.0/24","type":"normal","next_hop_port":"@32"}
    route {"id":"@43","router_id":"@3","src":"0.0.0.0/0","dst":"10.0.1.0/24","type":"normal","next_hop_port":"@31"}
    route {"id":"@42","router_id":"@3","src":"0.0.0.0/0","dst":"10.0.0.0/8","type":"blackhole"}
"#;

fn objects() -> Vec<AnyObject> {
    let object = |line: &str| {
        let (class, json) = line.trim().split_once(' ').unwrap();
        let json = json.split('@').enumerate().map(|(index, part)| match index {
            0 => part.to_owned(),
            _ => {
                let (number, rest) = part.split_once('"').unwrap();
                format!("{}\"{rest}", Uuid::from_u128(number.parse().unwrap()))
            }
        });
        AnyObject::decode(class.parse().unwrap(), &json.collect::<String>()).unwrap()
    };
    TOPOLOGY.trim().lines().map(object).collect()
}

/// Loads what a walk asks for, as an agent does.
fn load(snapshot: &mut Snapshot, keys: &[ObjectKey]) {
    for key in keys {
        for part in Loaded::of(*key) {
            let wanted = |object: &AnyObject| match part {
                Loaded::Object(key) => object.key() == key,
                Loaded::Referrers { to, class } => {
                    object.key().class == class
                        && object.references().iter().any(|reference| reference.to == to)
                }
            };
            let found = objects().into_iter().filter(wanted);
            let changes: Vec<_> = found.map(|object| (object.key(), Some(object))).collect();
            *snapshot = snapshot.apply(changes, &[part]).0;
        }
    }
}

/// Everyone has spoken: both VMs are known.
struct Learned;

impl StateView for Learned {
    fn mac(&self, _: BridgeId, _: Option<mn_packet::VlanId>, mac: Mac) -> Known<PortId> {
        match mac.to_string().as_str() {
            VM1 => Known::Is(id(11)),
            VM2 => Known::Is(id(22)),
            _ => Known::Absent,
        }
    }

    fn bridge_neighbor(&self, bridge: BridgeId, addr: IpAddr) -> Known<Mac> {
        self.mac_of(bridge, addr).map_or(Known::Absent, Known::Is)
    }

    fn neighbor(&self, _: RouterId, addr: ScopedAddr, _: Instant) -> NeighborState {
        match addr.to_string().as_str() {
            "10.0.1.5" => NeighborState::Known(VM1.parse().unwrap()),
            "10.0.2.7" => NeighborState::Known(VM2.parse().unwrap()),
            _ => NeighborState::Unresolved,
        }
    }

    fn free_source(&self, wanted: &SourceWanted<'_>) -> SourceChoice {
        SourceChoice::Is(Endpoint { addr: addresses(&wanted.targets[0]).0.into(), port: 7001 })
    }
}

impl Hints for Learned {
    fn macs_behind(&self, _: BridgeId, port: PortId) -> Vec<Mac> {
        vec![if port == id(11) { VM1 } else { VM2 }.parse().unwrap()]
    }

    fn addresses_of(&self, _: BridgeId, mac: Mac) -> Vec<IpAddr> {
        let addr = if mac.to_string() == VM1 { "10.0.1.5" } else { "10.0.2.7" };
        vec!["fe80::1".parse().unwrap(), addr.parse().unwrap()]
    }

    fn mac_of(&self, _: BridgeId, addr: IpAddr) -> Option<Mac> {
        (addr.to_string() == "10.0.1.5").then(|| VM1.parse().unwrap())
    }
}

fn described(snapshot: &mut Snapshot, request: &WalkRequest) -> Result<Described, DescribeError> {
    loop {
        match describe(request, snapshot, &Learned) {
            Err(DescribeError::Load(keys)) => load(snapshot, &keys),
            other => return other,
        }
    }
}

const SETTING: Setting = Setting { now: Instant::ZERO, seed: 0, mtu: 1450 };

/// Walks a packet and, where that is asked for, its answer.
fn walk(request: &WalkRequest) -> Document {
    let mut snapshot = Snapshot::default();
    let described = described(&mut snapshot, request).unwrap();
    let key = extract(&described.frame, PortNo::FIRST_BOUND, None).unwrap();
    let way = go(&mut snapshot, &Learned, &described, key);
    let answer = request.both.then(|| {
        let answer = way.answered().unwrap();
        let back = go(&mut snapshot, &After::of(&Learned, &way), &answer.packet, answer.key);
        AnswerWalk(Box::new(told(&snapshot, &back, way.leaves())))
    });
    Document { answer, ..told(&snapshot, &way, Vec::new()) }
}

fn go(snapshot: &mut Snapshot, state: &dyn StateView, packet: &Described, key: FlowKey) -> Way {
    loop {
        let way = Way::go(snapshot, state, SETTING, packet, key);
        let Outcome::Load(keys) = &way.outcome else { return way };
        load(snapshot, keys);
    }
}

fn told(snapshot: &Snapshot, way: &Way, notes: Vec<String>) -> Document {
    let host_of = |port: PortId| id(if port == id(11) { 90 } else { 91 });
    let place = |port: PortId| Place {
        host: Some(host_of(port)),
        tunnel: (host_of(port) != host_of(way.port)).then_some(Tunnel {
            key: 7,
            outer_src: None,
            outer_dst: None,
        }),
    };
    document(&Story {
        names: Names::of(snapshot),
        host: Some(id(90)),
        entered_at: Some(host_of(way.port)),
        notes,
        revision: 1,
        way,
        actions: &[],
        flow: None,
        place: &place,
    })
}

fn from_vm1(request: WalkRequest) -> WalkRequest {
    WalkRequest { from_port: Some(id(11)), ..request }
}

#[test]
fn a_walk_between_two_ports_needs_no_addresses_and_tells_the_whole_way() {
    let told = walk(&from_vm1(WalkRequest { to_port: Some(id(22)), ..WalkRequest::default() }));
    assert_eq!(told.verdict.kind, VerdictKind::Delivered, "{told:#?}");
    assert_eq!(told.packet.src_addr.unwrap().to_string(), "10.0.1.5");
    assert_eq!(told.packet.dst_mac.unwrap().to_string(), "02:00:00:00:00:31");
    let delivery = &told.verdict.deliveries[0];
    assert_eq!(delivery.interface_name.as_deref(), Some("vm2"));
    assert_eq!(delivery.tunnel.as_ref().map(|tunnel| tunnel.key), Some(7));
    assert_eq!(delivery.packet.ttl, Some(63));
    assert_eq!(delivery.packet.dst_mac.unwrap().to_string(), VM2);
    let names: Vec<_> = told
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Enter(enter) => enter.device.name.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["red", "edge", "blue"]);
}

#[test]
fn the_routes_that_lost_are_told_with_the_reason() {
    let request = WalkRequest { dst_addr: "10.0.2.7".parse().ok(), ..WalkRequest::default() };
    let told = walk(&from_vm1(request));
    let lookup = told.steps.iter().find_map(|step| match step {
        Step::RouteLookup(lookup) => Some(lookup),
        _ => None,
    });
    let lookup = lookup.unwrap();
    assert_eq!(lookup.chosen.as_ref().unwrap().dst, "10.0.2.0/24");
    let lost: Vec<_> =
        lookup.lost.iter().map(|lost| (lost.route.kind.as_str(), lost.reason.as_str())).collect();
    assert_eq!(lost, [("BlackHole", "shorter prefix")]);
}

#[test]
fn a_dropped_packet_says_why() {
    let request = WalkRequest { dst_addr: "10.9.9.9".parse().ok(), ..WalkRequest::default() };
    let told = walk(&from_vm1(request));
    assert_eq!(told.verdict.kind, VerdictKind::Dropped);
    assert_eq!(told.verdict.drop_cause.as_deref(), Some("blackhole"));
}

#[test]
fn a_neighbour_nobody_knows_is_waited_for() {
    let request = WalkRequest { dst_addr: "10.0.2.99".parse().ok(), ..WalkRequest::default() };
    assert_eq!(walk(&from_vm1(request)).verdict.kind, VerdictKind::Waiting);
}

#[test]
fn what_describes_no_packet_is_refused() {
    let refused = |request| described(&mut Snapshot::default(), &request).unwrap_err();
    assert_eq!(refused(any()), DescribeError::NoEntry);
    assert_eq!(refused(from_vm1(any())), DescribeError::NoDestination);
    let gone = PortId::from_uuid(Uuid::from_u128(77));
    assert_eq!(
        refused(WalkRequest { from_port: Some(gone), ..any() }),
        DescribeError::NoPort { field: "fromPort", port: gone }
    );
    let mixed = WalkRequest {
        src_addr: "10.0.1.5".parse().ok(),
        dst_addr: "2001:db8::1".parse().ok(),
        ..any()
    };
    assert!(matches!(refused(from_vm1(mixed)), DescribeError::Versions { .. }));
    let flags = WalkRequest {
        dst_addr: "10.0.2.7".parse().ok(),
        protocol: Some(6),
        tcp_flags: Some(vec!["urgent".into()]),
        ..any()
    };
    assert_eq!(refused(from_vm1(flags)), DescribeError::TcpFlag("urgent".into()));
    let vlan = WalkRequest { dst_addr: "10.0.2.7".parse().ok(), vlan: Some(4095), ..any() };
    assert_eq!(refused(from_vm1(vlan)), DescribeError::Vlan(4095));
}

/// UDP or TCP from the first VM to a port of the second, and the answer.
fn both(protocol: u8, dst_port: u16) -> (Document, Document) {
    let request =
        WalkRequest { to_port: Some(id(22)), protocol: Some(protocol), ..from_vm1(any()) };
    let there = walk(&WalkRequest {
        src_port: Some(1000),
        dst_port: Some(dst_port),
        both: true,
        ..request
    });
    let AnswerWalk(back) = there.answer.clone().unwrap();
    (there, *back)
}

fn any() -> WalkRequest {
    WalkRequest::default()
}

#[test]
fn the_answer_is_walked_from_where_the_packet_came_out_with_its_ends_exchanged() {
    let (there, back) = both(6, 80);
    assert_eq!(back.entered_at.as_ref().unwrap().id, id::<mn_ids::Host>(91).uuid());
    assert_eq!(back.packet.src_addr, there.packet.dst_addr);
    assert_eq!((back.packet.src_port, back.packet.dst_port), (Some(80), Some(1000)));
    assert_eq!(back.packet.src_mac, there.verdict.deliveries[0].packet.dst_mac);
    assert_eq!(back.verdict.kind, VerdictKind::Delivered, "{back:#?}");
    assert_eq!(back.verdict.deliveries[0].interface_name.as_deref(), Some("vm1"));
    assert!(back.answer.is_none());
}

#[test]
fn the_answer_passes_by_the_connection_that_the_packet_before_would_leave() {
    let (_, back) = both(17, 53);
    assert_eq!(back.verdict.kind, VerdictKind::Delivered, "{back:#?}");
    assert_eq!(back.notes, ["the packet before leaves a connection"]);
    assert!(back.mask.iter().any(|word| word == "connection"), "{:?}", back.mask);
    // By itself the same packet is refused.
    let request = WalkRequest {
        from_port: Some(id(22)),
        to_port: Some(id(11)),
        src_addr: back.packet.src_addr,
        dst_mac: back.packet.dst_mac,
        protocol: Some(17),
        src_port: Some(53),
        dst_port: Some(1000),
        ..any()
    };
    let alone = walk(&request);
    assert_eq!(alone.verdict.kind, VerdictKind::Dropped, "{alone:#?}");
    assert_eq!(alone.verdict.drop_cause.as_deref(), Some("rule"));
}

#[test]
fn the_answer_is_translated_back_by_what_the_packet_before_would_leave() {
    let (there, back) = both(6, 443);
    let out = &there.verdict.deliveries[0].packet;
    assert_eq!(out.src_addr, "10.0.2.1".parse().ok());
    assert_eq!(out.src_port, Some(7001));
    assert_eq!((back.packet.dst_addr, back.packet.dst_port), (out.src_addr, Some(7001)));
    assert!(back.notes.iter().any(|note| note.ends_with("10.0.1.5:1000 became 10.0.2.1:7001")));
    let home = &back.verdict.deliveries[0].packet;
    assert_eq!((home.dst_addr, home.dst_port), (there.packet.src_addr, Some(1000)));
    let translated = back.steps.iter().any(|step| match step {
        Step::Translated(told) => told.result == "found",
        _ => false,
    });
    assert!(translated, "{back:#?}");
}

#[test]
fn a_packet_that_reaches_nobody_has_no_answer() {
    let mut snapshot = Snapshot::default();
    let request = WalkRequest { dst_addr: "10.9.9.9".parse().ok(), ..from_vm1(any()) };
    let described = described(&mut snapshot, &request).unwrap();
    let key = extract(&described.frame, PortNo::FIRST_BOUND, None).unwrap();
    let way = go(&mut snapshot, &Learned, &described, key);
    assert_eq!(way.answered(), Err(NoAnswer::Dropped));
}
