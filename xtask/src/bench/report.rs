//! What the bench found: a table for people, JSON for programs, and the figures that must be
//! reached.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::layout::Layout;
use super::measure::{METRICS, Metric, OF_OURS, Series};
use super::ovn;
use super::statistics::Median;
use crate::command::{Outcome, output};

/// A figure that must be reached: layout, metric, base, least ratio.
const MUSTS: &[(&str, &str, &str, f64)] = &[
    ("ours: one host, L2", "TCP 1", "veth", 0.9),
    ("ours: one host, L2", "request", "veth", 0.9),
    ("ours: one host, L2", "UDP 64 B", "veth", 0.85),
    ("ours: one host, two routers", "request", "ours: one host, L2", 0.97),
    ("ours: one host, two routers", "connect", "ours: one host, L2", 0.97),
    ("ours: one host, two routers", "TCP 1", "ours: one host, L2", 0.92),
    ("ours: one host, two routers", "UDP 64 B", "ours: one host, L2", 0.92),
    ("ours: two hosts, L2", "TCP 1", "vxlan", 0.92),
    ("ours: two hosts, L2", "request", "vxlan", 1.05),
    ("ours: two hosts, L2", "UDP 64 B", "vxlan", 1.0),
    ("ours: one host, L2", "connect", "veth", 0.88),
    ("ours: two hosts, L2", "connect", "vxlan", 1.0),
    ("ours: one host, stateful", "connect", "veth", 0.8),
    ("ours: two hosts, stateful", "connect", "vxlan", 0.9),
    ("ours: one host, stateful", "request", "ours: one host, L2", 0.97),
    ("ours: two hosts, stateful", "request", "ours: two hosts, L2", 0.97),
    ("ours: one host, SNAT", "connect", "veth", 0.62),
    ("ours: one host, SNAT", "request", "ours: one host, L2", 0.97),
    ("ours: two hosts, SNAT", "connect", "vxlan", 0.75),
    ("ours: two hosts, SNAT", "request", "ours: two hosts, L2", 0.97),
    ("ours: one host, floating address", "request", "ours: one host, L2", 0.97),
    ("ours: two hosts, floating address", "request", "ours: two hosts, L2", 0.97),
];

/// Below this number of rounds an interval is too wide to fail a figure by (contracts §8).
const ROUNDS_MIN: usize = 9;

/// Medians with intervals, and ratios to the base.
pub fn table(layouts: &[&Layout], series: &Series) -> String {
    let mut text = String::new();
    for metric in METRICS.iter().chain(&OF_OURS) {
        let more = if metric.more_is_better { "more" } else { "less" };
        writeln!(text, "\n{} ({}, {more} is better)", metric.name, metric.unit).expect("a String");
        for layout in layouts {
            let Some(values) = series.get(&(layout.name, metric.name)) else { continue };
            let Some(median) = Median::of(&whole(values)) else { continue };
            let ratio = layout.base.and_then(|base| ratio(series, metric, layout.name, base));
            let compared = ratio.zip(layout.base).map_or(String::new(), |(ratio, base)| {
                format!("  {:.2} [{:.2}..{:.2}] of {base}", ratio.value, ratio.low, ratio.high)
            });
            let line =
                format!("{} [{}..{}]", short(median.value), short(median.low), short(median.high));
            writeln!(text, "  {:30} {line:28}{compared}", layout.name).expect("a String");
        }
    }
    text
}

/// The figures that must be reached, and whether all are: one fails only if its whole interval
/// lies below, and there were enough rounds.
pub fn musts(series: &Series, rounds: usize) -> (String, bool) {
    let mut text = String::from("Figures that must be reached:\n");
    let mut reached = true;
    for (layout, name, base, least) in MUSTS {
        let metric = METRICS.iter().find(|m| m.name == *name);
        let Some(found) = metric.and_then(|metric| ratio(series, metric, layout, base)) else {
            writeln!(text, "  ?       {layout}, {name}: not measured").expect("a String");
            continue;
        };
        let below = found.high < *least;
        reached &= !(below && rounds >= ROUNDS_MIN);
        let word = match found.value >= *least {
            true => "reached",
            false if below => "missed",
            false => "open",
        };
        writeln!(
            text,
            "  {word:8} {layout}, {name}: {:.2} [{:.2}..{:.2}] of {base}, at least {least}",
            found.value, found.low, found.high
        )
        .expect("a String");
    }
    (text, reached)
}

/// One of ours beside what does the same in OVN.
pub struct Comparison {
    metric: &'static Metric,
    ours: &'static str,
    theirs: &'static str,
    /// Ours to theirs; above one is better.
    ratio: Median,
}

impl Comparison {
    pub fn json(&self, what: &str) -> Value {
        json!({
            "layout": self.ours, "metric": self.metric.name, "beside": self.theirs, "ovn": what,
            "ratio": self.ratio.value, "interval95": [self.ratio.low, self.ratio.high],
        })
    }
}

