//! Debian packages that builds and labs need, installed when they are missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Outcome, exists, run};

/// A package and the files of which one shows that it is there.
pub type Package = (&'static str, &'static [&'static str]);

/// What every build and lab needs.
const NEEDED: &[Package] = &[
    ("clang-19", &["/usr/bin/clang-19", "/usr/bin/clang-16", "/usr/bin/clang"]),
    ("libbpf-dev", &["/usr/include/bpf/bpf_helpers.h"]),
    ("linux-libc-dev", &["/usr/include/linux/bpf.h"]),
    ("build-essential", &["/usr/bin/cc"]),
    ("protobuf-compiler", &["/usr/bin/protoc"]),
    ("iproute2", &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"]),
    ("iputils-ping", &["/usr/bin/ping", "/bin/ping"]),
    ("iperf3", &["/usr/bin/iperf3"]),
    ("traceroute", &["/usr/bin/traceroute", "/usr/bin/traceroute.db", "/usr/sbin/traceroute"]),
    ("tcpdump", &["/usr/bin/tcpdump", "/usr/sbin/tcpdump"]),
    ("isc-dhcp-client", &["/usr/sbin/dhclient", "/sbin/dhclient"]),
    ("ethtool", &["/usr/sbin/ethtool", "/sbin/ethtool"]),
];

/// Packages in which clang-19 is called otherwise on releases that have no such package.
const CLANG: &[&str] = &["clang-19", "clang-16", "clang"];

/// Installs what builds and labs need and is missing.
pub fn install_missing() -> Outcome {
    install(NEEDED)
}

/// Installs what is missing of these, saying so; does nothing on a machine that has everything.
pub fn install(needed: &[Package]) -> Outcome {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let words = missing.join(" ");
    if !nix::unistd::Uid::effective().is_root() {
        return Err(format!(
            "these Debian packages are missing: {words}. Install them (apt-get install {words}) or run this as root"
        ));
    }
    if !exists("apt-get", &["--version"]) {
        return Err(format!("install these by hand, there is no apt-get here: {words}"));
    }
    println!("Installing with apt-get: {words}");
    run(apt().args(["update", "-q"]))?;
    let chosen = missing.iter().map(|&package| if package == CLANG[0] { clang() } else { package });
    run(apt().args(["install", "-y", "-q", "--no-install-recommends"]).args(chosen))
}

/// Downloads packages and unpacks them into a tree of their own, without installing them; does
/// nothing where the tree is there.
pub fn unpack(packages: &[&str], tree: &Path) -> Outcome {
    if tree.exists() {
        return Ok(());
    }
    // Under another name until it is whole.
    let draft = tree.with_extension("part");
    let archives = draft.join("archives");
    let failed = |path: &Path, e: &std::io::Error| format!("{}: {e}", path.display());
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|e| failed(&draft, &e))?;
    }
    fs::create_dir_all(&archives).map_err(|e| failed(&archives, &e))?;
    let download = || {
        let mut command = apt();
        command.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(packages);
        run(command.current_dir(&archives))
    };
    if download().is_err() {
        // The list of packages may be old, or not there.
        run(apt().args(["update", "-q"]))?;
        download()?;
    }
    for archive in fs::read_dir(&archives).map_err(|e| failed(&archives, &e))?.flatten() {
        run(Command::new("dpkg-deb").arg("-x").arg(archive.path()).arg(&draft))?;
    }
    fs::remove_dir_all(&archives).map_err(|e| failed(&archives, &e))?;
    fs::rename(&draft, tree).map_err(|e| failed(tree, &e))
}

fn missing(needed: &[Package]) -> Vec<&'static str> {
    let there = |files: &[&str]| files.iter().any(|f| Path::new(f).exists());
    needed.iter().filter(|(_, files)| !there(files)).map(|(package, _)| *package).collect()
}

fn clang() -> &'static str {
    let offered = |package: &&&str| {
        let shown = crate::command::output(Command::new("apt-cache").args(["policy", package]));
        shown.is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
    };
    CLANG.iter().find(offered).copied().unwrap_or(CLANG[0])
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=900"]);
    apt
}
