//! VXLAN inside anything: whatever a VM or a stranger wraps, only a member's own packet to the
//! tunnels' port is one of the tunnel's, and only once.
//!
//! Each attack carries a frame that a VM would take, under the true key of the VM's port; the first
//! story shows that it is the wrapping alone that fails.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mn_testbed::{Capture, LabError, Namespace, Outcome, wait_for};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use crate::asked::{ask, number};
use crate::attacks::{forged, send};
use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

/// Sends something that must not arrive.
type Attempt = Box<dyn FnOnce() -> Outcome>;

/// The tunnels' port, and the one that everybody else has.
const PORTS: [u16; 2] = [6677, 4789];
const HV0: [u8; 4] = [10, 66, 0, 11];
const HV1: [u8; 4] = [10, 66, 0, 12];

/// The key that hv0 delivers to a VM's port by.
fn key_of(cloud: &Cloud, vm: usize) -> Outcome<u32> {
    let path = cloud.lab.hosts[vm % 2].root.join("numbers.json");
    let text = std::fs::read_to_string(path).map_err(LabError::machine("read an agent's file"))?;
    let numbers: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| LabError::unexpected(text, e.to_string()))?;
    let key = numbers["ports"][&cloud.ports[vm]]["key"].as_u64();
    Ok(u32::try_from(key.expect("a key of the port")).expect("24 bits"))
}

/// The attack on the VM front0.
fn attack(cloud: &Cloud) -> Outcome<Vec<u8>> {
    let key = key_of(cloud, FRONT0)?;
    Ok(forged(key, &cloud.vms[FRONT0].mac, &cloud.vms[FRONT1].mac))
}

/// How many of the attack's frames the VM got while something was done.
fn delivered(cloud: &Cloud, what: impl FnOnce() -> Outcome) -> Outcome<usize> {
    let vm = &cloud.vms[FRONT0].namespace;
    let filter = "src host 10.1.1.12 and udp dst port 7000";
    let capture = Capture::start(vm, "eth0", filter, cloud.lab.directory())?;
    what()?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(capture.stop()?.len())
}

/// A UDP datagram.
fn udp(to: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("short");
    [&[0x77, 0x77][..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// An IPv4 packet. The kernel computes its checksum where it sends it as it is.
fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).expect("short").to_be_bytes();
    let mut header = vec![0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    header.extend(from);
    header.extend(to);
    let sum =
        header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16));
    header[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
    header.extend(payload);
    header
}

/// Sends IPv4 packets as they are, five times each.
fn send_raw(from: &Namespace, to: [u8; 4], packets: Vec<Vec<u8>>) -> Outcome {
    let sent = from.enter(move || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::Raw;
        let socket = socket(AddressFamily::Inet, SockType::Raw, flags, protocol)?;
        let [a, b, c, d] = to;
        let to = SockaddrIn::new(a, b, c, d, 0);
        for packet in packets.iter().cycle().take(5 * packets.len()) {
            sendto(std::os::fd::AsRawFd::as_raw_fd(&socket), packet, &to, MsgFlags::empty())?;
        }
        Ok::<(), nix::errno::Errno>(())
    })?;
    sent.map_err(LabError::machine("send raw packets"))
}

#[test]
fn only_a_members_own_packet_to_the_tunnels_port_is_one_of_the_tunnel() -> Outcome {
    let cloud = Cloud::start("vxlan-underlay")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (attack, member) = (attack(&cloud)?, cloud.lab.hosts[1].namespace.clone());
    let true_one = delivered(&cloud, || send(&member, "10.66.0.11:6677", attack.clone()))?;
    assert_eq!(true_one, 5, "from a member, to the tunnels' port: this is how members speak");
    let underlay = cloud.lab.underlay();
    let (wrapped, tunnels) = (udp(6677, &attack), udp(6677, &attack));
    let greeted = [&[0, 0, 0x65, 0x58][..], &[0; 14], &attack].concat();
    let inside = |protocol, payload: &[u8]| ipv4(HV1, HV0, protocol, payload);
    let attempts: [(&str, Attempt); 6] = [
        ("from the cluster's address, no member", {
            let (underlay, attack) = (underlay.clone(), attack.clone());
            Box::new(move || send(&underlay, "10.66.0.11:6677", attack))
        }),
        ("to the port of others", {
            let (member, attack) = (member.clone(), attack.clone());
            Box::new(move || send(&member, "10.66.0.11:4789", attack))
        }),
        ("in IP in IP", {
            let packet = inside(4, &ipv4(HV1, HV0, 17, &tunnels));
            let member = member.clone();
            Box::new(move || send_raw(&member, HV0, vec![packet]))
        }),
        ("in GRE", {
            let packet = inside(47, &greeted);
            let member = member.clone();
            Box::new(move || send_raw(&member, HV0, vec![packet]))
        }),
        ("as UDP-Lite", {
            let packet = inside(136, &wrapped);
            let member = member.clone();
            Box::new(move || send_raw(&member, HV0, vec![packet]))
        }),
        ("as TCP", {
            let header = [&[0x77, 0x77, 0x1a, 0x15][..], &[0; 8], &[0x50, 2, 0xff, 0xff], &[0; 4]];
            let packet = inside(6, &[&header.concat()[..], &attack].concat());
            let member = member.clone();
            Box::new(move || send_raw(&member, HV0, vec![packet]))
        }),
    ];
    for (what, attempt) in attempts {
        assert_eq!(delivered(&cloud, attempt)?, 0, "{what}");
    }
    Ok(())
}

