//! What is drawn.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_testkit::{Lab, Random, named};

/// Tenants have these names; of everything one has, the other has the same with its own letter.
pub const TENANTS: [char; 2] = ['a', 'b'];

/// A machine, by where it was drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct At {
    pub tenant: usize,
    pub network: usize,
    pub machine: usize,
}

/// Two filters, as indices of [`Cloud::chains`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Filters {
    pub inbound: Option<usize>,
    pub outbound: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Machine {
    /// The last number of its addresses.
    pub number: u8,
    pub filters: Filters,
}

/// A bridge and its link to the tenant's router.
#[derive(Clone, Debug)]
pub struct Network {
    /// The subnet: 10.0.N.0/24 and fd00:N::/64. Not both tenants' where the provider routes to it.
    pub subnet: u8,
    pub machines: Vec<Machine>,
    pub bridge: Filters,
    /// Of the link's end at the bridge, and at the router.
    pub link: Filters,
    pub gateway: Filters,
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub networks: Vec<Network>,
    pub router: Filters,
    /// Of its router's port to the provider.
    pub uplink: Filters,
    /// Only where there is a provider, which routes them all.
    pub floating: Vec<Floating>,
}

/// An address of each version that stands for a machine outside of its tenant's networks.
#[derive(Clone, Copy, Debug)]
pub struct Floating {
    /// The last number of the addresses, which are in the tenant's subnet of [`FLOATING`].
    pub number: u8,
    pub network: usize,
    pub machine: usize,
}

/// What the provider's router does with a tenant's public network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Public {
    Routed,
    Blackholed,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub router: Filters,
    pub public: [Public; 2],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Accept,
    Drop,
    Reject,
    Return,
    Continue,
    Jump(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

#[derive(Clone, Copy, Debug)]
pub enum Test {
    From(IpAddr, u8),
    To(IpAddr, u8),
    Protocol(Protocol),
    V6(bool),
    FromPort(u16, u16),
    ToPort(u16, u16),
    /// The port of this machine, as the one that the packet entered the device by.
    InPort(At),
    /// As the one that the packet leaves the device by.
    OutPort(At),
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub verdict: Verdict,
    /// Each may be negated.
    pub tests: Vec<(bool, Test)>,
    /// Applies where not all tests hold.
    pub inverted: bool,
}

#[derive(Clone, Debug)]
pub struct Cloud {
    pub tenants: [Tenant; 2],
    pub provider: Option<Provider>,
    pub chains: Vec<Vec<Rule>>,
}

/// The subnet of each tenant that the other may have a route to.
pub const PUBLIC: [u8; 2] = [100, 101];
/// The subnet of each tenant's floating addresses.
pub const FLOATING: [u8; 2] = [200, 201];

pub fn v4(subnet: u8, number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, subnet, number).into()
}

pub fn v6(subnet: u8, number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, subnet.into(), 0, 0, 0, 0, 0, number.into()).into()
}

impl Cloud {
    pub fn draw(random: &mut Random) -> Self {
        let mut tenant = |index: usize| {
            let mut subnets: Vec<u8> = (1..=1 + random.below(2)).map(|n| n as u8).collect();
            if !random.one_in(4) {
                subnets.push(PUBLIC[index]);
            }
            let networks = subnets.into_iter().map(|subnet| Network {
                subnet,
                machines: (0..1 + random.below(2)).map(|n| machine(5 + n as u8)).collect(),
                bridge: Filters::default(),
                link: Filters::default(),
                gateway: Filters::default(),
            });
            let networks = networks.collect();
            let (router, uplink, floating) = Default::default();
            Tenant { networks, router, uplink, floating }
        };
        let tenants = [tenant(0), tenant(1)];
        let mut cloud = Self { tenants, provider: None, chains: Vec::new() };
        if !random.one_in(5) {
            let mut public = || match random.below(5) {
                0 => Public::Blackholed,
                1 => Public::Unknown,
                _ => Public::Routed,
            };
            let public = [public(), public()];
            cloud.provider = Some(Provider { router: Filters::default(), public });
        }
        let chains = 2 + random.below(4);
        for index in 0..chains {
            let rules = (0..1 + random.below(4)).map(|_| cloud.draw_rule(random, index)).collect();
            cloud.chains.push(rules);
        }
        cloud.place_filters(random, chains);
        if cloud.provider.is_some() {
            cloud.place_floating(random);
        }
        cloud
    }

