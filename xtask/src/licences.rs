//! Licences and banned crates: reads the two tables of `deny.toml` that decide most, so that CI
//! needs no `cargo deny` (which takes minutes to build). People who have it can run it as well.

use crate::command::{Outcome, root};
use crate::metadata::{Package, all};
use crate::spdx::satisfied;

/// The part of `deny.toml` that is checked.
struct Policy {
    allowed: Vec<String>,
    banned: Vec<String>,
}

/// Checks every package in the lock file.
///
/// # Errors
/// Names each package with a licence that is not allowed, or with none, and each banned one.
pub fn check() -> Outcome {
    let text = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|e| format!("cannot read deny.toml: {e}"))?;
    let packages = all()?;
    let faults = faults(&policy(&text)?, &packages);
    if faults.is_empty() {
        println!("licences: {} packages, all allowed, none banned", packages.len());
        return Ok(());
    }
    Err(format!("deny.toml forbids:\n  {}", faults.join("\n  ")))
}

fn policy(text: &str) -> Outcome<Policy> {
    let table: toml::Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
    let list = |section: &str, key: &str| -> Vec<toml::Value> {
        let found = table.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array);
        found.cloned().unwrap_or_default()
    };
    let name = |value: &toml::Value| {
        value.as_str().or_else(|| value.get("crate")?.as_str()).map(str::to_owned)
    };
    Ok(Policy {
        allowed: list("licenses", "allow").iter().filter_map(name).collect(),
        banned: list("bans", "deny").iter().filter_map(name).collect(),
    })
}

fn faults(policy: &Policy, packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for Package { name, version, licence, .. } in packages {
        if policy.banned.contains(name) {
            faults.push(format!("{name} {version}: banned"));
        }
        match licence {
            None => faults.push(format!("{name} {version}: says no licence")),
            Some(licence) if !satisfied(licence, &policy.allowed) => {
                faults.push(format!("{name} {version}: {licence}"));
            }
            Some(_) => {}
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_unlicensed_and_wrongly_licensed_packages_are_named() {
        let policy = policy(
            "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"bad\", reason = \"x\" }]",
        )
        .unwrap();
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            manifest: String::new(),
            uses: Vec::new(),
        };
        let packages = [
            package("good", Some("MIT")),
            package("bad", Some("MIT")),
            package("gnu", Some("GPL-3.0")),
            package("mute", None),
        ];
        assert_eq!(
            faults(&policy, &packages),
            ["bad 1.0.0: banned", "gnu 1.0.0: GPL-3.0", "mute 1.0.0: says no licence"]
        );
    }
}
