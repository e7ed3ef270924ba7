//! Connections through two gateways, in both IP versions, outlive agents and hosts (contracts §6).

use std::net::TcpStream;
use std::time::Duration;

use mn_testbed::{Outcome, wait_for};
use serde_json::json;

use crate::crossing::{Crossing, GATEWAYS, HOME, SPARE, furnish};
use crate::street::{FAR, SHARED, translating};
use crate::talk::{Server, addr, comes_back, dial, silent};

/// A connection of each version.
fn connections(crossing: &Crossing) -> Outcome<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for far in FAR {
        streams.push(dial(&crossing.vm.namespace, far, 7000)?);
    }
    assert_eq!(silent(&mut streams), [0_usize; 0]);
    Ok(streams)
}

#[test]
fn connections_survive_the_death_of_each_agent_and_of_either_gateway() -> Outcome {
    let mut crossing = Crossing::start("gateway-dead", 3)?;
    let server = Server::start(&crossing.far, 7000)?;
    let mut streams = connections(&crossing)?;
    for host in [GATEWAYS[1], GATEWAYS[0], HOME] {
        crossing.lab.process(&format!("hv{host}"))?.kill();
        assert_eq!(silent(&mut streams), [0_usize; 0], "without the agent of hv{host}");
        crossing.lab.start_agent(host)?;
        assert_eq!(silent(&mut streams), [0_usize; 0], "with the next agent of hv{host}");
    }
    // The gateway that answers come by is gone; then it is back, and knows what it was told.
    crossing.go_dark(GATEWAYS[1])?;
    crossing.answer_by(1)?;
    assert_eq!(silent(&mut streams), [0_usize; 0], "answered by the first gateway");
    crossing.lab.underlay().ip(&format!("link set hv{} up", GATEWAYS[1]))?;
    crossing.lab.start_agent(GATEWAYS[1])?;
    crossing.answer_by(2)?;
    assert_eq!(silent(&mut streams), [0_usize; 0], "answered by the second again");
    // The gateway that packets leave by is gone, and its port is taken down.
    crossing.go_dark(GATEWAYS[0])?;
    crossing.take_up(1, false)?;
    assert_eq!(silent(&mut streams), [0_usize; 0], "by the second gateway both ways");
    let peers = server.peers();
    assert_eq!(peers.len(), 2, "the connections are those of the beginning: {peers:?}");
    assert!(peers.iter().all(|peer| SHARED.map(addr).contains(&peer.ip())), "{peers:?}");
    Ok(())
}

#[test]
fn state_follows_a_port_to_its_new_host_though_the_old_one_is_dark() -> Outcome {
    let mut crossing = Crossing::start("move-dark", 4)?;
    let server = Server::start(&crossing.far, 7000)?;
    let mut streams = connections(&crossing)?;
    let hosts = [HOME, SPARE].map(|at| crossing.lab.host_id(&format!("hv{at}")));
    let [home, spare] = hosts;
    let (home, spare) = (home?, spare?);
    crossing.go_dark(HOME)?;
    // The machine, with all it has in memory, is elsewhere.
    let guest = &crossing.vm.namespace;
    guest.ip("link del eth0")?;
    let there = &crossing.lab.hosts[SPARE].namespace;
    there.ip(&format!("link add veth-moved type veth peer name eth0 netns {}", guest.name()))?;
    there.set("ipv6/conf/veth-moved/disable_ipv6", "1")?;
    guest.set("ipv6/conf/eth0/accept_dad", "0")?;
    guest.ip(&format!("link set eth0 address {} up", crossing.vm.mac))?;
    there.ip("link set veth-moved up")?;
    furnish(&crossing.vm)?;
    let control = &crossing.lab.control;
    control.unbind(&crossing.vm_port, &home)?;
    control.bind(&crossing.vm_port, &spare, "veth-moved")?;
    control.wait_active(&[&crossing.vm_port])?;
    wait_for("the new host was told", Duration::from_secs(10), || {
        Ok(crossing.metric(SPARE, "midonet_agent_state_copies", "")? >= 2.0)
    })?;
    assert_eq!(silent(&mut streams), [0_usize; 0], "they go on from the new host");
    let peers = server.peers();
    assert_eq!(peers.len(), 2, "the connections are those of the beginning: {peers:?}");
    assert!(comes_back(&mut dial(guest, FAR[0], 7000)?, 1000), "and there are new ones");
    Ok(())
}

/// A connection from outside to a port that stands for four: which one, the gateway decides that
/// the first packet enters by.
#[test]
fn a_connection_from_outside_stays_with_its_target_whichever_gateway_it_enters_by() -> Outcome {
    let crossing = Crossing::start("enters-elsewhere", 3)?;
    let mut servers = Vec::new();
    for port in 8080..8084 {
        servers.push(Server::start(&crossing.vm.namespace, port)?);
    }
    for (version, own) in ["10.0.1.11", "fd01::11"].into_iter().enumerate() {
        let inward = json!({ "type": "dnat", "nwDstAddress": SHARED[version], "nwProto": 6,
            "tpDst": { "start": 80, "end": 80 }, "flowAction": "accept" });
        let control = &crossing.lab.control;
        control.rule(&crossing.pre, &translating(inward, &[(own, own, 8080, 8083)]))?;
        let family = [0x0800, 0x86dd][version];
        let outward = json!({ "type": "rev_dnat", "dlType": family, "flowAction": "accept",
            "nwSrcAddress": own, "nwProto": 6, "tpSrc": { "start": 8080, "end": 8083 } });
        control.rule(&crossing.post, &outward)?;
    }
    let mut streams = Vec::new();
    for way in [1, 2] {
        crossing.answer_by(way)?;
        for nth in 0..16 {
            streams.push(dial(&crossing.far, SHARED[nth % 2], 80)?);
        }
    }
    assert_eq!(silent(&mut streams), [0_usize; 0]);
    for way in [1, 2, 1] {
        crossing.answer_by(way)?;
        assert_eq!(silent(&mut streams), [0_usize; 0], "all enter by gateway {way}");
    }
    let taken: Vec<usize> = servers.iter().map(|server| server.peers().len()).collect();
    assert_eq!(taken.iter().sum::<usize>(), 32, "{taken:?}");
    assert!(taken.iter().filter(|count| **count > 0).count() > 1, "{taken:?}");
    Ok(())
}
