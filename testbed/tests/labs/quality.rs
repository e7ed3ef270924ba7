//! Service quality on real packets: marks seen on another host, and bandwidth as it is on the wire.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mn_testbed::{Capture, Outcome, Vm, wait_for};
use serde_json::json;

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

/// Echo requests whose TOS octet, or traffic class, is this.
fn requests_with(tos: u8) -> String {
    let class = u16::from(tos) << 4;
    format!("(icmp[0] == 8 and ip[1] == {tos}) or (ip6[40] == 128 and ip6[0:2] & 0xff0 == {class})")
}

fn policy(cloud: &Cloud, rules: &serde_json::Value) -> Outcome<String> {
    cloud.control().rest().create("/qos_policies", &json!({ "name": "gold", "rules": rules }))
}

/// How many of three requests arrive with this octet, if they are sent with that one; all are
/// answered.
fn arrive_with(cloud: &Cloud, to: usize, address: &str, sent: u8, tos: u8) -> Outcome<usize> {
    let at = &cloud.vms[to].namespace;
    let capture = Capture::start(at, "eth0", &requests_with(tos), cloud.lab.directory())?;
    let ping = cloud.vms[FRONT0].ping_with(address, 3, &["-Q", &sent.to_string()])?;
    assert!(ping.is_whole(), "{address}: {ping:?}");
    std::thread::sleep(Duration::from_millis(100));
    Ok(capture.stop()?.len())
}

#[test]
fn a_mark_is_seen_on_another_host_in_both_versions_and_changes_while_packets_go() -> Outcome {
    let cloud = Cloud::start("dscp")?;
    let control = cloud.control();
    let ways = [
        (FRONT1, cloud.v4(FRONT1)),
        (FRONT1, cloud.v6(FRONT1)),
        (BACK1, cloud.v4(BACK1)),
        (BACK1, cloud.v6(BACK1)),
    ];
    for (_, address) in &ways {
        cloud.wait_reaches(FRONT0, address)?;
    }
    let net = policy(&cloud, &json!([{ "type": "dscp_marking", "dscp_mark": 10 }]))?;
    let own = policy(&cloud, &json!([{ "type": "dscp_marking", "dscp_mark": 46 }]))?;
    let (bridge, port) =
        (format!("/bridges/{}", cloud.bridges[0]), format!("/ports/{}", cloud.ports[FRONT0]));
    let all_with = |sent, tos| -> Outcome {
        for (to, address) in &ways {
            wait_for(&format!("{tos:#x} at {address}"), Duration::from_secs(10), || {
                Ok(arrive_with(&cloud, *to, address, sent, tos)? == 3)
            })?;
        }
        Ok(())
    };
    all_with(0, 0)?;
    control.change(&bridge, &json!({ "qosPolicyId": net }))?;
    all_with(0, 10 << 2)?;
    control.change(&port, &json!({ "qosPolicyId": own }))?;
    all_with(0, 46 << 2)?;
    // What the guest itself says of congestion stays (ECT(0)); its own mark does not.
    all_with(0b10, 46 << 2 | 0b10)?;
    all_with(0x20, 46 << 2)?;
    let walk = control.cli(&format!("walk {} {}", cloud.ports[FRONT0], ways[0].1))?;
    assert!(walk.contains("marked DSCP 46"), "{walk}");
    control.rest().delete(&format!("/qos_policies/{own}"))?;
    all_with(0, 10 << 2)?;
    control.rest().delete(&format!("/qos_policies/{net}"))?;
    all_with(0x20, 0x20)
}

/// A VM that sends datagrams of 1,400 octets to a port nobody reads, about so many bits a second.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What takes them.
    _sink: UdpSocket,
}

