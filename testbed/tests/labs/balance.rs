//! Load balancing on real packets over two hosts: asked on either, served on either.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use mn_testbed::{Outcome, wait_for};
use serde_json::json;

use crate::asked::{ask, number};
use crate::cloud::{FRONT0, FRONT1};
use crate::shop::{PORT, Shop, VIP};
use crate::street::translating;
use crate::talk::{addr, comes_back, dial, is_answered, silent, socket};

#[test]
fn connections_go_to_members_on_both_hosts_and_answers_come_from_the_virtual_address() -> Outcome {
    let shop = Shop::open("lb", "TCP", &json!({}))?;
    for client in [FRONT0, FRONT1] {
        shop.wait_open(client)?;
        for version in [0, 1] {
            let shares = shop.shares(client, version, 40)?;
            // By chance 20 each; less than 4 once in a hundred million times.
            assert!(shares.iter().all(|share| *share >= 4), "{client} {version}: {shares:?}");
        }
        // It is itself that the servers see; that is asked above. And much goes through.
        let mut stream = shop.asks(client, 0)?;
        assert!(comes_back(&mut stream, 2_000_000));
    }
    // One member has three quarters.
    shop.set_member(0, &json!({ "weight": 9 }))?;
    wait_for("the weight tells", Duration::from_secs(15), || {
        let [first, second] = shop.shares(FRONT0, 0, 40)?;
        Ok(first > 3 * second)
    })
}

#[test]
fn datagrams_are_balanced_and_a_client_s_port_stays_with_its_member() -> Outcome {
    let shop = Shop::open("lb-udp", "UDP", &json!({}))?;
    for (client, first_port) in [(FRONT0, 5000), (FRONT1, 6000)] {
        for version in [0, 1] {
            let warm =
                socket(&shop.cloud.vms[client].namespace, first_port - 1, VIP[version], PORT)?;
            wait_for("datagrams are answered", Duration::from_secs(15), || Ok(is_answered(&warm)))?;
            let source = first_port + 100 * version as u16;
            for nth in 0..12 {
                let own =
                    socket(&shop.cloud.vms[client].namespace, source + nth, VIP[version], PORT)?;
                for _ in 0..4 {
                    assert!(is_answered(&own), "version {version}, port {}", source + nth);
                }
            }
            let mine = |peer: &&SocketAddr| (source..source + 12).contains(&peer.port());
            let ports = |server: usize| -> Vec<u16> {
                shop.servers[server].peers().iter().filter(mine).map(SocketAddr::port).collect()
            };
            let (at_first, at_second) = (ports(0), ports(1));
            assert!(!at_first.is_empty() && !at_second.is_empty(), "both have some");
            assert!(!at_first.iter().any(|port| at_second.contains(port)), "no port has two");
        }
    }
    Ok(())
}

#[test]
fn a_drained_member_keeps_its_connections_and_one_that_is_deleted_loses_them() -> Outcome {
    let shop = Shop::open("lb-drain", "TCP", &json!({}))?;
    shop.wait_open(FRONT0)?;
    let (mut at_first, mut at_second) = (Vec::new(), Vec::new());
    while at_first.len() < 5 || at_second.len() < 5 {
        let mut stream = shop.asks(FRONT0, 0)?;
        assert!(comes_back(&mut stream, 10));
        let list = match shop.server_of(&stream)? {
            Some(0) => &mut at_first,
            _ => &mut at_second,
        };
        list.push(stream);
    }
    shop.set_member(0, &json!({ "adminStateUp": false }))?;
    shop.wait_spared(FRONT0, 0, 0)?;
    assert_eq!(silent(&mut at_first), [0_usize; 0], "it is drained and keeps them");
    shop.set_member(0, &json!({ "adminStateUp": true }))?;
    wait_for("it gets new ones again", Duration::from_secs(15), || {
        Ok(shop.shares(FRONT0, 0, 12)?[0] > 0)
    })?;
    shop.cloud.control().rest().delete(&format!("/pool_members/{}", shop.members[0][0]))?;
    shop.wait_spared(FRONT0, 0, 0)?;
    // What they say ends at the other member, which knows nothing of them and says so.
    for stream in &mut at_first {
        assert!(!comes_back(stream, 10), "its member is gone");
        let ended = stream.read(&mut [0; 16]);
        let by_reset =
            matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(
            by_reset || matches!(ended, Ok(0)),
            "told at once, and not left to wait: {ended:?}"
        );
    }
    assert_eq!(silent(&mut at_second), [0_usize; 0], "the others never noticed");
    // With nobody left they are dropped, and that is counted by its name.
    shop.set_member(1, &json!({ "adminStateUp": false }))?;
    wait_for("nobody takes connections", Duration::from_secs(15), || {
        let now = shop.cloud.vms[FRONT0].namespace.enter(|| {
            let to = SocketAddr::new(addr(VIP[0]), PORT);
            std::net::TcpStream::connect_timeout(&to, Duration::from_millis(700)).is_err()
        })?;
        Ok(now)
    })?;
    // The machine in front is on the first host; its worker says what it dropped once a second.
    wait_for("what is dropped is counted", Duration::from_secs(10), || {
        let counters = ask(&shop.cloud.lab.hosts[0], "counters")?;
        let mut drops = counters["drops"].as_array().into_iter().flatten();
        Ok(drops.any(|drop| drop["cause"] == "no-pool-member"))
    })?;
    assert_eq!(silent(&mut at_second), [0_usize; 0], "drained, it keeps what it has");
    Ok(())
}

