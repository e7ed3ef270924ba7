//! What is sent to groups: real sockets that join them, on two hosts, in both IP versions.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mn_testbed::{Capture, LabError, Outcome, wait_for};

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

const GROUPS: [&str; 2] = ["239.7.7.7", "ff15::7:7"];
const PORT: u16 = 7007;

/// A socket of a VM that has joined a group.
fn join(cloud: &Cloud, vm: usize, group: IpAddr) -> Outcome<UdpSocket> {
    let joined = cloud.vms[vm].namespace.enter(move || {
        let any: IpAddr = if group.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, PORT))?;
        match group {
            IpAddr::V4(group) => socket.join_multicast_v4(&group, &[0; 4].into())?,
            IpAddr::V6(group) => {
                let index = nix::net::if_::if_nametoindex("eth0")?;
                socket.join_multicast_v6(&group, index)?;
            }
        }
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok::<_, std::io::Error>(socket)
    })?;
    joined.map_err(LabError::machine(format!("join {group}")))
}

/// Sends a datagram to a group, with hops to spare.
fn send(cloud: &Cloud, vm: usize, group: IpAddr) -> Outcome {
    let sent = cloud.vms[vm].namespace.enter(move || {
        let any: IpAddr = if group.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        if group.is_ipv4() {
            socket.set_multicast_ttl_v4(8)?;
        } else {
            nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::Ipv6MulticastHops,
                &8,
            )?;
        }
        socket.send_to(b"to all", SocketAddr::new(group, PORT))
    })?;
    sent.map(drop).map_err(LabError::machine(format!("send to {group}")))
}

#[test]
fn who_joins_a_group_is_heard_of_and_hears_on_both_hosts_of_its_bridge_alone() -> Outcome {
    let cloud = Cloud::start("groups")?;
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let reports = "igmp or (ip6 and ip6[6] == 0)";
    let at = &cloud.vms[FRONT0].namespace;
    let capture = Capture::start(at, "eth0", reports, cloud.lab.directory())?;
    for group in GROUPS {
        let group: IpAddr = group.parse().expect("a group");
        let (near, far) = (join(&cloud, FRONT1, group)?, join(&cloud, BACK1, group)?);
        wait_for(&format!("{group} reaches its member"), Duration::from_secs(10), || {
            send(&cloud, FRONT0, group)?;
            Ok(near.recv(&mut [0; 16]).is_ok())
        })?;
        assert!(far.recv(&mut [0; 16]).is_err(), "{group} was routed");
    }
    // Kernels say a second time that they have joined, within seconds.
    std::thread::sleep(Duration::from_millis(500));
    let seen = capture.stop()?;
    let mac = &cloud.vms[FRONT1].mac;
    for to in ["224.0.0.22", "ff02::16"] {
        let report = seen.iter().any(|line| line.contains(mac) && line.contains(to));
        assert!(report, "no report of the member to {to}: {seen:#?}");
    }
    Ok(())
}
