//! Two ways out, by two hosts: connections that leave by one are answered by the other, and equal
//! routes share them.

use std::net::TcpStream;
use std::time::Duration;

use mn_testbed::{Attachment, Control, Lab, LabError, Namespace, Outcome, Plan, Vm, wait_for};
use serde_json::json;

use crate::connections::guard_with;
use crate::crossing::furnish;
use crate::street::FAR;
use crate::talk::{IMPATIENCE, Server, addr, comes_back, dial, is_answered, silent, socket};

/// A machine on the first host behind a filter that lets only answers in, gateways on the other two,
/// and a machine beyond them which answers by the second, whatever way a packet came.
struct TwoWays {
    lab: Lab,
    router: String,
    vm: Vm,
    far: Namespace,
    /// The router's ports to the gateways.
    up: [String; 2],
}

/// An address of a gateway's network, both versions: the router is 1, the gateway 9.
fn of(way: usize, host: u8) -> [String; 2] {
    [format!("198.51.10{way}.{host}"), format!("2001:db8:1{way}::{host}")]
}

impl TwoWays {
    /// Packets leave by the way with the lowest weight.
    fn start(name: &str, weights: [u32; 2]) -> Outcome<Self> {
        let mut lab = Lab::start(&Plan { hosts: 3, ..Plan::new(name) })?;
        let control = lab.control.clone();
        let (router, inside) = (control.router("edge")?, control.bridge("inside")?);
        control.uplink(&inside, &router, &["10.0.1.1/24", "fd01::1/64"])?;
        let vm = lab.add_vm("vm0", 0, Attachment::Veth)?;
        furnish(&vm)?;
        let port = lab.plug(&vm, 0, &inside)?;
        guard_with(&control, &port, &[])?;
        let far = lab.namespace("far")?;
        far.set("ipv4/conf/all/rp_filter", "0")?;
        far.set("ipv4/conf/default/rp_filter", "0")?;
        let mut up = Vec::new();
        for way in 0..2 {
            up.push(gateway(&mut lab, &router, way, &far)?);
        }
        for own in [format!("{}/32", FAR[0]), format!("{}/128", FAR[1])] {
            far.ip(&format!("addr add {own} dev lo"))?;
        }
        far.ip(&format!("route add default via 10.8.1.1 src {}", FAR[0]))?;
        far.ip(&format!("-6 route add default via fd08:1::1 src {}", FAR[1]))?;
        let up: [String; 2] = [up[0].clone(), up[1].clone()];
        control.wait_active(&[&port, &up[0], &up[1]])?;
        let ways = Self { lab, router, vm, far, up };
        for (way, weight) in weights.into_iter().enumerate() {
            ways.route(way, weight)?;
        }
        Ok(ways)
    }

    fn control(&self) -> &Control {
        &self.lab.control
    }

    /// Default routes by a gateway.
    fn route(&self, way: usize, weight: u32) -> Outcome {
        let (control, up) = (self.control(), &self.up[way]);
        for (any, gateway) in ["0.0.0.0", "::"].into_iter().zip(of(way, 9)) {
            let gateway = Some(gateway.as_str());
            control.route_by_weight(&self.router, any, (any, 0), up, gateway, weight)?;
        }
        Ok(())
    }

    /// The gateways' ports share their connections.
    fn share(&self) -> Outcome {
        let rest = self.control().rest();
        let group = json!({ "name": "ways", "tenantId": "lab", "stateful": true });
        let group = rest.create("/port_groups", &group)?;
        for port in &self.up {
            let member = json!({ "portId": port });
            rest.create(&format!("/port_groups/{group}/ports"), &member)?;
        }
        Ok(())
    }

    /// A connection to the machine beyond, as soon as one is possible.
    fn connects(&self, to: &str, port: u16) -> Outcome<TcpStream> {
        let mut stream = None;
        wait_for(&format!("{to} answers"), Duration::from_secs(15), || {
            stream = dial(&self.vm.namespace, to, port).ok();
            Ok(stream.is_some())
        })?;
        stream.ok_or_else(|| LabError::unexpected("a connection", to.to_owned()))
    }

    /// How many packets the machine beyond has got from a gateway.
    fn came_by(&self, way: usize) -> Outcome<u64> {
        self.far.packets(&format!("far{way}")).map(|(received, _)| received)
    }
}

/// A gateway on host 1 or 2 between the router and the machine beyond; the router's port to it.
fn gateway(lab: &mut Lab, router: &str, way: usize, far: &Namespace) -> Outcome<String> {
    let host = way + 1;
    let gateway = lab.add_vm(&format!("gw{way}"), host, Attachment::Veth)?;
    let (ours, its) = (of(way, 1), of(way, 9));
    for ((its, ours), length) in its.iter().zip(&ours).zip([24, 64]) {
        gateway.address(&format!("{its}/{length}"))?;
        gateway.gateway(ours)?;
    }
    let at = &gateway.namespace;
    at.ip(&format!("link add out type veth peer name far{way} netns {}", far.name()))?;
    at.set("ipv6/conf/out/accept_dad", "0")?;
    far.set(&format!("ipv6/conf/far{way}/accept_dad"), "0")?;
    far.set(&format!("ipv4/conf/far{way}/rp_filter"), "0")?;
    at.ip("link set out up")?;
    far.ip(&format!("link set far{way} up"))?;
    for (net, length, family) in
        [(format!("10.8.{way}."), 24, "-4"), (format!("fd08:{way}::"), 64, "-6")]
    {
        at.ip(&format!("addr add {net}1/{length} dev out"))?;
        far.ip(&format!("addr add {net}9/{length} dev far{way}"))?;
        let beyond = if family == "-4" { FAR[0] } else { FAR[1] };
        at.ip(&format!("{family} route add {beyond} via {net}9"))?;
    }
    at.set("ipv4/ip_forward", "1")?;
    at.set("ipv4/conf/all/rp_filter", "0")?;
    at.set("ipv4/conf/eth0/rp_filter", "0")?;
    at.set("ipv6/conf/all/forwarding", "1")?;
    let networks = [format!("{}/24", ours[0]), format!("{}/64", ours[1])];
    let port = lab.control.router_port(router, &[&networks[0], &networks[1]])?;
    for (any, network, length) in
        [("0.0.0.0", format!("198.51.10{way}.0"), 24), ("::", format!("2001:db8:1{way}::"), 64)]
    {
        lab.control.route(router, any, (&network, length), &port, None)?;
    }
    let id = lab.host_id(&format!("hv{host}"))?;
    lab.control.bind(&port, &id, &gateway.interface)?;
    Ok(port)
}

