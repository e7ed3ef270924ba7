//! ICMP errors through translations find whom they are about, and quote what that had sent.

use std::io::ErrorKind;

use mn_testbed::{Outcome, Vm, finish};

use crate::street::{CORNER, FAR, FLOATING, NARROW, SHARED, Street};
use crate::talk::{IMPATIENCE, Server, comes_back, dial, is_answered, socket};

/// The hops that a traceroute with these flags shows.
fn traceroute(vm: &Vm, flags: &[&str], to: &str) -> Outcome<Vec<String>> {
    let mut command = vm.namespace.command("traceroute");
    command.args(["-n", "-q", "1", "-w", "3", "-m", "6"]).args(flags).arg(to);
    let text = finish(&mut command)?;
    let hops = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    Ok(hops.map(str::to_owned).collect())
}

#[test]
fn traceroute_sees_every_hop_through_a_translation_whatever_it_asks_with() -> Outcome {
    let street = Street::start("nat-traceroute")?;
    street.share_one_address()?;
    for floating in FLOATING {
        street.float(floating, 1)?;
    }
    for (version, router) in ["10.0.1.1", "fd01::1"].into_iter().enumerate() {
        let expected = [router, CORNER[version], FAR[version]];
        // The shared address, and the floating one.
        for vm in [0, 1] {
            street.wait_reaches(vm, FAR[version])?;
            for flags in [&[][..], &["-I"], &["-T", "-p", "80"]] {
                let hops = traceroute(&street.vms[vm], flags, FAR[version])?;
                assert_eq!(hops, expected, "vm{vm} {flags:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_closed_port_is_told_to_the_socket_that_asked_and_to_no_other() -> Outcome {
    let street = Street::start("nat-unreachable")?;
    street.share_one_address()?;
    let _open = Server::start(&street.far, 7000)?;
    for far in FAR {
        street.wait_reaches(0, far)?;
        let asks = |vm: usize, port| socket(&street.vms[vm].namespace, 5555, far, port);
        let (one, other) = (asks(0, 9)?, asks(1, 7000)?);
        assert!(is_answered(&other), "{far}");
        one.send(b"anyone").expect("a datagram");
        let refused = one.recv(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "{far}");
        assert!(is_answered(&other), "the neighbour of the same port heard nothing");
    }
    Ok(())
}

#[test]
fn a_packet_too_big_for_a_link_beyond_is_told_with_the_size_that_fits() -> Outcome {
    let street = Street::start("nat-too-big")?;
    street.share_one_address()?;
    let _server = Server::start(&street.far, 7000)?;
    for far in FAR {
        street.wait_reaches(0, far)?;
        let vm = &street.vms[0];
        // The answer may not be fragmented, and the echo that asks is too big.
        let larger = ["-M", "do", "-s", "1400"];
        assert_eq!(vm.ping_with(far, 2, &larger)?.received, 0);
        let route = vm.namespace.ip(&format!("route get {far}"))?;
        assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
        // A neighbour was told nothing.
        let route = street.vms[1].namespace.ip(&format!("route get {far}"))?;
        assert!(!route.contains("mtu"), "{route}");
        assert!(comes_back(&mut dial(&vm.namespace, far, 7000)?, 200_000));
    }
    Ok(())
}

#[test]
fn nobody_outside_reaches_a_machine_that_did_not_ask() -> Outcome {
    let street = Street::start("nat-uninvited")?;
    street.share_one_address()?;
    let inside = Server::start(&street.vms[0].namespace, 80)?;
    for (version, shared) in SHARED.into_iter().enumerate() {
        street.wait_reaches(0, FAR[version])?;
        assert!(!street.corner.connects(crate::talk::addr(shared), 80, IMPATIENCE)?);
        assert!(!is_answered(&socket(&street.far, 0, shared, 80)?));
        assert_eq!(street.corner.ping(shared, 2)?.received, 0);
    }
    assert_eq!(inside.peers(), []);
    Ok(())
}
