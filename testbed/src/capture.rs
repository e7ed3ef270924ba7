//! What passes an interface, by tcpdump.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::wait_for;
use crate::namespace::finish;
use crate::process::Process;
use crate::{Namespace, Outcome};

/// A running capture on one interface.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts capturing what fits a pcap filter; returns when tcpdump listens.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(at: &Namespace, interface: &str, filter: &str, directory: &Path) -> Outcome<Self> {
        let stem = format!("capture-{}-{interface}", at.name());
        let (file, log) =
            (directory.join(format!("{stem}.pcap")), directory.join(format!("{stem}.log")));
        if log.exists() {
            std::fs::remove_file(&log).map_err(crate::LabError::machine("remove a former log"))?;
        }
        let mut command = at.command("tcpdump");
        command
            .args(["-n", "-U", "--immediate-mode", "-i", interface, "-w"])
            .arg(&file)
            .arg(filter);
        let process = Process::start("tcpdump", &log, &mut command)?;
        let capture = Self { process, file };
        wait_for("tcpdump listens", Duration::from_secs(5), || {
            Ok(std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on")))
        })?;
        Ok(capture)
    }

    /// Stops, and returns one line for each packet, as tcpdump prints it with `-e -v`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stop(mut self) -> Outcome<Vec<String>> {
        self.process.stop();
        let mut command = std::process::Command::new("tcpdump");
        command.args(["-n", "-e", "-t", "-r"]).arg(&self.file);
        Ok(finish(&mut command)?.lines().map(str::to_owned).collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.process.kill();
    }
}
