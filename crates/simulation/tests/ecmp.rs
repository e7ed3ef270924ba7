//! Routers with several equally good routes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mn_flow::{Field, Tag};
use mn_ids::{PortId, RouteId};
use mn_simulation::walk::{ChosenBy, RouteLost, Step};
use mn_testkit::{Lab, Random, Sent, named};
use mn_topology::AnyObject;

/// A machine behind a router with these uplinks, each with a gateway and a default route of both
/// versions.
fn uplinks(numbers: &[usize], more: &str) -> Lab {
    let mut text = "
        bridge blue
          vm1  02::01  10.0.1.5  fd01::5
        router edge
          blue  02::a1  10.0.1.1/24  fd01::1/64
        "
    .to_owned();
    for n in numbers {
        let _ = writeln!(text, "  up{n}  02::b{n}  192.0.{n}.1/24  peer 02::9{n} 192.0.{n}.2");
        let _ = writeln!(text, "  six{n}  02::c{n}  fd{n}::1/64  peer 02::8{n} fd{n}::2");
    }
    for n in numbers {
        let _ = writeln!(text, "  route 0.0.0.0/0 via up{n} 192.0.{n}.2");
        let _ = writeln!(text, "  route ::/0 via six{n} fd{n}::2");
    }
    Lab::read(&(text + more))
}

/// A line about a connection to the outside.
fn outward(sport: u16, v6: bool, more: &str) -> String {
    let (to, word) = if v6 { ("2001:db8::9", "v6") } else { ("203.0.113.1", "") };
    format!("vm1 > {to} udp 9 sport {sport} {word} {more}")
}

fn way(sent: &Sent<'_>) -> PortId {
    let arrivals = sent.arrivals();
    assert_eq!(arrivals.len(), 1, "{:#?}", sent.walk.steps);
    arrivals[0].port
}

/// The ways of many connections.
fn ways(lab: &Lab, v6: bool) -> BTreeMap<u16, PortId> {
    (1000..1400).map(|sport| (sport, way(&lab.send(&outward(sport, v6, ""))))).collect()
}

fn moved(before: &BTreeMap<u16, PortId>, after: &BTreeMap<u16, PortId>) -> usize {
    before.iter().filter(|(sport, port)| after[sport] != **port).count()
}

#[test]
fn equal_routes_share_connections_and_a_connection_keeps_its_way() {
    let lab = uplinks(&[1, 2], "");
    for v6 in [false, true] {
        let sent = lab.send(&outward(1000, v6, ""));
        assert!(sent.decision().unwrap().mask.contains(Field::TpSrc));
        let all = ways(&lab, v6);
        let first = all.values().filter(|port| **port == all[&1000]).count();
        assert!((140..260).contains(&first), "{first} of 400 go the way of the first");
        assert_eq!(moved(&all, &ways(&lab, v6)), 0, "a connection keeps its way");
    }
    for sport in 1000..1020 {
        let of = |kind| way(&lab.send(&outward(sport, false, kind)));
        assert_eq!(of("first"), of("later"), "fragments stay together");
    }
}

#[test]
fn an_error_goes_the_way_of_the_answers_of_the_connection_it_is_about() {
    let lab = uplinks(&[1, 2, 3, 4], "");
    for version in ["", "v6"] {
        let to = if version.is_empty() { "203.0.113.1" } else { "2001:db8::9" };
        let error = lab.send(&format!("vm1 > {to} error {version}"));
        // What it quotes came from there to the machine: `tcp` or `udp`, as the text builder has it.
        let (kind, sport, dport) = quoted_ports(&error);
        let answer = lab.send(&format!("vm1 > {to} {kind} {sport} sport {dport} {version}"));
        assert_eq!(way(&error), way(&answer), "{to}");
    }
}

/// The protocol and ports of the packet that an error quotes.
fn quoted_ports(error: &Sent<'_>) -> (&'static str, u16, u16) {
    let frame = &error.built.frame;
    let v4 = frame[12..14] == [0x08, 0x00];
    let (inner, len, protocol_at) = if v4 { (14 + 20 + 8, 20, 9) } else { (14 + 40 + 8, 40, 6) };
    let kind = if frame[inner + protocol_at] == 6 { "tcp" } else { "udp" };
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (kind, port(inner + len), port(inner + len + 2))
}

