//! The world of address translation: machines inside, a street outside, and a machine beyond a
//! narrow link that knows nothing of the inside.

use mn_testbed::{Attachment, Control, Lab, Namespace, Outcome, Plan, Vm};
use serde_json::{Value, json};

use crate::talk::wait_reaches;

/// Inside: 10.0.1.0/24, fd01::/64. Street: 198.51.100.0/24, 2001:db8::/64. The router is .1 in
/// each. Beyond: 192.0.2.0/24, 2001:db8:2::/64, packets of at most 1300 octets.
pub struct Street {
    pub lab: Lab,
    /// .11, .12 and .13 of the inside: veth, tap, and veth with checksums that the guest computes.
    pub vms: Vec<Vm>,
    /// Their ports, and that of the machine at the corner.
    pub ports: Vec<String>,
    /// .9 of the street; it forwards to and from [`Street::far`].
    pub corner: Vm,
    /// .9 beyond. All it knows of the way to us is the machine at the corner.
    pub far: Namespace,
    /// The router's port to the street.
    pub up: String,
    /// The router's filters. Both are empty.
    pub pre: String,
    pub post: String,
}

/// Of the machine beyond.
pub const FAR: [&str; 2] = ["192.0.2.9", "2001:db8:2::9"];
/// What a machine inside is known as, by [`Street::float`].
pub const FLOATING: [&str; 2] = ["203.0.113.5", "2001:db8:1::5"];
/// Of the machine at the corner.
pub const CORNER: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
/// What the inside is known as, by the rules of [`Street::share_one_address`]. On no port.
pub const SHARED: [&str; 2] = ["203.0.113.2", "2001:db8:1::2"];
/// The largest packet that goes beyond.
pub const NARROW: u32 = 1300;

impl Street {
    /// Sets everything up on one host; returns when all ports are active.
    pub fn start(name: &str) -> Outcome<Self> {
        Self::start_with(name, &[])
    }

    /// As [`Street::start`], with more flags of the agent.
    pub fn start_with(name: &str, agent: &[&str]) -> Outcome<Self> {
        let mut lab = Lab::start(&Plan { hosts: 1, agent, ..Plan::new(name) })?;
        let control = lab.control.clone();
        let router = control.router("edge")?;
        let (inside, street) = (control.bridge("inside")?, control.bridge("street")?);
        control.uplink(&inside, &router, &["10.0.1.1/24", "fd01::1/64"])?;
        let up = control.uplink(&street, &router, &["198.51.100.1/24", "2001:db8::1/64"])?;
        control.route(&router, "0.0.0.0", ("0.0.0.0", 0), &up, Some(CORNER[0]))?;
        control.route(&router, "::", ("::", 0), &up, Some(CORNER[1]))?;
        let (pre, post) = (control.chain("pre")?, control.chain("post")?);
        let filters = json!({ "inboundFilterId": pre, "outboundFilterId": post });
        control.change(&format!("/routers/{router}"), &filters)?;
        let (mut vms, mut ports) = (Vec::new(), Vec::new());
        for (nth, how) in
            [Attachment::Veth, Attachment::Tap, Attachment::Veth].into_iter().enumerate()
        {
            let vm = lab.add_vm(&format!("vm{nth}"), 0, how)?;
            let own = [format!("10.0.1.{}/24", 11 + nth), format!("fd01::{}/64", 11 + nth)];
            settle(&vm, [&own[0], &own[1]], ["10.0.1.1", "fd01::1"])?;
            ports.push(lab.plug(&vm, 0, &inside)?);
            vms.push(vm);
        }
        vms[2].namespace.run("ethtool -K eth0 tx off")?;
        let corner = lab.add_vm("corner", 0, Attachment::Veth)?;
        let own = [format!("{}/24", CORNER[0]), format!("{}/64", CORNER[1])];
        settle(&corner, [&own[0], &own[1]], ["198.51.100.1", "2001:db8::1"])?;
        ports.push(lab.plug(&corner, 0, &street)?);
        let far = beyond(&mut lab, &corner)?;
        control.wait_active(&ports.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { lab, vms, ports, corner, far, up, pre, post })
    }