    fn place_floating(&mut self, random: &mut Random) {
        for tenant in &mut self.tenants {
            for number in 0..random.below(3) {
                let network = random.below(tenant.networks.len());
                let machine = random.below(tenant.networks[network].machines.len());
                let has = |it: &Floating| (it.network, it.machine) == (network, machine);
                if !tenant.floating.iter().any(has) {
                    let number = 20 + number as u8;
                    tenant.floating.push(Floating { number, network, machine });
                }
            }
        }
    }

    fn place_filters(&mut self, random: &mut Random, chains: usize) {
        let mut filters = || Filters {
            inbound: random.one_in(7).then(|| random.below(chains)),
            outbound: random.one_in(7).then(|| random.below(chains)),
        };
        for tenant in &mut self.tenants {
            (tenant.router, tenant.uplink) = (filters(), filters());
            for network in &mut tenant.networks {
                (network.bridge, network.link) = (filters(), filters());
                network.gateway = filters();
                for machine in &mut network.machines {
                    machine.filters = filters();
                }
            }
        }
        if let Some(provider) = &mut self.provider {
            provider.router = filters();
        }
    }

    /// A rule of the chain of this index, which jumps only to chains before it.
    fn draw_rule(&self, random: &mut Random, index: usize) -> Rule {
        let verdict = match random.below(8) {
            0..=1 => Verdict::Accept,
            2..=3 => Verdict::Drop,
            4 => Verdict::Reject,
            5 => Verdict::Return,
            6 if index > 0 => Verdict::Jump(random.below(index)),
            _ => Verdict::Continue,
        };
        let tests = 1 + random.below(2);
        let tests = (0..tests).map(|_| (random.one_in(4), self.draw_test(random))).collect();
        Rule { verdict, tests, inverted: random.one_in(6) }
    }

    fn draw_test(&self, random: &mut Random) -> Test {
        let (addr, at) = (self.draw_addr(random), self.draw_machine(random));
        let len = random.pick(if addr.is_ipv4() { &[8, 24, 31, 32] } else { &[16, 32, 64, 128] });
        let port = random.pick(&[7, 22, 80]);
        match random.below(9) {
            0..=1 => Test::From(addr, len),
            2..=3 => Test::To(addr, len),
            4 => Test::Protocol(random.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Icmp])),
            5 => Test::V6(random.one_in(2)),
            6 => Test::ToPort(port, port + 10),
            7 if random.one_in(2) => Test::FromPort(port, port + 10),
            7 => Test::OutPort(at),
            _ => Test::InPort(at),
        }
    }

    /// An address that somebody has, of either version.
    pub fn draw_addr(&self, random: &mut Random) -> IpAddr {
        let at = self.draw_machine(random);
        let [v4, v6] = self.addrs(at);
        if random.one_in(3) { v6 } else { v4 }
    }

    pub fn draw_machine(&self, random: &mut Random) -> At {
        let tenant = random.below(2);
        let network = random.below(self.tenants[tenant].networks.len());
        let machine = random.below(self.tenants[tenant].networks[network].machines.len());
        At { tenant, network, machine }
    }

    pub fn network(&self, at: At) -> &Network {
        &self.tenants[at.tenant].networks[at.network]
    }

    pub fn machine(&self, at: At) -> &Machine {
        &self.network(at).machines[at.machine]
    }

    pub fn addrs(&self, at: At) -> [IpAddr; 2] {
        let (subnet, number) = (self.network(at).subnet, self.machine(at).number);
        [v4(subnet, number), v6(subnet, number)]
    }

    /// A tenant's floating addresses, and the machines that they stand for.
    pub fn floating(&self, tenant: usize) -> impl Iterator<Item = ([IpAddr; 2], At)> + '_ {
        self.tenants[tenant].floating.iter().map(move |it| {
            let at = At { tenant, network: it.network, machine: it.machine };
            ([v4(FLOATING[tenant], it.number), v6(FLOATING[tenant], it.number)], at)
        })
    }

    /// Every machine.
    pub fn machines(&self) -> impl Iterator<Item = At> + '_ {
        self.tenants.iter().enumerate().flat_map(|(tenant, its)| {
            its.networks.iter().enumerate().flat_map(move |(network, its)| {
                (0..its.machines.len()).map(move |machine| At { tenant, network, machine })
            })
        })
    }
}