#[test]
fn where_there_is_one_next_hop_no_port_is_read() {
    let ports = [Field::TpSrc, Field::TpDst, Field::NwProto, Field::NwSrc];
    let reads_none = |sent: Sent<'_>| {
        let mask = sent.decision().unwrap().mask;
        assert!(!ports.iter().any(|field| mask.contains(*field)), "{mask:?}");
    };
    reads_none(uplinks(&[1], "").send(&outward(1000, false, "")));
    // Two routes to one gateway are one way.
    let twice = uplinks(&[1], "  route 0.0.0.0/0 from 0.0.0.0/0 via up1 192.0.1.2");
    reads_none(twice.send(&outward(1000, false, "")));
    // Of two ways one of which is down, one is left.
    let mut lab = uplinks(&[1, 2], "");
    lab.port("edge.up2", |port| port.admin_state_up = false);
    reads_none(lab.send(&outward(1000, false, "")));
}

#[test]
fn every_host_chooses_alike_in_whatever_order_it_heard_of_the_routes() {
    let (lab, other) = (uplinks(&[1, 2, 3, 4, 5], ""), uplinks(&[4, 2, 5, 1, 3], ""));
    for v6 in [false, true] {
        assert_eq!(moved(&ways(&lab, v6), &ways(&other, v6)), 0);
    }
}

/// Takes the routes of an uplink out; they come back under other identifiers.
fn withdraw(lab: &mut Lab, n: usize) -> Vec<mn_topology::Route> {
    let ports: [PortId; 2] = [named(&format!("edge.up{n}")), named(&format!("edge.six{n}"))];
    let routes: Vec<_> = lab
        .of_class(mn_ids::Class::Route)
        .filter_map(|(_, object)| match object {
            AnyObject::Route(route) => Some(route.clone()),
            _ => None,
        })
        .filter(|route| route.dst.len() == 0 && route.port().is_some_and(|at| ports.contains(&at)))
        .collect();
    for route in &routes {
        assert!(!lab.delete(route.id).is_empty());
    }
    routes
}

#[test]
fn when_a_next_hop_goes_or_comes_only_its_share_moves() {
    let (mut draw, mut drawn) = (Random::new(7), 0);
    for count in 2..=8_usize {
        let numbers: Vec<usize> = (1..=count).collect();
        let mut lab = uplinks(&numbers, "");
        for v6 in [false, true] {
            let before = ways(&lab, v6);
            let gone = draw.pick(&numbers);
            let kind = if v6 { "six" } else { "up" };
            let port: PortId = named(&format!("edge.{kind}{gone}"));
            let had = before.values().filter(|way| **way == port).count();
            let share = 400 / count;
            assert!((share / 2..=share * 2).contains(&had), "{had} of 400 by one of {count}");
            let routes = withdraw(&mut lab, gone);
            let without = ways(&lab, v6);
            assert_eq!(moved(&before, &without), had, "those that it had, and no others");
            assert!(without.values().all(|way| *way != port));
            for mut route in routes {
                drawn += 1;
                route.id = RouteId::from_uuid(uuid::Uuid::from_u128(drawn));
                lab.put(route);
            }
            assert_eq!(moved(&before, &ways(&lab, v6)), 0, "those that it had come back to it");
        }
    }
}

#[test]
fn the_routes_that_were_read_are_what_a_change_touches() {
    let mut lab = uplinks(&[1, 2], "  route 198.51.100.0/24 via up1 192.0.1.2\n");
    let (shared, alone) = (
        lab.send(&outward(1000, false, "")).buffers.tags.clone(),
        lab.send("vm1 > 198.51.100.1 udp 9").buffers.tags.clone(),
    );
    let touched = withdraw(&mut lab, 2);
    let tags: Vec<Tag> = touched.into_iter().flat_map(|route| lab.put(route)).collect();
    let touches = |read: &[Tag]| tags.iter().any(|tag| read.iter().any(|read| tag.touches(read)));
    assert!(touches(&shared));
    assert!(touches(&alone), "a default route covers all that has a longer one");
    let six = lab.send(&outward(1000, true, "")).buffers.tags.clone();
    let v4: Vec<Tag> = withdraw(&mut lab, 1)
        .into_iter()
        .filter(|route| route.dst.network().is_ipv4())
        .flat_map(|route| lab.put(route))
        .collect();
    assert!(!v4.iter().any(|tag| six.iter().any(|read| tag.touches(read))), "{v4:?}");
}

