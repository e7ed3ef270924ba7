//! What neither rustc nor clippy looks at: lengths, file names, leftovers. Functions that are
//! already too long are listed in `xtask/long-functions.txt`; they may shrink, never grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::command::{Outcome, root};
use crate::metadata::members;

/// Lines of a source file, tests beside the code included.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing of what is in a file.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc", "manager", "helpers", "types"];
/// Where our source is.
const TREES: &[&str] = &["crates", "bin", "testbed", "xtask"];
/// The list of functions that were too long when the rule came.
const LONG_FUNCTIONS: &str = "xtask/long-functions.txt";

/// Crates without I/O and clock; each has the same clippy.toml, which bans both.
const PURE: &[&str] = &["ids", "time", "packet", "flow", "topology", "simulation", "agent-core"];

/// Checks the tree; with `bless` it writes today's long functions down instead.
///
/// # Errors
/// Names every place that breaks a rule.
pub fn check(bless: bool) -> Outcome {
    let mut faults = Vec::new();
    let mut long = BTreeMap::new();
    let files = sources();
    for path in &files {
        let text = std::fs::read_to_string(root().join(path))
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let name = path.display().to_string();
        faults.extend(file_faults(&name, &text));
        for (function, lines) in functions(&text) {
            if lines > FUNCTION_LINES_MAX {
                let known = long.entry(format!("{name} {function}")).or_insert(0);
                *known = lines.max(*known);
            }
        }
    }
    faults.extend(manifest_faults()?);
    faults.extend(impure());
    if bless {
        return write_down(&long);
    }
    faults.extend(grown(&long, &written_down()?));
    if faults.is_empty() {
        println!("tidy: {} files", files.len());
        return Ok(());
    }
    Err(format!("untidy:\n  {}", faults.join("\n  ")))
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = TREES.iter().map(PathBuf::from).collect();
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&directory)) else { continue };
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            if root().join(&path).is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn file_faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned());
    if stem.is_some_and(|stem| EMPTY_NAMES.contains(&stem.as_str())) {
        faults.push(format!("{name}: the name says nothing of what is in it"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(fault) = line_fault(line) {
            faults.push(format!("{name}:{}: {fault}", number + 1));
        }
    }
    faults
}

fn line_fault(line: &str) -> Option<String> {
    // Written in two parts, so that this file does not find itself.
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
        let found = line.find(word).map(|at| &line[at + word.len()..]);
        let is_word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let owned = |rest: &str| rest.starts_with('(') && word.starts_with('T');
        if line.contains("//") && found.is_some_and(|rest| is_word(rest) && !owned(rest)) {
            return Some(format!("{word} without an owner: write it as TO-DO(who): what is owed"));
        }
    }
    let allows = line.trim_start();
    let opens = [concat!("#[", "allow("), concat!("#![", "allow(")];
    opens
        .iter()
        .any(|open| allows.starts_with(open))
        .then(|| "an exception is an `expect` with a reason".to_owned())
}

/// Functions with their number of lines. rustfmt puts a function's closing brace under the first
/// letter of its signature, which is what this counts on.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let closing = format!("{}}}", &line[..indent]);
        let end = lines[start..].iter().position(|l| *l == closing || is_declaration(l, indent));
        if let Some(length) = end {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

/// A function without a body: its signature ends in a semicolon at the signature's own indent.
fn is_declaration(line: &str, indent: usize) -> bool {
    line.ends_with(';') && line.len() - line.trim_start().len() == indent
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    while let Some((word, tail)) = rest.split_once(' ') {
        if word == "fn" {
            return tail.split(['(', '<']).next();
        }
        let leads =
            word.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(&word);
        if !leads && !word.starts_with('"') {
            return None;
        }
        rest = tail;
    }
    None
}

fn manifest_faults() -> Outcome<Vec<String>> {
    let mut faults = Vec::new();
    for package in members()? {
        let text = std::fs::read_to_string(&package.manifest)
            .map_err(|e| format!("cannot read {}: {e}", package.manifest))?;
        if !text.contains("[lints]\nworkspace = true") {
            faults.push(format!("{}: does not inherit the workspace's lints", package.name));
        }
    }
    Ok(faults)
}

/// Pure crates whose bans are missing or differ from those of the first.
fn impure() -> Vec<String> {
    let read = |name: &str| {
        std::fs::read_to_string(root().join("crates").join(name).join("clippy.toml")).ok()
    };
    let bans = read(PURE[0]).filter(|text| text.contains("disallowed-methods"));
    let differs = PURE.iter().filter(|name| bans.is_none() || read(name) != bans);
    differs.map(|name| format!("crates/{name}/clippy.toml: not the bans of pure crates")).collect()
}

fn written_down() -> Outcome<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(root().join(LONG_FUNCTIONS)).unwrap_or_default();
    let mut known = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let parsed = line.rsplit_once(' ').and_then(|(n, l)| Some((n.to_owned(), l.parse().ok()?)));
        let (name, lines) = parsed.ok_or_else(|| format!("{LONG_FUNCTIONS}: `{line}`"))?;
        known.insert(name, lines);
    }
    Ok(known)
}

fn grown(now: &BTreeMap<String, usize>, before: &BTreeMap<String, usize>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, &lines) in now {
        let limit = before.get(name).copied().unwrap_or(FUNCTION_LINES_MAX);
        if lines > limit {
            faults.push(format!("{name}: a function of {lines} lines, at most {limit}"));
        }
    }
    faults
}

fn write_down(long: &BTreeMap<String, usize>) -> Outcome {
    let mut text = String::from("# file, function, lines: longer than the rule, may only shrink\n");
    for (name, lines) in long {
        writeln!(text, "{name} {lines}").expect("writing to a String cannot fail");
    }
    std::fs::write(root().join(LONG_FUNCTIONS), text)
        .map_err(|e| format!("cannot write {LONG_FUNCTIONS}: {e}"))?;
    println!("tidy: {} long functions written down", long.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        check(false).unwrap();
    }

    #[test]
    fn a_function_is_measured_from_its_signature_to_its_brace() {
        let text = "impl A {\n    pub async fn a<T>(\n    ) {\n        x();\n    }\n}\nfn b() {}\n";
        assert_eq!(functions(text)[0], ("a".to_owned(), 4));
    }

    #[test]
    fn a_declaration_does_not_run_on_into_what_follows() {
        let text = "trait A {\n    fn a(&self);\n    fn b(&self) {\n        x();\n    }\n}\n";
        assert_eq!(functions(text), [("a".to_owned(), 1), ("b".to_owned(), 3)]);
    }

    #[test]
    fn leftovers_need_an_owner() {
        let bare = concat!("// TO", "DO: later");
        let owned = concat!("// TO", "DO(issue 7): later");
        assert!(line_fault(bare).is_some());
        assert!(line_fault(owned).is_none());
        assert!(line_fault("let todos = 1; // done").is_none());
    }

    #[test]
    fn a_long_function_may_shrink_but_not_grow() {
        let before = BTreeMap::from([("a.rs f".to_owned(), 90)]);
        assert!(grown(&BTreeMap::from([("a.rs f".to_owned(), 80)]), &before).is_empty());
        assert_eq!(grown(&BTreeMap::from([("a.rs f".to_owned(), 91)]), &before).len(), 1);
        assert_eq!(grown(&BTreeMap::from([("b.rs f".to_owned(), 71)]), &before).len(), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_refused() {
        assert_eq!(file_faults("crates/x/src/utils.rs", "").len(), 1);
        assert_eq!(file_faults("crates/x/src/route.rs", "").len(), 0);
    }
}
