//! Connections that nobody uses end, those in use stay; fragments and errors are of theirs.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mn_testbed::{LabError, Outcome, Plan, wait_for};

use crate::asked::says;
use crate::cloud::{BACK0, Cloud, FRONT0, FRONT1};
use crate::connections::guard;

/// Connections are looked at every second.
const LOOKED_AT: Duration = Duration::from_secs(1);

fn bind(cloud: &Cloud, vm: usize) -> Outcome<UdpSocket> {
    let address = SocketAddr::new(cloud.v4(vm).parse().expect("an address"), 5300);
    let bound = cloud.vms[vm].namespace.enter(move || {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok::<_, std::io::Error>(socket)
    })?;
    bound.map_err(LabError::machine("bind a UDP socket"))
}

/// Whether what one sends arrives at the other.
fn passes(cloud: &Cloud, from: &UdpSocket, to: (&UdpSocket, usize)) -> Outcome<bool> {
    let address = format!("{}:5300", cloud.v4(to.1));
    from.send_to(b"said", address).map_err(LabError::machine("send"))?;
    Ok(to.0.recv(&mut [0; 16]).is_ok())
}

/// How many connections a host tracks.
fn tracked(cloud: &Cloud, host: usize) -> Outcome<u64> {
    says(&cloud.lab.hosts[host], "connections", "tracked")
}

#[test]
fn a_connection_in_use_stays_and_an_idle_one_ends_on_every_host() -> Outcome {
    let flags = ["--connection-timeouts", "udp=3,udp-stream=3,icmp=3,generic=3"];
    let cloud = Cloud::start_with(&Plan { agent: &flags, ..Plan::new("idle") })?;
    guard(&cloud)?;
    cloud.wait_reaches(FRONT1, &cloud.v4(FRONT0))?;
    let (mine, its) = (bind(&cloud, FRONT1)?, bind(&cloud, FRONT0)?);
    assert!(!passes(&cloud, &its, (&mine, FRONT1))?, "nobody asked yet");
    assert!(passes(&cloud, &mine, (&its, FRONT0))?);
    // In use for twice its time.
    for _ in 0..6 {
        assert!(passes(&cloud, &its, (&mine, FRONT1))?, "it is in use");
        std::thread::sleep(LOOKED_AT);
    }
    wait_for("both hosts have forgotten it", Duration::from_secs(12), || {
        Ok(tracked(&cloud, 0)? == 0 && tracked(&cloud, 1)? == 0)
    })?;
    assert!(!passes(&cloud, &its, (&mine, FRONT1))?, "it has ended");
    assert!(passes(&cloud, &mine, (&its, FRONT0))?, "and begins anew");
    assert!(passes(&cloud, &its, (&mine, FRONT1))?);
    Ok(())
}

#[test]
fn fragments_and_errors_from_outside_pass_with_their_connection_and_not_without() -> Outcome {
    let cloud = Cloud::start("fragments")?;
    guard(&cloud)?;
    for other in [FRONT0, BACK0] {
        cloud.wait_reaches(FRONT1, &cloud.v4(other))?;
        for to in [cloud.v4(other), cloud.v6(other)] {
            // Three fragments there, three back, later ones without an identifier.
            let large = cloud.vms[FRONT1].ping_with(&to, 3, &["-s", "4000"])?;
            assert!(large.is_whole(), "{to}: {large:?}");
        }
        let unasked = cloud.vms[other].ping_with(&cloud.v4(FRONT1), 2, &["-s", "4000"])?;
        assert_eq!(unasked.received, 0, "{unasked:?}");
        // Nobody listens there: the error about the datagram is an answer to it.
        let closed = bind(&cloud, FRONT1)?;
        closed.connect((cloud.v4(other).as_str(), 9)).map_err(LabError::machine("connect"))?;
        closed.send(b"anyone?").map_err(LabError::machine("send"))?;
        let refused = closed.recv(&mut [0; 16]).expect_err("nobody answers");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    }
    Ok(())
}
