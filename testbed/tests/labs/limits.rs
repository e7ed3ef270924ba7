//! What one port may have of what all share: each limit holds in the kernel and the agent, has its
//! count and its event, and nobody else notices.

use std::time::Duration;

use mn_packet::{Arp, EtherType, EthernetHeader, IpProtocol, Mac, UdpHeader, ip_packet};
use mn_testbed::{Control, Lab, LabError, Outcome, Plan, Wire, wait_for};
use serde_json::json;

use crate::asked::metric;

const METRICS: &str = "127.0.0.1:7300";
const FLAGS: [&str; 18] = [
    "--metrics",
    METRICS,
    "--port-flows-max",
    "20",
    "--port-connections-max",
    "5",
    "--port-nat-ports-max",
    "3",
    "--port-macs-max",
    "4",
    "--port-broadcasts-max",
    "20",
    "--upcall-rate",
    "200",
    "--upcall-burst",
    "100",
    "--nat-timeouts",
    "udp=300",
];

/// The machine that all of them speak to, and its address.
const QUIET: Mac = Mac([2, 0xbb, 0, 0, 0, 1]);
const QUIET_ADDR: [u8; 4] = [10, 7, 0, 1];

/// A machine that takes more than its part.
struct Greedy {
    wire: Wire,
    port: String,
    mac: Mac,
    addr: [u8; 4],
}

impl Greedy {
    fn new(lab: &Lab, bridge: &str, limit: &str, number: u8) -> Outcome<Self> {
        let (wire, port) = lab.add_wire(limit, 0, bridge)?;
        let mac = Mac([2, 0xbb, 0, 0, 1, number]);
        Ok(Self { wire, port, mac, addr: [10, 7, 0, 100 + number] })
    }

    fn datagram(&self, [src, dst]: [Mac; 2], ports: (u16, u16)) -> Outcome {
        let (from, to) = (self.addr.into(), QUIET_ADDR.into());
        let datagram = UdpHeader { src: ports.0, dst: ports.1 }.datagram(from, to, b"more");
        let packet = ip_packet(from, to, 64, IpProtocol::UDP, &datagram);
        self.wire.send(&EthernetHeader::untagged(src, dst, EtherType::IPV4).frame(&packet))
    }

    /// Asks for more than it may have.
    fn take(&self, limit: &str) -> Outcome {
        let nobody = |n: u16| Mac([2, 0xcc, 0, self.mac.0[5], (n >> 8) as u8, n as u8]);
        match limit {
            "flows" => (0..40).try_for_each(|n| self.datagram([self.mac, nobody(n)], (1, 2))),
            "upcalls" => (0..3000).try_for_each(|n| self.datagram([self.mac, nobody(n)], (1, 2))),
            "macs" => (0..10).try_for_each(|n| self.datagram([nobody(n), QUIET], (1, 2))),
            "connections" => {
                (0..10).try_for_each(|n| self.datagram([self.mac, QUIET], (n + 1, 53)))
            }
            "nat-ports" => (0..10).try_for_each(|n| self.datagram([self.mac, QUIET], (n + 1, 99))),
            _ => {
                let arp = Arp::request(self.mac, self.addr.into(), [10, 7, 0, 250].into()).frame();
                (0..100).try_for_each(|_| self.wire.send(&arp))
            }
        }
    }
}

/// What passes port 53 is tracked, and what goes to port 99 is translated.
fn draw(control: &Control, bridge: &str, tracked: &str) -> Outcome {
    let (asks, translates) = (control.chain("asks")?, control.chain("translates")?);
    control.rule(&asks, &json!({ "type": "accept", "matchReturnFlow": true }))?;
    control.change(&format!("/ports/{tracked}"), &json!({ "inboundFilterId": asks }))?;
    let target = json!({ "addressFrom": "10.7.9.9", "addressTo": "10.7.9.9", "portFrom": 1024, "portTo": 65535 });
    let rule = json!({ "type": "snat", "dlType": 0x0800, "nwProto": 17, "flowAction": "accept",
        "tpDst": { "start": 99, "end": 99 }, "natTargets": [target] });
    control.rule(&translates, &rule)?;
    control.change(&format!("/bridges/{bridge}"), &json!({ "outboundFilterId": translates }))
}

/// How often a port ran into a limit, as the agent's metrics say.
fn pressure(lab: &Lab, port: &str, limit: &str) -> Outcome<f64> {
    let labels = format!("{{limit=\"{limit}\",port=\"{port}\"}}");
    metric(&lab.hosts[0], METRICS, "midonet_agent_port_pressure_total", &labels)
}

#[test]
fn each_limit_of_a_port_is_counted_and_said_and_its_neighbour_has_none_of_it() -> Outcome {
    let lab = Lab::start(&Plan { hosts: 1, agent: &FLAGS, ..Plan::new("limits") })?;
    let control = &lab.control;
    let bridge = control.bridge("shared")?;
    let limits = ["flows", "macs", "connections", "nat-ports", "broadcasts", "upcalls"];
    let mut greedy = Vec::new();
    for (number, limit) in (1..).zip(limits) {
        greedy.push((limit, Greedy::new(&lab, &bridge, limit, number)?));
    }
    let (quiet, port) = lab.add_wire("quiet", 0, &bridge)?;
    let ports: Vec<&str> = greedy.iter().map(|it| it.1.port.as_str()).chain([&*port]).collect();
    control.wait_active(&ports)?;
    draw(control, &bridge, &greedy[2].1.port)?;
    let said = EthernetHeader::untagged(QUIET, greedy[0].1.mac, EtherType::IPV4);
    let datagram = UdpHeader { src: 7, dst: 8 }.datagram(
        QUIET_ADDR.into(),
        greedy[0].1.addr.into(),
        b"modest",
    );
    let packet =
        ip_packet(QUIET_ADDR.into(), greedy[0].1.addr.into(), 64, IpProtocol::UDP, &datagram);
    let said = said.frame(&packet);
    for (limit, it) in &greedy {
        wait_for(&format!("pressure of {limit}"), Duration::from_secs(15), || {
            it.take(limit)?;
            std::thread::sleep(Duration::from_millis(200));
            Ok(pressure(&lab, &it.port, limit)? >= 1.0)
        })?;
        // Meanwhile.
        quiet.send(&said)?;
        assert!(
            greedy[0].1.wire.hears(Duration::from_secs(1), |heard| heard == said),
            "the neighbour of who takes too many {limit}"
        );
    }
    let log = lab.directory().join("hv0.log");
    for (limit, it) in &greedy {
        wait_for(&format!("an event of {limit}"), Duration::from_secs(15), || {
            let text = std::fs::read_to_string(&log).map_err(LabError::machine("read a log"))?;
            Ok(text.lines().any(|line| {
                line.contains("\"port-limit\"")
                    && line.contains(&it.port)
                    && line.contains(&format!("limit=\"{limit}\""))
            }))
        })?;
    }
    for limit in limits {
        assert_eq!(pressure(&lab, &port, limit)?, 0.0, "the quiet one: {limit}");
    }
    Ok(())
}
