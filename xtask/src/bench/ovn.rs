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

/// Every layout there is, with what it is compared with, the server's chassis and the last two
/// parts of its address; the client of each network is on chassis 0.
const LAYOUTS: [(&str, &str, usize, [u8; 2]); 5] = [
    ("OVN: one host, L2", "veth", 0, [1, 11]),
    ("OVN: two hosts, L2", "vxlan", 1, [1, 12]),
    ("OVN: two hosts, routed", "vxlan", 1, [2, 12]),
    ("OVN: one host, stateful", "veth", 0, [3, 11]),
    ("OVN: two hosts, stateful", "vxlan", 1, [3, 12]),
];
/// What of ours does the same as what of theirs.
pub const PAIRS: [(&str, &str); 5] = [
    ("ours: one host, L2", "OVN: one host, L2"),
    ("ours: two hosts, L2", "OVN: two hosts, L2"),
    ("ours: two hosts, routed", "OVN: two hosts, routed"),
    ("ours: one host, stateful", "OVN: one host, stateful"),
    ("ours: two hosts, stateful", "OVN: two hosts, stateful"),
];
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
        for (name, base, at, last) in LAYOUTS {
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
    LAYOUTS.iter().any(|(name, ..)| wants(name))
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
        for (name, base, ..) in LAYOUTS {
            let ours = PAIRS.iter().find(|(_, theirs)| *theirs == name).map(|(ours, _)| ours);
            assert!(ours.is_some_and(|ours| layout::NAMES.contains(ours)), "{name}");
            assert!(layout::NAMES.contains(&base), "{name}");
        }
    }

    #[test]
    fn names_of_interfaces_fit_the_kernel() {
        assert!(port([255, 255]).len() <= 15);
    }
}
