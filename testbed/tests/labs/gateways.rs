//! Connections that leave by one gateway and are answered by the other: what hosts tell one
//! another of them, on a wire that is good or bad (contracts §6).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mn_testbed::{Impairment, LabError, Namespace, Outcome, Trouble};

use crate::crossing::Crossing;
use crate::street::{FAR, SHARED};
use crate::talk::{PATIENCE, Server, addr};

/// Where agents tell one another of connections.
pub const STATE_PORT: u16 = 6688;
/// Between two connections that are begun one after the other: the programs are built without
/// optimization, and no more of them than the machine can serve are to wait for it.
const PAUSE: Duration = Duration::from_millis(4);
/// So many connections are begun side by side.
const ABREAST: usize = 4;

/// So many connections there are at the same time.
const AT_ONCE: usize = 200;

/// A connection, and how long the first answer took.
type Begun = (TcpStream, Duration);

/// Begins so many connections, some at a time.
fn begin(from: &Namespace, to: SocketAddr, count: usize) -> Outcome<Vec<Begun>> {
    let threads: Vec<_> = (0..ABREAST)
        .map(|_| {
            let from = from.clone();
            std::thread::spawn(move || {
                let each = move || {
                    (0..count / ABREAST).map(|_| dial_timed(to)).collect::<std::io::Result<_>>()
                };
                from.enter(each)?.map_err(LabError::machine(format!("connect to {to}")))
            })
        })
        .collect();
    let mut all: Vec<Begun> = Vec::new();
    for thread in threads {
        all.extend::<Vec<Begun>>(thread.join().expect("no thread panics")?);
    }
    Ok(all)
}

fn dial_timed(to: SocketAddr) -> std::io::Result<Begun> {
    let begun = Instant::now();
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    let took = begun.elapsed();
    std::thread::sleep(PAUSE);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok((stream, took))
}

/// Has each say who it is and hear just that: whether every one did.
fn each_hears_itself(streams: &mut [Begun]) -> bool {
    let name = |nth: usize| format!("connection {nth:9}");
    for (nth, (stream, _)) in streams.iter_mut().enumerate() {
        if stream.write_all(name(nth).as_bytes()).is_err() {
            return false;
        }
    }
    streams.iter_mut().enumerate().all(|(nth, (stream, _))| {
        let mut heard = vec![0; name(nth).len()];
        stream.read_exact(&mut heard).is_ok() && heard == name(nth).as_bytes()
    })
}

/// The network that must be stood: 30 % of state messages are lost, 10 % come twice, and each is up to
/// 50 ms late by its own; answers race them.
#[test]
fn over_a_bad_network_answers_by_the_other_gateway_are_translated_and_in_time() -> Outcome {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    let count = if long { 10_000 } else { 400 };
    let crossing = Crossing::start("bad-net", 3)?;
    let bad = Impairment::start(&crossing.lab, STATE_PORT)?;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::process::id().into());
    bad.trouble(Trouble { lost: 30, twice: 10, late: Duration::from_millis(50), seed });
    println!("seed {seed}");
    let mut took = Vec::new();
    for (version, far) in FAR.into_iter().enumerate() {
        let port = 7000 + version as u16;
        let server = Server::start(&crossing.far, port)?;
        let to = SocketAddr::new(addr(far), port);
        let mut heard_of = 0;
        for _ in 0..count / 2 / AT_ONCE {
            let mut begun = begin(&crossing.vm.namespace, to, AT_ONCE)?;
            assert!(each_hears_itself(&mut begun), "none is reset or another's: seed {seed}");
            let peers = server.peers();
            let new: BTreeSet<_> = peers[heard_of..].iter().collect();
            assert_eq!(new.len(), begun.len(), "each has a port of its own");
            assert!(new.iter().all(|peer| peer.ip() == addr(SHARED[version])), "{new:?}");
            heard_of = peers.len();
            took.extend(begun.iter().map(|(_, took)| *took));
            drop(begun);
            // What ends all at once is decided about before others begin.
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    took.sort();
    let late = took.iter().filter(|took| **took > Duration::from_millis(30)).count();
    let at = |hundredth: usize| took[took.len() * hundredth / 100];
    let (half, most, last) = (at(50), at(99), took[took.len() - 1]);
    println!("{late} of {} answers took more than 30 ms: {half:?}, {most:?}, {last:?}", took.len());
    // A machine that is busy with other tests makes some late. Without what is done against such
    // a network three of four would be.
    let may_be_late = took.len() / if long { 100 } else { 4 };
    assert!(late <= may_be_late, "{late} of {} were late: seed {seed}", took.len());
    Ok(())
}
