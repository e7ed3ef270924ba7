//! A network namespace: a host, a VM or the underlay.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::{LabError, Outcome};

/// A named network namespace. It is deleted by its lab.
///
/// Programs are started with `nsenter`, not with `ip netns exec`: the latter mounts /sys anew and
/// so hides the BPF file system from an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a new one, with its loopback up.
    ///
    /// # Errors
    /// When there is one of this name, or without root.
    pub fn create(name: impl Into<String>) -> Outcome<Self> {
        let namespace = Self { name: name.into() };
        finish(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// One that exists.
    pub fn existing(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it with every interface in it.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn delete(&self) -> Outcome {
        finish(Command::new("ip").args(["netns", "del", &self.name])).map(drop)
    }

    /// Where the kernel shows it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a command line, words separated by blanks, to its end.
    ///
    /// # Errors
    /// When it ends badly; the error has what it said.
    pub fn run(&self, line: &str) -> Outcome<String> {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or("true");
        finish(self.command(program).args(words))
    }

    /// Runs `ip` with these words.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, words: &str) -> Outcome<String> {
        finish(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Sets a key below /proc/sys/net, such as `ipv6/conf/eth0/accept_dad`.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn set(&self, key: &str, value: &str) -> Outcome {
        let path = format!("/proc/sys/net/{key}");
        let what = format!("set {path} to {value} in {}", self.name);
        let value = value.to_owned();
        self.enter(move || std::fs::write(path, value))?.map_err(LabError::machine(what))
    }

    /// Runs a function in this namespace, on a thread of its own.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When the function panics.
    pub fn enter<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        let (path, what) = (self.path(), format!("enter the namespace {}", self.name));
        let thread = thread::spawn(move || {
            let file = File::open(path).map_err(LabError::machine(what.clone()))?;
            setns(file, CloneFlags::CLONE_NEWNET).map_err(LabError::machine(what))?;
            Ok(function())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The octet and packet counters of an interface: (received, sent) packets.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn packets(&self, interface: &str) -> Outcome<(u64, u64)> {
        let text = self.ip(&format!("-j -s link show dev {interface}"))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| LabError::unexpected("the counters of an interface", e.to_string()))?;
        let count = |way: &str| value[0]["stats64"][way]["packets"].as_u64().unwrap_or_default();
        Ok((count("rx"), count("tx")))
    }
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot run or ends badly.
pub fn finish(command: &mut Command) -> Outcome<String> {
    let line = shown(command);
    let Output { status, stdout, stderr } =
        command.output().map_err(LabError::machine(format!("run `{line}`")))?;
    let out = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(out);
    }
    let said = format!("{} {}", out.trim(), String::from_utf8_lossy(&stderr).trim());
    Err(LabError::Command {
        command: line,
        status: status.to_string(),
        said: said.trim().to_owned(),
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
