//! The emulated machine: a kernel and everything it needs in one image of memory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Kernel;
use crate::command::{Outcome, exists, output, run, watch};

/// What the machine prints before the name of a test that passed and the seconds it took.
pub const PASSED: &str = "PASS ";

/// Modules of the kernel that the tests need; those they need in turn are found.
const MODULES: &[&str] = &["veth", "vxlan", "ifb", "sch_ingress", "cls_bpf", "tun"];
/// Programs that the tests run.
const PROGRAMS: &[&str] =
    &["ip", "tc", "nstat", "ping", "sysctl", "unshare", "nsenter", "mount", "sleep"];
/// Seconds; longer than all tests take, emulated, on two busy processors.
const TIME_MAX: &str = "10800";

/// The machine's first program: runs every test in a process of its own, then switches off. One
/// that hangs costs the others a quarter of an hour, not their turn.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /sbin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
echo 1 > /proc/sys/kernel/printk
for module in $(cat /modules); do modprobe $module; done
ip link set lo up
seconds() { cut -d. -f1 /proc/uptime; }
for test in $(cat /tests); do
    begun=$(seconds)
    if timeout -k 5 900 /kernel-tests --exact $test --nocapture > /tmp/out 2>&1
    then echo "PASS $test $(($(seconds) - begun)) s"
    else echo "FAIL $test $(($(seconds) - begun)) s"; tail -c 6000 /tmp/out
    fi
done
poweroff -f
"#;

/// Makes the image; where it is.
pub fn pack(directory: &Path, kernel: &Kernel, program: &Path, tests: &[&str]) -> Outcome<PathBuf> {
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|e| failed(&root, &e))?;
    }
    for name in ["bin", "sbin", "proc", "sys", "dev", "tmp", "etc", "run"] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(|e| failed(&path, &e))?;
    }
    // What is in /usr on one system is not on another.
    symlink(".", root.join("usr")).map_err(|e| failed(&root, &e))?;
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|it| Path::new(it).exists());
    copy(Path::new(busybox.unwrap_or("/bin/busybox")), &root.join("bin/busybox"))?;
    put_program(&root, program, "kernel-tests")?;
    run(Command::new("strip").arg("--strip-debug").arg(root.join("kernel-tests")))?;
    for name in PROGRAMS {
        let path = output(Command::new("sh").args(["-c", &format!("command -v {name}")]))?;
        put_program(&root, Path::new(path.trim()), &format!("bin/{name}"))?;
    }
    put_modules(&root, kernel)?;
    for (name, text) in
        [("init", INIT.to_owned()), ("modules", MODULES.join("\n")), ("tests", tests.join("\n"))]
    {
        let path = root.join(name);
        fs::write(&path, text + "\n").map_err(|e| failed(&path, &e))?;
    }
    let init = root.join("init");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).map_err(|e| failed(&init, &e))?;
    let image = directory.join("image.gz");
    let script = "find . | cpio -o -H newc --quiet | gzip -1 > \"$0\"";
    run(Command::new("sh").args(["-ec", script]).arg(&image).current_dir(&root))?;
    Ok(image)
}

/// Starts the machine and shows what it says until it switches itself off; the lines.
pub fn boot(kernel: &Kernel, image: &Path) -> Outcome<Vec<String>> {
    const QEMU: &str = "qemu-system-x86_64";
    if !exists(QEMU, &["--version"]) {
        return Err(format!("there is no {QEMU}"));
    }
    let binary = kernel.tree.join("boot").join(format!("vmlinuz-{}", kernel.release));
    // Emulated throughout, so that it is the same with and without virtualisation here.
    let (_, lines) = watch(
        Command::new("timeout")
            .args([TIME_MAX, QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", "2048", "-nic", "none", "-display", "none", "-serial", "stdio"])
            .args(["-monitor", "none", "-no-reboot", "-kernel"])
            .arg(binary)
            .arg("-initrd")
            .arg(image)
            .args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"])
            .stdin(std::process::Stdio::null()),
    )?;
    Ok(lines)
}

/// Copies a program and the libraries it is linked with.
fn put_program(root: &Path, program: &Path, name: &str) -> Outcome {
    copy(program, &root.join(name))?;
    let libraries = output(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.join(&library[1..]))?;
    }
    Ok(())
}

/// Copies the modules with those they need, and lists them for `modprobe`.
fn put_modules(root: &Path, kernel: &Kernel) -> Outcome {
    let shown = output(
        Command::new("modprobe")
            .arg("-d")
            .arg(&kernel.tree)
            .args(["-S", &kernel.release, "--show-depends", "-a"])
            .args(MODULES),
    )?;
    // Options may follow the file's name.
    let files = shown.lines().filter_map(|line| line.strip_prefix("insmod ")?.split(' ').next());
    for module in files.map(Path::new) {
        let place = module.strip_prefix(&kernel.tree).map_err(|_| {
            format!("modprobe named {}, outside of the kernel's package", module.display())
        })?;
        copy(module, &root.join(place))?;
    }
    for name in ["modules.order", "modules.builtin"] {
        let place = Path::new("lib/modules").join(&kernel.release).join(name);
        copy(&kernel.tree.join(&place), &root.join(&place))?;
    }
    run(Command::new("depmod").arg("-b").arg(root).arg(&kernel.release))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    }
    fs::copy(from, to).map(drop).map_err(|e| failed(from, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot make the machine's image: {}: {error}", path.display())
}
