//! A picture as text.

use std::fmt::Write;

use mn_agent_api::Link;

use super::picture::Picture;

/// Whether the reader sees colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Paint {
    Plain,
    Colour,
}

/// What it is drawn on.
pub(super) struct Sheet {
    pub paint: Paint,
    /// Longer lines are cut; `None`: as long as they are.
    pub width: Option<usize>,
    /// Lines of each kind.
    pub rows: usize,
}

/// Ports, drops, rules.
const KINDS: usize = 3;
/// Lines that are there always: two of the agent, and an empty one and a heading of each kind.
const FIXED: usize = 2 + 2 * KINDS;

/// Lines of each kind that fit.
pub(super) const fn rows_within(height: usize) -> usize {
    let each = height.saturating_sub(FIXED + 1) / KINDS;
    if each == 0 { 1 } else { each }
}

/// The whole picture.
pub(super) fn text(picture: &Picture, sheet: &Sheet) -> String {
    let mut out = Drawing { text: String::new(), sheet };
    out.head(picture);
    out.heading("   in p/s   in bit/s    out p/s  out bit/s  dropped/s  PORTS");
    for row in picture.ports.iter().take(sheet.rows) {
        let rates = format!(
            "{:>9}{:>11}{:>11}{:>11}{:>11}",
            short(row.rx_packets_per_second),
            short(row.rx_bits_per_second),
            short(row.tx_packets_per_second),
            short(row.tx_bits_per_second),
            short(row.dropped_per_second)
        );
        out.row(&format!("{rates}  {:<16}{}", row.interface, row.port));
    }
    out.heading("      p/s      total  DROPS");
    for row in picture.drops.iter().take(sheet.rows) {
        let port = row.interface.clone().or(row.port.map(|port| port.to_string()));
        let cause = format!("{:<24}{}", row.cause, port.unwrap_or_default());
        out.counted(row.packets_per_second, row.packets, &cause);
    }
    out.heading("      p/s      total  RULES THAT DROP");
    for row in picture.rules.iter().take(sheet.rows) {
        out.counted(row.packets_per_second, row.packets, &row.rule.to_string());
    }
    out.text
}

struct Drawing<'a> {
    text: String,
    sheet: &'a Sheet,
}

impl Drawing<'_> {
    fn head(&mut self, picture: &Picture) {
        let link = match picture.link {
            Link::Connected => "connected".to_owned(),
            Link::Stale { milliseconds } => {
                format!("the state database is away for {} s", milliseconds / 1000)
            }
        };
        let title = format!("{}  {}  {link}", picture.name, picture.host);
        let colour = if picture.link == Link::Connected { "1" } else { "1;31" };
        self.line(&title, Some(colour));
        let Picture { flows, unverified, waiting, .. } = picture;
        let adopted = match unverified {
            0 => String::new(),
            some => format!(" ({some} unverified)"),
        };
        let work = format!(
            "flows {flows}{adopted}  upcalls {}/s  walks {}/s  flows made {}/s  left {}/s  waiting {waiting}",
            short(picture.upcalls_per_second),
            short(picture.simulations_per_second),
            short(picture.installed_per_second),
            short(picture.left_per_second),
        );
        self.line(&work, None);
    }

    fn heading(&mut self, words: &str) {
        self.text.push('\n');
        self.line(words, Some("7"));
    }

    /// A count; in red while it rises.
    fn counted(&mut self, rate: f64, all: u64, what: &str) {
        let line = format!("{:>9}{:>11}  {what}", short(rate), short(all as f64));
        self.line(&line, (rate > 0.0).then_some("31"));
    }

    fn row(&mut self, line: &str) {
        self.line(line, None);
    }

    fn line(&mut self, line: &str, colour: Option<&str>) {
        let line: String = match self.sheet.width {
            Some(width) => line.chars().take(width).collect(),
            None => line.to_owned(),
        };
        let line = line.trim_end();
        // A string can always be written to.
        let _ = match colour.filter(|_| self.sheet.paint == Paint::Colour) {
            Some(colour) => writeln!(self.text, "\x1b[{colour}m{line}\x1b[0m"),
            None => writeln!(self.text, "{line}"),
        };
    }
}

/// A number in at most six characters: `17`, `1.25k`, `31.4M`.
fn short(value: f64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut value, mut unit) = (value, 0);
    // What rounds to 1000 is one of the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match (unit, value) {
        // What is whole is shown whole: totals are.
        (0, value) if value.fract() == 0.0 || value >= 9.95 => 0,
        (0, _) => 1,
        (_, 0.0..9.995) => 2,
        (_, 0.0..99.95) => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::picture::tests::sample;
    use super::*;

    fn picture() -> Picture {
        let begun = Instant::now();
        Picture::of(&sample(1000, begun), &sample(3000, begun + Duration::from_secs(2)))
    }

    const PLAIN: Sheet = Sheet { paint: Paint::Plain, width: None, rows: 10 };

    #[test]
    fn a_picture_reads_as_a_table() {
        let want = "\
hv0  00000000-0000-0000-0000-000000000001  connected
flows 12  upcalls 1.00k/s  walks 1.00k/s  flows made 500/s  left 0/s  waiting 3

   in p/s   in bit/s    out p/s  out bit/s  dropped/s  PORTS
    1.00k       800k          0          0        500  vm1             00000000-0000-0000-0000-000000000001
      100      80.0k          0          0         50  vm2             00000000-0000-0000-0000-000000000002

      p/s      total  DROPS
    1.00k      3.00k  rule                    vm1
      100        300  no-route

      p/s      total  RULES THAT DROP
    1.00k      3.00k  00000000-0000-0000-0000-000000000009
";
        assert_eq!(text(&picture(), &PLAIN), want);
    }

    #[test]
    fn it_is_no_larger_than_its_sheet_and_plain_where_nobody_sees_colours() {
        let small = Sheet { paint: Paint::Plain, width: Some(20), rows: 1 };
        let drawn = text(&picture(), &small);
        assert!(drawn.lines().all(|line| line.chars().count() <= 20), "{drawn}");
        assert!(!drawn.contains('\x1b') && !drawn.contains("no-route"), "{drawn}");
        for height in [1, 11, 24, 50] {
            let rows = rows_within(height);
            assert!(rows >= 1 && (height < 15 || FIXED + KINDS * rows < height), "{height}");
        }
        assert!(text(&picture(), &Sheet { paint: Paint::Colour, ..PLAIN }).contains("\x1b[31m"));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 2.0, 0.3, 9.9, 17.2, 999.0, 999.6, 1250.0, 31_415_926.0, 999_700.0, 2e18];
        let want =
            ["0", "2", "0.3", "9.9", "17", "999", "1.00k", "1.25k", "31.4M", "1.00M", "2000P"];
        assert_eq!(shown.map(short), want);
    }
}
