//! Packets, and what the walk makes of them.

use std::net::IpAddr;

use mn_packet::from_v6;
use mn_testkit::{Lab, Random, named};

use crate::cloud::{At, Cloud, PUBLIC, Protocol, name};
use crate::oracle::Arrival;

#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub from: At,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: Protocol,
    pub ports: (u16, u16),
}

impl Probe {
    pub fn draw(cloud: &Cloud, random: &mut Random) -> Self {
        let from = cloud.draw_machine(random);
        let mut to = cloud.draw_machine(random);
        // Own networks are asked for more often, and public ones of the other tenant.
        if to.tenant != from.tenant && !PUBLIC.contains(&cloud.network(to).subnet) {
            to = cloud.draw_machine(random);
        }
        let version = usize::from(random.one_in(3));
        let floating: Vec<_> = (0..2).flat_map(|tenant| cloud.floating(tenant)).collect();
        let outside = !floating.is_empty() && random.one_in(4);
        let to = if outside { random.pick(&floating).0 } else { cloud.addrs(to) };
        Self {
            from,
            src: cloud.addrs(from)[version],
            dst: to[version],
            protocol: random.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Udp, Protocol::Icmp]),
            ports: (random.pick(&[7, 22, 4000]), random.pick(&[7, 9, 22, 80])),
        }
    }

    /// What rules compare with source ports: of an echo its type.
    pub fn src_port(&self) -> u16 {
        match (self.protocol, self.src) {
            (Protocol::Icmp, IpAddr::V4(_)) => 8,
            (Protocol::Icmp, IpAddr::V6(_)) => 128,
            _ => self.ports.0,
        }
    }

    /// What rules compare with destination ports: of an echo its code.
    pub fn dst_port(&self) -> u16 {
        if self.protocol == Protocol::Icmp { 0 } else { self.ports.1 }
    }

    /// The packet as a lab's text. It goes to the machine on its own network that has the address,
    /// else to the router.
    pub fn text(&self, cloud: &Cloud) -> String {
        let mut near = cloud.machines().filter(|at| {
            at.tenant == self.from.tenant
                && at.network == self.from.network
                && cloud.addrs(*at).contains(&self.dst)
        });
        let to = near.next().map_or_else(|| self.dst.to_string(), name);
        let (from, (sport, dport)) = (name(self.from), self.ports);
        let what = match self.protocol {
            Protocol::Tcp => format!("tcp {dport} sport {sport} syn"),
            Protocol::Udp => format!("udp {dport} sport {sport}"),
            Protocol::Icmp => "icmp".to_owned(),
        };
        let version = if self.src.is_ipv6() { " v6" } else { "" };
        format!("{from} > {to} {what}{version}")
    }
}

/// What is wrong with where the walk takes a packet, and with which addresses; also with where it takes the answers that it
/// makes up itself (errors, resets).
pub fn mismatch(
    cloud: &Cloud,
    lab: &Lab,
    probe: &Probe,
    wanted: Option<Arrival>,
) -> Option<String> {
    let text = probe.text(cloud);
    let sent = lab.send(&text);
    let at = |port: mn_ids::PortId| {
        cloud.machines().find(|at| named::<mn_ids::Port>(&name(*at)) == port)
    };
    let arrived: Vec<Option<Arrival>> = sent
        .arrivals()
        .iter()
        .map(|it| {
            let (src, dst) = (from_v6(it.headers.nw_src), from_v6(it.headers.nw_dst));
            at(it.port).map(|at| Arrival { at, src, dst })
        })
        .collect();
    let expected: Vec<Option<Arrival>> = wanted.into_iter().map(Some).collect();
    if arrived != expected {
        return Some(format!("{text}: arrived at {arrived:?}, should at {expected:?}"));
    }
    for (port, frame) in sent.answers() {
        for arrival in lab.emit(port, frame).arrivals() {
            let to = at(arrival.port);
            // Where both tenants have the sender's address, the routers decide whose it is.
            if !to.is_some_and(|to| cloud.addrs(to).contains(&probe.src)) {
                return Some(format!("{text}: its answer arrived at {to:?}"));
            }
        }
    }
    None
}
