//! Figures that stand alone: compared with a number, not with another layout.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::report::short;

/// A figure and how good it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    /// What was measured, one value for each run.
    pub values: Vec<f64>,
    /// The worst that is good enough; `None` where only an aim is set.
    pub must: Option<f64>,
    /// What is wished for; `None` where there is a must only.
    pub aim: Option<f64>,
    pub more_is_better: bool,
    /// What else is worth saying: where packets were lost, what a number is made of.
    pub note: String,
}

impl Figure {
    /// A figure that is the better the smaller it is.
    pub fn less(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        let (must, aim) = (None, None);
        let note = String::new();
        Self { name: name.into(), unit, values, must, aim, more_is_better: false, note }
    }

    pub fn must(mut self, must: f64) -> Self {
        self.must = Some(must);
        self
    }

    pub fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The value in the middle.
    pub fn value(&self) -> Option<f64> {
        middle(&self.values)
    }

    /// Whether the value is as good as this.
    fn reaches(&self, wanted: f64) -> bool {
        let good = |value| if self.more_is_better { value >= wanted } else { value <= wanted };
        self.value().is_some_and(good)
    }

    /// What became of it, in a word.
    pub fn word(&self) -> &'static str {
        match (self.must, self.aim) {
            _ if self.value().is_none() => "?",
            (_, Some(aim)) if self.reaches(aim) => "aim",
            (Some(must), _) if self.reaches(must) => "reached",
            (Some(_), _) => "missed",
            (None, None) => "-",
            (None, Some(_)) => "below",
        }
    }

    /// Whether it must be better than it is.
    pub fn is_missed(&self) -> bool {
        self.word() == "missed"
    }

    pub fn json(&self) -> Value {
        json!({
            "figure": self.name, "unit": self.unit, "values": self.values, "value": self.value(),
            "must": self.must, "aim": self.aim, "more_is_better": self.more_is_better,
            "result": self.word(), "note": self.note,
        })
    }
}

/// The value in the middle; none where there is none, or that run failed.
pub fn middle(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().filter(|value| value.is_finite())
}

/// The figures for people.
pub fn table(figures: &[Figure]) -> String {
    let mut text = String::from("Figures that stand alone:\n");
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    for figure in figures {
        writeln!(
            text,
            "  {:8} {:58} {:>8} {:6} must {:>7}, aim {:>7}  {}",
            figure.word(),
            figure.name,
            shown(figure.value()),
            figure.unit,
            shown(figure.must),
            shown(figure.aim),
            figure.note,
        )
        .expect("a String");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_the_run_in_the_middle() {
        let figure = |values: &[f64]| {
            Figure::less("lookup", "ns", values.to_vec()).must(300.0).aim(150.0).word()
        };
        assert_eq!(figure(&[140.0, 150.0, 900.0]), "aim");
        assert_eq!(figure(&[140.0, 151.0, 900.0]), "reached");
        assert_eq!(figure(&[140.0, 301.0, 302.0]), "missed");
        assert_eq!(figure(&[]), "?");
        let none_lost = Figure::less("lost", "%", vec![0.0]).must(0.0);
        assert_eq!(none_lost.word(), "reached");
        assert_eq!(Figure::less("aim alone", "%", vec![1.0]).aim(0.0).word(), "below");
    }
}
