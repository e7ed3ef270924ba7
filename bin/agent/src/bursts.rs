//! The settings of the token buckets (RP-02, RP-05): default, then preset, then file, then flag.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mn_agent_core::Capacities;

/// The guides' file.
const FILE: &str = "/etc/midolman/midolman.conf";

/// The flags of the buckets.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Bursts {
    /// The guides' settings, lines as `agent.datapath.vm_incoming_burst_capacity : 32`; by default
    /// /etc/midolman/midolman.conf where that is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token buckets as for this role of the host.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Tokens of the global bucket: what may be in flight in all.
    #[arg(long, value_name = "TOKENS")]
    global_incoming_burst_capacity: Option<u32>,
    /// Tokens of each tunnel's bucket.
    #[arg(long, value_name = "TOKENS")]
    tunnel_incoming_burst_capacity: Option<u32>,
    /// Tokens of each VM's bucket.
    #[arg(long, value_name = "TOKENS")]
    vm_incoming_burst_capacity: Option<u32>,
    /// Tokens of each VTEP's bucket.
    #[arg(long, value_name = "TOKENS")]
    vtep_incoming_burst_capacity: Option<u32>,
}

/// Roles that the guides have values for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Preset {
    Compute,
    Gateway,
    L4Gateway,
    AgentComputeSmall,
    AgentComputeMedium,
    AgentComputeLarge,
    AgentGatewayMedium,
    AgentGatewayLarge,
}

impl Preset {
    const fn capacities(self) -> Capacities {
        let (global, tunnel, vtep, vm) = match self {
            Self::Compute | Self::L4Gateway => (128, 64, 128, 16),
            Self::Gateway
            | Self::AgentComputeSmall
            | Self::AgentComputeMedium
            | Self::AgentComputeLarge => (256, 128, 128, 32),
            Self::AgentGatewayMedium => (512, 256, 256, 256),
            Self::AgentGatewayLarge => (1024, 512, 512, 512),
        };
        Capacities { global, tunnel, vtep, vm }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BurstsError {
    #[error("{path} cannot be read", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}, line {line}: {key} is a number of tokens", path = path.display())]
    Value { path: PathBuf, line: usize, key: String },
    #[error("global_incoming_burst_capacity is at least 1: with none, no packet is decided about")]
    Nothing,
}

impl Bursts {
    /// What the buckets hold.
    ///
    /// # Errors
    ///
    /// See [`BurstsError`]. A file that was not asked for and is not there is none.
    pub(crate) fn capacities(&self) -> Result<Capacities, BurstsError> {
        let mut capacities = self.preset.map_or_else(Capacities::default, Preset::capacities);
        let path = self.config.as_deref().unwrap_or(Path::new(FILE));
        match fs::read_to_string(path) {
            Ok(text) => read(&text, path, &mut capacities)?,
            Err(error) if self.config.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(BurstsError::File { path: path.to_owned(), source }),
        }
        let flags = [
            (&mut capacities.global, self.global_incoming_burst_capacity),
            (&mut capacities.tunnel, self.tunnel_incoming_burst_capacity),
            (&mut capacities.vm, self.vm_incoming_burst_capacity),
            (&mut capacities.vtep, self.vtep_incoming_burst_capacity),
        ];
        for (value, flag) in flags {
            *value = flag.unwrap_or(*value);
        }
        if capacities.global == 0 { Err(BurstsError::Nothing) } else { Ok(capacities) }
    }
}

/// Reads the keys of the buckets: whole (`agent.datapath.… : 32`), or behind a line
/// `[agent.datapath]`; `=` is as good as `:`. Other keys are other programs'.
fn read(text: &str, path: &Path, capacities: &mut Capacities) -> Result<(), BurstsError> {
    let mut section = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{}.", name.trim());
            continue;
        }
        let Some((key, value)) = line.split_once([':', '=']) else { continue };
        let key = format!("{section}{}", key.trim());
        let target = match key.strip_prefix("agent.datapath.") {
            Some("global_incoming_burst_capacity") => &mut capacities.global,
            Some("tunnel_incoming_burst_capacity") => &mut capacities.tunnel,
            Some("vm_incoming_burst_capacity") => &mut capacities.vm,
            Some("vtep_incoming_burst_capacity") => &mut capacities.vtep,
            _ => continue,
        };
        *target = value.trim().parse().map_err(|_| BurstsError::Value {
            path: path.to_owned(),
            line: number,
            key,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        bursts: Bursts,
    }

    fn capacities(flags: &[&str]) -> Result<Capacities, BurstsError> {
        let words = ["agent"].iter().chain(flags);
        Flags::try_parse_from(words).expect("these flags").bursts.capacities()
    }

    #[test]
    fn a_flag_beats_the_file_the_file_the_preset_and_the_preset_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("midolman.conf");
        let text = "# buckets\nagent.datapath.vm_incoming_burst_capacity : 64\n\
            [agent.datapath]\ntunnel_incoming_burst_capacity = 5 # few\nmax_flow_count = many\n";
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let of = |global, tunnel, vtep, vm| Capacities { global, tunnel, vtep, vm };
        assert_eq!(capacities(&["--config", "/dev/null"]).unwrap(), of(256, 128, 128, 32));
        let preset = ["--config", "/dev/null", "--preset", "agent-gateway-large"];
        assert_eq!(capacities(&preset).unwrap(), of(1024, 512, 512, 512));
        let all = ["--config", file, "--preset", "compute", "--vm-incoming-burst-capacity", "7"];
        assert_eq!(capacities(&all).unwrap(), of(128, 5, 128, 7));
        assert_eq!(capacities(&all[..4]).unwrap(), of(128, 5, 128, 64));
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there_and_make_sense() {
        let missing = capacities(&["--config", "/nowhere/at/all"]);
        assert!(matches!(missing, Err(BurstsError::File { .. })));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("midolman.conf");
        fs::write(&file, "\nagent.datapath.vm_incoming_burst_capacity : lots\n").unwrap();
        let wrong = capacities(&["--config", file.to_str().unwrap()]).unwrap_err();
        assert!(wrong.to_string().contains("line 2"), "{wrong}");
        let none = ["--config", "/dev/null", "--global-incoming-burst-capacity", "0"];
        assert!(matches!(capacities(&none), Err(BurstsError::Nothing)));
    }
}