/// Everything that was measured of ours and of OVN.
pub fn beside_ovn(series: &Series) -> Vec<Comparison> {
    let pairs =
        METRICS.iter().flat_map(|metric| ovn::pairs().map(|(ours, theirs)| (metric, ours, theirs)));
    let compare = |(metric, ours, theirs)| {
        let ratio = ratio(series, metric, ours, theirs)?;
        Some(Comparison { metric, ours, theirs, ratio })
    };
    pairs.filter_map(compare).collect()
}

/// Comparisons for people, with what they are made with.
pub fn comparison_table(what: &str, comparisons: &[Comparison]) -> String {
    let mut text = format!("Ours to {what}:\n");
    for Comparison { metric, ours, ratio: Median { value, low, high }, .. } in comparisons {
        let name = format!("{ours}, {}", metric.name);
        writeln!(text, "  {name:40} {value:.2} [{low:.2}..{high:.2}]").expect("a String");
    }
    text
}

/// The ratios of pairs of one round; above one is better.
fn ratio(series: &Series, metric: &Metric, layout: &str, base: &str) -> Option<Median> {
    let find = |name: &str| {
        series.iter().find(|((l, m), _)| *l == name && *m == metric.name).map(|(_, values)| values)
    };
    let pairs = find(layout)?.iter().zip(find(base)?);
    let ratios: Vec<f64> =
        pairs.map(|(a, b)| if metric.more_is_better { a / b } else { b / a }).collect();
    Median::of(&whole(&ratios))
}

fn whole(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|v| v.is_finite()).collect()
}

/// A number with as many digits as mean something.
pub fn short(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1}k", v / 1000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// Everything that was measured, for programs.
#[derive(Default)]
pub struct Document {
    rows: Vec<Value>,
}

impl Document {
    /// Adds what was measured of layouts.
    pub fn add(&mut self, layouts: &[&Layout], series: &Series) {
        let row = |((layout, metric), values): (&(&str, &str), &Vec<f64>)| {
            let median = Median::of(&whole(values));
            let base = layouts.iter().find(|l| l.name == *layout).and_then(|l| l.base);
            json!({
                "layout": layout, "metric": metric, "base": base, "values": whole(values),
                "median": median.map(|m| m.value),
                "interval95": median.map(|m| [m.low, m.high]),
            })
        };
        self.rows.extend(series.iter().map(row));
    }

    /// Adds rows as they are.
    pub fn add_rows(&mut self, rows: Vec<Value>) {
        self.rows.extend(rows);
    }

    /// Writes it to bench/results.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(self, root: &Path) -> Outcome<PathBuf> {
        let said = |program: &str, arguments: &[&str]| {
            output(Command::new(program).args(arguments).current_dir(root))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let (day, commit) =
            (said("date", &["-u", "+%F-%H%M"]), said("git", &["rev-parse", "--short", "HEAD"]));
        let document = json!({
            "commit": commit, "at": day, "kernel": said("uname", &["-r"]),
            "cpus": said("nproc", &[]), "rows": self.rows,
        });
        let directory = root.join("bench/results");
        std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        let path = directory.join(format!("{day}-{commit}.json"));
        let text = serde_json::to_string_pretty(&document).map_err(|e| e.to_string())?;
        std::fs::write(&path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(ours: [f64; 9]) -> Series {
        let base = vec![100.0; 9];
        Series::from([
            (("ours: one host, L2", "request"), ours.to_vec()),
            (("veth", "request"), base),
        ])
    }

    #[test]
    fn ours_is_told_beside_ovn_where_both_were_measured() {
        let mut series = series([90.0; 9]);
        assert!(beside_ovn(&series).is_empty());
        series.insert(("OVN: one host, L2", "request"), vec![30.0; 9]);
        let compared = beside_ovn(&series);
        let text = comparison_table("OVN 1", &compared);
        assert!(text.contains("ours: one host, L2, request"), "{text}");
        assert!(text.contains("3.00 [3.00..3.00]"), "{text}");
        assert_eq!(compared[0].json("OVN 1")["ratio"], 3.0);
    }

    #[test]
    fn a_figure_fails_only_when_its_whole_interval_lies_below() {
        let (text, reached) = musts(&series([95.0; 9]), 9);
        assert!(reached && text.contains("reached  ours: one host, L2, request: 0.95"), "{text}");
        let (text, reached) =
            musts(&series([80.0, 81.0, 80.0, 82.0, 80.0, 80.0, 80.0, 95.0, 96.0]), 9);
        assert!(reached && text.contains("open "), "{text}");
        let (text, reached) = musts(&series([80.0; 9]), 9);
        assert!(!reached && text.contains("missed "), "{text}");
        assert!(musts(&series([80.0; 9]), 3).1, "three rounds fail nothing");
    }
}
