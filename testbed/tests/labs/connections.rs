//! Connections: a VM behind rules as a security group has them, on two hosts and both IP versions.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use mn_testbed::{Control, LabError, Outcome, Vm, wait_for};
use serde_json::{Value, json};

use crate::asked::says;
use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

const PATIENCE: Duration = Duration::from_secs(4);
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Puts FRONT1 into a security group: it may speak to all, answers come back, TCP to port 80 may
/// come in where `valid`, and nothing else. Addresses may be resolved.
pub fn guard(cloud: &Cloud) -> Outcome {
    guard_port(cloud.control(), &cloud.ports[FRONT1])
}

/// The same for any port.
pub fn guard_port(control: &Control, port: &str) -> Outcome {
    let web = json!({ "type": "accept", "matchForwardFlow": true, "matchValidFlow": true,
        "nwProto": 6, "tpDst": { "start": 80, "end": 80 } });
    guard_with(control, port, &[web])
}

/// Likewise, with these rules for what comes in without being an answer.
pub fn guard_with(control: &Control, port: &str, more: &[Value]) -> Outcome {
    let (inward, outward) = (control.chain("to the vm")?, control.chain("from the vm")?);
    control.rule(&outward, &json!({ "type": "accept", "matchReturnFlow": true }))?;
    let mut rules = vec![
        json!({ "type": "accept", "dlType": 0x0806 }),
        json!({ "type": "accept", "dlType": 0x86dd, "nwProto": 58, "tpSrc": { "start": 133, "end": 137 } }),
        json!({ "type": "accept", "matchReturnFlow": true }),
    ];
    rules.extend_from_slice(more);
    rules.push(json!({ "type": "drop" }));
    for (index, mut rule) in rules.into_iter().enumerate() {
        rule["position"] = (index + 1).into();
        control.rule(&inward, &rule)?;
    }
    let filters = json!({ "inboundFilterId": outward, "outboundFilterId": inward });
    control.change(&format!("/ports/{port}"), &filters)
}

