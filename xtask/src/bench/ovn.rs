//! OVN, with `--with-ovn`: two chassis on this machine with Geneve between them, measured in the
//! same rounds as everything else.
//!
//! Each chassis is a namespace with its own database, switch and controller; all daemons are
//! processes of the bench's lab. Open vSwitch forwards in user space, on veths by `AF_PACKET`, so
//! its VMs compute their checksums themselves, and have an MTU that Geneve fits around.

mod chassis;
mod programs;

use std::path::Path;
use std::time::Duration;

use mn_testbed::{Lab, LabError, Namespace, Outcome, Plan, finish, wait_for};

use self::chassis::Chassis;
use self::programs::Programs;
use super::layout::{Layout, cable};

/// A layout of OVN.
struct Beside {
    name: &'static str,
    /// What of ours does the same.
    ours: &'static str,
    /// What it is compared with.
    base: &'static str,
    /// The server's chassis; the client of each network is on chassis 0.
    at: usize,
    /// The last two parts of the server's address.
    last: [u8; 2],
}

/// Every layout there is.
const LAYOUTS: [Beside; 5] = [
    beside(["OVN: one host, L2", "ours: one host, L2", "veth"], 0, [1, 11]),
    beside(["OVN: two hosts, L2", "ours: two hosts, L2", "vxlan"], 1, [1, 12]),
    beside(["OVN: two hosts, routed", "ours: two hosts, routed", "vxlan"], 1, [2, 12]),
    beside(["OVN: one host, stateful", "ours: one host, stateful", "veth"], 0, [3, 11]),
    beside(["OVN: two hosts, stateful", "ours: two hosts, stateful", "vxlan"], 1, [3, 12]),
];