/// Two routers with firewalls between them.
const FIREWALLS: &str = "
    bridge blue
      vm1  02::01  10.0.1.5
    router left
      blue  02::a1  10.0.1.1/24
      fw1   02::a2  10.1.1.1/24  peer 02::11 10.1.1.2
      fw2   02::a3  10.1.2.1/24  peer 02::12 10.1.2.2
      fw3   02::a4  10.1.3.1/24  peer 02::13 10.1.3.2
      route 0.0.0.0/0 via fw1 10.1.1.2 path one
      route 0.0.0.0/0 via fw2 10.1.2.2 path two
      route 0.0.0.0/0 via fw3 10.1.3.2 path three
      SYMMETRIC
    router right
      wf3   02::b4  10.2.3.1/24  peer 02::23 10.2.3.2
      wf1   02::b2  10.2.1.1/24  peer 02::21 10.2.1.2
      wf2   02::b3  10.2.2.1/24  peer 02::22 10.2.2.2
      out   02::b1  192.0.2.1/24  peer 02::99 192.0.2.254
      route 10.0.1.0/24 via wf2 10.2.2.2 path two
      route 10.0.1.0/24 via wf3 10.2.3.2 path three
      route 10.0.1.0/24 via wf1 10.2.1.2 path one
      route 0.0.0.0/0 via out 192.0.2.254
      SYMMETRIC
";

/// How many of many connections are answered through the firewall that they went through.
fn by_the_same(lab: &Lab) -> usize {
    let name = |sent: Sent<'_>| lab.name_of(way(&sent));
    let same = |sport: &u16| {
        let there = name(lab.send(&format!("vm1 > 203.0.113.1 tcp 80 sport {sport}")));
        let back = name(lab.send(&format!(
            "out > 10.0.1.5 tcp {sport} sport 80 addr-from 203.0.113.1 mac-to 02::b1"
        )));
        there.strip_prefix("left.fw") == back.strip_prefix("right.wf")
    };
    (2000_u16..2200).filter(same).count()
}

#[test]
fn answers_take_the_way_of_their_connection_in_the_symmetric_mode_alone() {
    let lab = Lab::read(&FIREWALLS.replace("SYMMETRIC", "symmetric"));
    assert_eq!(by_the_same(&lab), 200);
    let used: std::collections::BTreeSet<_> = (2000..2050)
        .map(|sport| way(&lab.send(&format!("vm1 > 203.0.113.1 tcp 80 sport {sport}"))))
        .collect();
    assert_eq!(used.len(), 3, "and all firewalls have work");
    let plain = Lab::read(&FIREWALLS.replace("SYMMETRIC", ""));
    let same = by_the_same(&plain);
    assert!((30..110).contains(&same), "by chance {same} of 200");
    // Echoes, too, are answered through the machine that saw them.
    let there = lab.name_of(way(&lab.send("vm1 > 203.0.113.1 icmp id 77")));
    let error = lab.send("out > 10.0.1.5 error addr-from 203.0.113.1 mac-to 02::b1");
    let back = lab.name_of(way(&error));
    assert!(there.starts_with("left.fw") && back.starts_with("right.wf"));
}

/// Says what an agent remembers once the packet's flow left.
fn leave(lab: &mut Lab, tags: &[Tag]) {
    for tag in tags {
        if let Tag::Path(path) = tag {
            lab.tables.paths.insert((path.router, path.flow()), path.hop());
        }
    }
}

