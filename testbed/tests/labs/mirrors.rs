//! Mirrors on real packets: the copy is what the port sees, on the same host and on another, and
//! costs the traffic nothing.

use std::time::Duration;

use mn_testbed::{Attachment, Capture, Outcome, Vm};
use serde_json::{Value, json};

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

/// Echo requests and replies, for tcpdump.
const ECHOES: &str = "icmp or (icmp6 and ip6[40] >= 128 and ip6[40] < 130)";

/// A machine on a bridge of its own that only listens, and the mirror whose copies it gets.
struct Watcher {
    vm: Vm,
    port: String,
    mirror: String,
}

fn watch(cloud: &mut Cloud, host: usize, conditions: &Value) -> Outcome<Watcher> {
    let name = format!("mon{host}");
    let bridge = cloud.control().bridge(&name)?;
    let vm = cloud.lab.add_vm(&name, host, Attachment::Veth)?;
    let port = cloud.lab.plug(&vm, host, &bridge)?;
    cloud.control().wait_active(&[&port])?;
    let mirror = json!({ "toPortId": port, "conditions": conditions });
    let mirror = cloud.control().rest().create("/mirrors", &mirror)?;
    Ok(Watcher { vm, port, mirror })
}

/// Hangs mirrors on a hook of a VM's port.
fn hang(cloud: &Cloud, vm: usize, hook: &str, mirrors: &[&str]) -> Outcome {
    cloud.control().change(&format!("/ports/{}", cloud.ports[vm]), &json!({ hook: mirrors }))
}

/// What passes a VM's interface meanwhile.
fn captured(
    cloud: &Cloud,
    vms: [&Vm; 2],
    filter: &str,
    meanwhile: impl FnOnce() -> Outcome,
) -> Outcome<[Vec<String>; 2]> {
    let start = |vm: &Vm| Capture::start(&vm.namespace, "eth0", filter, cloud.lab.directory());
    let (one, other) = (start(vms[0])?, start(vms[1])?);
    meanwhile()?;
    std::thread::sleep(Duration::from_millis(100));
    let sorted = |capture: Capture| {
        capture.stop().map(|mut lines| {
            lines.sort();
            lines
        })
    };
    Ok([sorted(one)?, sorted(other)?])
}

#[test]
fn a_watcher_on_either_host_sees_every_frame_that_a_vm_sends_and_gets_as_the_vm_does() -> Outcome {
    let mut cloud = Cloud::start("mirror")?;
    for host in 0..2 {
        let watcher = watch(&mut cloud, host, &json!([{}]))?;
        for hook in ["inboundMirrorIds", "outboundMirrorIds"] {
            hang(&cloud, FRONT0, hook, &[&watcher.mirror])?;
        }
        for to in [cloud.v4(BACK1), cloud.v6(BACK1)] {
            cloud.assert_reaches(FRONT0, &to)?;
            let vms = [&cloud.vms[FRONT0], &watcher.vm];
            let [seen, copied] =
                captured(&cloud, vms, ECHOES, || cloud.assert_reaches(FRONT0, &to))?;
            assert_eq!(seen.len(), 6, "three requests and their replies: {seen:#?}");
            assert_eq!(copied, seen, "at host {host}");
        }
    }
    Ok(())
}

#[test]
fn a_stream_of_large_segments_is_copied_and_goes_on_when_its_watcher_goes_away() -> Outcome {
    let mut cloud = Cloud::start("mirror-stream")?;
    let watcher = watch(&mut cloud, 1, &json!([{ "dlType": 2048, "nwProto": 6 }]))?;
    hang(&cloud, FRONT0, "inboundMirrorIds", &[&watcher.mirror])?;
    let heard = || watcher.vm.namespace.packets("eth0").map(|(rx, _)| rx);
    let before = heard()?;
    let (from, to) = (&cloud.vms[FRONT0], &cloud.vms[FRONT1]);
    let stream = from.stream_to(to, &cloud.v4(FRONT1), 1)?;
    assert!(stream.gigabits_per_second > 0.05, "{}", stream.gigabits_per_second);
    assert!(heard()? > before + 100, "copies of the segments");
    // Pings are none of this mirror's conditions.
    let before = heard()?;
    assert!(from.ping(&cloud.v4(FRONT1), 20)?.is_whole());
    assert!(heard()? < before + 5, "no copies of pings");
    // The watcher's port is deleted in the middle of traffic, and the mirror with it.
    let (probe, arrivals) = cloud.probe(FRONT0, FRONT1)?;
    cloud.control().rest().delete(&format!("/ports/{}", watcher.port))?;
    std::thread::sleep(Duration::from_millis(300));
    let (sent, received) = (probe.stop(), arrivals.stop());
    assert_eq!(received.numbers.len() as u64, sent, "nothing was lost");
    let port = cloud.control().rest().get(&format!("/ports/{}", cloud.ports[FRONT0]))?;
    assert_eq!(port["inboundMirrorIds"], json!([]));
    Ok(())
}

#[test]
fn what_a_filter_drops_is_seen_before_it_and_not_behind_it_and_a_mirror_taken_down_is_silent()
-> Outcome {
    let mut cloud = Cloud::start("mirror-drops")?;
    let chain = cloud.control().chain("no-echo")?;
    cloud.control().rule(&chain, &json!({ "type": "drop", "dlType": 2048, "nwProto": 1 }))?;
    let path = format!("/ports/{}", cloud.ports[FRONT0]);
    cloud.control().change(&path, &json!({ "inboundFilterId": chain }))?;
    let watcher = watch(&mut cloud, 0, &json!([{ "dlType": 2048, "nwProto": 1 }]))?;
    let to = cloud.v4(FRONT1);
    let seen_at = |hook: &str| -> Outcome<usize> {
        hang(&cloud, FRONT0, hook, &[&watcher.mirror])?;
        let vms = [&cloud.vms[FRONT0], &watcher.vm];
        let [_, copied] = captured(&cloud, vms, "icmp", || {
            std::thread::sleep(Duration::from_millis(150));
            cloud.assert_does_not_reach(FRONT0, &to)
        })?;
        hang(&cloud, FRONT0, hook, &[])?;
        Ok(copied.len())
    };
    assert_eq!(seen_at("inboundMirrorIds")?, 3);
    assert_eq!(seen_at("postInFilterMirrorIds")?, 0);
    // The first hook again: its mirror was taken down, and works when it is hung up anew.
    assert_eq!(seen_at("inboundMirrorIds")?, 3);
    let walk = cloud.control().cli(&format!("walk {} {to}", cloud.ports[FRONT0]))?;
    assert!(walk.contains("DROPPED") && !walk.contains("copy"), "{walk}");
    hang(&cloud, FRONT0, "inboundMirrorIds", &[&watcher.mirror])?;
    let walk = cloud.control().cli(&format!("walk {} {to}", cloud.ports[FRONT0]))?;
    assert!(walk.contains("DROPPED") && walk.contains("copy"), "{walk}");
    Ok(())
}
