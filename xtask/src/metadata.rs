//! What cargo knows of the packages: read from `cargo metadata`.

use serde_json::Value;

use crate::command::{Outcome, cargo, output};

/// A package of ours or one we depend on.
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: Option<String>,
    pub manifest: String,
    /// Packages used by the program itself or by its build script, not by its tests.
    pub uses: Vec<String>,
}

/// The members of the workspace.
pub fn members() -> Outcome<Vec<Package>> {
    packages(&["--no-deps"])
}

/// Every package in the lock file.
pub fn all() -> Outcome<Vec<Package>> {
    packages(&["--locked"])
}

fn packages(arguments: &[&str]) -> Outcome<Vec<Package>> {
    let text = output(cargo().args(["metadata", "--format-version", "1"]).args(arguments))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| format!("cargo metadata is no JSON: {e}"))?;
    let list = value["packages"].as_array().ok_or("cargo metadata names no packages")?;
    Ok(list.iter().map(package).collect())
}

fn package(value: &Value) -> Package {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let used = value["dependencies"].as_array().into_iter().flatten();
    Package {
        name: text("name"),
        version: text("version"),
        licence: value["license"].as_str().map(str::to_owned),
        manifest: text("manifest_path"),
        uses: used
            .filter(|d| d["kind"].as_str() != Some("dev"))
            .filter_map(|d| d["name"].as_str().map(str::to_owned))
            .collect(),
    }
}