#[test]
fn a_members_packet_to_an_address_of_the_host_that_is_no_tunnels_is_refused_and_counted() -> Outcome
{
    let cloud = Cloud::start("vxlan-address")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (attack, member) = (attack(&cloud)?, cloud.lab.hosts[1].namespace.clone());
    let host = &cloud.lab.hosts[0];
    host.namespace.ip("addr add 10.66.0.211/24 dev uplink")?;
    let refused = || -> Outcome<u64> {
        let counters = ask(host, "counters")?;
        let drops = counters["drops"].as_array().cloned().unwrap_or_default();
        let refused = drops.iter().filter(|drop| drop["cause"] == "tunnel-other-address");
        Ok(refused.map(|drop| number(drop, "packets")).sum())
    };
    assert_eq!(refused()?, 0);
    let other = delivered(&cloud, || send(&member, "10.66.0.211:6677", attack.clone()))?;
    assert_eq!((other, refused()?), (0, 5), "to another address of the host");
    let true_one = delivered(&cloud, || send(&member, "10.66.0.11:6677", attack.clone()))?;
    assert_eq!((true_one, refused()?), (5, 5), "to the tunnel's address");
    Ok(())
}

#[test]
fn a_tunnelled_packet_in_a_tunnelled_packet_is_unwrapped_once() -> Outcome {
    let cloud = Cloud::start("vxlan-nested")?;
    cloud.assert_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let (attack, member) = (attack(&cloud)?, &cloud.lab.hosts[1].namespace);
    let mac = |text: &str| -> Vec<u8> {
        text.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
    };
    // To the VM back0, a frame with a packet for its host's address in the underlay.
    let packet = ipv4(HV1, HV0, 17, &udp(6677, &attack));
    let macs = [mac(&cloud.vms[BACK0].mac), mac(&cloud.vms[FRONT1].mac)].concat();
    let key = key_of(&cloud, BACK0)?.to_be_bytes();
    let outer = [&[8, 0, 0, 0][..], &key[1..], &[0], &macs, &[8, 0], &packet].concat();
    let back = &cloud.vms[BACK0].namespace;
    let capture = Capture::start(back, "eth0", "udp dst port 6677", cloud.lab.directory())?;
    let inner = delivered(&cloud, || send(member, "10.66.0.11:6677", outer))?;
    assert_eq!(capture.stop()?.len(), 5, "the outer key's VM gets what is in the outer packet");
    assert_eq!(inner, 0, "and nobody unwraps that again");
    Ok(())
}

#[test]
fn what_a_vm_wraps_stays_wrapped() -> Outcome {
    let cloud = Cloud::start("vxlan-vm")?;
    for to in [FRONT0, BACK1] {
        cloud.assert_reaches(FRONT1, &cloud.v4(to))?;
    }
    let attack = attack(&cloud)?;
    let vm = &cloud.vms[FRONT1];
    // An address like the underlay's in the virtual network, at another VM.
    let back = &cloud.vms[BACK1];
    back.address("10.66.0.11/32")?;
    let ports = cloud.control().rest().get(&format!("/routers/{}/ports", cloud.router))?;
    let toward_back = ports.as_array().and_then(|ports| {
        ports.iter().find(|port| port["portAddress"] == "10.1.2.1")?["id"].as_str()
    });
    let toward_back = toward_back.expect("the router's port of the network").to_owned();
    let network = ("10.66.0.11", 32);
    let gateway = Some("10.1.2.12");
    cloud.control().route(&cloud.router, "0.0.0.0", network, &toward_back, gateway)?;
    wait_for("the address is reached through the router", Duration::from_secs(10), || {
        Ok(vm.ping("10.66.0.11", 1)?.is_whole())
    })?;
    let uplinks = ["uplink"; 2].iter().zip(&cloud.lab.hosts).map(|(uplink, host)| {
        let filter = "host 10.1.1.12 or net 10.1.0.0/16";
        Capture::start(&host.namespace, uplink, filter, cloud.lab.directory())
    });
    let uplinks = uplinks.collect::<Outcome<Vec<_>>>()?;
    let big = [&attack[..], &[0; 4000]].concat();
    let got = UdpSocket::bind_in(&back.namespace, "10.66.0.11:6677")?;
    let inner = delivered(&cloud, || {
        for port in PORTS {
            for to in ["10.66.0.11", "10.66.0.12", "[fd01:1::11]", "10.1.1.11"] {
                for payload in [&attack, &big] {
                    send(&vm.namespace, &format!("{to}:{port}"), payload.clone())?;
                }
            }
        }
        send_raw(
            &vm.namespace,
            HV0,
            vec![ipv4([10, 1, 1, 12], HV0, 4, &ipv4(HV1, HV0, 17, &udp(6677, &attack)))],
        )
    })?;
    assert_eq!(inner, 0);
    for capture in uplinks {
        assert_eq!(
            capture.stop()?,
            Vec::<String>::new(),
            "nothing of a VM is bare in the underlay"
        );
    }
    assert!(got.recv(&mut [0; 100]).is_ok(), "the VM with that address gets it as it was sent");
    Ok(())
}

/// A socket in a namespace.
trait BindIn: Sized {
    fn bind_in(at: &Namespace, address: &str) -> Outcome<Self>;
}

impl BindIn for UdpSocket {
    fn bind_in(at: &Namespace, address: &str) -> Outcome<Self> {
        let address: SocketAddr = address.parse().expect("an address of the test");
        let bound = at.enter(move || {
            let socket = Self::bind(address)?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            Ok::<Self, std::io::Error>(socket)
        })?;
        bound.map_err(LabError::machine("bind a socket"))
    }
}
