//! The arrows between our crates: `arrows.toml` says which crate may use which, `cargo metadata`
//! says which does. A crate may name only crates that stand above it, so cycles cannot be written.

use std::collections::BTreeMap;

use crate::command::{Outcome, root};
use crate::metadata::{Package, members};

/// One line of `arrows.toml`: a crate and the crates it may use.
struct Line {
    name: String,
    may_use: Vec<String>,
}

/// Compares the file with the manifests.
///
/// # Errors
/// Names every arrow that is missing in the file, points upward, or leads to an unknown crate.
pub fn check() -> Outcome {
    let text = std::fs::read_to_string(root().join("arrows.toml"))
        .map_err(|e| format!("cannot read arrows.toml: {e}"))?;
    let faults = faults(&lines(&text)?, &members()?);
    if faults.is_empty() {
        println!("arrows: every dependency between our crates is allowed");
        return Ok(());
    }
    Err(format!("arrows.toml and the manifests disagree:\n  {}", faults.join("\n  ")))
}

/// The file line by line, because the order of the lines has a meaning that tables lose.
fn lines(text: &str) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((name, list)) = line.split_once('=') else { continue };
        let table: toml::Table = format!("list = {list}")
            .parse()
            .map_err(|e| format!("arrows.toml line {}: {e}", number + 1))?;
        let list = table.get("list").and_then(toml::Value::as_array);
        let may_use = list.into_iter().flatten().filter_map(|v| v.as_str()).map(str::to_owned);
        lines.push(Line { name: name.trim().to_owned(), may_use: may_use.collect() });
    }
    Ok(lines)
}

fn faults(lines: &[Line], packages: &[Package]) -> Vec<String> {
    let place: BTreeMap<&str, usize> =
        lines.iter().enumerate().map(|(i, line)| (line.name.as_str(), i)).collect();
    let mut faults = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        for used in &line.may_use {
            match place.get(used.as_str()) {
                None => faults.push(format!("{} may use {used}, which has no line", line.name)),
                Some(&above) if above >= i => {
                    faults.push(format!("{} may use {used}, which stands below it", line.name));
                }
                Some(_) => {}
            }
        }
    }
    let ours: Vec<&str> = packages.iter().map(|p| short(&p.name)).collect();
    for package in packages {
        let name = short(&package.name);
        let Some(&at) = place.get(name) else {
            faults.push(format!("{name} has no line in arrows.toml"));
            continue;
        };
        for used in package.uses.iter().map(|u| short(u)).filter(|u| ours.contains(u)) {
            if !lines[at].may_use.iter().any(|allowed| allowed == used) {
                faults.push(format!("{name} uses {used}, which its line does not allow"));
            }
        }
    }
    faults
}

fn short(package: &str) -> &str {
    package.strip_prefix("mn-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        let uses = uses.iter().map(|u| (*u).to_owned()).collect();
        let (version, manifest) = ("0".to_owned(), String::new());
        Package { name: name.to_owned(), version, licence: None, manifest, uses }
    }

    #[test]
    fn the_arrows_of_the_tree_are_allowed() {
        check().unwrap();
    }

    #[test]
    fn an_allowed_arrow_is_no_fault() {
        let lines = lines("[words]\nids = []\nflow = [\"ids\"] # text\n").unwrap();
        let found =
            faults(&lines, &[package("mn-ids", &[]), package("mn-flow", &["mn-ids", "serde"])]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_is_not_in_the_file_is_a_fault() {
        let lines = lines("ids = []\nflow = []\n").unwrap();
        let found = faults(&lines, &[package("mn-ids", &[]), package("mn-flow", &["mn-ids"])]);
        assert_eq!(found, ["flow uses ids, which its line does not allow"]);
    }

    #[test]
    fn an_arrow_upward_is_a_fault_even_if_it_is_written_down() {
        let lines = lines("ids = [\"flow\"]\nflow = []\n").unwrap();
        assert_eq!(faults(&lines, &[]), ["ids may use flow, which stands below it"]);
    }

    #[test]
    fn a_crate_without_a_line_is_a_fault() {
        assert_eq!(faults(&[], &[package("mn-new", &[])]), ["new has no line in arrows.toml"]);
    }
}
