//! What a rule asks of a packet, asked of real ones: each condition stops what it is about and lets
//! pass the next best thing. From the same host and from the other, over a bridge and a router.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mn_testbed::{LabError, Outcome};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use crate::cloud::{BACK0, Cloud, FRONT0, FRONT1};

/// A datagram to the guarded VM.
#[derive(Clone, Copy, Debug)]
struct Said {
    from: usize,
    v6: bool,
    source: u16,
    port: u16,
    tos: u8,
    len: usize,
}

const PLAIN: Said = Said { from: FRONT0, v6: false, source: 4000, port: 7000, tos: 0, len: 10 };
const PLAIN_V6: Said = Said { v6: true, ..PLAIN };
/// By way of the router.
const ROUTED: Said = Said { from: BACK0, ..PLAIN };
const ROUTED_V6: Said = Said { from: BACK0, ..PLAIN_V6 };
/// In three fragments.
const LARGE: Said = Said { len: 4000, ..PLAIN };
const LARGE_V6: Said = Said { len: 4000, ..PLAIN_V6 };

/// Rules take effect within so long.
const EFFECT: Duration = Duration::from_millis(100);

/// The guarded VM's ears.
struct Ears {
    sockets: [(u16, UdpSocket); 2],
}

impl Ears {
    fn open(cloud: &Cloud) -> Outcome<Self> {
        let open = |port: u16| {
            let bound = cloud.vms[FRONT1].namespace.enter(move || {
                let socket = UdpSocket::bind(("::", port))?;
                socket.set_read_timeout(Some(Duration::from_millis(300)))?;
                Ok::<_, std::io::Error>(socket)
            })?;
            Ok::<_, LabError>((port, bound.map_err(LabError::machine("bind a UDP socket"))?))
        };
        Ok(Self { sockets: [open(7000)?, open(7001)?] })
    }

    /// Whether this very datagram is heard.
    fn hear(&self, port: u16, said: &[u8]) -> bool {
        let mut octets = [0; 4096];
        let of_port = self.sockets.iter().find(|(of, _)| *of == port);
        let Some((_, socket)) = of_port else { return false };
        while let Ok(len) = socket.recv(&mut octets) {
            if octets[..len] == *said {
                return true;
            }
        }
        false
    }
}

/// Sends a datagram; each has its own number.
fn say(cloud: &Cloud, said: Said, number: u32) -> Outcome<Vec<u8>> {
    let text = if said.v6 { cloud.v6(FRONT1) } else { cloud.v4(FRONT1) };
    let to = SocketAddr::new(text.parse().expect("an address"), said.port);
    let mut octets = vec![0x5a; said.len];
    octets[..4].copy_from_slice(&number.to_be_bytes());
    let payload = octets.clone();
    let sent = cloud.vms[said.from].namespace.enter(move || {
        let any: IpAddr = if said.v6 { [0_u16; 8].into() } else { [0; 4].into() };
        let socket = UdpSocket::bind((any, said.source))?;
        if said.v6 {
            setsockopt(&socket, sockopt::Ipv6TClass, &said.tos.into())?;
        } else {
            setsockopt(&socket, sockopt::Ipv4Tos, &said.tos.into())?;
        }
        socket.send_to(&payload, to)
    })?;
    sent.map_err(LabError::machine("send a datagram"))?;
    Ok(octets)
}

/// With a rule that drops what a condition is about: what is stopped, what passes.
fn try_rule(
    cloud: &Cloud,
    ears: &Ears,
    chain: &str,
    (condition, stopped, passing): (&Value, &[Said], &[Said]),
    number: &mut u32,
) -> Outcome {
    let mut rule = condition.clone();
    rule["type"] = "drop".into();
    let rule = cloud.control().rule(chain, &rule)?;
    std::thread::sleep(EFFECT);
    let mut heard = |said: Said| {
        *number += 1;
        Ok::<_, LabError>(ears.hear(said.port, &say(cloud, said, *number)?))
    };
    for said in stopped {
        assert!(!heard(*said)?, "{condition} is about {said:?}");
    }
    for said in passing {
        assert!(heard(*said)?, "{condition} is not about {said:?}");
    }
    cloud.control().rest().delete(&format!("/rules/{rule}"))?;
    std::thread::sleep(EFFECT);
    for said in stopped {
        assert!(heard(*said)?, "without the rule of {condition}: {said:?}");
    }
    Ok(())
}