    pub fn control(&self) -> &Control {
        &self.lab.control
    }

    /// The addresses of a machine inside.
    pub fn own(&self, vm: usize) -> [String; 2] {
        [format!("10.0.1.{}", 11 + vm), format!("fd01::{}", 11 + vm)]
    }

    /// The whole inside is known by one address of each version. Returns the rules that say so.
    pub fn share_one_address(&self) -> Outcome<Vec<String>> {
        let mut rules = Vec::new();
        for (version, shared) in [0x0800, 0x86dd].into_iter().zip(SHARED) {
            self.before(&json!({ "type": "rev_snat", "nwDstAddress": shared }))?;
            let what = json!({ "type": "snat", "outPorts": [self.up], "dlType": version });
            rules.push(self.after(&translating(what, &[(shared, shared, 1024, 65535)]))?);
        }
        Ok(rules)
    }

    /// An address stands for a machine, both ways.
    pub fn float(&self, address: &str, vm: usize) -> Outcome {
        let own = &self.own(vm)[usize::from(address.contains(':'))];
        let (inward, outward) = (json!({ "type": "dnat", "nwDstAddress": address }), own);
        self.before(&translating(inward, &[(own, own, 0, 0)]))?;
        let outward = json!({ "type": "snat", "nwSrcAddress": outward });
        self.after(&translating(outward, &[(address, address, 0, 0)])).map(drop)
    }

    /// A rule at the head of the router's inbound filter; what it translates is accepted.
    pub fn before(&self, rule: &Value) -> Outcome<String> {
        self.rule(&self.pre, rule)
    }

    /// Likewise of the outbound one.
    pub fn after(&self, rule: &Value) -> Outcome<String> {
        self.rule(&self.post, rule)
    }

    fn rule(&self, chain: &str, rule: &Value) -> Outcome<String> {
        let mut rule = rule.clone();
        rule["flowAction"] = "accept".into();
        self.control().rule(chain, &rule)
    }

    /// Waits until a machine reaches the one beyond.
    pub fn wait_reaches(&self, vm: usize, to: &str) -> Outcome {
        wait_reaches(&self.vms[vm], to)
    }
}

/// A rule with targets: first and last address, first and last port.
pub fn translating(mut rule: Value, targets: &[(&str, &str, u16, u16)]) -> Value {
    let target = |(first, last, from, to): &(&str, &str, u16, u16)| json!({ "addressFrom": first, "addressTo": last, "portFrom": from, "portTo": to });
    rule["natTargets"] = targets.iter().map(target).collect();
    rule
}

/// Gives a machine its addresses and gateways of both IP versions.
pub fn settle(vm: &Vm, own: [&str; 2], gateways: [&str; 2]) -> Outcome {
    for (own, gateway) in own.into_iter().zip(gateways) {
        vm.address(own)?;
        vm.gateway(gateway)?;
    }
    Ok(())
}

/// The namespace beyond the corner.
fn beyond(lab: &mut Lab, corner: &Vm) -> Outcome<Namespace> {
    let far = lab.namespace("far")?;
    let at = &corner.namespace;
    at.ip(&format!("link add far0 mtu {NARROW} type veth peer name eth0 netns {}", far.name()))?;
    at.set("ipv6/conf/far0/accept_dad", "0")?;
    far.set("ipv6/conf/eth0/accept_dad", "0")?;
    far.set("ipv4/icmp_ratelimit", "0")?;
    far.set("ipv6/icmp/ratelimit", "0")?;
    at.ip("link set far0 up")?;
    far.ip(&format!("link set eth0 mtu {NARROW} up"))?;
    for (near, own, length) in [("192.0.2.1", FAR[0], 24), ("2001:db8:2::1", FAR[1], 64)] {
        at.ip(&format!("addr add {near}/{length} dev far0"))?;
        far.ip(&format!("addr add {own}/{length} dev eth0"))?;
        let family = if near.contains(':') { "-6" } else { "-4" };
        far.ip(&format!("{family} route add default via {near}"))?;
    }
    at.set("ipv4/ip_forward", "1")?;
    at.set("ipv6/conf/all/forwarding", "1")?;
    Ok(far)
}
