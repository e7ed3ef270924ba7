//! What is measured: pairs of VMs with different things between them.

use mn_testbed::{Lab, Namespace, Outcome, Plan, Vm};
use serde_json::json;

use super::ovn::Ovn;
use super::translated;

/// Every layout there is.
pub const NAMES: [&str; 14] = [
    "veth",
    "bridge",
    "router",
    "vxlan",
    "ours: one host, L2",
    "ours: one host, two routers",
    "ours: two hosts, L2",
    "ours: two hosts, routed",
    "ours: one host, stateful",
    "ours: two hosts, stateful",
    "ours: one host, SNAT",
    "ours: two hosts, SNAT",
    "ours: one host, floating address",
    "ours: two hosts, floating address",
];

/// A client and a server with something between them.
pub struct Layout {
    pub name: &'static str,
    /// What it is compared with.
    pub base: Option<&'static str>,
    /// Whether a rule on the way reads ports, so that new ports are new flows.
    pub reads_ports: bool,
    pub client: Namespace,
    pub server: Namespace,
    pub address: String,
}

/// All layouts, up at the same time, so that they can be measured in turns.
pub struct Layouts {
    pub all: Vec<Layout>,
    _kernel: Lab,
    /// Where it is wanted.
    pub ovn: Option<Ovn>,
    /// The lab of all layouts that are ours.
    pub ours: Lab,
}

/// The first of the addresses that new flows come from: beside the client's.
pub const NEW_FLOWS_FROM: &str = "10.5.1.64";

impl Layouts {
    /// Sets everything up, OVN only where it is wanted.
    pub fn start(with_ovn: bool) -> Outcome<Self> {
        let mut kernel = Lab::prepare(&Plan::new("bench-kernel"))?;
        let mut all = vec![veth(&mut kernel)?, bridge(&mut kernel)?, router(&mut kernel)?];
        all.push(vxlan(&mut kernel)?);
        // A port's usual limit is the highest rate of new flows that is measured here. Its bucket
        // shall not be what overflows.
        let agent = &["--upcall-rate", "200000"];
        let mut ours = Lab::start(&Plan { agent, ..Plan::new("bench") })?;
        all.extend(of_ours(&mut ours)?);
        let mut ovn = with_ovn.then(Ovn::start).transpose()?;
        all.extend(ovn.iter_mut().flat_map(|ovn| std::mem::take(&mut ovn.layouts)));
        Ok(Self { all, _kernel: kernel, ovn, ours })
    }
}

/// A veth pair from one namespace to another, with an address at each end.
pub(super) fn cable(
    a: &Namespace,
    b: &Namespace,
    names: [&str; 2],
    addresses: [&str; 2],
) -> Outcome {
    a.ip(&format!("link add {} type veth peer name {} netns {}", names[0], names[1], b.name()))?;
    for ((namespace, name), address) in [a, b].into_iter().zip(names).zip(addresses) {
        if !address.is_empty() {
            namespace.ip(&format!("addr add {address} dev {name}"))?;
        }
        namespace.ip(&format!("link set {name} up"))?;
    }
    Ok(())
}

fn veth(lab: &mut Lab) -> Outcome<Layout> {
    let (client, server) = (lab.namespace("veth-c")?, lab.namespace("veth-s")?);
    cable(&client, &server, ["eth0", "eth0"], ["10.1.0.1/24", "10.1.0.2/24"])?;
    let address = "10.1.0.2".to_owned();
    Ok(Layout { name: "veth", base: None, reads_ports: false, client, server, address })
}

fn bridge(lab: &mut Lab) -> Outcome<Layout> {
    let middle = lab.namespace("bridge")?;
    let (client, server) = (lab.namespace("bridge-c")?, lab.namespace("bridge-s")?);
    middle.ip("link add br0 type bridge forward_delay 0")?;
    middle.ip("link set br0 up")?;
    cable(&client, &middle, ["eth0", "c"], ["10.2.0.1/24", ""])?;
    cable(&server, &middle, ["eth0", "s"], ["10.2.0.2/24", ""])?;
    middle.ip("link set c master br0")?;
    middle.ip("link set s master br0")?;
    let address = "10.2.0.2".to_owned();
    Ok(Layout { name: "bridge", base: Some("veth"), reads_ports: false, client, server, address })
}