/// A group with one member or address of it.
fn group(cloud: &Cloud, kind: &str, members: &str, member: &Value) -> Outcome<String> {
    let rest = cloud.control().rest();
    let group = rest.create(&format!("/{kind}"), &json!({ "name": "some", "tenantId": "lab" }))?;
    rest.create(&format!("/{kind}/{group}/{members}"), member)?;
    Ok(group)
}

fn range(start: u16, end: u16) -> Value {
    json!({ "start": start, "end": end })
}

#[test]
fn each_condition_stops_what_it_is_about_and_nothing_else() -> Outcome {
    let cloud = Cloud::start("conditions")?;
    let (ears, chain) = (Ears::open(&cloud)?, cloud.guard(FRONT1)?);
    for from in [FRONT0, BACK0] {
        cloud.wait_reaches(from, &cloud.v4(FRONT1))?;
        cloud.wait_reaches(from, &cloud.v6(FRONT1))?;
    }
    let port = json!({ "portId": cloud.ports[FRONT0] });
    let ports = group(&cloud, "port_groups", "ports", &port)?;
    let [v4, v6] = [cloud.v4(BACK0), cloud.v6(FRONT1)];
    let sources =
        group(&cloud, "ip_addr_groups", "ip_addrs", &json!({ "version": 4, "addr": v4 }))?;
    let destinations =
        group(&cloud, "ip_addr_groups", "ip_addrs", &json!({ "version": 6, "addr": v6 }))?;
    let (near, mac) = (&cloud.ports[FRONT0], &cloud.vms[FRONT0].mac);
    let v4_only = |mut condition: Value| {
        condition["dlType"] = 0x0800.into();
        condition
    };
    #[rustfmt::skip]
    let cases: &[(Value, &[Said], &[Said])] = &[
        (json!({ "dlType": 0x86dd, "nwProto": 17 }), &[PLAIN_V6, ROUTED_V6], &[PLAIN, ROUTED]),
        (v4_only(json!({ "invNwProto": true, "nwProto": 1 })), &[PLAIN, ROUTED], &[PLAIN_V6]),
        (json!({ "nwProto": 17, "tpSrc": range(4000, 4009) }), &[PLAIN, ROUTED_V6],
            &[Said { source: 4010, ..PLAIN }, Said { source: 4010, ..ROUTED_V6 }]),
        (json!({ "nwProto": 17, "tpDst": range(7000, 7000), "invTpSrc": true, "tpSrc": range(1, 4000) }),
            &[Said { source: 4001, ..PLAIN }, Said { source: 4001, ..PLAIN_V6 }],
            &[PLAIN, PLAIN_V6, Said { source: 4001, port: 7001, ..PLAIN }]),
        (json!({ "nwSrcAddress": "10.1.2.0", "nwSrcLength": 24 }), &[ROUTED], &[PLAIN, ROUTED_V6]),
        (v4_only(json!({ "nwSrcAddress": "10.1.2.0", "nwSrcLength": 24, "invNwSrc": true })), &[PLAIN], &[ROUTED]),
        (json!({ "nwSrcAddress": "fd01:2::", "nwSrcLength": 64 }), &[ROUTED_V6], &[PLAIN_V6, ROUTED]),
        (json!({ "nwDstAddress": cloud.v4(FRONT1), "nwDstLength": 32 }), &[PLAIN, ROUTED], &[PLAIN_V6]),
        (json!({ "ipAddrGroupSrc": sources }), &[ROUTED], &[PLAIN, ROUTED_V6]),
        (json!({ "ipAddrGroupDst": destinations, "nwProto": 17 }), &[PLAIN_V6, ROUTED_V6], &[PLAIN]),
        (json!({ "dlSrc": mac }), &[PLAIN, PLAIN_V6], &[ROUTED, ROUTED_V6]),
        (json!({ "dlSrc": mac, "invDlSrc": true, "nwProto": 17 }), &[ROUTED, ROUTED_V6], &[PLAIN, PLAIN_V6]),
        (json!({ "dlSrc": "02:00:00:01:00:00", "dlSrcMask": "ffff.ffff.0000" }), &[PLAIN], &[ROUTED]),
        (json!({ "inPorts": [near] }), &[PLAIN, PLAIN_V6], &[ROUTED, ROUTED_V6]),
        (json!({ "inPortGroup": ports }), &[PLAIN, PLAIN_V6], &[ROUTED, ROUTED_V6]),
        (json!({ "inPortGroup": ports, "invInPortGroup": true, "nwProto": 17 }), &[ROUTED], &[PLAIN]),
        (v4_only(json!({ "outPorts": [cloud.ports[FRONT1]], "nwProto": 17 })), &[PLAIN, ROUTED], &[PLAIN_V6]),
        (json!({ "traversedDevice": cloud.router, "nwProto": 17 }), &[ROUTED, ROUTED_V6], &[PLAIN, PLAIN_V6]),
        (json!({ "nwTos": 184 }), &[Said { tos: 184, ..PLAIN }, Said { tos: 184, ..ROUTED_V6 }],
            &[PLAIN, ROUTED_V6, Said { tos: 40, ..PLAIN }]),
        (v4_only(json!({ "nwProto": 17, "nwSrcAddress": "10.1.2.0", "nwSrcLength": 24, "condInvert": true })),
            &[PLAIN, PLAIN_V6], &[ROUTED]),
        (json!({ "nwProto": 17, "fragmentPolicy": "header" }), &[PLAIN, PLAIN_V6, LARGE, LARGE_V6], &[]),
        (json!({ "nwProto": 17, "fragmentPolicy": "unfragmented" }), &[PLAIN, PLAIN_V6], &[LARGE, LARGE_V6]),
        // Later fragments go where their first one went.
        (json!({ "nwProto": 17, "fragmentPolicy": "nonheader" }), &[], &[LARGE, LARGE_V6, PLAIN]),
        (json!({ "nwProto": 17, "tpDst": range(7000, 7000) }), &[PLAIN, LARGE, LARGE_V6],
            &[Said { port: 7001, ..LARGE }, Said { port: 7001, ..LARGE_V6 }]),
    ];
    let mut number = 0;
    for (condition, stopped, passing) in cases {
        try_rule(&cloud, &ears, &chain, (condition, stopped, passing), &mut number)?;
    }
    Ok(())
}

