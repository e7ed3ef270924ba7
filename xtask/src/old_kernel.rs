//! The datapath's tests on the oldest kernel we promise: Linux 6.1 of Debian 12, in an emulated
//! machine. Its verifier refuses programs that newer ones take, and it has no tcx.

mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Outcome, cargo, output, program_directory, run};
use crate::packages::{self, Package};

const NEEDED: &[Package] = &[
    ("qemu-system-x86", &["/usr/bin/qemu-system-x86_64"]),
    ("busybox-static", &["/bin/busybox", "/usr/bin/busybox"]),
    ("cpio", &["/usr/bin/cpio", "/bin/cpio"]),
    ("kmod", &["/usr/sbin/depmod", "/sbin/depmod"]),
];

/// What starts the name of every build of Debian 12's kernel.
const RELEASES: &str = "linux-image-6.1.0-";

/// Tests of speed measure the emulation.
const LEFT_OUT: &str = "speed::";

/// An unpacked kernel package.
struct Kernel {
    /// What the package's tree was unpacked into.
    tree: PathBuf,
    /// Its release, for example `6.1.0-56-amd64`.
    release: String,
}

/// Runs the tests on the old kernel; where that cannot be, says why and is content.
///
/// # Errors
/// When a test fails there, or does not come to its end.
pub fn run_tests() -> Outcome {
    let kernel = match fetch() {
        Ok(kernel) => kernel,
        Err(why) => {
            println!("Not tested on Linux 6.1, the oldest kernel supported: {why}");
            return Ok(());
        }
    };
    let program = test_program()?;
    let list = output(Command::new(&program).args(["--list", "--format", "terse"]))?;
    let tests: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|test| !test.starts_with(LEFT_OUT))
        .collect();
    let directory = directory()?;
    let image = machine::pack(&directory, &kernel, &program, &tests)?;
    println!("{} tests on Linux {}, emulated: some minutes", tests.len(), kernel.release);
    let lines = machine::boot(&kernel, &image)?;
    let missing = not_passed(&tests, &lines);
    if missing.is_empty() {
        println!("Linux {}: {} tests passed", kernel.release, tests.len());
        return Ok(());
    }
    Err(format!("on Linux {} these did not pass: {}", kernel.release, missing.join(", ")))
}

/// The tests of which the machine did not say that they passed.
fn not_passed<'t>(tests: &[&'t str], lines: &[String]) -> Vec<&'t str> {
    let passed = |test: &str| {
        lines.iter().any(|line| line.trim().strip_prefix(machine::PASSED) == Some(test))
    };
    tests.iter().copied().filter(|test| !passed(test)).collect()
}

/// Where the package and all made from it is kept, beside the other things that builds make.
fn directory() -> Outcome<PathBuf> {
    let directory = program_directory()?.join("old-kernel");
    std::fs::create_dir_all(&directory)
        .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    Ok(directory)
}

/// The newest 6.1 of Debian, downloaded and unpacked, not installed.
fn fetch() -> Outcome<Kernel> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("the emulated machine is an x86-64 one".to_owned());
    }
    packages::install(NEEDED)?;
    let offered = output(Command::new("apt-cache").args(["pkgnames", RELEASES]))?;
    let newest = newest(&offered).ok_or_else(|| {
        format!("apt offers no {RELEASES}*-amd64; it is in the package sources of Debian 12")
    })?;
    let release = format!("6.1.0-{newest}-amd64");
    let directory = directory()?;
    let tree = directory.join(&release);
    if !tree.join("boot").join(format!("vmlinuz-{release}")).exists() {
        download(&directory, &tree, &release)?;
    }
    Ok(Kernel { tree, release })
}

fn download(directory: &Path, tree: &Path, release: &str) -> Outcome {
    let package = format!("linux-image-{release}");
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", &package])
        .current_dir(directory))?;
    let archive = std::fs::read_dir(directory)
        .map_err(|e| format!("cannot read {}: {e}", directory.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
        })
        .ok_or_else(|| format!("apt-get downloaded no {package}"))?;
    run(Command::new("dpkg-deb").arg("-x").args([&archive, tree]))?;
    run(Command::new("depmod").arg("-b").arg(tree).arg(release))
}

/// The highest number of the package's plain builds among these names.
fn newest(names: &str) -> Option<u32> {
    let number = |name: &str| name.strip_prefix(RELEASES)?.strip_suffix("-amd64")?.parse().ok();
    names.lines().filter_map(number).max()
}

/// The datapath's tests, built.
fn test_program() -> Outcome<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--locked", "-p", "mn-datapath", "--test", "kernel", "--no-run"]);
    let messages = output(build.args(["--message-format", "json"]))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| {
            message.get("executable").and_then(serde_json::Value::as_str).map(PathBuf::from)
        })
        .ok_or_else(|| "cargo named no program of the datapath's tests".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_plain_kernel_is_chosen() {
        let names = "linux-image-6.1.0-9-amd64\nlinux-image-6.1.0-56-amd64\n\
                     linux-image-6.1.0-57-cloud-amd64\nlinux-image-6.1.0-58-amd64-dbg";
        assert_eq!(newest(names), Some(56));
        assert_eq!(newest("linux-image-6.12.0-1-amd64"), None);
    }

    #[test]
    fn a_test_of_which_nothing_is_heard_has_not_passed() {
        let lines = ["PASS a::works\r", "FAIL a::breaks", "PASS a::works_too"].map(str::to_owned);
        let tests = ["a::works", "a::breaks", "a::hangs"];
        assert_eq!(not_passed(&tests, &lines), ["a::breaks", "a::hangs"]);
    }
}
