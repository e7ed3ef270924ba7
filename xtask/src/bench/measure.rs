//! One round: every metric of every layout, in turns.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mn_testbed::{LabError, Namespace, Outcome, finish, program, wait_for};
use serde_json::Value;

use super::figure::Figure;
use super::layout::Layout;

/// Values by layout and metric, one for each round; a round that failed has NaN, so that pairs of
/// one round stay pairs.
pub type Series = BTreeMap<(&'static str, &'static str), Vec<f64>>;

/// A figure: its name, and whether more is better.
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
    how: How,
}

enum How {
    /// iperf3 with so many streams.
    Stream(u32),
    /// The load tool: its words, the field of its answer, on which CPU the server runs.
    Load(&'static [&'static str], &'static str, Server),
    /// How much longer the first round trip from a new port takes than the second.
    First,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Server {
    /// Beside the client, as request and answer wake each other.
    Near,
    /// On the other CPU, as a receiver that only counts.
    Far,
    /// There too, but not woken by each datagram: that is the receiver's work, which on veths the
    /// sender does.
    Napping,
}

const fn more(name: &'static str, unit: &'static str, how: How) -> Metric {
    Metric { name, unit, more_is_better: true, how }
}

/// Everything that is measured of every layout.
pub const METRICS: [Metric; 6] = [
    more("TCP 1", "Gbit/s", How::Stream(1)),
    more("TCP 2", "Gbit/s", How::Stream(2)),
    more("UDP 64 B", "1/s", How::Load(&["pps", "--size", "22"], "pps", Server::Far)),
    more("UDP 1400 B", "1/s", How::Load(&["pps", "--size", "1358"], "pps", Server::Far)),
    more("request", "1/s", How::Load(&["rr"], "rr_per_s", Server::Near)),
    more("connect", "1/s", How::Load(&["crr"], "crr_per_s", Server::Near)),
];

/// What is measured where new ports are new flows.
pub const OF_OURS: [Metric; 1] =
    [Metric { name: "first packet", unit: "µs", more_is_better: false, how: How::First }];

/// How much later than those of an installed flow the first packet of a new one arrives, in
/// microseconds: the layout, what it must not exceed, what it should not.
const FIRST_PACKETS: [(&str, f64, f64); 2] =
    [("ours: one host, two routers", 40.0, 20.0), ("ours: two hosts, routed", 90.0, 45.0)];

/// What was measured of first packets, as figures.
pub fn first_packets(series: &Series) -> Vec<Figure> {
    let figure = |(layout, must, aim)| {
        let values = series.get(&(layout, OF_OURS[0].name))?.clone();
        let name = format!("first packet above the installed path, p50, {layout}");
        Some(Figure::less(name, "µs", values).must(must).aim(aim))
    };
    FIRST_PACKETS.into_iter().filter_map(figure).collect()
}

/// Measures everything once, or only what has this in its name.
pub fn round(layouts: &[&Layout], only: Option<&str>, seconds: f64, series: &mut Series) {
    let wanted = |metric: &&Metric| only.is_none_or(|only| metric.name.contains(only));
    for metric in METRICS.iter().chain(&OF_OURS).filter(wanted) {
        let of_ours = OF_OURS.iter().any(|m| m.name == metric.name);
        for layout in layouts.iter().filter(|l| l.reads_ports || !of_ours) {
            let value = once(layout, metric, seconds).unwrap_or_else(|error| {
                eprintln!("  {} {}: {error}", layout.name, metric.name);
                f64::NAN
            });
            series.entry((layout.name, metric.name)).or_default().push(value);
        }
    }
}

fn once(layout: &Layout, metric: &Metric, seconds: f64) -> Outcome<f64> {
    match metric.how {
        How::Stream(streams) => stream(layout, streams, seconds),
        How::Load(words, field, server) => number(&load(layout, words, server, seconds)?, field),
        How::First => {
            let told = load(layout, &["first", "--count", "200"], Server::Near, seconds)?;
            Ok(number(&told, "first_p50_us")? - number(&told, "second_p50_us")?)
        }
    }
}

fn stream(layout: &Layout, streams: u32, seconds: f64) -> Outcome<f64> {
    let mut command = layout.server.command("taskset");
    command.args(["-c", "1", "iperf3", "-s", "-1"]);
    let _server = start(&mut command)?;
    let listens = || Ok(layout.server.run("ss -Hltn")?.contains(":5201"));
    wait_for("iperf3 listens", Duration::from_secs(5), listens)?;
    let mut client = layout.client.command("taskset");
    client.args(["-c", "0", "iperf3", "-c", &layout.address, "-J", "-P", &streams.to_string()]);
    // iperf3 measures whole seconds.
    client.args(["-t", &format!("{:.0}", seconds.max(1.0))]);
    let value = number(&json(&finish(&mut client)?)?["end"]["sum_received"], "bits_per_second")?;
    Ok(value / 1e9)
}

/// Runs the load tool on both ends of a layout; what the client has said.
pub fn load(layout: &Layout, words: &[&str], on: Server, seconds: f64) -> Outcome<Value> {
    let to = format!("{}:7000", layout.address);
    let _server = serve(&layout.server, &to, on)?;
    let mut client = layout.client.command(&program("load")?);
    client.args(words).args(["--to", &to, "--cpu", "0"]);
    if words[0] != "first" {
        client.args(["--seconds", &seconds.to_string()]);
    }
    json(&finish(&mut client)?)
}

/// Starts the load tool's other end on an address with port 7000; returns when it listens.
pub fn serve(at: &Namespace, to: &str, on: Server) -> Outcome<Running> {
    let cpu = if on == Server::Near { "0" } else { "1" };
    let mut command = at.command(&program("load")?);
    command.args(["serve", "--listen", to, "--cpu", cpu]);
    if on == Server::Napping {
        command.args(["--nap", "1"]);
    }
    let server = start(&mut command)?;
    let listens = || Ok(at.run("ss -Hltn")?.contains(":7000"));
    wait_for("the load tool listens", Duration::from_secs(5), listens)?;
    Ok(server)
}

fn start(command: &mut Command) -> Outcome<Running> {
    run_beside(command.stdout(Stdio::null()))
}

/// Starts a program beside this one.
pub fn run_beside(command: &mut Command) -> Outcome<Running> {
    let child = command.stderr(Stdio::null()).spawn();
    child.map(Running).map_err(LabError::machine("start a program"))
}

/// A program at the other end, until it is dropped. nsenter and taskset become it, so that the
/// child is the program itself.
pub struct Running(Child);

impl Running {
    /// What it prints until it ends by itself.
    pub fn said(mut self) -> Outcome<String> {
        let mut text = String::new();
        let read = self.0.stdout.take().map_or(Ok(0), |mut it| it.read_to_string(&mut text));
        read.and_then(|_| self.0.wait()).map_err(LabError::machine("wait for a program"))?;
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed and is waited for at once.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the load tool has said.
pub fn json(text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_err(|e| LabError::unexpected("a report", format!("{e}: {text}")))
}

/// A number in an answer.
pub fn number(value: &Value, field: &str) -> Outcome<f64> {
    value[field].as_f64().ok_or_else(|| LabError::unexpected(field, value.to_string()))
}