#[test]
fn jumps_come_back_and_a_chain_is_asked_again_by_the_next_that_names_it() -> Outcome {
    let cloud = Cloud::start("jumps")?;
    let (ears, chain) = (Ears::open(&cloud)?, cloud.guard(FRONT1)?);
    cloud.wait_reaches(FRONT0, &cloud.v4(FRONT1))?;
    let control = cloud.control();
    let other = control.chain("other")?;
    let udp = |kind: &str, port| json!({ "type": kind, "nwProto": 17, "tpDst": range(port, port) });
    // Each goes to the head of its chain: the last one here is the first there.
    control.rule(&chain, &udp("drop", 7001))?;
    control.rule(&chain, &json!({ "type": "jump", "jumpChainId": other }))?;
    control.rule(&chain, &json!({ "type": "jump", "jumpChainId": other }))?;
    // At the bridge's filter nobody knows yet where a frame leaves; at the port's it is asked again.
    let mut leaving = udp("drop", 7000);
    leaving["outPorts"] = json!([cloud.ports[FRONT1]]);
    control.rule(&other, &leaving)?;
    control.rule(&other, &udp("return", 7001))?;
    let bridge = format!("/bridges/{}", cloud.bridges[0]);
    control.change(&bridge, &json!({ "inboundFilterId": other }))?;
    std::thread::sleep(EFFECT);
    for (nth, said) in [PLAIN, Said { port: 7001, ..PLAIN }].into_iter().enumerate() {
        let octets = say(&cloud, said, 100 + u32::try_from(nth).unwrap_or_default())?;
        assert!(!ears.hear(said.port, &octets), "{said:?}");
    }
    // A loop is refused when it would close.
    let back = json!({ "type": "jump", "jumpChainId": chain });
    let refused = control.rule(&other, &back).expect_err("a loop of jumps").to_string();
    assert!(refused.contains("loop of jumps"), "{refused}");
    control.change(&bridge, &json!({ "inboundFilterId": null }))?;
    control
        .change(&format!("/ports/{}", cloud.ports[FRONT1]), &json!({ "outboundFilterId": null }))?;
    std::thread::sleep(EFFECT);
    for (nth, said) in [PLAIN, Said { port: 7001, ..PLAIN }].into_iter().enumerate() {
        let octets = say(&cloud, said, 200 + u32::try_from(nth).unwrap_or_default())?;
        assert!(ears.hear(said.port, &octets), "{said:?}");
    }
    Ok(())
}
