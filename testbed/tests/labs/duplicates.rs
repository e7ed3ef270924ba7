//! Addresses that two machines claim: the host says so, and nobody loses its router.

use std::time::Duration;

use mn_packet::{Arp, Mac, ndp};
use mn_testbed::{LabError, Outcome, wait_for};

use crate::cloud::{Cloud, FRONT0, FRONT1};

const CLAIMER: Mac = Mac([2, 0xdd, 0, 0, 0, 1]);

#[test]
fn two_machines_with_one_address_and_one_with_its_router_s_are_named() -> Outcome {
    let cloud = Cloud::start("duplicates")?;
    let (wire, port) = cloud.lab.add_wire("claims", 0, &cloud.bridges[0])?;
    cloud.control().wait_active(&[&port])?;
    let (v4, v6) = (cloud.v4(FRONT0), cloud.v6(FRONT0));
    for to in ["10.1.1.1", "fd01:1::1", &v4, &v6] {
        cloud.wait_reaches(FRONT1, to)?;
    }
    cloud.wait_reaches(FRONT0, "10.1.1.1")?;
    let log = cloud.lab.directory().join("hv0.log");
    let router = ["10.1.1.1", "fd01:1::1"];
    for claimed in [router[0], router[1], &v4, &v6] {
        let frame = match claimed.parse().expect("an address") {
            std::net::IpAddr::V4(addr) => Arp::gratuitous(CLAIMER, addr).frame(),
            std::net::IpAddr::V6(addr) => ndp::announce(CLAIMER, addr, false),
        };
        wait_for(&format!("{claimed} is named"), Duration::from_secs(10), || {
            wire.send(&frame)?;
            std::thread::sleep(Duration::from_millis(200));
            let text = std::fs::read_to_string(&log).map_err(LabError::machine("read a log"))?;
            Ok(text.lines().any(|line| {
                line.contains("\"duplicate-address\"")
                    && line.contains(&format!("addr={claimed} "))
                    && line.contains(&format!("mac={CLAIMER}"))
            }))
        })?;
    }
    // Who asks for its router is told of its router, on both hosts.
    for vm in [FRONT0, FRONT1] {
        cloud.vms[vm].namespace.ip("neigh flush dev eth0")?;
        for to in router {
            cloud.assert_reaches(vm, to)?;
        }
    }
    Ok(())
}
