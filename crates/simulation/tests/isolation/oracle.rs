//! Where a packet must arrive, worked out by following what was drawn.

use std::mem::discriminant;
use std::net::IpAddr;

use crate::cloud::{At, Cloud, PUBLIC, Protocol, Public, Rule, Test, Verdict};
use crate::probes::Probe;

/// The ports a device was entered and is left by, as far as a machine is behind them.
#[derive(Clone, Copy, Default)]
struct Ports {
    entered: Option<At>,
    left: Option<At>,
}

/// Who gets the packet. `None`: nobody.
pub fn destination(cloud: &Cloud, probe: &Probe) -> Option<At> {
    Way { cloud, probe }.leave_machine()
}

/// The way of one packet; every step is `Some(())` or the end.
struct Way<'a> {
    cloud: &'a Cloud,
    probe: &'a Probe,
}

impl Way<'_> {
    fn leave_machine(&self) -> Option<At> {
        let from = self.probe.from;
        let tenant = &self.cloud.tenants[from.tenant];
        let network = self.cloud.network(from);
        let ports = Ports { entered: Some(from), left: None };
        self.pass(self.cloud.machine(from).filters.inbound, ports)?;
        self.pass(network.bridge.inbound, ports)?;
        if let Some(to) = self.owner(from.tenant, self.probe.dst)
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
        self.pass(tenant.router.inbound, Ports::default())?;
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
        let subnet = subnet_of(self.probe.dst)?;
        self.cloud.tenants[tenant].networks.iter().position(|network| network.subnet == subnet)
    }

    fn cross_provider(&self, tenant: usize) -> Option<At> {
        let provider = self.cloud.provider.as_ref()?;
        let own = &self.cloud.tenants[tenant];
        self.pass(own.router.outbound, Ports::default())?;
        self.pass(own.uplink.outbound, Ports::default())?;
        self.pass(provider.router.inbound, Ports::default())?;
        let subnet = subnet_of(self.probe.dst)?;
        let other = PUBLIC.iter().position(|public| *public == subnet)?;
        if provider.public[other] != Public::Routed {
            return None;
        }
        self.pass(provider.router.outbound, Ports::default())?;
        let far = &self.cloud.tenants[other];
        self.pass(far.uplink.inbound, Ports::default())?;
        self.pass(far.router.inbound, Ports::default())?;
        // Without the network there is only the way back, until the packet's hops are used up.
        let network = self.subnet(other)?;
        self.pass(far.router.outbound, Ports::default())?;
        self.enter_network(other, network)
    }

    fn enter_network(&self, tenant: usize, index: usize) -> Option<At> {
        let network = &self.cloud.tenants[tenant].networks[index];
        let to = self.owner(tenant, self.probe.dst).filter(|to| to.network == index)?;
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
            Test::From(addr, len) => begins(probe.src, addr, len),
            Test::To(addr, len) => begins(probe.dst, addr, len),
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
