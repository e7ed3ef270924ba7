//! The Debian package: made, installed over a copy of this machine's files, used and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mn_testbed::{LabError, Outcome, program};

/// What an administrator does, in a namespace of its own.
const STORY: &str = include_str!("story.sh");

/// The package of the `midonet` under test.
fn package(directory: &Path) -> Outcome<PathBuf> {
    let mut pack = Command::new(program("xtask")?);
    pack.args(["package", "--binary"]).arg(program("midonet")?).arg("--to").arg(directory);
    let packed = pack.output().map_err(LabError::machine("run xtask package"))?;
    let said = String::from_utf8_lossy(&packed.stderr).into_owned();
    let entries = fs::read_dir(directory).map_err(LabError::machine("read a directory"))?;
    let made = entries.flatten().map(|entry| entry.path());
    let found = made.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "deb"));
    found.ok_or_else(|| LabError::unexpected("xtask package", said))
}

#[test]
fn the_package_installs_runs_both_programs_and_leaves_nothing_of_bpf_and_in_the_end_no_file()
-> Outcome {
    let directory = tempfile::tempdir().map_err(LabError::machine("make a directory"))?;
    let package = package(directory.path())?;
    let area = directory.path().join("area");
    fs::create_dir(&area).map_err(LabError::machine("make a directory"))?;
    // What is mounted and started there ends with the namespaces.
    let mut story = Command::new("unshare");
    story.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-euc", STORY]);
    let told = story.env("AREA", &area).env("PACKAGE", &package).output();
    let told = told.map_err(LabError::machine("run unshare"))?;
    let lines = String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
    if !told.status.success() || !lines.contains("the end") {
        return Err(LabError::unexpected("the package's story", lines.into_owned()));
    }
    Ok(())
}
