//! The datapath's tests on the oldest kernel we promise: Linux 6.1 of Debian 12, in an emulated
//! machine. Its verifier refuses programs that newer ones take, and it has no tcx.

mod machine;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::Args;

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

#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  cargo xtask old-kernel                      every test, an hour
  cargo xtask old-kernel --only conformance   those with this in their names

The kernel is Debian 12's: downloaded, unpacked into the target directory and run by qemu, not installed.")]
pub struct Options {
    /// Only tests whose name contains this, or one of these
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Runs the tests on the old kernel; where that cannot be, says why and is content.
///
/// # Errors
/// When a test fails there, does not come to its end, or none has such a name.
pub fn run_tests(options: &Options) -> Outcome {
    let kernel = match fetch() {
        Ok(kernel) => kernel,
        Err(why) => {
            println!("Not tested on Linux 6.1, the oldest kernel supported: {why}");
            return Ok(());
        }
    };
    let program = test_program()?;
    let list = |which: &[&str]| {
        output(Command::new(&program).args(["--list", "--format", "terse"]).args(which))
    };
    let (all, ignored) = (list(&[])?, list(&["--ignored"])?);
    let tests = chosen(&all, &ignored, &options.only);
    if tests.is_empty() {
        return Err(format!("no test of the datapath is called {}", options.only.join(" or ")));
    }
    let directory = directory()?;
    let image = machine::pack(&directory, &kernel, &program, &tests)?;
    println!("{} tests on Linux {}, emulated: an hour at most", tests.len(), kernel.release);
    let begun = Instant::now();
    let lines = machine::boot(&kernel, &image)?;
    let missing = not_passed(&tests, &lines);
    println!(
        "Linux {}: {} of {} tests passed in {} minutes",
        kernel.release,
        tests.len() - missing.len(),
        tests.len(),
        begun.elapsed().as_secs() / 60
    );
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("on Linux {} these did not pass: {}", kernel.release, missing.join(", ")))
}

/// The tests of a list, as the test program prints it, that are wanted. Those that it ignores
/// would do nothing and be said to have passed.
fn chosen<'l>(list: &'l str, ignored: &str, only: &[String]) -> Vec<&'l str> {
    let wanted = |test: &&str| {
        !test.starts_with(LEFT_OUT)
            && (only.is_empty() || only.iter().any(|only| test.contains(only.as_str())))
    };
    let ignored: Vec<&str> = ignored.lines().collect();
    let run = list.lines().filter(|line| !ignored.contains(line));
    run.filter_map(|line| line.strip_suffix(": test")).filter(wanted).collect()
}

/// The tests of which the machine did not say that they passed.
fn not_passed<'t>(tests: &[&'t str], lines: &[String]) -> Vec<&'t str> {
    let name = |line: &'_ String| {
        let rest = line.trim().strip_prefix(machine::PASSED)?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let passed: Vec<String> = lines.iter().filter_map(name).collect();
    tests.iter().copied().filter(|test| !passed.iter().any(|it| it == test)).collect()
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
    let package = format!("linux-image-{release}");
    packages::unpack(&[&package], &tree)?;
    run(Command::new("depmod").arg("-b").arg(&tree).arg(&release))?;
    Ok(Kernel { tree, release })
}

/// The highest number of the package's plain builds among these names.
fn newest(names: &str) -> Option<u32> {
    let number = |name: &str| name.strip_prefix(RELEASES)?.strip_suffix("-amd64")?.parse().ok();
    names.lines().filter_map(number).max()
}

/// The datapath's tests, built: optimised a little, since the machine is ten times slower than this
/// one.
fn test_program() -> Outcome<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--locked", "-p", "mn-datapath", "--test", "kernel", "--no-run"]);
    build.args(["--config", "profile.dev.opt-level=1"]);
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
    fn tests_of_speed_are_left_out_and_others_may_be() {
        let list = "a::one: test\na::two: test\nspeed::figures: test\n3 tests, 0 benchmarks";
        assert_eq!(chosen(list, "", &[]), ["a::one", "a::two"]);
        assert_eq!(chosen(list, "", &["two".to_owned(), "speed".to_owned()]), ["a::two"]);
        assert!(chosen(list, "", &["three".to_owned()]).is_empty());
        assert_eq!(chosen(list, "a::two: test\n", &[]), ["a::one"]);
    }

    #[test]
    fn a_test_of_which_nothing_is_heard_has_not_passed() {
        let lines = ["PASS a::works 12 s\r", "FAIL a::breaks 3 s", "PASS a::works_too 1 s"]
            .map(str::to_owned);
        let tests = ["a::works", "a::breaks", "a::hangs"];
        assert_eq!(not_passed(&tests, &lines), ["a::breaks", "a::hangs"]);
    }
}
