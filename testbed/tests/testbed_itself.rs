//! What labs stand on, tried without any program of ours: attachments, traffic, captures, and
//! that nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use mn_testbed::{Arrivals, Attachment, Capture, Lab, Namespace, Outcome, Plan, Probe, Vm};

/// One host where a Linux bridge joins a VM on veth and one on tap.
fn bridged(name: &str) -> Outcome<(Lab, Vm, Vm)> {
    let mut lab = Lab::prepare(&Plan::new(name))?;
    lab.add_host(1600)?;
    let host = lab.hosts[0].namespace.clone();
    host.ip("link add br0 type bridge forward_delay 0")?;
    host.ip("link set br0 up")?;
    let a = lab.add_vm("a", 0, Attachment::Veth)?;
    let b = lab.add_vm("b", 0, Attachment::Tap)?;
    for (vm, address) in [(&a, "10.9.0.1/24"), (&b, "10.9.0.2/24")] {
        host.ip(&format!("link set {} master br0", vm.interface))?;
        vm.address(address)?;
    }
    Ok((lab, a, b))
}

#[test]
fn a_vm_on_a_tap_talks_to_one_on_a_veth_in_large_segments_too() -> Outcome {
    let (_lab, a, b) = bridged("attachments")?;
    assert!(a.ping("10.9.0.2", 5)?.is_whole());
    let there = a.stream_to(&b, "10.9.0.2", 1)?;
    let back = b.stream_to(&a, "10.9.0.1", 1)?;
    assert!(there.octets > 1_000_000 && back.octets > 1_000_000, "{there:?} {back:?}");
    Ok(())
}

#[test]
fn a_probe_counts_what_a_cut_cable_costs_and_a_capture_sees_the_rest() -> Outcome {
    let (lab, a, b) = bridged("probe")?;
    assert!(a.ping("10.9.0.2", 1)?.is_whole());
    let host = &lab.hosts[0].namespace;
    let capture = Capture::start(host, &a.interface, "udp port 7777", lab.directory())?;
    let to: SocketAddr = "10.9.0.2:7777".parse().unwrap();
    let arrivals = Arrivals::listen(&b.namespace, to)?;
    let probe = Probe::start(&a.namespace, to, 200, Duration::from_millis(2))?;
    std::thread::sleep(Duration::from_millis(200));
    host.ip(&format!("link set {} nomaster", b.interface))?;
    std::thread::sleep(Duration::from_millis(200));
    host.ip(&format!("link set {} master br0", b.interface))?;
    std::thread::sleep(Duration::from_millis(200));
    let (sent, received) = (probe.stop(), arrivals.stop());
    let lost = received.lost(sent);
    assert!((60..150).contains(&lost), "{lost} of {sent} lost");
    assert_eq!((received.damaged, received.doubled()), (0, 0));
    assert!(received.longest_gap >= Duration::from_millis(150), "{received:?}");
    assert_eq!(capture.stop()?.len() as u64, sent);
    Ok(())
}

#[test]
fn a_lab_that_is_dropped_leaves_no_namespace_and_no_process() -> Outcome {
    let (lab, a, b) = bridged("dropped")?;
    let names = [a.namespace, b.namespace, lab.underlay().clone(), lab.hosts[0].namespace.clone()];
    assert!(names.iter().all(|n| n.path().exists()));
    drop(lab);
    let left: Vec<&Namespace> = names.iter().filter(|n| n.path().exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}
