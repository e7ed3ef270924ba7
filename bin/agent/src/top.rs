//! `midonet top`: what an agent does now, live.

mod paint;
mod picture;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use mn_agent_api::{Activity, Request, Response, Status};

use crate::question::{AskError, respond};
use paint::{Paint, Sheet};
use picture::Picture;

/// The flags of `midonet top`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  midonet top
  midonet top --interval 0.5 --rows 20
  midonet top --once                         one picture, measured over an interval
  midonet top --once --json | jq '.drops'    for scripts

Rates are a second's. Ctrl-C ends it.")]
pub struct Top {
    /// One picture, then the end.
    #[arg(long)]
    once: bool,
    /// A JSON document a line in place of text.
    #[arg(long)]
    json: bool,
    /// Seconds between two pictures.
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = interval)]
    interval: Duration,
    /// At most so many lines of each kind; on a terminal no more than fit.
    #[arg(long, default_value_t = 10)]
    rows: usize,
    /// The agent's directory.
    #[arg(long, env = "MIDONET_AGENT_ROOT", value_name = "DIR")]
    #[arg(default_value = "/var/lib/midonet/agent")]
    root: PathBuf,
}

/// The shortest and the longest interval, in seconds.
const INTERVALS: core::ops::RangeInclusive<f64> = 0.1..=3600.0;

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if INTERVALS.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("from 0.1 to 3600 seconds".to_owned()),
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error(transparent)]
    Agent(#[from] AskError),
    #[error("it cannot be printed")]
    Output(#[from] io::Error),
}

/// What an agent said at a moment.
struct Sample {
    status: Status,
    activity: Activity,
    at: Instant,
}

/// Shows it to standard output.
///
/// # Errors
///
/// See [`TopError`]. That nobody reads any more is none.
pub fn top(settings: &Top) -> Result<(), TopError> {
    match show(settings, &mut io::stdout().lock()) {
        Err(TopError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => shown,
    }
}

fn show(settings: &Top, out: &mut impl Write) -> Result<(), TopError> {
    let live = !settings.once && !settings.json && io::stdout().is_terminal();
    let mut before = sample(&settings.root)?;
    loop {
        std::thread::sleep(settings.interval);
        let now = match sample(&settings.root) {
            Ok(now) => now,
            // It is being started again, perhaps: its datapath goes on, and so do we.
            Err(error) if live => {
                writeln!(out, "{CLEAR}{error}")?;
                out.flush()?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let picture = Picture::of(&before, &now);
        if settings.json {
            let text = serde_json::to_string(&picture).map_err(io::Error::other)?;
            writeln!(out, "{text}")?;
        } else {
            let text = paint::text(&picture, &sheet(settings));
            write!(out, "{}{text}", if live { CLEAR } else { "" })?;
        }
        out.flush()?;
        if settings.once {
            return Ok(());
        }
        before = now;
    }
}

/// To the upper left, and away with what was there.
const CLEAR: &str = "\x1b[H\x1b[2J";

fn sample(root: &Path) -> Result<Sample, AskError> {
    let other = |response: Response| AskError::Answer(format!("{response:?}"));
    let status = match respond(root, &Request::Status)? {
        Response::Status(status) => status,
        response => return Err(other(response)),
    };
    match respond(root, &Request::Activity)? {
        Response::Activity(activity) => {
            Ok(Sample { status, activity: *activity, at: Instant::now() })
        }
        response => Err(other(response)),
    }
}

/// What it is drawn on: colours only where somebody looks, and who looks wants some.
fn sheet(settings: &Top) -> Sheet {
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let paint = if terminal && !plain { Paint::Colour } else { Paint::Plain };
    let size = terminal_size::terminal_size().filter(|_| terminal);
    let width = size.map(|(width, _)| usize::from(width.0));
    let fitting = size.map_or(usize::MAX, |(_, height)| paint::rows_within(height.0.into()));
    Sheet { paint, width, rows: settings.rows.min(fitting) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn intervals_are_seconds_within_reason() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "inf", "NaN", "1h"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_script_gets_one_picture_in_json_and_no_agent_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Top {
            once: true,
            json: true,
            interval: Duration::from_millis(100),
            rows: 3,
            root: directory.path().to_owned(),
        };
        assert!(matches!(show(&settings, &mut Vec::new()), Err(TopError::Agent(_))));
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        std::thread::spawn(move || {
            for number in 0..4 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
                let answer = if asked.contains("status") {
                    Response::Status(picture::tests::status())
                } else {
                    Response::Activity(Box::new(picture::tests::activity(1000 * number)))
                };
                writeln!(stream, "{}", serde_json::to_string(&answer).unwrap()).unwrap();
            }
        });
        let mut out = Vec::new();
        show(&settings, &mut out).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(told["name"], "hv0");
        assert!(told["ports"][0]["rx_packets_per_second"].as_f64().unwrap() > 0.0, "{told}");
    }
}
