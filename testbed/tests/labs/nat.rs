//! Addresses are translated on real packets, in both IP versions.

use std::collections::BTreeSet;

use mn_testbed::{Capture, Outcome};
use serde_json::json;

use crate::asked::ask;
use crate::street::{CORNER, FAR, FLOATING, SHARED, Street, translating};
use crate::talk::{Server, addr, comes_back, dial, is_answered, socket};

#[test]
fn machines_inside_speak_to_the_outside_as_one_address_over_tcp_udp_and_echo() -> Outcome {
    let street = Street::start("nat")?;
    street.share_one_address()?;
    let (tcp, udp) = (Server::start(&street.far, 7000)?, Server::start(&street.far, 7001)?);
    let outside = &street.corner.namespace;
    let capture = Capture::start(outside, "eth0", "ip or ip6", street.lab.directory())?;
    let mut streams = Vec::new();
    for (version, far) in FAR.into_iter().enumerate() {
        for (nth, vm) in street.vms.iter().enumerate() {
            street.wait_reaches(nth, far)?;
            // The same identifier from all of them.
            let ping = vm.ping_with(far, 3, &["-e", "77"])?;
            assert!(ping.is_whole(), "{} to {far}: {ping:?}", vm.name);
            let mut stream = dial(&vm.namespace, far, 7000)?;
            assert!(comes_back(&mut stream, 200_000), "{} to {far}", vm.name);
            streams.push(stream);
            // The same port from all of them.
            let datagrams = socket(&vm.namespace, 5555, far, 7001)?;
            assert!(is_answered(&datagrams), "{} to {far}", vm.name);
        }
        for server in [&tcp, &udp] {
            let peers = server.peers();
            let seen: BTreeSet<_> =
                peers.iter().filter(|it| it.is_ipv6() == (version == 1)).collect();
            assert!(seen.iter().all(|peer| peer.ip() == addr(SHARED[version])), "{seen:?}");
            assert_eq!(seen.len(), 3, "each connection has a port of its own: {seen:?}");
        }
    }
    assert!(streams.iter_mut().all(|stream| comes_back(stream, 1000)), "all at once");
    let seen = capture.stop()?;
    let leaked: Vec<_> =
        seen.iter().filter(|it| it.contains("10.0.1.") || it.contains("fd01:")).collect();
    assert!(leaked.is_empty(), "the outside saw machines inside: {leaked:#?}");
    assert!(seen.iter().any(|it| it.contains(SHARED[0])), "{seen:#?}");
    Ok(())
}

#[test]
fn a_floating_address_goes_both_ways_for_every_protocol_and_fragment() -> Outcome {
    let street = Street::start("floating")?;
    let own = street.own(0);
    let (inside, beyond) =
        (Server::start(&street.vms[0].namespace, 80)?, Server::start(&street.far, 7000)?);
    for (version, floating) in FLOATING.into_iter().enumerate() {
        street.float(floating, 0)?;
        street.wait_reaches(0, FAR[version])?;
        let ping = street.corner.ping_with(floating, 3, &["-s", "3000"])?;
        assert!(ping.is_whole(), "in fragments to {floating}: {ping:?}");
        let ping = street.vms[0].ping_with(CORNER[version], 3, &["-s", "3000"])?;
        assert!(ping.is_whole(), "in fragments from {floating}: {ping:?}");
        let mut inward = dial(&street.far, floating, 80)?;
        assert!(comes_back(&mut inward, 200_000), "to {floating}");
        assert!(is_answered(&socket(&street.far, 0, floating, 80)?), "to {floating}");
        let seen = inside.peers();
        assert!(seen.iter().any(|peer| peer.ip() == addr(FAR[version])), "{own:?}: {seen:?}");
        let mut outward = dial(&street.vms[0].namespace, FAR[version], 7000)?;
        assert!(comes_back(&mut outward, 200_000), "from {floating}");
        assert!(is_answered(&socket(&street.vms[0].namespace, 0, FAR[version], 7000)?));
        let seen = beyond.peers();
        let of_version = seen.iter().filter(|peer| peer.is_ipv6() == (version == 1));
        assert!(of_version.clone().count() >= 2, "{seen:?}");
        assert!(of_version.into_iter().all(|peer| peer.ip() == addr(floating)), "{seen:?}");
    }
    Ok(())
}

