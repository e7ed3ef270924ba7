//! The processes of a lab: started with their output in a file, ended only by their own id.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{LabError, Outcome};

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    pub pid: i32,
    /// When it was started, in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start: u64,
}

impl Identity {
    pub(crate) fn of_this_process() -> Self {
        let pid = Pid::this().as_raw();
        Self { pid, start: start_of(pid).unwrap_or_default() }
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let pid = i32::try_from(value["pid"].as_i64()?).ok()?;
        Some(Self { pid, start: value["start"].as_u64()? })
    }

    /// Whether it runs; one that waits for its parent to look does not.
    pub fn is_alive(self) -> bool {
        start_of(self.pid) == Some(self.start)
    }

    /// Waits until it is gone, at most five seconds.
    pub(crate) fn wait_gone(self) {
        let until = Instant::now() + Duration::from_secs(5);
        while self.is_alive() && Instant::now() < until {
            sleep(Duration::from_millis(2));
        }
    }
}

/// Sends a signal, unless the process is gone.
pub(crate) fn signal(process: Identity, signal: Signal) {
    if process.is_alive()
        && let Err(error) = kill(Pid::from_raw(process.pid), signal)
    {
        eprintln!("cannot send {signal} to {}: {error}", process.pid);
    }
}

/// The start time of a process that is not a zombie.
fn start_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, blanks and parentheses included.
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// A running process of a lab.
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Identity,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its output appended to a log file, in a process group of its own so
    /// that an interrupt at the terminal does not reach it.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn start(name: &str, log: &Path, command: &mut Command) -> Outcome<Self> {
        let open = File::options().create(true).append(true).open(log);
        let out = open.map_err(LabError::machine(format!("open {}", log.display())))?;
        let err = out.try_clone().map_err(LabError::machine("duplicate a log file"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(LabError::machine(format!("start {name}")))?;
        let pid = i32::try_from(child.id()).expect("process ids fit 22 bits");
        let start = start_of(pid).unwrap_or_default();
        let (name, log) = (name.to_owned(), log.to_owned());
        Ok(Self { name, identity: Identity { pid, start }, child, log })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it without a chance to do anything more: `kill -9`.
    pub fn kill(&mut self) {
        signal(self.identity, Signal::SIGKILL);
        self.reap(Duration::from_secs(5));
    }

    /// Asks it to end and waits; `kill -9` after ten seconds. Whether it ended by itself.
    pub fn stop(&mut self) -> bool {
        signal(self.identity, Signal::SIGTERM);
        let ended = self.reap(Duration::from_secs(10));
        if !ended {
            self.kill();
        }
        ended
    }

    /// The last lines of its log, for a message of failure.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(8)..];
        format!("{} ({})\n{}", self.name, self.log.display(), tail.join("\n"))
    }

    fn reap(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > until {
                return false;
            }
            sleep(Duration::from_millis(2));
        }
        true
    }
}

/// A program of this workspace: beside this one, or one directory up from a test; the variable
/// `MIDONET_BIN` names another `midonet`.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Outcome<PathBuf> {
    if name == "midonet"
        && let Some(path) = std::env::var_os("MIDONET_BIN")
    {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(LabError::machine("find this program"))?;
    let found = own.ancestors().skip(1).take(2).map(|d| d.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| {
        LabError::unexpected(
            format!("there is no program {name} beside {}", own.display()),
            "build it first: cargo build -p midonet -p mn-testbed --bins",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_id_and_start_and_ends_when_killed() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("sleep.log");
        let mut process = Process::start("sleep", &log, Command::new("sleep").arg("60")).unwrap();
        let id = process.identity();
        assert!(id.is_alive() && process.is_alive());
        assert!(!Identity { start: id.start + 1, ..id }.is_alive());
        process.kill();
        assert!(!id.is_alive() && !process.is_alive());
    }

    #[test]
    fn a_process_that_is_asked_to_end_ends_by_itself_and_its_words_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("sh.log");
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'echo farewell; exit 0' TERM; while :; do sleep 0.01; done"]);
        let mut process = Process::start("sh", &log, &mut command).unwrap();
        sleep(Duration::from_millis(100));
        assert!(process.stop());
        assert!(process.last_words().contains("farewell"));
    }
}
