//! A chassis: a namespace with a switch, its database, and a controller.

use std::path::PathBuf;

use mn_testbed::{Lab, Namespace, Outcome, finish};

use super::programs::Programs;
use super::socket;

/// A host of the cloud, whose end of the wire is called `wire`.
pub struct Chassis {
    pub at: usize,
    pub namespace: Namespace,
    /// Of its sockets and its database.
    pub directory: PathBuf,
}

impl Chassis {
    /// Starts its daemons; returns when the switch has its bridges.
    pub fn start(&self, lab: &mut Lab, programs: &Programs, central: &str) -> Outcome {
        let name = |program: &str| format!("{program}-{}", self.at);
        let schema = "usr/share/openvswitch/vswitch.ovsschema";
        programs.serve_database(lab, &self.directory, &name("conf"), schema)?;
        let database = self.database();
        self.switch(programs, "--no-wait init")?;
        let switch = "usr/lib/openvswitch-switch/ovs-vswitchd";
        let mut vswitchd = programs.command_in(&self.namespace, switch, &self.directory);
        lab.start_process(&name("ovs-vswitchd"), vswitchd.arg(&database))?;
        let address = format!("10.7.9.{}", 1 + self.at);
        self.switch(
            programs,
            &format!(
                "set open . external_ids:system-id=chassis-{} external_ids:ovn-remote={central} \
             external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip={address} \
             external_ids:ovn-bridge-datapath-type=netdev",
                self.at
            ),
        )?;
        // The switch encapsulates only what leaves by a bridge that has the tunnel's address.
        self.switch(
            programs,
            "add-br br-wire -- set bridge br-wire datapath_type=netdev fail-mode=standalone \
             -- add-port br-wire wire",
        )?;
        self.switch(
            programs,
            "add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure",
        )?;
        self.namespace.ip("link set br-wire mtu 1600 up")?;
        self.namespace.ip(&format!("addr add {address}/24 dev br-wire"))?;
        let controller = "usr/bin/ovn-controller";
        let mut controller = programs.command_in(&self.namespace, controller, &self.directory);
        lab.start_process(&name("ovn-controller"), controller.arg(&database))
    }

    /// Gives the switch the interface of a VM, whose port in the cloud has the same name.
    pub fn plug(&self, programs: &Programs, interface: &str) -> Outcome {
        self.switch(programs, &format!(
            "add-port br-int {interface} -- set interface {interface} external_ids:iface-id={interface}"
        ))
    }

    fn database(&self) -> String {
        socket(&self.directory, &format!("conf-{}", self.at))
    }

    fn switch(&self, programs: &Programs, line: &str) -> Outcome {
        let mut command = programs.command("usr/bin/ovs-vsctl", &self.directory);
        command.arg(format!("--db={}", self.database())).arg("--timeout=30");
        finish(command.args(line.split_whitespace())).map(drop)
    }
}