#[test]
fn machines_inside_reach_each_other_by_their_floating_addresses() -> Outcome {
    let street = Street::start("hairpin")?;
    for (version, net) in ["203.0.113.", "2001:db8:1::"].into_iter().enumerate() {
        let floating = [0, 1].map(|vm| format!("{net}{}", 11 + vm));
        for (vm, floating) in floating.iter().enumerate() {
            street.float(floating, vm)?;
        }
        street.wait_reaches(0, FAR[version])?;
        for (from, to) in [(0, 1), (1, 0)] {
            street.wait_reaches(from, &floating[to])?;
            let port = 8000 + version as u16;
            let server = Server::start(&street.vms[to].namespace, port)?;
            let mut stream = dial(&street.vms[from].namespace, &floating[to], port)?;
            assert!(comes_back(&mut stream, 200_000), "vm{from} to {}", floating[to]);
            let peers = server.peers();
            assert!(peers.iter().all(|peer| peer.ip() == addr(&floating[from])), "{peers:?}");
            assert!(street.vms[from].ping(&floating[to], 3)?.is_whole());
        }
    }
    Ok(())
}

#[test]
fn a_public_port_is_forwarded_to_a_range_of_machines_and_ports() -> Outcome {
    let street = Street::start("forwarding")?;
    let mut servers = Vec::new();
    for vm in 0..2 {
        for port in 8080..8084 {
            servers.push((vm, port, Server::start(&street.vms[vm].namespace, port)?));
        }
    }
    for (version, public) in ["203.0.113.7", "2001:db8:1::7"].into_iter().enumerate() {
        let [first, last] = [0, 1].map(|vm| street.own(vm)[version].clone());
        let inward = json!({ "type": "dnat", "nwDstAddress": public, "nwProto": 6,
            "tpDst": { "start": 80, "end": 80 } });
        street.before(&translating(inward, &[(&first, &last, 8080, 8083)]))?;
        let version_number = [0x0800, 0x86dd][version];
        street.after(&json!({ "type": "rev_dnat", "dlType": version_number }))?;
        let mut streams = Vec::new();
        for _ in 0..32 {
            let mut stream = dial(&street.far, public, 80)?;
            assert!(comes_back(&mut stream, 20_000), "to {public}");
            streams.push(stream);
        }
        assert!(streams.iter_mut().all(|stream| comes_back(stream, 100)), "all at once");
        // Neither another port nor another protocol.
        let refused = addr(public);
        assert!(!street.corner.connects(refused, 81, crate::talk::IMPATIENCE)?);
        assert!(!is_answered(&socket(&street.far, 0, public, 80)?));
        let asked = |(_, _, server): &&(usize, u16, Server)| {
            server.peers().iter().any(|peer| peer.ip() == addr(FAR[version]))
        };
        let chosen: BTreeSet<_> =
            servers.iter().filter(asked).map(|(vm, port, _)| (*vm, *port)).collect();
        assert!(chosen.len() > 3, "32 connections went to {chosen:?}");
        let machines: BTreeSet<_> = chosen.iter().map(|(vm, _)| *vm).collect();
        assert_eq!(machines.len(), 2, "{chosen:?}");
    }
    Ok(())
}

#[test]
fn where_every_port_is_taken_the_next_connection_is_a_counted_drop_with_a_name() -> Outcome {
    let street = Street::start("exhausted")?;
    let what = json!({ "type": "snat", "outPorts": [street.up], "dlType": 0x0800 });
    let rule = street.after(&translating(what, &[(SHARED[0], SHARED[0], 7000, 7001)]))?;
    street.before(&json!({ "type": "rev_snat", "nwDstAddress": SHARED[0] }))?;
    let _servers = (Server::start(&street.far, 7000)?, Server::start(&street.far, 7001)?);
    let from = |vm: usize, to: u16| socket(&street.vms[vm].namespace, 0, FAR[0], to);
    let (one, two, three) = (from(0, 7000)?, from(1, 7000)?, from(2, 7000)?);
    assert!(is_answered(&one) && is_answered(&two), "there are two ports");
    assert!(!is_answered(&three), "there is no third");
    assert!(is_answered(&from(2, 7001)?), "another destination has them again");
    assert!(is_answered(&one) && is_answered(&two), "who has a port keeps it");
    let counters = ask(&street.lab.hosts[0], "counters")?;
    let drops = counters["drops"].as_array().cloned().unwrap_or_default();
    let counted = drops.iter().find(|it| it["cause"] == "nat-exhausted");
    let counted = counted.and_then(|it| it["packets"].as_u64()).unwrap_or_default();
    assert!(counted > 0, "{rule}: {counters}");
    Ok(())
}
