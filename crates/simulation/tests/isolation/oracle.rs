//! Where a packet must arrive, worked out by following what was drawn.

use std::mem::discriminant;
use std::net::IpAddr;

use crate::cloud::{At, Cloud, FLOATING, PUBLIC, Protocol, Public, Rule, Test, Verdict};
use crate::probes::Probe;

/// The ports a device was entered and is left by, as far as a machine is behind them.
#[derive(Clone, Copy, Default)]
struct Ports {
    entered: Option<At>,
    left: Option<At>,
}

/// A machine that gets a packet, and the addresses that are in it by then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    pub at: At,
    pub src: IpAddr,
    pub dst: IpAddr,
}

/// Who gets the packet. `None`: nobody.
pub fn destination(cloud: &Cloud, probe: &Probe) -> Option<Arrival> {
    let mut way = Way { cloud, probe, src: probe.src, dst: probe.dst };
    let at = way.leave_machine()?;
    Some(Arrival { at, src: way.src, dst: way.dst })
}

/// The way of one packet; every step is `Some(())` or the end.
struct Way<'a> {
    cloud: &'a Cloud,
    probe: &'a Probe,
    src: IpAddr,
    dst: IpAddr,
}

impl Way<'_> {
    fn leave_machine(&mut self) -> Option<At> {
        let from = self.probe.from;
        let tenant = &self.cloud.tenants[from.tenant];
        let network = self.cloud.network(from);
        let ports = Ports { entered: Some(from), left: None };
        self.pass(self.cloud.machine(from).filters.inbound, ports)?;
        self.pass(network.bridge.inbound, ports)?;
        if let Some(to) = self.owner(from.tenant, self.dst)
            && to.network == from.network
        {
            // A bridge sends nothing back where it came from.
            if to == from {
                return None;
            }
            return self.reach_machine(to, ports);
        }
        self.pass(network.bridge.outbound, ports)?;
        self.pass(network.link.outbound, ports)?;
        self.pass(network.gateway.inbound, Ports::default())?;
        self.enter_router(from.tenant)?;
        match self.subnet(from.tenant) {
            Some(network) => {
                self.pass(tenant.router.outbound, Ports::default())?;
                self.enter_network(from.tenant, network)
            }
            None => self.cross_provider(from.tenant),
        }
    }

    /// The network of a tenant that the destination is in.
    fn subnet(&self, tenant: usize) -> Option<usize> {
        let subnet = subnet_of(self.dst)?;
        self.cloud.tenants[tenant].networks.iter().position(|network| network.subnet == subnet)
    }

    fn cross_provider(&mut self, tenant: usize) -> Option<At> {
        let provider = self.cloud.provider.as_ref()?;
        let own = &self.cloud.tenants[tenant];
        self.translate_source(tenant);
        self.pass(own.router.outbound, Ports::default())?;
        self.pass(own.uplink.outbound, Ports::default())?;
        self.pass(provider.router.inbound, Ports::default())?;
        let subnet = subnet_of(self.dst)?;
        let of = |subnets: [u8; 2]| subnets.iter().position(|its| *its == subnet);
        let routed = |other: &usize| provider.public[*other] == Public::Routed;
        let other = of(FLOATING).or_else(|| of(PUBLIC).filter(routed))?;
        self.pass(provider.router.outbound, Ports::default())?;
        let far = &self.cloud.tenants[other];
        self.pass(far.uplink.inbound, Ports::default())?;
        self.enter_router(other)?;
        // Without the network there is only the way back, until the packet's hops are used up.
        let network = self.subnet(other)?;
        self.pass(far.router.outbound, Ports::default())?;
        self.enter_network(other, network)
    }

    /// Into a tenant's router: what is for a floating address is for the machine behind it.
    fn enter_router(&mut self, tenant: usize) -> Option<()> {
        let cloud = self.cloud;
        let stands = cloud.floating(tenant).find(|(floating, _)| floating.contains(&self.dst));
        if let Some((_, at)) = stands {
            self.dst = cloud.addrs(at)[usize::from(self.dst.is_ipv6())];
        }
        self.pass(cloud.tenants[tenant].router.inbound, Ports::default())
    }

    /// Outside a machine is known by its floating address.
    fn translate_source(&mut self, tenant: usize) {
        let cloud = self.cloud;
        let own = cloud.floating(tenant).find(|(_, at)| cloud.addrs(*at).contains(&self.src));
        if let Some((floating, _)) = own {
            self.src = floating[usize::from(self.src.is_ipv6())];
        }
    }

    fn enter_network(&self, tenant: usize, index: usize) -> Option<At> {
        let network = &self.cloud.tenants[tenant].networks[index];
        let to = self.owner(tenant, self.dst).filter(|to| to.network == index)?;
        self.pass(network.gateway.outbound, Ports::default())?;
        self.pass(network.link.inbound, Ports::default())?;
        self.pass(network.bridge.inbound, Ports::default())?;
        self.reach_machine(to, Ports::default())
    }

    /// Out of a bridge to one of its machines.
    fn reach_machine(&self, to: At, ports: Ports) -> Option<At> {
        let ports = Ports { left: Some(to), ..ports };
        self.pass(self.cloud.network(to).bridge.outbound, ports)?;
        self.pass(self.cloud.machine(to).filters.outbound, ports)?;
        Some(to)
    }

    /// The machine of a tenant that has an address.
    fn owner(&self, tenant: usize, addr: IpAddr) -> Option<At> {
        let mut own = self.cloud.machines().filter(|at| at.tenant == tenant);
        own.find(|at| self.cloud.addrs(*at).contains(&addr))
    }

    /// Asks a filter.
    fn pass(&self, chain: Option<usize>, ports: Ports) -> Option<()> {
        let Some(chain) = chain else { return Some(()) };
        (self.decide(chain, ports) != Some(false)).then_some(())
    }

    /// Whether a chain lets the packet through; `None`: it leaves that to others.
    fn decide(&self, chain: usize, ports: Ports) -> Option<bool> {
        for rule in &self.cloud.chains[chain] {
            if self.holds(rule, ports) == rule.inverted {
                continue;
            }
            match rule.verdict {
                Verdict::Accept => return Some(true),
                Verdict::Drop | Verdict::Reject => return Some(false),
                Verdict::Return => return None,
                Verdict::Continue => {}
                Verdict::Jump(to) => {
                    if let Some(decided) = self.decide(to, ports) {
                        return Some(decided);
                    }
                }
            }
        }
        None
    }

    /// Whether all tests of a rule hold, of each kind the last.
    fn holds(&self, rule: &Rule, ports: Ports) -> bool {
        let last = |index: usize| {
            let kind = discriminant(&rule.tests[index].1);
            !rule.tests[index + 1..].iter().any(|(_, later)| discriminant(later) == kind)
        };
        let tests = rule.tests.iter().enumerate().filter(|(index, _)| last(*index));
        tests.map(|(_, test)| test).all(|(negated, test)| self.test(*test, ports) != *negated)
    }

    fn test(&self, test: Test, ports: Ports) -> bool {
        let probe = self.probe;
        match test {
            Test::From(addr, len) => begins(self.src, addr, len),
            Test::To(addr, len) => begins(self.dst, addr, len),
            Test::Protocol(protocol) => {
                // ICMP of version 6 is another protocol.
                probe.protocol == protocol && !(protocol == Protocol::Icmp && probe.src.is_ipv6())
            }
            Test::V6(v6) => probe.src.is_ipv6() == v6,
            Test::FromPort(first, last) => (first..=last).contains(&probe.src_port()),
            Test::ToPort(first, last) => (first..=last).contains(&probe.dst_port()),
            Test::InPort(at) => ports.entered == Some(at),
            Test::OutPort(at) => ports.left == Some(at),
        }
    }
}

/// Whether an address begins with the first `len` bits of another.
fn begins(addr: IpAddr, prefix: IpAddr, len: u8) -> bool {
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => (u128::from(addr.to_bits()) << 96, 32),
        IpAddr::V6(addr) => (addr.to_bits(), 128),
    };
    let ((a, version), (b, other)) = (bits(addr), bits(prefix));
    version == other && (len == 0 || (a ^ b) >> (128 - u32::from(len)) == 0)
}

/// Which subnet an address is of.
fn subnet_of(addr: IpAddr) -> Option<u8> {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, subnet, _] = addr.octets();
            ([a, b] == [10, 0]).then_some(subnet)
        }
        IpAddr::V6(addr) => {
            let [a, subnet, ..] = addr.segments();
            (a == 0xfd00).then(|| u8::try_from(subnet).ok()).flatten()
        }
    }
}