/// What follows when a third way comes: how many of many connections move, and that those which
/// did not keep their way until it goes.
fn moved_by_a_third(mut lab: Lab, more: &str) -> usize {
    let sent = |lab: &Lab, sport: u16| way(&lab.send(&outward(sport, false, more)));
    let third = withdraw(&mut lab, 3);
    let before: BTreeMap<u16, PortId> =
        (1000..1400).map(|sport| (sport, sent(&lab, sport))).collect();
    for sport in 1000..1400 {
        let packet = lab.send(&outward(sport, false, more));
        let (tags, effects) = (packet.buffers.tags.clone(), packet.buffers.effects.clone());
        lab.tables.learn(&effects);
        leave(&mut lab, &tags);
    }
    for route in third {
        lab.put(route);
    }
    let after = (1000..1400).map(|sport| (sport, sent(&lab, sport))).collect();
    let count = moved(&before, &after);
    // A way that is gone is left whatever was remembered.
    let gone: PortId = named("edge.up1");
    withdraw(&mut lab, 1);
    for (sport, port) in &before {
        let now = sent(&lab, *sport);
        assert_ne!(now, gone);
        assert!(count > 0 || *port == gone || now == *port, "{sport}");
    }
    count
}

#[test]
fn connections_with_state_stay_where_they_are_while_their_next_hop_is_there() {
    let plain = moved_by_a_third(uplinks(&[1, 2, 3], ""), "");
    assert!((80..190).contains(&plain), "{plain} of 400 go to the third way");
    let tracking = "
        in followed
        chain followed
          accept return-flow
          accept forward
        ";
    let tracked = |more| moved_by_a_third(uplinks(&[1, 2, 3], tracking), more);
    assert_eq!(tracked(""), 0, "new connections");
    assert_eq!(tracked("goes"), 0, "established ones");
    assert_eq!(tracked("returns"), 0, "their answers");
    let translating = "
        in forth
        chain forth
          dnat 198.51.100.1-198.51.100.9@1000-1100
        ";
    assert_eq!(moved_by_a_third(uplinks(&[1, 2, 3], translating), ""), 0, "translated ones");
}

#[test]
fn a_connection_that_had_to_move_stays_there_when_its_first_next_hop_is_back() {
    let mut lab = uplinks(&[1, 2], "  in followed\n chain followed\n accept forward\n");
    let go_on = |lab: &mut Lab| -> BTreeMap<u16, PortId> {
        let mut ways = BTreeMap::new();
        for sport in 1000..1100 {
            let sent = lab.send(&outward(sport, false, "goes"));
            ways.insert(sport, way(&sent));
            let tags = sent.buffers.tags.clone();
            leave(lab, &tags);
        }
        ways
    };
    let before = go_on(&mut lab);
    let first = withdraw(&mut lab, 1);
    let alone = go_on(&mut lab);
    assert!(moved(&before, &alone) > 20);
    for route in first {
        lab.put(route);
    }
    assert_eq!(moved(&alone, &go_on(&mut lab)), 0);
}

#[test]
fn a_walk_tells_the_ways_the_choice_and_what_decided() {
    let told = |lab: &Lab| {
        let sent = lab.send(&outward(1000, false, "goes"));
        let step = sent.walk.steps.iter().find_map(|step| match step {
            Step::Route { chosen, by, lost, .. } => Some((chosen.unwrap(), *by, lost.clone())),
            _ => None,
        });
        step.unwrap()
    };
    let (chosen, by, lost) = told(&uplinks(&[1, 2, 3], ""));
    assert_eq!(by, ChosenBy::Hash);
    let other: Vec<_> = lost.iter().filter(|(_, why)| *why == RouteLost::OtherPath).collect();
    assert_eq!(other.len(), 2);
    assert!(other.iter().all(|(route, _)| route.hop != chosen.hop));
    assert_eq!(told(&uplinks(&[1, 2, 3], "symmetric")).1, ChosenBy::SymmetricHash);
    assert_eq!(told(&uplinks(&[1], "")).1, ChosenBy::Itself);
    let mut lab = uplinks(&[1, 2], "  in followed\n chain followed\n accept forward\n");
    let tags = lab.send(&outward(1000, false, "goes")).buffers.tags.clone();
    leave(&mut lab, &tags);
    assert_eq!(told(&lab).1, ChosenBy::State);
}
