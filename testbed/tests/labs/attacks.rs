//! Attacks from a VM and from the underlay that must fail.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mn_testbed::{Arrivals, Attachment, Capture, LabError, Namespace, Outcome, Probe};

use crate::cloud::{BACK0, Cloud, FRONT0, FRONT1};

/// Sends a few datagrams from a namespace and returns without waiting for anything.
pub fn send(from: &Namespace, to: &str, payload: Vec<u8>) -> Outcome {
    let to: SocketAddr = to.parse().expect("an address of the test");
    let sent = from.enter(move || {
        let any: SocketAddr =
            if to.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
        let socket = UdpSocket::bind(any)?;
        for _ in 0..5 {
            // A refusal by ICMP makes the next send fail, which is as good as any other outcome.
            if socket.send_to(&payload, to).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok::<(), std::io::Error>(())
    })?;
    sent.map_err(LabError::machine(format!("send to {to}")))
}

/// A VXLAN header (RFC 7348 §5) with this key, and a frame from `source` to a VM: UDP to port
/// 7000 of 10.1.1.11, from 10.1.1.12.
pub fn forged(key: u32, to: &str, source: &str) -> Vec<u8> {
    let mac = |text: &str| -> Vec<u8> {
        text.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
    };
    let mut octets = vec![0x08, 0, 0, 0];
    octets.extend(&key.to_be_bytes()[1..]);
    octets.push(0);
    octets.extend(mac(to));
    octets.extend(mac(source));
    octets.extend([0x08, 0x00]);
    let payload = [0x5a; 18];
    let total = u8::try_from(20 + 8 + payload.len()).expect("a short packet");
    let mut ip = vec![0x45, 0, 0, total, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 1, 12, 10, 1, 1, 11];
    let sum = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16));
    ip[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
    octets.extend(ip);
    octets.extend([0x1b, 0x58, 0x1b, 0x58, 0, total - 20, 0, 0]);
    octets.extend(payload);
    octets
}

#[test]
fn a_vm_reaches_no_address_of_its_host() -> Outcome {
    let cloud = Cloud::start("host-addresses")?;
    let vm = &cloud.vms[FRONT0];
    let host = &cloud.lab.hosts[0].namespace;
    let index = host.ip(&format!("-o link show {}", vm.interface))?;
    assert!(!index.is_empty());
    // The VM believes that the underlay is on its own link, with the host's MAC.
    let link: serde_json::Value =
        serde_json::from_str(&host.ip(&format!("-j link show {}", vm.interface))?)
            .unwrap_or_default();
    let mac = link[0]["address"].as_str().unwrap_or_default().to_owned();
    vm.namespace.ip("addr add 10.66.0.200/24 dev eth0")?;
    for address in ["10.66.0.11", "10.66.0.12", "10.66.0.1"] {
        vm.namespace.ip(&format!("neigh replace {address} lladdr {mac} dev eth0"))?;
    }
    let capture = Capture::start(host, "uplink", "host 10.66.0.200", cloud.lab.directory())?;
    for address in ["10.66.0.11", "10.66.0.12", "10.66.0.1"] {
        assert_eq!(vm.ping(address, 2)?.received, 0, "{address}");
        send(&vm.namespace, &format!("{address}:6677"), forged(1, &vm.mac, &vm.mac))?;
    }
    send(&vm.namespace, "10.66.0.1:8181", b"GET / HTTP/1.1\r\n\r\n".to_vec())?;
    let seen = capture.stop()?;
    assert!(seen.is_empty(), "packets of the VM came to the underlay: {seen:#?}");
    // The host's own address as the VM's neighbour: nobody answers for it.
    vm.namespace.ip("neigh flush all")?;
    assert_eq!(vm.ping("10.66.0.11", 2)?.received, 0);
    Ok(())
}

#[test]
fn nothing_in_the_underlay_that_is_no_member_gets_a_packet_to_a_vm() -> Outcome {
    let mut cloud = Cloud::start("non-member")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    // A machine on the same wire as the hosts, with an address that is in no tunnel zone.
    let stranger = cloud.lab.namespace("stranger")?;
    let below = cloud.lab.underlay().clone();
    stranger.ip(&format!("link add uplink type veth peer name stranger netns {}", below.name()))?;
    below.ip("link set stranger master br0 up")?;
    stranger.ip("addr add 10.66.0.99/24 dev uplink")?;
    stranger.ip("link set uplink up")?;
    let vm = &cloud.vms[FRONT0];
    let to: SocketAddr = "10.1.1.11:7000".parse().expect("an address of the test");
    let arrivals = Arrivals::listen(&vm.namespace, to)?;
    let capture = Capture::start(&vm.namespace, "eth0", "udp port 7000", cloud.lab.directory())?;
    for key in 0..600 {
        send(&stranger, "10.66.0.11:6677", forged(key, &vm.mac, &cloud.vms[FRONT1].mac))?;
    }
    let seen = capture.stop()?;
    assert!(seen.is_empty(), "{seen:#?}");
    assert_eq!(arrivals.stop().damaged, 0);
    Ok(())
}

#[test]
fn an_interface_that_was_unbound_a_moment_ago_neither_sends_nor_receives() -> Outcome {
    let cloud = Cloud::start("unbound")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (probe, arrivals) = cloud.probe(FRONT0, FRONT1)?;
    std::thread::sleep(Duration::from_millis(300));
    cloud.control().unbind(&cloud.ports[FRONT0], &cloud.lab.host_id("hv0")?)?;
    std::thread::sleep(Duration::from_millis(150));
    let before = cloud.vms[FRONT1].namespace.packets("eth0")?.0;
    std::thread::sleep(Duration::from_millis(300));
    let after = cloud.vms[FRONT1].namespace.packets("eth0")?.0;
    let (sent, received) = (probe.stop(), arrivals.stop());
    assert!(after - before < 5, "{} packets came after the port was unbound", after - before);
    assert!(received.lost(sent) > 100, "{} of {sent} lost", received.lost(sent));
    cloud.assert_does_not_reach(FRONT1, &cloud.v4(FRONT0))?;
    // Nor does the host's own stack take what the VM still sends.
    assert_eq!(cloud.vms[FRONT0].ping("10.66.0.11", 1)?.received, 0);
    Ok(())
}

#[test]
fn an_interface_without_a_binding_gets_nothing_and_gives_nothing() -> Outcome {
    let mut cloud = Cloud::start("no-binding")?;
    let vm = cloud.lab.add_vm("extra", 0, Attachment::Veth)?;
    vm.address("10.1.1.20/24")?;
    let to: SocketAddr = "10.1.1.255:7000".parse().expect("an address of the test");
    let probe = Probe::start(&cloud.vms[BACK0].namespace, to, 100, Duration::from_millis(5));
    assert_eq!(vm.ping(&cloud.v4(FRONT0), 3)?.received, 0);
    let rest = vm.namespace.packets("eth0")?.0;
    assert!(rest < 5, "{rest} packets came to an interface without a binding");
    if let Ok(probe) = probe {
        probe.stop();
    }
    Ok(())
}