fn router(lab: &mut Lab) -> Outcome<Layout> {
    let middle = lab.namespace("router")?;
    let (client, server) = (lab.namespace("router-c")?, lab.namespace("router-s")?);
    cable(&client, &middle, ["eth0", "c"], ["10.3.1.2/24", "10.3.1.1/24"])?;
    cable(&server, &middle, ["eth0", "s"], ["10.3.2.2/24", "10.3.2.1/24"])?;
    middle.set("ipv4/ip_forward", "1")?;
    client.ip("route add default via 10.3.1.1")?;
    server.ip("route add default via 10.3.2.1")?;
    let address = "10.3.2.2".to_owned();
    Ok(Layout { name: "router", base: Some("veth"), reads_ports: false, client, server, address })
}

/// Two hosts with a bridge and a kernel VXLAN device each.
fn vxlan(lab: &mut Lab) -> Outcome<Layout> {
    let hosts = [lab.namespace("vxlan-h0")?, lab.namespace("vxlan-h1")?];
    let (client, server) = (lab.namespace("vxlan-c")?, lab.namespace("vxlan-s")?);
    cable(&hosts[0], &hosts[1], ["wire", "wire"], ["10.4.9.1/24", "10.4.9.2/24"])?;
    let ends = [(&client, "10.4.0.1/24"), (&server, "10.4.0.2/24")];
    for (at, (host, (vm, address))) in hosts.iter().zip(ends).enumerate() {
        let (own, other) = (1 + at, 2 - at);
        host.ip("link set wire mtu 1600")?;
        host.ip("link add br0 type bridge forward_delay 0")?;
        host.ip(&format!(
            "link add vx type vxlan id 42 local 10.4.9.{own} remote 10.4.9.{other} dstport 4789"
        ))?;
        cable(vm, host, ["eth0", "vm"], [address, ""])?;
        for name in ["vx", "vm"] {
            host.ip(&format!("link set {name} master br0"))?;
        }
        for name in ["vx", "br0"] {
            host.ip(&format!("link set {name} up"))?;
        }
    }
    let address = "10.4.0.2".to_owned();
    Ok(Layout { name: "vxlan", base: None, reads_ports: false, client, server, address })
}

/// One cloud with our layouts: two networks, two routers and filters between them.
fn of_ours(lab: &mut Lab) -> Outcome<Vec<Layout>> {
    let control = lab.control.clone();
    let (near, far) = (control.bridge("near")?, control.bridge("far")?);
    draw_routers(lab, &near, &far)?;
    let (inbound, outbound) = draw_filters(lab, "10.5.2.0")?;
    let stateful = draw_stateful(lab)?;
    let mut vm = |name: &str, host: usize, bridge: &str, address: &str| -> Outcome<Vm> {
        let (vm, port) = lab.add_machine(name, host, bridge, address)?;
        if bridge == far {
            let path = format!("/ports/{port}");
            control.change(
                &path,
                &json!({ "outboundFilterId": outbound, "inboundFilterId": inbound }),
            )?;
        }
        if name.starts_with("guarded") {
            let path = format!("/ports/{port}");
            let filters = json!({ "outboundFilterId": stateful.1, "inboundFilterId": stateful.0 });
            control.change(&path, &filters)?;
        }
        control.wait_active(&[&port])?;
        Ok(vm)
    };
    let client = vm("client", 0, &near, "10.5.1.10")?;
    let servers = [
        ("ours: one host, L2", "veth", vm("s0", 0, &near, "10.5.1.11")?, "10.5.1.11"),
        (
            "ours: one host, two routers",
            "ours: one host, L2",
            vm("s1", 0, &far, "10.5.2.11")?,
            "10.5.2.11",
        ),
        ("ours: two hosts, L2", "vxlan", vm("s2", 1, &near, "10.5.1.12")?, "10.5.1.12"),
        ("ours: two hosts, routed", "vxlan", vm("s3", 1, &far, "10.5.2.12")?, "10.5.2.12"),
        ("ours: one host, stateful", "veth", vm("guarded0", 0, &near, "10.5.1.13")?, "10.5.1.13"),
        ("ours: two hosts, stateful", "vxlan", vm("guarded1", 1, &near, "10.5.1.14")?, "10.5.1.14"),
    ];
    let layout = |(name, base, server, address): (&'static str, &'static str, Vm, &str)| {
        let (client, server) = (client.namespace.clone(), server.namespace);
        Layout {
            name,
            base: Some(base),
            reads_ports: address.starts_with("10.5.2."),
            client,
            server,
            address: address.to_owned(),
        }
    };
    let mut all: Vec<Layout> = servers.into_iter().map(layout).collect();
    all.extend(translated::layouts(lab, &near, &client)?);
    Ok(all)
}