impl Flood {
    fn start(from: &Vm, to: &Vm, address: &str, bits: u64) -> Outcome<Self> {
        let target: std::net::SocketAddr = format!("{address}:9").parse().expect("an address");
        let sink = to.namespace.enter(move || UdpSocket::bind(target).expect("it is free"))?;
        let socket =
            from.namespace.enter(|| UdpSocket::bind("0.0.0.0:0").expect("there are ports"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (begun, mut sent) = (Instant::now(), 0_u128);
            while !stopped.load(Ordering::Relaxed) {
                let due = begun.elapsed().as_micros() * u128::from(bits) / 8_000_000;
                // What the machine does not get done is not made up for.
                if sent + u128::from(bits) / 80 < due {
                    sent = due;
                }
                while sent < due {
                    let _ = socket.send_to(&[7; 1400], target);
                    sent += 1400;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        Ok(Self { stop, thread: Some(thread), _sink: sink })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Octets of frames that a VM's interface has got.
fn heard(vm: &Vm) -> Outcome<u64> {
    let text = vm.namespace.ip("-s -j link show eth0")?;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(value[0]["stats64"]["rx"]["bytes"].as_u64().unwrap_or_default())
}

/// Kilobits a second that a VM gets.
fn rate(vm: &Vm, window: Duration) -> Outcome<f64> {
    let (begun, before) = (Instant::now(), heard(vm)?);
    std::thread::sleep(window);
    let after = heard(vm)?;
    Ok((after - before) as f64 * 8.0 / 1000.0 / begun.elapsed().as_secs_f64())
}

/// Asserts that a VM gets as much as a limit says, within 5 %.
#[track_caller]
fn assert_limited(vm: &Vm, kbps: u32) -> Outcome {
    // The bucket, and what still goes by the limit before.
    std::thread::sleep(Duration::from_millis(600));
    // A sender that others keep from its processor for longer than the bucket lasts sends less: of
    // three looks the one in the middle counts.
    let mut looks = Vec::new();
    for _ in 0..3 {
        looks.push(rate(vm, Duration::from_secs(2))?);
    }
    looks.sort_by(f64::total_cmp);
    let got = looks[1];
    println!("limit {kbps} kbit/s: {got:.0} kbit/s");
    let deviation = (got - f64::from(kbps)) / f64::from(kbps);
    assert!(deviation.abs() < 0.05, "{got:.0} kbit/s at a limit of {kbps}: {deviation:+.3}");
    Ok(())
}

#[test]
fn a_port_carries_what_its_policy_says_both_ways_also_while_its_agent_is_dead() -> Outcome {
    let mut cloud = Cloud::start("bandwidth")?;
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let rest = cloud.control().rest().clone();
    let long = std::env::var_os("MIDONET_LONG").is_some();
    let rates = if long { &[10_000, 100_000, 1_000_000][..] } else { &[10_000, 100_000] };
    for (limited, direction) in [(FRONT0, "egress"), (FRONT1, "ingress")] {
        let gold = rest.create("/qos_policies", &json!({ "name": direction }))?;
        let rules = format!("/qos_policies/{gold}/qos_bw_limit_rules");
        let rule =
            |kbps: u32| json!({ "maxKbps": kbps, "maxBurstKb": kbps / 10, "direction": direction });
        let made = rest.create(&rules, &rule(rates[0]))?;
        let port = format!("/ports/{}", cloud.ports[limited]);
        cloud.control().change(&port, &json!({ "qosPolicyId": gold }))?;
        for kbps in rates {
            // A live update: the port carries the new rate at once.
            cloud.control().change(&format!("/qos_bw_limit_rules/{made}"), &rule(*kbps))?;
            let (from, to) = (&cloud.vms[FRONT0], &cloud.vms[FRONT1]);
            let flood = Flood::start(from, to, &cloud.v4(FRONT1), u64::from(*kbps) * 1400)?;
            assert_limited(to, *kbps)?;
            drop(flood);
        }
        cloud.control().change(&format!("/qos_bw_limit_rules/{made}"), &rule(rates[0]))?;
        let host = format!("hv{limited}");
        let (from, to) = (cloud.vms[FRONT0].clone(), cloud.vms[FRONT1].clone());
        let flood = Flood::start(&from, &to, &cloud.v4(FRONT1), u64::from(rates[0]) * 1400)?;
        assert_limited(&to, rates[0])?;
        cloud.lab.process(&host)?.kill();
        assert_limited(&to, rates[0])?;
        cloud.lab.start_agent(limited)?;
        assert_limited(&to, rates[0])?;
        let counters = cloud.lab.hosts[limited].ask(&json!({ "request": "counters" }))?;
        let cause = if direction == "egress" { "bandwidth-sent" } else { "bandwidth-received" };
        let dropped = counters["drops"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["cause"] == cause && it["port"] == json!(cloud.ports[limited]));
        assert!(dropped.is_some_and(|it| it["packets"].as_u64() > Some(100)), "{counters}");
        drop(flood);
        // Without the rule there is no limit.
        rest.delete(&format!("/qos_bw_limit_rules/{made}"))?;
        let flood = Flood::start(&from, &to, &cloud.v4(FRONT1), 30_000_000)?;
        wait_for("more than the limit was", Duration::from_secs(10), || {
            Ok(rate(&to, Duration::from_millis(500))? > 1.5 * f64::from(rates[0]))
        })?;
        drop(flood);
        cloud.control().change(&port, &json!({ "qosPolicyId": null }))?;
    }
    Ok(())
}

#[test]
fn a_stream_of_large_segments_is_held_to_the_limit_and_others_are_not() -> Outcome {
    let cloud = Cloud::start("bandwidth-tcp")?;
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let gold = policy(
        &cloud,
        &json!([{ "type": "bandwidth_limit", "max_kbps": 50_000, "max_burst_kbps": 4_000 }]),
    )?;
    let port = format!("/ports/{}", cloud.ports[FRONT0]);
    cloud.control().change(&port, &json!({ "qosPolicyId": gold }))?;
    let (from, to) = (&cloud.vms[FRONT0], &cloud.vms[FRONT1]);
    let address = cloud.v4(FRONT1);
    wait_for("the limit holds", Duration::from_secs(10), || {
        Ok(from.stream_to(to, &address, 1)?.gigabits_per_second < 0.08)
    })?;
    let stream = from.stream_to(to, &address, 4)?;
    println!("TCP through a limit of 50 Mbit/s: {:.1}", stream.gigabits_per_second * 1000.0);
    // The bucket may go besides. Losses are how TCP learns of the limit, of whole large segments: it
    // goes on, and stays below.
    let range = 0.010..0.0525;
    assert!(range.contains(&stream.gigabits_per_second), "{}", stream.gigabits_per_second);
    let other = cloud.vms[BACK1].stream_to(to, &address, 1)?;
    assert!(other.gigabits_per_second > 0.08, "{}", other.gigabits_per_second);
    Ok(())
}
