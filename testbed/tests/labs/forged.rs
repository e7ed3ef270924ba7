//! State messages on the wire that no host of the zone has sent like this (contracts §6).

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use mn_packet::{IpProtocol, UdpHeader, ip_packet};
use mn_testbed::{Impairment, LabError, Outcome, Passed, wait_for};

use crate::crossing::{Crossing, GATEWAYS, HOME};
use crate::gateways::STATE_PORT;
use crate::street::FAR;
use crate::talk::{Server, addr, comes_back, dial};

/// What tells a message with records: the sixth octet of a datagram.
const RECORDS: u8 = 1;

/// A datagram like this one with another payload, from this address.
fn instead(of: &Passed, from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let ports = UdpHeader { src: STATE_PORT, dst: STATE_PORT };
    let packet = ip_packet(from, to, 64, IpProtocol::UDP, &ports.datagram(from, to, payload));
    [&of.frame[..14], &packet].concat()
}

#[test]
fn what_is_forged_said_again_or_too_long_on_the_wire_changes_nothing_and_is_counted() -> Outcome {
    let crossing = Crossing::start("forged", 3)?;
    let wire = Impairment::start(&crossing.lab, STATE_PORT)?;
    let _server = Server::start(&crossing.far, 7000)?;
    let mut stream = dial(&crossing.vm.namespace, FAR[0], 7000)?;
    assert!(comes_back(&mut stream, 1000));
    let victim = GATEWAYS[1];
    let tape = wire.take_tape();
    let tells = |it: &&Passed| (it.from, it.to, it.payload()[5]) == (HOME, victim, RECORDS);
    let real = tape.iter().rfind(tells).expect("the gateway was told");
    let host = |at: usize| addr(&crossing.lab.hosts[at].address);
    let (from, to) = (host(HOME), host(victim));
    let mut changed = real.payload().to_vec();
    changed[70] ^= 1;
    let attacks = [
        ("replayed", real.frame.clone()),
        ("forged", instead(real, from, to, &changed)),
        ("forged", instead(real, host(GATEWAYS[0]), to, real.payload())),
        ("oversized", instead(real, from, to, &[0; 1500])),
        ("malformed", instead(real, from, to, &[7; 100])),
        ("stranger", instead(real, addr("10.66.0.99"), to, real.payload())),
    ];
    let copies = crossing.metric(victim, "midonet_agent_state_copies", "")?;
    assert!(copies > 0.0, "{copies}");
    let refused = |cause| crossing.metric(victim, "midonet_agent_state_refused_total", cause);
    for (cause, frame) in attacks {
        let before = refused(cause)?;
        wire.deliver(victim, &frame)?;
        wait_for(cause, Duration::from_secs(5), || Ok(refused(cause)? > before))?;
    }
    // And who speaks as itself, but is no host of the zone.
    let before = refused("stranger")?;
    let stranger = move || {
        UdpSocket::bind(("10.66.0.1", 0))?.send_to(b"let me in", (to, STATE_PORT)).map(drop)
    };
    crossing.lab.underlay().enter(stranger)?.map_err(LabError::machine("send a datagram"))?;
    wait_for("stranger", Duration::from_secs(5), || Ok(refused("stranger")? > before))?;
    assert_eq!(crossing.metric(victim, "midonet_agent_state_copies", "")?, copies);
    assert!(comes_back(&mut stream, 1000), "it goes on");
    assert!(comes_back(&mut dial(&crossing.vm.namespace, FAR[0], 7000)?, 1000), "and so do others");
    Ok(())
}