/// What stands before and behind a VM's port: on the way in its own network's addresses alone, on
/// the way out no TCP to a few ports, and rules that read source address and port of UDP, so that
/// each new pair is a new flow. Answers of TCP are not told apart by their ports, as a filter without
/// state for services would have it.
fn draw_filters(lab: &Lab, network: &str) -> Outcome<(String, String)> {
    let control = &lab.control;
    let (inbound, outbound) = (control.chain("inbound")?, control.chain("outbound")?);
    control.rule(
        &inbound,
        &json!({
            "type": "drop", "dlType": 2048,
            "nwSrcAddress": network, "nwSrcLength": 24, "invNwSrc": true,
        }),
    )?;
    for port in [1000, 2000, 3000] {
        let range = json!({ "start": port, "end": port });
        let rule = json!({ "type": "drop", "dlType": 2048, "nwProto": 6, "tpDst": range });
        control.rule(&outbound, &rule)?;
    }
    let range = json!({ "start": 1, "end": 1 });
    let udp = json!({ "type": "drop", "dlType": 2048, "nwProto": 17, "tpSrc": range });
    control.rule(&outbound, &udp)?;
    let host = json!({
        "type": "drop", "dlType": 2048, "nwProto": 17,
        "nwSrcAddress": "10.5.1.250", "nwSrcLength": 32,
    });
    control.rule(&outbound, &host)?;
    Ok((inbound, outbound))
}

/// Rules as a security group has them: what the VM begins is answered, what others begin comes in,
/// and nothing that belongs to no connection and opens none.
fn draw_stateful(lab: &Lab) -> Outcome<(String, String)> {
    let control = &lab.control;
    let (inbound, outbound) = (control.chain("from guarded")?, control.chain("to guarded")?);
    control.rule(&inbound, &json!({ "type": "accept", "matchReturnFlow": true }))?;
    let rules = [
        json!({ "type": "accept", "dlType": 0x0806 }),
        json!({ "type": "accept", "matchReturnFlow": true }),
        json!({ "type": "accept", "matchForwardFlow": true, "matchValidFlow": true }),
        json!({ "type": "drop" }),
    ];
    for (index, mut rule) in rules.into_iter().enumerate() {
        rule["position"] = (index + 1).into();
        control.rule(&outbound, &rule)?;
    }
    Ok((inbound, outbound))
}

/// near ─ router one ─ router two ─ far.
fn draw_routers(lab: &Lab, near: &str, far: &str) -> Outcome {
    let control = &lab.control;
    let (one, two) = (control.router("one")?, control.router("two")?);
    control.uplink(near, &one, &["10.5.1.1/24"])?;
    control.uplink(far, &two, &["10.5.2.1/24"])?;
    let a = control.router_port(&one, &["10.5.9.1/24"])?;
    let b = control.router_port(&two, &["10.5.9.2/24"])?;
    control.link(&a, &b)?;
    control.route(&one, "0.0.0.0", ("10.5.2.0", 24), &a, Some("10.5.9.2"))?;
    control.route(&two, "0.0.0.0", ("10.5.1.0", 24), &b, Some("10.5.9.1"))?;
    Ok(())
}
