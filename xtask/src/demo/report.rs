//! The table at the end of a demo.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::paint::Paint;

/// One line of the table: what was checked, how it went, how long it took.
pub struct Row {
    what: String,
    /// What was seen, or why it failed.
    seen: Result<String, String>,
    took: Duration,
}

impl Row {
    /// Runs a check and says on one line how it went.
    pub fn of(what: &str, check: impl FnOnce() -> Result<String, String>) -> Self {
        let start = Instant::now();
        let seen = check();
        let row = Self { what: what.to_owned(), seen, took: start.elapsed() };
        println!("  {}", row.line(row.what.chars().count()));
        row
    }

    pub fn passed(&self) -> bool {
        self.seen.is_ok()
    }

    fn line(&self, width: usize) -> String {
        let (mark, text) = match &self.seen {
            Ok(text) => (Paint::Good.on("ok  "), text),
            Err(text) => (Paint::Bad.on("FAIL"), text),
        };
        format!("{mark} {:width$}  {:>6.2} s  {text}", self.what, self.took.as_secs_f64())
    }
}

/// All lines, the times under each other.
pub fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|r| r.what.chars().count()).max().unwrap_or_default();
    let mut text = String::from("Checked:\n");
    for row in rows {
        writeln!(text, "  {}", row.line(width)).expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_failed_is_shown_as_such_with_its_reason() {
        let rows = [
            Row::of("short", || Ok("7 Gbit/s".to_owned())),
            Row::of("a longer one", || Err("nothing came".to_owned())),
        ];
        let table = table(&rows);
        assert!(table.contains("FAIL a longer one"), "{table}");
        assert!(table.contains("short         "), "{table}");
        assert!(!rows[1].passed() && rows[0].passed());
    }
}
