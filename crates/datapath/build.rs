//! Compiles the datapath's programs with clang.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=tests/version1");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let clang = ["clang-19", "clang-16", "clang"].into_iter().find(|clang| {
        Command::new(clang).arg("--version").output().is_ok_and(|out| out.status.success())
    });
    let Some(clang) = clang else {
        panic!("the datapath's BPF programs need clang: apt-get install clang libbpf-dev");
    };
    compile(clang, "bpf/datapath.bpf.c", &out.join("datapath.bpf.o"));
    // Small, and known to the tests only.
    compile(clang, "bpf/bench.bpf.c", &out.join("bench.bpf.o"));
    compile(clang, "tests/version1/version1.bpf.c", &out.join("version1.bpf.o"));
}

fn compile(clang: &str, source: &str, object: &Path) {
    let mut command = Command::new(clang);
    command.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"]);
    // Debian keeps asm/ under the name of the architecture, which a BPF target does not search.
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let multiarch = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&multiarch).exists() {
        command.arg("-I").arg(multiarch);
    }
    let status = command.args(["-c", source, "-o"]).arg(object).status();
    assert!(status.is_ok_and(|status| status.success()), "{clang} could not compile {source}");
}
