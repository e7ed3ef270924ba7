//! A Debian package: the binary with its links, units, man pages, completions.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::command::{Outcome, cargo, output, root, run};

/// Names under which the binary is known besides its own.
const LINKS: &[&str] = &["midonet-cli"];
/// Files of `packaging/`: where they go, and with which permissions.
const FILES: &[(&str, &str, u32)] = &[
    ("systemd/midolman.service", "usr/lib/systemd/system/midolman.service", 0o644),
    ("systemd/midonet-cluster.service", "usr/lib/systemd/system/midonet-cluster.service", 0o644),
    ("etc/60-midonet.conf", "usr/lib/sysctl.d/60-midonet.conf", 0o644),
    ("etc/midolman.env", "etc/midolman/midolman.env", 0o600),
    ("etc/midonet-cluster.env", "etc/midonet-cluster/midonet-cluster.env", 0o600),
    ("debian/conffiles", "DEBIAN/conffiles", 0o644),
    ("debian/postinst", "DEBIAN/postinst", 0o755),
    ("debian/prerm", "DEBIAN/prerm", 0o755),
    ("debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Per shell: where its completions go, and how their files are called.
const COMPLETIONS: &[(&str, &str, &str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions", "", ""),
    ("zsh", "usr/share/zsh/vendor-completions", "_", ""),
    ("fish", "usr/share/fish/vendor_completions.d", "", ".fish"),
];

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask package
  cargo xtask package --binary target/debug/midonet --to /tmp")]
pub struct Options {
    /// Pack this binary, rather than building one for release
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the package goes [default: cargo's target directory]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Packs the release binary, built first, or another one; says where the package is.
pub fn build(options: &Options) -> Outcome {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            run(cargo().args(["build", "--release", "--locked", "--package", "midonet"]))?;
            target()?.join("release/midonet")
        }
    };
    let to = options.to.clone().map_or_else(target, Ok)?;
    let stage = to.join("package");
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(|e| failed(&stage, &e))?;
    }
    let installed = stage.join("usr/bin/midonet");
    install(&binary, &installed, 0o755)?;
    run(Command::new("strip").arg("--strip-debug").arg(&installed))?;
    for link in LINKS {
        let at = stage.join("usr/bin").join(link);
        symlink("midonet", &at).map_err(|e| failed(&at, &e))?;
    }
    for (from, to, mode) in FILES {
        install(&root().join("packaging").join(from), &stage.join(to), *mode)?;
    }
    install(&root().join("LICENSE"), &stage.join("usr/share/doc/midonet/copyright"), 0o644)?;
    texts(&binary, &stage)?;
    let version = version(&binary)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    write(&stage.join("DEBIAN/control"), &control(&version, architecture, installed_kib(&stage)?))?;
    let package = to.join(format!("midonet_{version}_{architecture}.deb"));
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&stage)
        .arg(&package))?;
    println!("The package is {}", package.display());
    Ok(())
}

/// The man pages and completions that the binary writes itself.
fn texts(binary: &Path, stage: &Path) -> Outcome {
    let man = stage.join("usr/share/man/man1");
    directory(&man)?;
    run(Command::new(binary).args(["generate", "man"]).arg(&man))?;
    for page in fs::read_dir(&man).map_err(|e| failed(&man, &e))? {
        let page = page.map_err(|e| failed(&man, &e))?.path();
        run(Command::new("gzip").args(["--best", "--no-name"]).arg(page))?;
    }
    for (shell, directory, prefix, suffix) in COMPLETIONS {
        let at = |name: &str| stage.join(directory).join(format!("{prefix}{name}{suffix}"));
        let script = output(Command::new(binary).args(["generate", "completions", shell]))?;
        write(&at("midonet"), &script)?;
        let script = output(Command::new(binary).args(["cli", "completions", shell]))?;
        write(&at("midonet-cli"), &script)?;
    }
    Ok(())
}

fn control(version: &str, architecture: &str, kib: u64) -> String {
    format!(
        "Package: midonet\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The MidoNet authors <midonet@example.org>\n\
         Installed-Size: {kib}\n\
         Depends: libc6 (>= 2.36), iproute2\n\
         Section: net\n\
         Priority: optional\n\
         Description: virtual networks for a cloud\n \
         The agent of a host, the cluster node with the REST API and the state database, and\n \
         the command line, in one binary. The agent's datapath needs Linux 6.1 or newer.\n"
    )
}

fn version(binary: &Path) -> Outcome<String> {
    let said = output(Command::new(binary).arg("--version"))?;
    let version = said.split_whitespace().last();
    version.map(str::to_owned).ok_or_else(|| "the binary does not say its version".to_owned())
}

fn target() -> Outcome<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)
        .map_err(|e| format!("cargo metadata printed no JSON: {e}"))?;
    let directory = metadata["target_directory"].as_str();
    directory
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target directory".to_owned())
}

/// The size of everything below a directory.
fn installed_kib(directory: &Path) -> Outcome<u64> {
    let said = output(Command::new("du").args(["-sk"]).arg(directory))?;
    let size = said.split_whitespace().next().and_then(|size| size.parse().ok());
    size.ok_or_else(|| format!("du said {said:?}"))
}

fn install(from: &Path, to: &Path, mode: u32) -> Outcome {
    directory(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map_err(|e| failed(from, &e))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|e| failed(to, &e))
}

fn write(to: &Path, text: &str) -> Outcome {
    directory(to.parent().unwrap_or(to))?;
    fs::write(to, text).map_err(|e| failed(to, &e))
}

fn directory(path: &Path) -> Outcome {
    fs::create_dir_all(path).map_err(|e| failed(path, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
