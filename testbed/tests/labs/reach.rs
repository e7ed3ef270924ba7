//! Who reaches whom: on a bridge, through the router, between hosts, in both IP versions.

use mn_testbed::{Attachment, Capture, Outcome};

use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

#[test]
fn vms_reach_each_other_on_a_bridge_and_through_the_router_on_one_host_and_on_two() -> Outcome {
    let cloud = Cloud::start("reach")?;
    for from in [FRONT0, FRONT1, BACK0, BACK1] {
        for to in [FRONT0, FRONT1, BACK0, BACK1].into_iter().filter(|&to| to != from) {
            cloud.assert_reaches(from, &cloud.v4(to))?;
            cloud.assert_reaches(from, &cloud.v6(to))?;
        }
    }
    cloud.assert_reaches(FRONT0, "10.1.1.1")?;
    cloud.assert_reaches(FRONT0, "10.1.2.1")?;
    cloud.assert_reaches(BACK1, "fd01:2::1")?;
    Ok(())
}

#[test]
fn traceroute_shows_the_router_once_by_the_address_of_the_port_where_packets_enter() -> Outcome {
    let cloud = Cloud::start("traceroute")?;
    let hops = cloud.vms[FRONT0].traceroute(&cloud.v4(BACK1))?;
    assert_eq!(hops, ["10.1.1.1".to_owned(), cloud.v4(BACK1)]);
    let hops = cloud.vms[BACK1].traceroute(&cloud.v6(FRONT0))?;
    assert_eq!(hops, ["fd01:2::1".to_owned(), cloud.v6(FRONT0)]);
    assert_eq!(cloud.vms[FRONT0].traceroute(&cloud.v4(FRONT1))?, [cloud.v4(FRONT1)]);
    Ok(())
}

#[test]
fn streams_of_large_segments_cross_the_tunnel_in_both_ip_versions() -> Outcome {
    let cloud = Cloud::start("streams")?;
    let pairs = [(FRONT0, FRONT1), (FRONT0, BACK0), (FRONT0, BACK1), (BACK1, FRONT0)];
    for (from, to) in pairs {
        for address in [cloud.v4(to), cloud.v6(to)] {
            let stream = cloud.vms[from].stream_to(&cloud.vms[to], &address, 1)?;
            let rate = stream.gigabits_per_second;
            assert!(rate > 0.1, "{} to {address}: {rate} Gbit/s", cloud.vms[from].name);
        }
    }
    Ok(())
}

#[test]
fn between_hosts_packets_of_vms_are_seen_only_inside_the_tunnel() -> Outcome {
    let cloud = Cloud::start("tunnel")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let host = &cloud.lab.hosts[0].namespace;
    let capture = Capture::start(host, "uplink", "not tcp and not arp", cloud.lab.directory())?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let seen = capture.stop()?;
    let tunnelled = seen.iter().filter(|line| line.contains(".6677: ")).count();
    let bare: Vec<&String> =
        seen.iter().filter(|l| l.contains("10.1.1.") && !l.contains(".6677: ")).collect();
    assert!(tunnelled >= 6, "{seen:#?}");
    assert!(bare.is_empty(), "{bare:#?}");
    Ok(())
}

#[test]
fn a_whole_ethernet_frame_fits_the_tunnel_and_a_larger_packet_is_refused_with_the_size_that_fits()
-> Outcome {
    let cloud = Cloud::start("sizes")?;
    let whole = ["-M", "do", "-s", "1472"];
    assert!(cloud.vms[FRONT0].ping_with(&cloud.v4(BACK1), 3, &whole)?.is_whole());
    // The tunnel of an underlay of 1600 carries 1550: a VM that believes in more is told.
    cloud.vms[FRONT0].namespace.ip("link set eth0 mtu 1600")?;
    let interface = &cloud.vms[FRONT0].interface;
    cloud.lab.hosts[0].namespace.ip(&format!("link set {interface} mtu 1600"))?;
    let larger = ["-M", "do", "-s", "1560"];
    assert_eq!(cloud.vms[FRONT0].ping_with(&cloud.v4(BACK1), 2, &larger)?.received, 0);
    let route = cloud.vms[FRONT0].namespace.ip(&format!("route get {}", cloud.v4(BACK1)))?;
    assert!(route.contains("mtu 1550"), "{route}");
    Ok(())
}

#[test]
fn tenants_with_the_same_addresses_do_not_meet() -> Outcome {
    let mut cloud = Cloud::start("tenants")?;
    let other = cloud.control().bridge("front")?;
    assert_ne!(other, cloud.bridges[0]);
    let mut strangers = Vec::new();
    for host in 0..2 {
        let vm = cloud.lab.add_vm(&format!("stranger{host}"), host, Attachment::Veth)?;
        vm.address(&format!("10.1.1.{}/24", 11 + host))?;
        vm.gateway("10.1.1.1")?;
        let port = cloud.lab.plug(&vm, host, &other)?;
        cloud.control().wait_active(&[&port])?;
        strangers.push(vm);
    }
    assert!(strangers[0].ping("10.1.1.12", 5)?.is_whole());
    let seen = |cloud: &Cloud| cloud.vms[FRONT1].namespace.packets("eth0").map(|(rx, _)| rx);
    let before = seen(&cloud)?;
    assert!(strangers[0].ping("10.1.1.12", 20)?.is_whole());
    assert_eq!(strangers[0].ping(&cloud.v4(BACK1), 2)?.received, 0);
    let came = seen(&cloud)? - before;
    assert!(came < 5, "{came} packets came to the first tenant's VM of the same address");
    Ok(())
}