#[test]
fn balanced_connections_outlive_the_agents_of_both_hosts() -> Outcome {
    let mut shop = Shop::open("lb-kill", "TCP", &json!({}))?;
    let mut streams = Vec::new();
    for client in [FRONT0, FRONT1] {
        shop.wait_open(client)?;
        for nth in 0..40 {
            let mut stream = shop.asks(client, nth % 2)?;
            assert!(comes_back(&mut stream, 100), "connection {nth}");
            streams.push(stream);
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    for host in [0, 1] {
        shop.cloud.lab.process(&format!("hv{host}"))?.kill();
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(silent(&mut streams), [0_usize; 0], "they go on without agents");
    for host in [0, 1] {
        shop.cloud.lab.start_agent(host)?;
    }
    assert_eq!(silent(&mut streams), [0_usize; 0], "the next agents take them over");
    for host in [0, 1] {
        wait_for("every flow was decided about", Duration::from_secs(20), || {
            let status = ask(&shop.cloud.lab.hosts[host], "status")?;
            Ok(number(&status, "unverified") == 0 && number(&status, "adopted") > 0)
        })?;
    }
    assert_eq!(silent(&mut streams), [0_usize; 0], "decided about anew they go where they went");
    shop.wait_open(FRONT0)
}

#[test]
fn a_client_stays_with_its_member_whichever_connection_it_makes() -> Outcome {
    let shop = Shop::open("lb-sticky", "TCP", &json!({ "sessionPersistence": "SOURCE_IP" }))?;
    for client in [FRONT0, FRONT1] {
        shop.wait_open(client)?;
        let mut shares = shop.shares(client, 0, 20)?;
        shares.sort_unstable();
        assert_eq!(shares, [0, 20], "all go to one");
    }
    // Its member is drained: the client is the other's from then on.
    let of = |shares: [usize; 2]| usize::from(shares[1] > 0);
    let first = of(shop.shares(FRONT0, 0, 1)?);
    shop.set_member(first, &json!({ "adminStateUp": false }))?;
    shop.wait_spared(FRONT0, 0, first)?;
    shop.set_member(first, &json!({ "adminStateUp": true }))?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(of(shop.shares(FRONT0, 0, 10)?), 1 - first);
    assert_eq!(shop.shares(FRONT0, 0, 10)?[first], 0, "also when the first is back");
    Ok(())
}

#[test]
fn the_router_s_filters_and_a_floating_address_go_together_with_balancing() -> Outcome {
    const FLOATING: &str = "192.0.2.7";
    let shop = Shop::open("lb-float", "TCP", &json!({}))?;
    shop.wait_open(FRONT0)?;
    let control = shop.cloud.control();
    let (pre, post) = (control.chain("pre")?, control.chain("post")?);
    let accepted = |mut rule: serde_json::Value| {
        rule["flowAction"] = json!("accept");
        rule
    };
    let to_vip = json!({ "type": "dnat", "nwDstAddress": FLOATING });
    control.rule(&pre, &accepted(translating(to_vip, &[(VIP[0], VIP[0], 0, 0)])))?;
    let refused = json!({ "type": "drop", "nwSrcAddress": shop.cloud.v4(FRONT1), "tpDst": { "start": PORT, "end": PORT }, "nwProto": 6, "dlType": 0x0800 });
    control.rule(&pre, &refused)?;
    // Who asked the virtual address itself is answered by that, and the others by the floating one.
    let from_vip = json!({ "type": "snat", "nwSrcAddress": VIP[0] });
    control.rule(&post, &accepted(translating(from_vip, &[(FLOATING, FLOATING, 0, 0)])))?;
    let filters = json!({ "inboundFilterId": pre, "outboundFilterId": post });
    control.change(&format!("/routers/{}", shop.cloud.router), &filters)?;
    wait_for("the floating address is answered", Duration::from_secs(15), || {
        let from = &shop.cloud.vms[FRONT0].namespace;
        Ok(comes_back(&mut dial(from, FLOATING, PORT)?, 100_000))
    })?;
    let refused = shop.cloud.vms[FRONT1].namespace.enter(|| {
        let to = SocketAddr::new(addr(VIP[0]), PORT);
        std::net::TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_err()
    });
    assert!(refused?, "the filter sees what is balanced");
    let mut other = shop.asks(FRONT1, 1)?;
    assert!(comes_back(&mut other, 100), "and what it does not match is balanced");
    Ok(())
}