fn machine(number: u8) -> Machine {
    Machine { number, filters: Filters::default() }
}

/// The name of a machine, and of its port.
pub fn name(at: At) -> String {
    format!("{}{}vm{}", TENANTS[at.tenant], at.network, at.machine)
}

pub fn bridge(tenant: usize, network: usize) -> String {
    format!("{}{network}", TENANTS[tenant])
}

pub fn router(tenant: usize) -> String {
    format!("{}edge", TENANTS[tenant])
}

impl Cloud {
    /// The cloud as a lab's text; filters of the bridges' ends of links cannot be said there.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (index, tenant) in self.tenants.iter().enumerate() {
            self.write_tenant(&mut out, index, tenant);
        }
        if let Some(provider) = &self.provider {
            self.write_provider(&mut out, provider);
        }
        for tenant in 0..self.tenants.len() {
            self.write_translations(&mut out, tenant);
        }
        for (index, rules) in self.chains.iter().enumerate() {
            let _ = writeln!(out, "chain c{index}");
            for rule in rules {
                let _ = writeln!(out, "  {}", self.rule(rule));
            }
        }
        out
    }

    pub fn lab(&self) -> Lab {
        let mut lab = Lab::read(&self.text());
        for (tenant, its) in self.tenants.iter().enumerate() {
            for (index, network) in its.networks.iter().enumerate() {
                let end = format!("{}.{}", bridge(tenant, index), router(tenant));
                lab.port(&end, |port| {
                    let chain = |index: usize| named(&format!("c{index}"));
                    port.inbound_filter_id = network.link.inbound.map(chain);
                    port.outbound_filter_id = network.link.outbound.map(chain);
                });
            }
        }
        lab
    }

    fn write_tenant(&self, out: &mut String, index: usize, tenant: &Tenant) {
        for (number, network) in tenant.networks.iter().enumerate() {
            let _ = writeln!(out, "bridge {}", bridge(index, number));
            write_filters(out, network.bridge);
            for (nth, machine) in network.machines.iter().enumerate() {
                let at = At { tenant: index, network: number, machine: nth };
                let [v4, v6] = self.addrs(at);
                // The same for both tenants.
                let mac = format!("02::{:02x}:{:02x}", network.subnet, machine.number);
                let _ = write!(out, "  {} {mac} {v4} {v6}", name(at));
                let _ = writeln!(out, "{}", words(machine.filters));
            }
        }
        let _ = writeln!(out, "router {}", router(index));
        if tenant.floating.is_empty() {
            write_filters(out, tenant.router);
        } else {
            let name = TENANTS[index];
            let _ = writeln!(out, "  in {name}pre\n  out {name}post");
        }
        for (number, network) in tenant.networks.iter().enumerate() {
            let (n, far) = (network.subnet, bridge(index, number));
            let _ = write!(out, "  {far} 02::{n:02x}:01 {}/24 {}/64", v4(n, 1), v6(n, 1));
            let _ = writeln!(out, "{}", words(network.gateway));
        }
        if self.provider.is_some() {
            let [near, far] = transit(index);
            let _ = write!(out, "  core 02::fe:{index:02x} {}/30 {}/126", near[0], near[1]);
            let _ = writeln!(out, "{}", words(tenant.uplink));
            for (gateway, any) in far.iter().zip(["0.0.0.0/0", "::/0"]) {
                let _ = writeln!(out, "  route {any} via core {gateway}");
            }
        }
    }

    /// The filters of a router with floating addresses: translations, then what it has besides.
    fn write_translations(&self, out: &mut String, index: usize) {
        let (tenant, name) = (&self.tenants[index], TENANTS[index]);
        if tenant.floating.is_empty() {
            return;
        }
        for (way, besides) in [("pre", tenant.router.inbound), ("post", tenant.router.outbound)] {
            let _ = writeln!(out, "chain {name}{way}");
            for (floating, at) in self.floating(index) {
                for (floating, own) in floating.into_iter().zip(self.addrs(at)) {
                    let len = if own.is_ipv4() { 32 } else { 128 };
                    let _ = match way {
                        "pre" => writeln!(out, "  dnat {own} then-continue to {floating}/{len}"),
                        _ => writeln!(
                            out,
                            "  snat {floating} then-continue from {own}/{len} out-port {}.core",
                            router(index)
                        ),
                    };
                }
            }
            if let Some(chain) = besides {
                let _ = writeln!(out, "  jump c{chain}");
            }
        }
    }

    fn write_provider(&self, out: &mut String, provider: &Provider) {
        let _ = writeln!(out, "router core");
        write_filters(out, provider.router);
        for (tenant, public) in provider.public.iter().enumerate() {
            let ([near, far], n) = (transit(tenant), PUBLIC[tenant]);
            let edge = router(tenant);
            let _ = writeln!(out, "  {edge} 02::ff:{tenant:02x} {}/30 {}/126", far[0], far[1]);
            for (gateway, subnet) in
                near.iter().zip([format!("{}/24", v4(n, 0)), format!("{}/64", v6(n, 0))])
            {
                let _ = match public {
                    Public::Routed => writeln!(out, "  route {subnet} via {edge} {gateway}"),
                    Public::Blackholed => writeln!(out, "  route {subnet} blackhole"),
                    Public::Unknown => Ok(()),
                };
            }
            let n = FLOATING[tenant];
            for (gateway, subnet) in
                near.iter().zip([format!("{}/24", v4(n, 0)), format!("{}/64", v6(n, 0))])
            {
                let _ = writeln!(out, "  route {subnet} via {edge} {gateway}");
            }
        }
    }

    fn rule(&self, rule: &Rule) -> String {
        let mut text = match rule.verdict {
            Verdict::Accept => "accept".to_owned(),
            Verdict::Drop => "drop".to_owned(),
            Verdict::Reject => "reject".to_owned(),
            Verdict::Return => "return".to_owned(),
            Verdict::Continue => "continue".to_owned(),
            Verdict::Jump(chain) => format!("jump c{chain}"),
        };
        // Twice the same kind of test is one condition: the later one counts.
        let mut seen = Vec::new();
        for (negated, test) in rule.tests.iter().rev() {
            if seen.contains(&std::mem::discriminant(test)) {
                continue;
            }
            seen.push(std::mem::discriminant(test));
            text.push_str(if *negated { " not " } else { " " });
            text.push_str(&match test {
                Test::From(addr, len) => format!("from {addr}/{len}"),
                Test::To(addr, len) => format!("to {addr}/{len}"),
                Test::Protocol(Protocol::Tcp) => "proto 6".to_owned(),
                Test::Protocol(Protocol::Udp) => "proto 17".to_owned(),
                Test::Protocol(Protocol::Icmp) => "proto 1".to_owned(),
                Test::V6(v6) => format!("type {}", if *v6 { 0x86dd } else { 0x0800 }),
                Test::FromPort(first, last) => format!("sport {first}-{last}"),
                Test::ToPort(first, last) => format!("dport {first}-{last}"),
                Test::InPort(at) => format!("in-port {}", name(*at)),
                Test::OutPort(at) => format!("out-port {}", name(*at)),
            });
        }
        if rule.inverted { text + " inverted" } else { text }
    }
}

/// The addresses of both ends of a tenant's link with the provider: the tenant's, the provider's.
pub fn transit(tenant: usize) -> [[IpAddr; 2]; 2] {
    let n = tenant as u8 + 1;
    let end = |last: u8| {
        let v6 = Ipv6Addr::new(0xfdff, n.into(), 0, 0, 0, 0, 0, last.into());
        [Ipv4Addr::new(172, 16, n, last).into(), v6.into()]
    };
    [end(1), end(2)]
}

fn words(filters: Filters) -> String {
    let word = |way: &str, chain: Option<usize>| {
        chain.map_or_else(String::new, |chain| format!(" {way} c{chain}"))
    };
    word("in", filters.inbound) + &word("out", filters.outbound)
}

fn write_filters(out: &mut String, filters: Filters) {
    for (way, chain) in [("in", filters.inbound), ("out", filters.outbound)] {
        if let Some(chain) = chain {
            let _ = writeln!(out, "  {way} c{chain}");
        }
    }
}
