//! The table of features: a row of `docs/features.md` that says *works* must name a test that ran.

use std::collections::BTreeSet;

use crate::command::{Outcome, root};

/// A row of the table: `| id | feature | state | tests |`.
struct Row {
    id: String,
    state: String,
    tests: Vec<String>,
}

/// Compares the table with the names of the tests that passed.
///
/// # Errors
/// Names each row that works without a test, or whose test did not run.
pub fn check(passed: &BTreeSet<String>) -> Outcome {
    let path = root().join("docs/features.md");
    let text =
        std::fs::read_to_string(&path).map_err(|e| format!("cannot read docs/features.md: {e}"))?;
    let rows = rows(&text);
    if rows.is_empty() {
        return Err("docs/features.md has no row: is its form still `| id | … |`?".to_owned());
    }
    let faults = faults(&rows, passed);
    if !faults.is_empty() {
        return Err(format!("docs/features.md promises more than ran:\n  {}", faults.join("\n  ")));
    }
    let count = |state: &str| rows.iter().filter(|r| r.state == state).count();
    println!(
        "features: {} work, {} in part, {} not yet; each that works has a test that ran",
        count("works"),
        count("partly"),
        count("no")
    );
    Ok(())
}

fn rows(text: &str) -> Vec<Row> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.trim().strip_prefix('|')?.split('|').map(str::trim).collect();
    let [id, _feature, state, tests, ..] = cells.as_slice() else { return None };
    let (letters, digits) = id.split_once('-')?;
    let is_id = letters.chars().all(|c| c.is_ascii_uppercase())
        && digits.chars().all(|c| c.is_ascii_digit())
        && !letters.is_empty()
        && !digits.is_empty();
    let quoted = tests.split('`').skip(1).step_by(2).map(str::to_owned);
    is_id.then(|| Row { id: (*id).to_owned(), state: (*state).to_owned(), tests: quoted.collect() })
}

fn faults(rows: &[Row], passed: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        match row.state.as_str() {
            "works" if row.tests.is_empty() => {
                faults.push(format!("{}: works, but names no test", row.id));
            }
            "works" => {
                let missing = row.tests.iter().filter(|test| !ran(test, passed));
                faults.extend(missing.map(|t| format!("{}: no test `{t}` passed", row.id)));
            }
            "partly" | "no" => {}
            other => faults.push(format!("{}: `{other}` is not works, partly or no", row.id)),
        }
    }
    faults
}

/// A test is named by the end of its path, at a module's boundary: `tests::a_sentence` names
/// `bridge::tests::a_sentence`.
fn ran(test: &str, passed: &BTreeSet<String>) -> bool {
    passed.iter().any(|name| {
        name.strip_suffix(test).is_some_and(|head| head.is_empty() || head.ends_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
| id | feature | state | test |
|---|---|---|---|
| DV-01 | routers | works | `tests::a_router_routes` |
| DV-02 | bridges | works | |
| DV-03 | ports | partly | |
| DV-04 | more | perhaps | |
";

    #[test]
    fn a_row_that_works_needs_a_test_that_passed() {
        let rows = rows(TABLE);
        let passed = BTreeSet::from(["router::tests::a_router_routes".to_owned()]);
        assert_eq!(
            faults(&rows, &passed),
            ["DV-02: works, but names no test", "DV-04: `perhaps` is not works, partly or no"]
        );
    }

    #[test]
    fn a_test_whose_name_only_ends_alike_does_not_count() {
        let passed = BTreeSet::from(["other_tests::a_router_routes".to_owned()]);
        assert_eq!(
            faults(&rows(TABLE)[..1], &passed),
            ["DV-01: no test `tests::a_router_routes` passed"]
        );
    }
}
