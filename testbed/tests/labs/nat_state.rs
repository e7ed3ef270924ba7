//! What an agent remembers of translations: past its own death, and no longer than it is needed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use mn_testbed::{LabError, Namespace, Outcome, wait_for};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;

use crate::asked::{ask, number, says};
use crate::street::{FAR, SHARED, Street, translating};
use crate::talk::{Server, comes_back, dial, silent};

/// One address of the outside with so many ports, for all of the inside.
fn share_few_ports(street: &Street, from: u16, to: u16) -> Outcome {
    let what = json!({ "type": "snat", "outPorts": [street.up], "dlType": 0x0800 });
    street.after(&translating(what, &[(SHARED[0], SHARED[0], from, to)]))?;
    street.before(&json!({ "type": "rev_snat", "nwDstAddress": SHARED[0] })).map(drop)
}

/// Has the kernel reset the connection when it is closed.
fn closes_by_reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).expect("an option of a TCP socket");
}

/// Makes so many connections one after the other, and closes each; how many had to ask again, which
/// is done after a second.
fn connect_and_close(from: &Namespace, port: u16, count: usize, by_reset: bool) -> Outcome<usize> {
    let mut slow = 0;
    for nth in 0..count {
        let begun = Instant::now();
        let mut stream = dial(from, FAR[0], port)?;
        slow += usize::from(begun.elapsed() > Duration::from_millis(900));
        assert!(comes_back(&mut stream, 1), "connection {nth}");
        if by_reset {
            closes_by_reset(&stream);
        }
    }
    Ok(slow)
}

#[test]
fn a_thousand_translated_connections_outlive_the_agent() -> Outcome {
    let mut street = Street::start("nat-kill")?;
    street.share_one_address()?;
    let server = Server::start(&street.far, 7000)?;
    street.wait_reaches(0, FAR[0])?;
    let mut streams = Vec::new();
    for nth in 0..1000 {
        let far = FAR[usize::from(nth % 4 == 3)];
        let mut stream = dial(&street.vms[nth % 3].namespace, far, 7000)?;
        assert!(comes_back(&mut stream, 100), "connection {nth}");
        streams.push(stream);
    }
    // What is lost with the agent is what it was about to install.
    std::thread::sleep(Duration::from_millis(200));
    street.lab.process("hv0")?.kill();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(silent(&mut streams), [0_usize; 0], "they go on without an agent");
    street.lab.start_agent(0)?;
    assert_eq!(silent(&mut streams), [0_usize; 0], "the next agent takes them over");
    let mut last = serde_json::Value::Null;
    wait_for("every flow was decided about", Duration::from_secs(20), || {
        last = ask(&street.lab.hosts[0], "status")?;
        Ok(number(&last, "unverified") == 0 && number(&last, "adopted") >= 2000)
    })?;
    assert!(number(&last, "replaced") < 50, "{last}");
    for _ in 0..100 {
        streams.push(dial(&street.vms[0].namespace, FAR[0], 7000)?);
    }
    assert_eq!(silent(&mut streams), [0_usize; 0], "new ones disturb none");
    let peers = server.peers();
    let different: BTreeSet<_> = peers.iter().collect();
    assert_eq!((peers.len(), different.len()), (1100, 1100), "a port to one destination twice");
    Ok(())
}

#[test]
fn ports_of_connections_that_were_closed_or_reset_are_used_again() -> Outcome {
    let street = Street::start("nat-close")?;
    share_few_ports(&street, 6400, 6463)?;
    let server = Server::start(&street.far, 7000)?;
    street.wait_reaches(0, FAR[0])?;
    let mut living = dial(&street.vms[1].namespace, FAR[0], 7000)?;
    for by_reset in [false, true] {
        // One whose port was given again too soon, while the other side still waited, would.
        let slow = connect_and_close(&street.vms[0].namespace, 7000, 300, by_reset)?;
        assert!(slow < 10, "{slow} of 300 connections had to ask again");
    }
    assert!(comes_back(&mut living, 1000), "whose port was never closed keeps it");
    let own = living.local_addr().map_err(LabError::machine("an address"))?;
    let peers = server.peers();
    let of_living = peers[0];
    let again = peers.iter().filter(|peer| **peer == of_living).count();
    assert_eq!((peers.len(), again), (601, 1), "{own}");
    Ok(())
}

#[test]
fn translations_of_ended_connections_are_forgotten_and_those_half_closed_are_not() -> Outcome {
    let street = Street::start_with("nat-half", &["--nat-timeouts", "tcp-ended=2"])?;
    share_few_ports(&street, 1024, 65535)?;
    let far = street.far.enter(|| std::net::TcpListener::bind("0.0.0.0:7001"))?;
    let far = far.map_err(LabError::machine("listen on port 7001"))?;
    let _server = Server::start(&street.far, 7000)?;
    street.wait_reaches(0, FAR[0])?;
    let mut half = dial(&street.vms[0].namespace, FAR[0], 7001)?;
    let (mut its, _) = far.accept().map_err(LabError::machine("accept"))?;
    half.shutdown(Shutdown::Write).map_err(LabError::machine("close one side"))?;
    connect_and_close(&street.vms[1].namespace, 7000, 50, false)?;
    connect_and_close(&street.vms[1].namespace, 7000, 50, true)?;
    // What is left is the one that is half closed; echoes of the beginning stay for a minute.
    let host = &street.lab.hosts[0];
    wait_for("ended connections are forgotten", Duration::from_secs(15), || {
        Ok(says(host, "status", "translations")? <= 3)
    })?;
    its.write_all(b"late").map_err(LabError::machine("write"))?;
    let mut late = [0; 4];
    half.read_exact(&mut late).map_err(LabError::machine("read what came late"))?;
    assert_eq!(&late, b"late");
    Ok(())
}

#[test]
fn connections_to_one_place_from_one_address_go_on_beyond_its_ports() -> Outcome {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    let count = if long { 50_000 } else { 1_000 };
    let street = Street::start("nat-many")?;
    // In a short run as many ports for each connection as in a long one.
    if long {
        share_few_ports(&street, 1024, 65535)?
    } else {
        share_few_ports(&street, 6400, 7679)?
    };
    let _server = Server::start(&street.far, 7000)?;
    street.wait_reaches(0, FAR[0])?;
    let both: Vec<_> = [0, 2]
        .map(|vm| {
            let from = street.vms[vm].namespace.clone();
            std::thread::spawn(move || connect_and_close(&from, 7000, count, true))
        })
        .into();
    for thread in both {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}
