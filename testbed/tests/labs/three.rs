//! Three hosts: a security group, shared and floating addresses, with each machine somewhere else.

use std::collections::BTreeSet;
use std::time::Duration;

use mn_testbed::{Attachment, Lab, Outcome, Plan, Vm};
use serde_json::{Value, json};

use crate::connections::guard_port;
use crate::street::{FLOATING, SHARED, settle, translating};
use crate::talk::{IMPATIENCE, Server, addr, comes_back, dial, is_answered, socket, wait_reaches};

/// Front: 10.1.1.0/24, fd01:1::/64, with .11 on hv0 and .12 on hv1. Back: 10.1.2.0/24, fd01:2::/64,
/// with .13 on hv2. The router is .1 in each.
struct Three {
    lab: Lab,
    vms: Vec<Vm>,
    ports: Vec<String>,
    /// The router's filters, and its port to the back.
    filters: [String; 2],
    back: String,
}

/// The asker, the guarded one and the one in the back.
const ASKER: usize = 0;
const GUARDED: usize = 1;
const BACK: usize = 2;

impl Three {
    fn start() -> Outcome<Self> {
        let mut lab = Lab::start(&Plan { hosts: 3, ..Plan::new("three") })?;
        let control = lab.control.clone();
        let router = control.router("edge")?;
        let bridges = [control.bridge("front")?, control.bridge("back")?];
        control.uplink(&bridges[0], &router, &["10.1.1.1/24", "fd01:1::1/64"])?;
        let back = control.uplink(&bridges[1], &router, &["10.1.2.1/24", "fd01:2::1/64"])?;
        let filters = [control.chain("pre")?, control.chain("post")?];
        let of_router = json!({ "inboundFilterId": filters[0], "outboundFilterId": filters[1] });
        control.change(&format!("/routers/{router}"), &of_router)?;
        let (mut vms, mut ports) = (Vec::new(), Vec::new());
        for host in 0..3 {
            let net = 1 + host / 2;
            let how = if host == 1 { Attachment::Tap } else { Attachment::Veth };
            let vm = lab.add_vm(&format!("vm{host}"), host, how)?;
            let own =
                [format!("10.1.{net}.{}/24", 11 + host), format!("fd01:{net}::{}/64", 11 + host)];
            let gateways = [format!("10.1.{net}.1"), format!("fd01:{net}::1")];
            settle(
                &vm,
                own.each_ref().map(String::as_str),
                gateways.each_ref().map(String::as_str),
            )?;
            ports.push(lab.plug(&vm, host, &bridges[net - 1])?);
            vms.push(vm);
        }
        control.wait_active(&ports.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { lab, vms, ports, filters, back })
    }

    fn own(&self, vm: usize, version: usize) -> String {
        let net = 1 + vm / 2;
        [format!("10.1.{net}.{}", 11 + vm), format!("fd01:{net}::{}", 11 + vm)][version].clone()
    }

    fn rule(&self, filter: usize, mut rule: Value) -> Outcome {
        rule["flowAction"] = "accept".into();
        self.lab.control.rule(&self.filters[filter], &rule).map(drop)
    }

    fn wait_reaches(&self, from: usize, to: &str) -> Outcome {
        wait_reaches(&self.vms[from], to)
    }
}

#[test]
fn machines_on_three_hosts_meet_through_filters_and_translations() -> Outcome {
    let three = Three::start()?;
    guard_port(&three.lab.control, &three.ports[GUARDED])?;
    let at = |vm: usize| &three.vms[vm].namespace;
    let _inside = (Server::start(at(GUARDED), 80)?, Server::start(at(GUARDED), 81)?);
    let outside = Server::start(at(BACK), 7000)?;
    for version in [0, 1] {
        let own = |vm: usize| three.own(vm, version);
        three.wait_reaches(GUARDED, &own(ASKER))?;
        three.wait_reaches(GUARDED, &own(BACK))?;
        for other in [ASKER, BACK] {
            assert!(comes_back(&mut dial(at(other), &own(GUARDED), 80)?, 100_000), "vm{other}");
            let closed = addr(&own(GUARDED));
            assert!(!three.vms[other].connects(closed, 81, IMPATIENCE)?, "vm{other}");
            assert!(!is_answered(&socket(at(other), 0, &own(GUARDED), 80)?), "vm{other}");
        }
        // The front shares one address towards the back: leased on two hosts, answered on the third.
        let (shared, floating) = (SHARED[version], FLOATING[version]);
        let dl_type = [0x0800, 0x86dd][version];
        three.rule(0, json!({ "type": "rev_snat", "nwDstAddress": shared }))?;
        let hide = json!({ "type": "snat", "outPorts": [three.back], "dlType": dl_type });
        three.rule(1, translating(hide, &[(shared, shared, 1024, 65535)]))?;
        std::thread::sleep(Duration::from_millis(200));
        let mut streams = Vec::new();
        for from in [ASKER, GUARDED] {
            three.wait_reaches(from, &own(BACK))?;
            for _ in 0..10 {
                let mut stream = dial(at(from), &own(BACK), 7000)?;
                assert!(comes_back(&mut stream, 10_000), "vm{from} to {}", own(BACK));
                streams.push(stream);
            }
            let datagrams = socket(at(from), 5555, &own(BACK), 7000)?;
            assert!(is_answered(&datagrams), "vm{from} to {}", own(BACK));
        }
        assert!(streams.iter_mut().all(|stream| comes_back(stream, 1000)), "all at once");
        let peers = outside.peers();
        let ours = peers.iter().filter(|peer| peer.is_ipv6() == (version == 1));
        let ours: Vec<_> = ours.filter(|peer| peer.ip() == addr(shared)).collect();
        let ports: BTreeSet<_> = ours.iter().map(|peer| peer.port()).collect();
        assert!(ours.len() >= 22, "the back has seen {peers:?}");
        assert!(ports.len() >= 20, "each stream has a port of its own: {ports:?}");
        // The guarded one has an address of its own, too, and is guarded there.
        let to = json!({ "type": "dnat", "nwDstAddress": floating });
        three.rule(0, translating(to, &[(&own(GUARDED), &own(GUARDED), 0, 0)]))?;
        let from =
            json!({ "type": "snat", "nwSrcAddress": own(GUARDED), "nwDstAddress": own(BACK) });
        three.rule(1, translating(from, &[(floating, floating, 0, 0)]))?;
        std::thread::sleep(Duration::from_millis(200));
        assert!(comes_back(&mut dial(at(BACK), floating, 80)?, 100_000), "{floating}");
        assert!(!three.vms[BACK].connects(addr(floating), 81, IMPATIENCE)?, "{floating}");
    }
    Ok(())
}
