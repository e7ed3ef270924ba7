//! Debian's OVN and Open vSwitch, unpacked and not installed: no service of theirs is enabled or
//! started, and nothing of the system is changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mn_testbed::{Lab, LabError, Namespace, Outcome, finish, wait_for};

use crate::command::program_directory;
use crate::packages;

/// The programs, and the libraries of theirs that a small system does not have.
const PACKAGES: &[&str] = &[
    "openvswitch-switch",
    "openvswitch-common",
    "ovn-common",
    "ovn-central",
    "ovn-host",
    "libxdp1",
    "libbpf1",
    "libunbound8",
    "libevent-2.1-7",
    "libcap-ng0",
    "libnuma1",
];

/// The unpacked packages.
pub struct Programs {
    tree: PathBuf,
    libraries: PathBuf,
}

impl Programs {
    /// Downloads and unpacks them, unless that was done before.
    pub fn fetch() -> Outcome<Self> {
        let refused = |why: String| LabError::unexpected("OVN's packages", why);
        let tree = program_directory().map_err(refused)?.join("ovn");
        packages::unpack(PACKAGES, &tree).map_err(refused)?;
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        Ok(Self { libraries: tree.join("usr/lib").join(triplet), tree })
    }

    /// A command of the tree whose sockets are below a directory.
    pub fn command(&self, program: &str, run: &Path) -> Command {
        self.with_settings(Command::new(self.tree.join(program)), run)
    }

    /// One that runs in a namespace.
    pub fn command_in(&self, namespace: &Namespace, program: &str, run: &Path) -> Command {
        self.with_settings(namespace.command(self.tree.join(program)), run)
    }

    /// Without these they look for their sockets and logs where installed ones have them.
    fn with_settings(&self, mut command: Command, run: &Path) -> Command {
        for name in
            ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR"]
        {
            command.env(name, run);
        }
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Makes a database by a schema of the tree, and starts its server; returns when it listens.
    pub fn serve_database(
        &self,
        lab: &mut Lab,
        directory: &Path,
        name: &str,
        schema: &str,
    ) -> Outcome {
        let file = directory.join(format!("{name}.db"));
        let mut create = self.command("usr/bin/ovsdb-tool", directory);
        finish(create.arg("create").arg(&file).arg(self.tree.join(schema)))?;
        let socket = directory.join(format!("{name}.sock"));
        let mut server = self.command("usr/sbin/ovsdb-server", directory);
        server.arg(&file).arg(format!("--remote=punix:{}", socket.display()));
        lab.start_process(&format!("ovsdb-{name}"), &mut server)?;
        let listens = || Ok(socket.exists());
        wait_for(&format!("the database {name} listens"), Duration::from_secs(10), listens)
    }

    /// Which versions these are, and how they forward.
    pub fn describe(&self) -> Outcome<String> {
        let version = |program: &str| -> Outcome<String> {
            let said = finish(self.command(program, &self.tree).arg("--version"))?;
            let first = said.lines().next().unwrap_or_default();
            Ok(first.split_whitespace().last().unwrap_or("?").to_owned())
        };
        let module = if Path::new("/sys/module/openvswitch").exists() {
            "this kernel's own OVS module is not used"
        } else {
            "this kernel has no OVS module"
        };
        Ok(format!(
            "OVN {} with Open vSwitch {}, userspace datapath: {module}",
            version("usr/bin/ovn-controller")?,
            version("usr/lib/openvswitch-switch/ovs-vswitchd")?
        ))
    }
}
