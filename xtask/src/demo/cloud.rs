//! The network of the demo: a tenant with two bridges and a router between them, four VMs on two
//! hosts, and a second tenant that uses the same addresses.

use mn_testbed::{Attachment, Lab, Outcome, Vm};
use serde_json::json;

use super::outside::Outside;

/// A VM of the first tenant.
struct Place {
    name: &'static str,
    host: usize,
    attachment: Attachment,
    /// On the first bridge or the second.
    bridge: usize,
    address: &'static str,
}

const PLACES: [Place; 4] = [
    Place { name: "web", host: 0, attachment: Attachment::Veth, bridge: 0, address: "10.1.1.11" },
    Place { name: "app", host: 1, attachment: Attachment::Tap, bridge: 0, address: "10.1.1.12" },
    Place { name: "db", host: 0, attachment: Attachment::Tap, bridge: 1, address: "10.1.2.11" },
    Place { name: "log", host: 1, attachment: Attachment::Veth, bridge: 1, address: "10.1.2.12" },
];

/// A VM with its port in the virtual network.
pub struct Member {
    pub vm: Vm,
    pub port: String,
    pub v4: String,
    pub v6: String,
}

/// What was drawn.
pub struct Cloud {
    /// web, app (first bridge), db, log (second bridge); the even ones on hv0, the odd on hv1.
    pub members: Vec<Member>,
    /// Of the second tenant, with the addresses of web and app, on hv0 and hv1.
    pub strangers: Vec<Member>,
    /// The chain that guards the port of `log`, and the rule in it that blocks port 8080.
    pub chain: String,
    pub rule: String,
    /// The street and its addresses, and the machine behind a security group.
    pub outside: Outside,
}

impl Cloud {
    /// Makes the VMs and draws everything: devices, ports and the filter with `midonet-cli`,
    /// links, bindings, DHCP and the second tenant with the REST API.
    pub fn draw(lab: &mut Lab) -> Outcome<Self> {
        let (router, bridges) = draw_devices(lab)?;
        let mut members = Vec::new();
        for place in &PLACES {
            members.push(add(lab, place, &bridges[place.bridge])?);
        }
        for (number, bridge) in bridges.iter().enumerate() {
            draw_dhcp(lab, number, bridge, &members)?;
        }
        let strangers = draw_strangers(lab)?;
        let (chain, rule) = draw_filter(lab, &members[3].port)?;
        let outside = Outside::draw(lab, &router, &bridges[0], &members[0].v4)?;
        let ports: Vec<&str> = members.iter().chain(&strangers).map(|m| m.port.as_str()).collect();
        lab.control.wait_active(&ports)?;
        Ok(Self { members, strangers, chain, rule, outside })
    }
}

/// The router, and the two bridges it joins.
fn draw_devices(lab: &Lab) -> Outcome<(String, [String; 2])> {
    let cli = |line: &str| lab.control.cli(line);
    let router = cli("create router name edge")?;
    let mut bridges = [String::new(), String::new()];
    for (number, name) in [(1, "front"), (2, "back")] {
        let bridge = cli(&format!("create bridge name {name}"))?;
        let addresses = format!("10.1.{number}.1/24,fd01:{number}::1/64");
        let inside = cli(&format!("router {router} add port addresses {addresses}"))?;
        let outside = cli(&format!("bridge {bridge} add port"))?;
        cli(&format!(
            "router {router} add route type normal src 0.0.0.0/0 dst 10.1.{number}.0/24 port {inside} weight 100"
        ))?;
        let net = format!("fd01:{number}::");
        lab.control.route(&router, "::", (&net, 64), &inside, None)?;
        lab.control.link(&inside, &outside)?;
        bridges[number - 1] = bridge;
    }
    Ok((router, bridges))
}

fn add(lab: &mut Lab, place: &Place, bridge: &str) -> Outcome<Member> {
    let vm = lab.add_vm(place.name, place.host, place.attachment)?;
    let port = lab.plug(&vm, place.host, bridge)?;
    // 10.1.2.11 in the first family, fd01:2::11 in the second.
    let v6 = format!("fd01:{}::{}", place.bridge + 1, &place.address[7..]);
    vm.address(&format!("{v6}/64"))?;
    vm.gateway(&format!("fd01:{}::1", place.bridge + 1))?;
    Ok(Member { vm, port, v4: place.address.to_owned(), v6 })
}

fn draw_dhcp(lab: &Lab, number: usize, bridge: &str, members: &[Member]) -> Outcome {
    let net = format!("10.1.{}", number + 1);
    let rest = lab.control.rest();
    let subnet = json!({
        "subnetPrefix": format!("{net}.0"), "subnetLength": 24,
        "defaultGateway": format!("{net}.1"), "serverAddr": format!("{net}.1"),
        "dnsServerAddrs": ["10.1.1.53"], "interfaceMTU": 1500, "enabled": true,
    });
    rest.create(&format!("/bridges/{bridge}/dhcp"), &subnet)?;
    for member in members.iter().filter(|m| m.v4.starts_with(&net)) {
        let host = json!({
            "macAddr": member.vm.mac, "ipAddr": member.v4, "name": member.vm.name,
        });
        rest.create(&format!("/bridges/{bridge}/dhcp/{net}.0_24/hosts"), &host)?;
    }
    Ok(())
}

/// The second tenant: a bridge of its own, VMs on both hosts with the first tenant's addresses.
fn draw_strangers(lab: &mut Lab) -> Outcome<Vec<Member>> {
    let body = json!({ "name": "front", "tenantId": "stranger" });
    let bridge = lab.control.rest().create("/bridges", &body)?;
    let mut strangers = Vec::new();
    for (host, (name, like)) in [("eve", &PLACES[0]), ("mal", &PLACES[1])].into_iter().enumerate() {
        let vm = lab.add_vm(name, host, Attachment::Veth)?;
        let port = lab.plug(&vm, host, &bridge)?;
        vm.address(&format!("{}/24", like.address))?;
        vm.gateway("10.1.1.1")?;
        strangers.push(Member { vm, port, v4: like.address.to_owned(), v6: String::new() });
    }
    Ok(strangers)
}

/// A chain on the way to a port, with a rule that drops TCP to port 8080.
fn draw_filter(lab: &Lab, port: &str) -> Outcome<(String, String)> {
    let chain = lab.control.cli("create chain name guard")?;
    let rule = block(lab, &chain)?;
    lab.control.change(&format!("/ports/{port}"), &json!({ "outboundFilterId": chain }))?;
    Ok((chain, rule))
}

/// Adds the rule that blocks port 8080.
pub fn block(lab: &Lab, chain: &str) -> Outcome<String> {
    let line = format!("chain {chain} add rule ethertype 2048 proto 6 dst-port 8080 type drop");
    lab.control.cli(&line)
}
