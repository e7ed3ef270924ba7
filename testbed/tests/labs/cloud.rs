//! The cloud that most stories are told in: two bridges and a router between them, a VM of each
//! bridge on each of two hosts.

use std::net::SocketAddr;
use std::time::Duration;

use mn_testbed::{Arrivals, Attachment, Control, Lab, Outcome, Plan, Probe, Vm};
use serde_json::json;

use crate::talk::wait_reaches;

/// Front: 10.1.1.0/24, fd01:1::/64. Back: 10.1.2.0/24, fd01:2::/64. The router is .1 in each.
pub struct Cloud {
    pub lab: Lab,
    pub router: String,
    pub bridges: [String; 2],
    /// The router's ports to them.
    pub uplinks: [String; 2],
    /// Front on hv0 and hv1, back on hv0 and hv1; .11 on hv0, .12 on hv1.
    pub vms: Vec<Vm>,
    pub ports: Vec<String>,
}

/// A VM by its place in [`Cloud::vms`].
pub const FRONT0: usize = 0;
pub const FRONT1: usize = 1;
pub const BACK0: usize = 2;
pub const BACK1: usize = 3;

impl Cloud {
    /// Sets everything up; returns when all ports are active.
    pub fn start(name: &str) -> Outcome<Self> {
        Self::start_with(&Plan::new(name))
    }

    /// The same in a lab that is as planned.
    pub fn start_with(plan: &Plan<'_>) -> Outcome<Self> {
        let mut lab = Lab::start(plan)?;
        let control = lab.control.clone();
        let router = control.router("edge")?;
        let bridges = [control.bridge("front")?, control.bridge("back")?];
        let uplinks = [
            control.uplink(&bridges[0], &router, &["10.1.1.1/24", "fd01:1::1/64"])?,
            control.uplink(&bridges[1], &router, &["10.1.2.1/24", "fd01:2::1/64"])?,
        ];
        let mut vms = Vec::new();
        let mut ports = Vec::new();
        for (bridge, name) in ["front", "back"].into_iter().enumerate() {
            for host in 0..2 {
                // Half of them as hypervisors attach VMs, half as containers are.
                let how = if (bridge + host) % 2 == 0 { Attachment::Veth } else { Attachment::Tap };
                let vm = lab.add_vm(&format!("{name}{host}"), host, how)?;
                let net = bridge + 1;
                vm.address(&format!("10.1.{net}.{}/24", 11 + host))?;
                vm.address(&format!("fd01:{net}::{}/64", 11 + host))?;
                vm.gateway(&format!("10.1.{net}.1"))?;
                vm.gateway(&format!("fd01:{net}::1"))?;
                ports.push(lab.plug(&vm, host, &bridges[bridge])?);
                vms.push(vm);
            }
        }
        control.wait_active(&ports.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { lab, router, bridges, uplinks, vms, ports })
    }

    pub fn control(&self) -> &Control {
        &self.lab.control
    }

    /// The IPv4 address of a VM.
    pub fn v4(&self, vm: usize) -> String {
        format!("10.1.{}.{}", 1 + vm / 2, 11 + vm % 2)
    }

    /// The IPv6 address of a VM.
    pub fn v6(&self, vm: usize) -> String {
        format!("fd01:{}::{}", 1 + vm / 2, 11 + vm % 2)
    }

    /// Asserts that every echo request is answered.
    #[track_caller]
    pub fn assert_reaches(&self, from: usize, to: &str) -> Outcome {
        let ping = self.vms[from].ping(to, 3)?;
        assert!(ping.is_whole(), "{} to {to}: {ping:?}", self.vms[from].name);
        Ok(())
    }

    /// Asserts that no echo request is answered.
    #[track_caller]
    pub fn assert_does_not_reach(&self, from: usize, to: &str) -> Outcome {
        let ping = self.vms[from].ping(to, 3)?;
        assert_eq!(ping.received, 0, "{} to {to}: {ping:?}", self.vms[from].name);
        Ok(())
    }

    /// Numbered datagrams from one VM to another, every millisecond.
    pub fn probe(&self, from: usize, to: usize) -> Outcome<(Probe, Arrivals)> {
        let address: SocketAddr = format!("{}:7000", self.v4(to)).parse().expect("an address");
        let arrivals = Arrivals::listen(&self.vms[to].namespace, address)?;
        let every = Duration::from_millis(1);
        Ok((Probe::start(&self.vms[from].namespace, address, 200, every)?, arrivals))
    }

    /// Waits until a VM reaches an address.
    pub fn wait_reaches(&self, from: usize, to: &str) -> Outcome {
        wait_reaches(&self.vms[from], to)
    }

    /// Makes a VM ask again every second or two for neighbours in use, and give up soon those that
    /// do not answer: what kernels do within a minute.
    pub fn doubt_neighbors(&self, vm: usize) -> Outcome {
        let vm = &self.vms[vm].namespace;
        for version in ["ipv4", "ipv6"] {
            let keys = [
                ("base_reachable_time_ms", "500"),
                ("retrans_time_ms", "200"),
                ("delay_first_probe_time", "1"),
            ];
            for (key, value) in keys {
                vm.set(&format!("{version}/neigh/eth0/{key}"), value)?;
            }
        }
        Ok(())
    }

    /// A chain on the way to a VM's port.
    pub fn guard(&self, vm: usize) -> Outcome<String> {
        let chain = self.control().chain("guard")?;
        let path = format!("/ports/{}", self.ports[vm]);
        self.control().change(&path, &json!({ "outboundFilterId": chain }))?;
        Ok(chain)
    }
}