const fn beside([name, ours, base]: [&'static str; 3], at: usize, last: [u8; 2]) -> Beside {
    Beside { name, ours, base, at, last }
}

/// What of ours does the same as what of theirs.
pub fn pairs() -> [(&'static str, &'static str); LAYOUTS.len()] {
    LAYOUTS.map(|layout| (layout.ours, layout.name))
}

/// The networks: 10.7.1.0/24 and 10.7.2.0/24 have a router between them, the third has rules.
const SWITCHES: [&str; 3] = ["near", "far", "guarded"];
/// How long daemons and flows may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running OVN, until it is dropped.
pub struct Ovn {
    pub layouts: Vec<Layout>,
    /// Which programs these are, and how they forward.
    pub what: String,
    _lab: Lab,
}

/// The parts while the network is drawn.
struct Cloud {
    lab: Lab,
    programs: Programs,
    chassis: Vec<Chassis>,
}

impl Ovn {
    /// Fetches the programs if they are not there, starts every daemon and draws the network;
    /// returns when all servers answer.
    pub fn start() -> Outcome<Self> {
        let programs = Programs::fetch()?;
        let lab = Lab::prepare(&Plan::new("bench-ovn"))?;
        let mut cloud = Cloud { lab, programs, chassis: Vec::new() };
        cloud.start_central()?;
        cloud.start_chassis()?;
        cloud.draw_networks()?;
        let clients = [cloud.machine(0, [1, 10])?, cloud.machine(0, [3, 10])?];
        let mut layouts = Vec::new();
        for Beside { name, base, at, last, .. } in LAYOUTS {
            let client = clients[usize::from(last[0] == 3)].clone();
            let server = cloud.machine(at, last)?;
            let address = address(last);
            let base = Some(base);
            layouts.push(Layout { name, base, reads_ports: false, client, server, address });
        }
        cloud.draw_rules()?;
        cloud.northbound(&["--wait=hv", "sync"])?;
        for layout in &layouts {
            wait_until_answered(layout)?;
        }
        let what = cloud.programs.describe()?;
        Ok(Self { layouts, what, _lab: cloud.lab })
    }
}

/// Whether a name is that of one of its layouts.
pub fn has_layout(wants: impl Fn(&str) -> bool) -> bool {
    LAYOUTS.iter().any(|layout| wants(layout.name))
}

fn address([net, last]: [u8; 2]) -> String {
    format!("10.7.{net}.{last}")
}

fn mac([net, last]: [u8; 2]) -> String {
    format!("02:00:00:07:{net:02x}:{last:02x}")
}

fn wait_until_answered(layout: &Layout) -> Outcome {
    let ping = format!("ping -n -c 1 -W 1 {}", layout.address);
    let answers = || Ok(layout.client.run(&ping).is_ok());
    wait_for(&format!("the server of `{}` answers", layout.name), PATIENCE, answers)
}

impl Cloud {
    /// The two databases of the whole cloud, and what translates between them.
    fn start_central(&mut self) -> Outcome {
        let directory = self.directory("central")?;
        for name in ["nb", "sb"] {
            let schema = format!("usr/share/ovn/ovn-{name}.ovsschema");
            self.programs.serve_database(&mut self.lab, &directory, name, &schema)?;
        }
        let mut northd = self.programs.command("usr/bin/ovn-northd", &directory);
        northd.arg(format!("--ovnnb-db={}", socket(&directory, "nb")));
        northd.arg(format!("--ovnsb-db={}", socket(&directory, "sb")));
        self.lab.start_process("ovn-northd", &mut northd)
    }

    fn start_chassis(&mut self) -> Outcome {
        let hosts = [self.lab.namespace("ovn-h0")?, self.lab.namespace("ovn-h1")?];
        cable(&hosts[0], &hosts[1], ["wire", "wire"], ["", ""])?;
        let central = socket(&self.directory("central")?, "sb");
        for (at, namespace) in hosts.into_iter().enumerate() {
            namespace.ip("link set wire mtu 1600")?;
            let directory = self.directory(&format!("ovn-h{at}"))?;
            let chassis = Chassis { at, namespace, directory };
            chassis.start(&mut self.lab, &self.programs, &central)?;
            self.chassis.push(chassis);
        }
        Ok(())
    }

    fn directory(&self, name: &str) -> Outcome<std::path::PathBuf> {
        let directory = self.lab.directory().join(name);
        std::fs::create_dir_all(&directory).map_err(LabError::machine("make a directory"))?;
        Ok(directory)
    }

    fn northbound(&self, words: &[&str]) -> Outcome {
        let central = self.directory("central")?;
        let mut command = self.programs.command("usr/bin/ovn-nbctl", &central);
        command.arg(format!("--db={}", socket(&central, "nb"))).arg("--timeout=30");
        finish(command.args(words)).map(drop)
    }

    /// The switches, and a router between the first two.
    fn draw_networks(&self) -> Outcome {
        for switch in SWITCHES {
            self.northbound(&["ls-add", switch])?;
        }
        self.northbound(&["lr-add", "router"])?;
        for (net, switch) in (1_u8..).zip(&SWITCHES[..2]) {
            let (inner, outer) = (format!("router-{switch}"), format!("{switch}-router"));
            let gateway = format!("{}/24", address([net, 1]));
            self.northbound(&["lrp-add", "router", &inner, &mac([net, 1]), &gateway])?;
            self.northbound(&["lsp-add", switch, &outer])?;
            self.northbound(&["lsp-set-type", &outer, "router"])?;
            self.northbound(&["lsp-set-addresses", &outer, "router"])?;
            self.northbound(&["lsp-set-options", &outer, &format!("router-port={inner}")])?;
        }
        Ok(())
    }

    /// As a security group has them: connections to the two servers come in and are answered, and
    /// nothing else that is IP.
    fn draw_rules(&self) -> Outcome {
        for last in [11, 12] {
            let to = format!("outport == \"{}\" && ip", port([3, last]));
            let (allow, drop) = (["1001", &to, "allow-related"], ["1000", &to, "drop"]);
            for rule in [allow, drop] {
                let words = ["acl-add", "guarded", "to-lport"].into_iter().chain(rule);
                self.northbound(&words.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// A VM with this address on a chassis, plugged into the switch of its network.
    fn machine(&mut self, at: usize, last: [u8; 2]) -> Outcome<Namespace> {
        let (name, address, mac) = (port(last), address(last), mac(last));
        let vm = self.lab.namespace(&name)?;
        let chassis = &self.chassis[at];
        cable(&vm, &chassis.namespace, ["eth0", &name], [&format!("{address}/24"), ""])?;
        vm.ip(&format!("link set eth0 address {mac} mtu 1400"))?;
        vm.ip(&format!("route add default via {}", self::address([last[0], 1])))?;
        vm.run("ethtool -K eth0 tx off")?;
        let switch = SWITCHES[usize::from(last[0] - 1)];
        self.northbound(&["lsp-add", switch, &name])?;
        self.northbound(&["lsp-set-addresses", &name, &format!("{mac} {address}")])?;
        chassis.plug(&self.programs, &name)?;
        Ok(vm)
    }
}

/// What a VM's port, its namespace and its interface on the chassis are called.
fn port([net, last]: [u8; 2]) -> String {
    format!("vm-{net}-{last}")
}

/// The address of a database below a directory.
fn socket(directory: &Path, name: &str) -> String {
    format!("unix:{}", directory.join(format!("{name}.sock")).display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::layout;

    #[test]
    fn every_layout_of_ovn_has_one_of_ours_beside_it_and_a_base() {
        for Beside { name, ours, base, .. } in LAYOUTS {
            assert!(layout::NAMES.contains(&ours), "{name}");
            assert!(layout::NAMES.contains(&base), "{name}");
        }
    }

    #[test]
    fn names_of_interfaces_fit_the_kernel() {
        assert!(port([255, 255]).len() <= 15);
    }
}
