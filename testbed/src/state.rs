//! What a lab has made on the machine, kept in a file so that it can be taken down by anyone.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::process::{Identity, signal};
use crate::{LabError, Namespace, Outcome};

const FILE: &str = "lab.json";

/// What a lab has made: enough to take it down.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub name: String,
    /// What its namespaces are called before the dash and their own name.
    pub prefix: String,
    /// The process that set it up; absent once the lab is to stay without it.
    pub owner: Option<Identity>,
    pub namespaces: Vec<String>,
    pub processes: Vec<(String, Identity)>,
}

impl Record {
    /// Reads the record of the lab in this directory, if there is one.
    ///
    /// # Errors
    /// When the file is not one of ours.
    pub fn read(directory: &Path) -> Outcome<Option<Self>> {
        let Ok(text) = fs::read_to_string(directory.join(FILE)) else { return Ok(None) };
        let value: Value = serde_json::from_str(&text).map_err(|e| {
            LabError::unexpected(format!("{}/{FILE}", directory.display()), e.to_string())
        })?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
        Ok(Some(Self {
            name: text(&value["name"]),
            prefix: text(&value["prefix"]),
            owner: Identity::from_json(&value["owner"]),
            namespaces: list("namespaces").iter().map(text).collect(),
            processes: list("processes")
                .iter()
                .filter_map(|v| Some((text(&v["name"]), Identity::from_json(v)?)))
                .collect(),
        }))
    }

    /// Writes it down; called before something is made, so that nothing can be forgotten.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> Outcome {
        let process = |(name, id): &(String, Identity)| json!({ "name": name, "pid": id.pid, "start": id.start });
        let value = json!({
            "name": self.name,
            "prefix": self.prefix,
            "owner": self.owner.map(|o| json!({ "pid": o.pid, "start": o.start })),
            "namespaces": self.namespaces,
            "processes": self.processes.iter().map(process).collect::<Vec<_>>(),
        });
        let what = format!("write {}", directory.join(FILE).display());
        let draft = directory.join("lab.json.new");
        fs::write(&draft, value.to_string()).map_err(LabError::machine(what.clone()))?;
        fs::rename(&draft, directory.join(FILE)).map_err(LabError::machine(what))
    }

    /// Whether nobody looks after this lab any more, and it was not meant to stay.
    pub fn is_abandoned(&self) -> bool {
        self.owner.is_some_and(|owner| !owner.is_alive())
    }

    /// Ends its processes, deletes its namespaces, unmounts what they mounted, removes the record.
    /// Goes on where something is gone already.
    pub fn take_down(&self, directory: &Path) {
        for (_, process) in self.processes.iter().rev() {
            signal(*process, Signal::SIGKILL);
        }
        for (_, process) in &self.processes {
            process.wait_gone();
        }
        for namespace in &self.namespaces {
            let namespace = Namespace::existing(namespace);
            if namespace.path().exists()
                && let Err(error) = namespace.delete()
            {
                eprintln!("lab {}: {error}", self.name);
            }
        }
        unmount_below(directory);
        if let Err(error) = fs::remove_file(directory.join(FILE)) {
            eprintln!("lab {}: cannot remove its record: {error}", self.name);
        }
    }
}

/// Where labs are kept: beside the programs of this build, `target/lab`.
pub fn labs_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("target/debug/x"));
    // target/debug/deps/test-… and target/debug/xtask both have `target` above `debug`.
    let profile =
        own.ancestors().find(|a| a.join("deps").is_dir() || a.join(".fingerprint").is_dir());
    let target = profile.and_then(Path::parent).map_or_else(|| "target".into(), PathBuf::from);
    target.join("lab")
}

/// Takes down every lab whose owner died without doing so.
pub fn sweep() {
    let Ok(entries) = fs::read_dir(labs_directory()) else { return };
    for directory in entries.flatten().map(|e| e.path()) {
        if let Ok(Some(record)) = Record::read(&directory)
            && record.is_abandoned()
        {
            record.take_down(&directory);
        }
    }
}

/// Unmounts what is mounted below a directory, innermost first.
fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split_whitespace().nth(1));
    let below: Vec<&str> = below.filter(|m| Path::new(m).starts_with(directory)).collect();
    for mount in below.iter().rev() {
        if let Err(error) = umount2(Path::new(mount), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {mount}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Identity::of_this_process();
        let record = Record {
            name: "a".to_owned(),
            prefix: "mn-1".to_owned(),
            owner: Some(owner),
            namespaces: vec!["mn-1-hv0".to_owned()],
            processes: vec![("cluster".to_owned(), owner)],
        };
        record.write(directory.path()).unwrap();
        let read = Record::read(directory.path()).unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{record:?}"));
        assert!(!read.is_abandoned());
    }

    #[test]
    fn a_lab_whose_owner_is_another_process_of_the_same_id_is_abandoned() {
        let mut owner = Identity::of_this_process();
        owner.start += 1;
        assert!(Record { owner: Some(owner), ..Record::default() }.is_abandoned());
        assert!(!Record::default().is_abandoned());
    }
}
