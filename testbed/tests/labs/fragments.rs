//! The guide's firewall, and datagrams in pieces: a later piece goes where its first one went; where
//! nobody saw that, the rules are asked about it by itself.

use std::time::Duration;

use mn_packet::{IpProtocol, Ipv4Header, Ipv6Header, UdpHeader};
use mn_testbed::{Lab, Outcome, Plan};
use serde_json::{Value, json};

use crate::wires::{Pair, THERE, UNTAGGED, addr, frame, pairs};

/// Octets of a datagram that its first fragment has.
const SPLIT_AT: usize = 24;

/// Both fragments of a datagram to a port.
fn fragments(v6: bool, port: u16, id: u16) -> [Vec<u8>; 2] {
    let [from, to] = THERE.map(|end| addr(end, v6));
    let header = UdpHeader { src: 4000, dst: port };
    let datagram = header.datagram(from, to, &[0x5a; 40]);
    let (first, later) = datagram.split_at(SPLIT_AT);
    [(first, 0, true), (later, SPLIT_AT, false)].map(|(part, at, more)| {
        let packet = if v6 { in_v6(part, at, more, id) } else { in_v4(part, at, more, id) };
        frame(THERE, UNTAGGED, &packet, v6)
    })
}

fn in_v4(part: &[u8], at: usize, more_fragments: bool, id: u16) -> Vec<u8> {
    let [std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)] = THERE.map(|end| addr(end, false))
    else {
        unreachable!("addresses of version 4")
    };
    let header = Ipv4Header {
        id,
        dont_fragment: false,
        more_fragments,
        fragment_offset: (at / 8) as u16,
        ..Ipv4Header::new(from, to, IpProtocol::UDP)
    };
    [&header.emit(part.len())[..], part].concat()
}

/// With a fragment header (RFC 8200 §4.5).
fn in_v6(part: &[u8], at: usize, more: bool, id: u16) -> Vec<u8> {
    let [std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)] = THERE.map(|end| addr(end, true))
    else {
        unreachable!("addresses of version 6")
    };
    let header = Ipv6Header::new(from, to, IpProtocol(44));
    let place = (at as u16 | u16::from(more)).to_be_bytes();
    let extension = [&[17, 0, place[0], place[1], 0, 0][..], &id.to_be_bytes()].concat();
    [&header.emit(8 + part.len())[..], &extension, part].concat()
}

/// The rules of the guide's firewall for a web server, and what it does at last with what is left.
fn firewall(lab: &Lab, pair: &Pair, headers: Option<Value>, rest: &Value) -> Outcome {
    let chain = lab.control.chain("firewall")?;
    let web = json!({ "start": 80, "end": 80 });
    let mut rules = vec![json!({ "type": "accept", "nwProto": 17, "tpDst": web })];
    rules.extend(headers);
    rules.push(rest.clone());
    for (nth, mut rule) in rules.into_iter().enumerate() {
        rule["position"] = (nth + 1).into();
        lab.control.rule(&chain, &rule)?;
    }
    let filter = json!({ "outboundFilterId": chain });
    lab.control.change(&format!("/ports/{}", pair.port), &filter)?;
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

#[test]
fn fragments_pass_the_guides_firewall_with_their_first_one_and_by_its_rules_without() -> Outcome {
    let lab = Lab::start(&Plan::new("firewall"))?;
    let (drop, accept) = (json!({ "type": "drop" }), json!({ "type": "accept" }));
    let headers = json!({ "type": "drop", "fragmentPolicy": "header" });
    for pair in pairs(&lab)? {
        for (round, (headers, rest)) in
            [(None, &drop), (Some(headers.clone()), &accept)].into_iter().enumerate()
        {
            let lone_passes = headers.is_some();
            firewall(&lab, &pair, headers, rest)?;
            for v6 in [false, true] {
                let name = format!("round {round}, v6 {v6}");
                let id = |number: u16| number + 100 * round as u16;
                let [first, later] = fragments(v6, 80, id(1));
                assert!(pair.passes(THERE, &first)?, "{name}");
                assert!(pair.passes(THERE, &later)?, "with its first one: {name}");
                let [first, later] = fragments(v6, 72, id(2));
                assert!(pair.stops(THERE, &first)?, "{name}");
                assert!(pair.stops(THERE, &later)?, "its first one was dropped: {name}");
                let [_, alone] = fragments(v6, 80, id(3));
                let is_as_said = if lone_passes {
                    pair.passes(THERE, &alone)?
                } else {
                    pair.stops(THERE, &alone)?
                };
                assert!(is_as_said, "nobody saw its first one: {name}");
            }
        }
    }
    Ok(())
}