#[test]
fn an_answer_by_the_other_port_of_a_stateful_group_passes_and_without_the_group_none_does()
-> Outcome {
    let mut ways = TwoWays::start("stateful-group", [0, 10])?;
    let _server = Server::start(&ways.far, 7000)?;
    for far in FAR {
        let connected = ways.vm.connects(addr(far), 7000, IMPATIENCE)?;
        assert!(!connected, "{far} answers by a port that knows nothing of it");
    }
    assert!(ways.came_by(0)? > 0, "it is asked");
    ways.share()?;
    let mut streams = Vec::new();
    for far in FAR {
        streams.push(ways.connects(far, 7000)?);
        for _ in 0..10 {
            streams.push(dial(&ways.vm.namespace, far, 7000)?);
        }
        assert!(streams.iter_mut().all(|stream| comes_back(stream, 20_000)), "{far}");
        assert!(is_answered(&socket(&ways.vm.namespace, 0, far, 7000)?), "{far}");
    }
    for host in ["hv2", "hv0"] {
        ways.lab.process(host)?.kill();
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(silent(&mut streams), [0_usize; 0], "they go on without the agent of {host}");
    }
    for host in [0, 2] {
        ways.lab.start_agent(host)?;
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(silent(&mut streams), [0_usize; 0], "the next agents take them over");
    }
    for far in FAR {
        assert!(comes_back(&mut ways.connects(far, 7000)?, 1000), "new ones, too: {far}");
    }
    Ok(())
}

#[test]
fn an_echo_is_answered_by_the_other_port_of_a_stateful_group_from_the_first_on() -> Outcome {
    let ways = TwoWays::start("group-echoes", [0, 10])?;
    let _server = Server::start(&ways.far, 7000)?;
    ways.share()?;
    for far in FAR {
        ways.connects(far, 7000)?;
        for _ in 0..10 {
            let echoes = ways.vm.ping(far, 3)?;
            assert!(echoes.is_whole(), "{far}: {echoes:?}");
        }
    }
    Ok(())
}

#[test]
fn equal_routes_share_connections_and_those_go_on_when_a_next_hop_goes_and_comes() -> Outcome {
    let ways = TwoWays::start("equal-routes", [0, 0])?;
    ways.share()?;
    let _server = Server::start(&ways.far, 7000)?;
    let mut streams = Vec::new();
    for far in FAR {
        streams.push(ways.connects(far, 7000)?);
        for _ in 0..15 {
            streams.push(dial(&ways.vm.namespace, far, 7000)?);
        }
    }
    let before = [ways.came_by(0)?, ways.came_by(1)?];
    assert_eq!(silent(&mut streams), [0_usize; 0]);
    for (way, before) in before.into_iter().enumerate() {
        assert!(ways.came_by(way)? > before + 8, "both ways carry connections");
    }
    // The first next hop goes in the midst of it: its routes are taken away.
    let path = format!("/routers/{}/routes", ways.router);
    let all = ways.control().rest().get(&path)?;
    let by_first = |route: &&serde_json::Value| {
        route["nextHopPort"] == ways.up[0].as_str() && route["dstNetworkLength"] == 0
    };
    let gone: Vec<_> = all.as_array().into_iter().flatten().filter(by_first).collect();
    assert_eq!(gone.len(), 2);
    for route in gone {
        let id = route["id"].as_str().unwrap_or_default();
        ways.control().rest().delete(&format!("/routes/{id}"))?;
    }
    wait_for("nothing goes by the first", Duration::from_secs(5), || {
        let before = ways.came_by(0)?;
        assert_eq!(silent(&mut streams), [0_usize; 0], "all go on by the other");
        Ok(ways.came_by(0)? <= before + 2)
    })?;
    // It comes back: what is followed stays where it is, new ones go there, too.
    ways.route(0, 0)?;
    std::thread::sleep(Duration::from_millis(500));
    let before = ways.came_by(0)?;
    assert_eq!(silent(&mut streams), [0_usize; 0]);
    assert!(ways.came_by(0)? <= before + 4, "connections with state stay");
    for _ in 0..16 {
        streams.push(dial(&ways.vm.namespace, FAR[0], 7000)?);
    }
    assert!(ways.came_by(0)? > before + 8, "new ones are shared");
    assert_eq!(silent(&mut streams), [0_usize; 0]);
    Ok(())
}