/// Answers every connection with what it says, for as long as the test lives.
pub fn echo(vm: &Vm, port: u16) -> Outcome {
    let bound = vm.namespace.enter(move || TcpListener::bind(("::", port)))?;
    let listener = bound.map_err(LabError::machine(format!("listen on port {port}")))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut octets = [0; 64];
                while let Ok(len @ 1..) = stream.read(&mut octets) {
                    if stream.write_all(&octets[..len]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(())
}

pub fn connect(vm: &Vm, to: &str, port: u16) -> Outcome<std::io::Result<TcpStream>> {
    let to = SocketAddr::new(to.parse().expect("an address"), port);
    vm.namespace.enter(move || {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    })
}

/// Whether what is said comes back.
pub fn answers(stream: &mut TcpStream) -> bool {
    let mut octets = [0; 4];
    stream.write_all(b"said").is_ok()
        && stream.read_exact(&mut octets).is_ok()
        && &octets == b"said"
}

fn flows(cloud: &Cloud, host: usize) -> Outcome<u64> {
    says(&cloud.lab.hosts[host], "flows", "installed")
}

/// The tracked TCP connections to a port.
fn connections(cloud: &Cloud, host: usize, port: u16) -> Outcome<Vec<Value>> {
    let answer =
        cloud.lab.hosts[host].ask(&json!({ "request": "connections", "limit": 100_000 }))?;
    let all = answer["connections"].as_array().cloned().unwrap_or_default();
    let end = format!(":{port}");
    let to = |it: &Value| it["destination"].as_str().is_some_and(|to| to.ends_with(&end));
    Ok(all.into_iter().filter(to).collect())
}

#[test]
fn answers_come_into_a_security_group_and_what_nobody_asked_for_does_not() -> Outcome {
    let cloud = Cloud::start("connections")?;
    guard(&cloud)?;
    for port in [80, 81] {
        echo(&cloud.vms[FRONT1], port)?;
    }
    for other in [FRONT0, BACK0, BACK1] {
        echo(&cloud.vms[other], 9000)?;
        for (mine, its) in
            [(cloud.v4(FRONT1), cloud.v4(other)), (cloud.v6(FRONT1), cloud.v6(other))]
        {
            let name = format!("{} {its}", cloud.vms[other].name);
            cloud.assert_does_not_reach(other, &mine)?;
            cloud.wait_reaches(FRONT1, &its)?;
            cloud.assert_reaches(FRONT1, &its)?;
            cloud.assert_does_not_reach(other, &mine)?;
            let mut out = connect(&cloud.vms[FRONT1], &its, 9000)?
                .map_err(LabError::machine(format!("connect to {name}")))?;
            assert!(answers(&mut out), "{name}");
            let mut within = connect(&cloud.vms[other], &mine, 80)?
                .map_err(LabError::machine(format!("connect from {name}")))?;
            assert!(answers(&mut within), "{name}");
            let mine = mine.parse().expect("an address");
            assert!(!cloud.vms[other].connects(mine, 81, IMPATIENCE)?, "{name}");
        }
    }
    datagrams(&cloud)?;
    // Each hop's answer is an error about the connection: the router's own, and the last host's.
    for (to, router) in [(cloud.v4(BACK0), "10.1.1.1"), (cloud.v6(BACK0), "fd01:1::1")] {
        let hops = cloud.vms[FRONT1].traceroute(&to)?;
        assert_eq!(hops, [router.to_owned(), to], "traceroute");
    }
    Ok(())
}

/// An answer to a datagram passes; the same from elsewhere does not.
fn datagrams(cloud: &Cloud) -> Outcome {
    let bind = |vm: usize| {
        let address = SocketAddr::new(cloud.v4(vm).parse().expect("an address"), 5300);
        let bound = cloud.vms[vm].namespace.enter(move || UdpSocket::bind(address))?;
        let socket = bound.map_err(LabError::machine("bind a UDP socket"))?;
        socket.set_read_timeout(Some(IMPATIENCE)).map_err(LabError::machine("set a timeout"))?;
        Ok::<_, LabError>(socket)
    };
    let (mine, its, strangers) = (bind(FRONT1)?, bind(FRONT0)?, bind(BACK0)?);
    let to = |vm: usize| format!("{}:5300", cloud.v4(vm));
    let said = |result: std::io::Result<usize>| result.map_err(LabError::machine("send"));
    let mut octets = [0; 16];
    said(its.send_to(b"early", to(FRONT1)))?;
    assert!(mine.recv(&mut octets).is_err(), "nobody asked yet");
    said(mine.send_to(b"ask", to(FRONT0)))?;
    assert_eq!(its.recv(&mut octets).map_err(LabError::machine("receive"))?, 3);
    said(strangers.send_to(b"stranger", to(FRONT1)))?;
    said(its.send_to(b"answer", to(FRONT1)))?;
    assert_eq!(mine.recv(&mut octets).map_err(LabError::machine("receive"))?, 6);
    assert!(mine.recv(&mut octets).is_err(), "nobody asked the stranger");
    Ok(())
}

#[test]
fn a_thousand_connections_take_no_flow_and_live_on_without_agents() -> Outcome {
    let mut cloud = Cloud::start("connections-1000")?;
    guard(&cloud)?;
    echo(&cloud.vms[FRONT1], 80)?;
    cloud.wait_reaches(FRONT1, &cloud.v4(FRONT0))?;
    let to = cloud.v4(FRONT1);
    // Each end's flows, of the first packet and of those after it.
    let dial = |cloud: &Cloud, vm: usize| -> Outcome<TcpStream> {
        let mut stream = connect(&cloud.vms[vm], &to, 80)?.map_err(LabError::machine("connect"))?;
        assert!(answers(&mut stream));
        Ok(stream)
    };
    for _ in 0..3 {
        drop((dial(&cloud, FRONT0)?, dial(&cloud, BACK1)?));
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = (flows(&cloud, 0)?, flows(&cloud, 1)?);
    let mut streams = Vec::new();
    for _ in 0..500 {
        streams.push(dial(&cloud, FRONT0)?);
        streams.push(dial(&cloud, BACK1)?);
    }
    let after = (flows(&cloud, 0)?, flows(&cloud, 1)?);
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 4, "{before:?} {after:?}");
    let tracked = connections(&cloud, 1, 80)?;
    let established = tracked.iter().filter(|it| it["state"] == "tcp-established").count();
    assert!(established >= 1000, "{established} of {}", tracked.len());

    cloud.lab.process("hv0")?.kill();
    cloud.lab.process("hv1")?.kill();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(streams.iter_mut().all(answers), "established connections go on");
    let mut without = [dial(&cloud, FRONT0)?, dial(&cloud, BACK1)?];
    cloud.lab.start_agent(0)?;
    cloud.lab.start_agent(1)?;
    assert!(streams.iter_mut().all(answers), "the next agents take them over");
    assert!(without.iter_mut().all(answers), "those that began without an agent too");
    drop((streams, without));
    wait_for("the connections have ended", PATIENCE, || {
        let tracked = connections(&cloud, 1, 80)?;
        Ok(!tracked.iter().any(|it| it["state"] == "tcp-established"))
    })
}
