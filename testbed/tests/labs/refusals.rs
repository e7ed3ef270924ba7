//! Rules that reject: who is turned away hears of it at once, and the way their programs expect.

use std::io::{Error, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mn_testbed::{Capture, LabError, Outcome};
use nix::errno::Errno;
use serde_json::json;

use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};
use crate::connections::{answers, connect, echo};
use crate::talk::socket;

/// No retransmission has been waited for: the first one comes after a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// A change is felt within so long of the API's answer.
const EFFECT: Duration = Duration::from_millis(100);

/// Who asks, by way of a bridge and of a router, on the same host and on the other.
const ASKERS: [usize; 3] = [FRONT0, BACK0, BACK1];

/// TCP and UDP to port 8080 are rejected.
fn reject(cloud: &Cloud, chain: &str) -> Outcome {
    for protocol in [6, 17] {
        let port = json!({ "start": 8080, "end": 8080 });
        let rule = json!({ "type": "reject", "nwProto": protocol, "tpDst": port });
        cloud.control().rule(chain, &rule)?;
    }
    Ok(())
}

/// What an administrator's refusal of a datagram is to a socket: ICMP 3/13 and ICMPv6 1/1.
fn prohibited(to: &str) -> Errno {
    if to.contains(':') { Errno::EACCES } else { Errno::EHOSTUNREACH }
}

/// A VM's TCP connection and datagram to port 8080 are refused at once; those to 8081 are served.
fn assert_refused(cloud: &Cloud, from: usize, to: &str) -> Outcome {
    let vm = &cloud.vms[from];
    let name = format!("{} to {to}", vm.name);
    let begun = Instant::now();
    let refused = connect(vm, to, 8080)?.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "{name}");
    assert!(begun.elapsed() < AT_ONCE, "{name} waited for {:?}", begun.elapsed());
    let datagrams = socket(&vm.namespace, 0, to, 8080)?;
    datagrams.send(b"anyone?").map_err(LabError::machine("send"))?;
    let told = datagrams.recv(&mut [0; 16]).expect_err("nobody answers");
    assert_eq!(told.raw_os_error(), Some(prohibited(to) as i32), "{name}: {told}");
    let mut served =
        connect(vm, to, 8081)?.map_err(LabError::machine(format!("connect {name}")))?;
    assert!(answers(&mut served), "{name}");
    Ok(())
}

#[test]
fn who_is_rejected_by_a_port_hears_of_it_at_once_wherever_it_is() -> Outcome {
    let cloud = Cloud::start("reject-port")?;
    for port in [8080, 8081] {
        echo(&cloud.vms[FRONT1], port)?;
    }
    let [v4, v6] = [cloud.v4(FRONT1), cloud.v6(FRONT1)];
    for from in ASKERS {
        cloud.wait_reaches(from, &v4)?;
        cloud.wait_reaches(from, &v6)?;
    }
    let mut before = connect(&cloud.vms[FRONT0], &v4, 8080)?.map_err(LabError::machine("dial"))?;
    assert!(answers(&mut before));
    let chain = cloud.guard(FRONT1)?;
    reject(&cloud, &chain)?;
    std::thread::sleep(EFFECT);
    for from in ASKERS {
        assert_refused(&cloud, from, &v4)?;
        assert_refused(&cloud, from, &v6)?;
    }
    // A connection from before the rule is reset, not left to time out.
    before.write_all(b"said").map_err(LabError::machine("write"))?;
    let reset = before.read(&mut [0; 4]).map_err(|error: Error| error.kind());
    assert_eq!(reset, Err(ErrorKind::ConnectionReset));
    Ok(())
}

#[test]
fn who_is_rejected_by_a_bridge_or_a_router_hears_it_from_where_it_was_turned_away() -> Outcome {
    let cloud = Cloud::start("reject-device")?;
    for vm in [FRONT1, BACK1] {
        for port in [8080, 8081] {
            echo(&cloud.vms[vm], port)?;
        }
    }
    for chain in ["bridge", "router"] {
        let of_bridge = chain == "bridge";
        let chain = cloud.control().chain(chain)?;
        reject(&cloud, &chain)?;
        let path = match of_bridge {
            true => format!("/bridges/{}", cloud.bridges[0]),
            false => format!("/routers/{}", cloud.router),
        };
        cloud.control().change(&path, &json!({ "inboundFilterId": chain }))?;
        std::thread::sleep(EFFECT);
        let to = if of_bridge { FRONT1 } else { BACK1 };
        // A bridge has no address: it answers for who was asked. A router speaks for itself.
        let said_by = if of_bridge { cloud.v4(FRONT1) } else { "10.1.1.1".to_owned() };
        let vm = &cloud.vms[FRONT0].namespace;
        cloud.wait_reaches(FRONT0, &cloud.v4(to))?;
        cloud.wait_reaches(FRONT0, &cloud.v6(to))?;
        let filter = "icmp[icmptype] == icmp-unreach";
        let capture = Capture::start(vm, "eth0", filter, cloud.lab.directory())?;
        assert_refused(&cloud, FRONT0, &cloud.v4(to))?;
        assert_refused(&cloud, FRONT0, &cloud.v6(to))?;
        let seen = capture.stop()?;
        let said = format!("{said_by} > {}:", cloud.v4(FRONT0));
        assert!(seen.len() == 1 && seen[0].contains(&said), "{said}: {seen:#?}");
        cloud.control().change(&path, &json!({ "inboundFilterId": null }))?;
        std::thread::sleep(EFFECT);
        let mut served = connect(&cloud.vms[FRONT0], &cloud.v4(to), 8080)?
            .map_err(LabError::machine("connect when nothing is rejected any more"))?;
        assert!(answers(&mut served));
    }
    Ok(())
}
